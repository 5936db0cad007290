"""The calls that take media in: upload, from-url, validate-url, convert-audio."""

from __future__ import annotations

import json
import mimetypes
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from ._answers import ApiError, invalid
from ._engines import RecognitionError
from ._exchange import Exchange
from ._forms import receive_form
from ._ranges import FileAnswer, Media, serve_media
from ._render import disposition
from ._services import caller_of
from ._tasks import Task

if TYPE_CHECKING:
    from starlette.requests import Request

    from ._forms import ReceivedFile
    from ._services import Services

DEFAULT_MODEL = "fast"
DEFAULT_LANGUAGE = "en"
MAX_JSON = 1 << 20
CONVERSIONS = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "flac": "audio/flac",
}
_OPTIONS = ("model", "input_language", "output_language")
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


class StartCalls:
    """Their handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def upload(self, request: Request) -> Response:
        """`POST /transcriptions/upload`: multipart form, options as fields (A1)."""
        self._check_slots(request)
        plan = self._services.plan
        form = await receive_form(request, self._services.incoming, max_bytes=plan.max_upload_bytes)
        file = form.file
        try:
            _note_file(request, file)
            await self._check_file(file)
            self._check_slots(request)
            task = _new_task(request, form.fields, file.name)
            task.content_type = _content_type(file.content_type, file.name)
            task.media, task.media_size, task.media_sha256 = task.task_id, file.size, file.sha256
            file.path.replace(self._services.media / task.task_id)
        except BaseException:
            file.path.unlink(missing_ok=True)
            raise
        return self._start(request, task)

    async def from_url(self, request: Request) -> Response:
        """`POST /transcriptions/from-url`: JSON with `url` and options (A2); the media follows in the background."""
        self._check_slots(request)
        body = await _json_with_url(request)
        url = body.pop("url")
        remote = await self._services.outbound.probe(url)
        limit = self._services.plan.max_upload_bytes
        if limit is not None and (remote.size or 0) > limit:
            raise ApiError(413, f"The file is too large: the plan allows {limit} bytes (max_upload_bytes).")
        self._check_slots(request)
        task = _new_task(request, body, remote.name)
        task.source_url, task.content_type = url, _content_type(remote.content_type, remote.name)
        return self._start(request, task)

    async def validate_url(self, request: Request) -> Response:
        """`POST /transcriptions/validate-url`: 200 if the media can be had, else 400 with the reason (A3)."""
        url = (await _json_with_url(request))["url"]
        remote = await self._services.outbound.probe(url)
        return JSONResponse(
            {
                "valid": True,
                "url": url,
                "file_name": remote.name,
                "content_type": remote.content_type,
                "size": remote.size,
            }
        )

    async def convert_audio(self, request: Request) -> Response:
        """`POST /transcriptions/convert-audio`: the file, converted to the field `format` (A6)."""
        folder = self._services.incoming
        form = await receive_form(request, folder, max_bytes=self._services.plan.max_upload_bytes)
        source = form.file.path
        target = source.with_name(f"{source.name}.converted")
        try:
            _note_file(request, form.file)
            _refuse_empty(form.file)
            kind = _conversion(form.fields)
            await self._services.tools.do("convert", source=str(source), target=str(target), kind=kind)
            name = f"{form.file.name.rpartition('.')[0] or form.file.name or 'audio'}.{kind}"
            media = Media(target, CONVERSIONS[kind], f'"{form.file.sha256[:32]}-{kind}"', disposition(name))
            answer = serve_media(media, "POST", {})
            assert isinstance(answer, FileAnswer)  # noqa: S101  (a whole file to a POST)
            answer.then = lambda: target.unlink(missing_ok=True)
        except RecognitionError as problem:
            target.unlink(missing_ok=True)
            raise ApiError(400, str(problem)) from problem
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            source.unlink(missing_ok=True)
        return answer

    def _start(self, request: Request, task: Task) -> Response:
        self._services.runner.start(task)
        Exchange.of(request).note(task_id=task.task_id)
        return JSONResponse({"task_id": task.task_id, "status": "queued"})

    def _check_slots(self, request: Request) -> None:
        """A13. Asked as the head arrives, to spare a vain upload, and again when the task would start."""
        limit = self._services.plan.max_concurrent_tasks
        if limit is not None and self._services.store.active(caller_of(request).user) >= limit:
            detail = f"Limit exceeded: {limit} concurrent tasks (max_concurrent_tasks)."
            raise ApiError(429, detail, retry_after=1)

    async def _check_file(self, file: ReceivedFile) -> None:
        _refuse_empty(file)
        limit = self._services.plan.max_audio_seconds
        if limit is None:
            return
        seconds = await self._services.runner.audio_seconds(file.path, file.name, file.size)
        if seconds is not None and seconds > limit:
            raise ApiError(400, f"The audio is longer than {limit:g} seconds (max_audio_seconds).")


def _note_file(request: Request, file: ReceivedFile) -> None:
    Exchange.of(request).note(file_name=file.name, file_size=file.size, file_sha256=file.sha256)


def _refuse_empty(file: ReceivedFile) -> None:
    if not file.size:
        raise ApiError(400, "The file is empty.")


def _conversion(fields: dict[str, str]) -> str:
    kind = fields.get("format", "mp3").lower()
    if kind not in CONVERSIONS:
        raise ApiError(400, f"The format is one of {', '.join(CONVERSIONS)}.")
    return kind


def _new_task(request: Request, options: dict[str, Any], file_name: str) -> Task:
    """A task with the options of A1; what is not known is kept as `extra`."""
    for name in _OPTIONS:
        if not isinstance(options.get(name), str | None):
            raise invalid((["body", name], "Input should be a string."))
    caller = caller_of(request)
    return Task(
        user=caller.user,
        key_id=caller.key_id,
        file_name=file_name,
        model=options.get("model") or DEFAULT_MODEL,
        input_language=options.get("input_language") or DEFAULT_LANGUAGE,
        output_language=options.get("output_language") or None,
        extra={name: value for name, value in options.items() if name not in _OPTIONS},
    )


def _content_type(given: str, name: str) -> str:
    """The media type for the source: the sender's if it says audio or video, else by the name."""
    kind = given.partition(";")[0].strip().lower()
    if _MIME.fullmatch(kind) and kind.startswith(("audio/", "video/")):
        return kind
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


async def _json_with_url(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_JSON:
            raise ApiError(413, f"The body is longer than {MAX_JSON} bytes.")
    try:
        body = json.loads(raw, parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate could be neither kept nor answered
    except (ValueError, RecursionError):
        raise invalid((["body"], "The body is not JSON.")) from None
    if not isinstance(body, dict):
        raise invalid((["body"], "Input should be an object."))
    if not isinstance(body.get("url"), str):
        raise invalid((["body", "url"], "Field required: a string."))
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
