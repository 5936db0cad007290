"""The calls that take media in: upload, from-url, validate-url, convert-audio."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from .._outbound import MediaUrlError
from .._storage import StoredTask
from ..engines._engine import RecognitionError
from ._exchange import Exchange, caller_of
from ._forms import receive_form
from ._ranges import FileResponse, ServedFile, serve_file
from ._responses import ApiError, disposition, invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from .._outbound import OutboundClient, RemoteHead
    from .._storage import TaskStore
    from ..engines._task_runner import TaskRunner
    from ..engines._workers import WorkerPool
    from ..faults._fault import Fault
    from ._forms import ReceivedFile
    from ._limits import Plan

DEFAULT_MODEL = "fast"
DEFAULT_LANGUAGE = "en"
MAX_JSON = 1 << 20
DEFAULT_EARLY_BYTES = 1 << 16
CONVERSIONS = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "flac": "audio/flac",
}
_OPTIONS = ("model", "input_language", "output_language")
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class StartCalls:
    """Their handlers; `incoming` holds files that are still on their way, `tools` converts."""

    plan: Plan
    store: TaskStore
    runner: TaskRunner
    tools: WorkerPool
    outbound: OutboundClient
    media: Path
    incoming: Path
    now: Callable[[], float]

    async def upload(self, request: Request) -> Response:
        """`POST /transcriptions/upload`: multipart form, options as fields (A1)."""
        self._check_slots(request)
        if (early := Exchange.of(request).fault("accept_early")) is not None:
            return await self._accept_early(request, early)
        form = await receive_form(request, self.incoming, max_bytes=self.plan.max_upload_bytes)
        file = form.file
        try:
            _note_file(request, file)
            await self._check_file(file)
            self._check_slots(request)
            task = self._new_task(request, form.fields, file.name)
            task.content_type = _content_type(file.content_type, file.name)
            task.media, task.media_size, task.media_sha256 = task.task_id, file.size, file.sha256
            file.path.replace(self.media / task.task_id)
        except BaseException:
            file.path.unlink(missing_ok=True)
            raise
        return self._start(request, task)

    async def from_url(self, request: Request) -> Response:
        """`POST /transcriptions/from-url`: JSON with `url` and options (A2); the media follows in the background."""
        self._check_slots(request)
        body = await _json_with_url(request)
        url = body.pop("url")
        Exchange.of(request).note(source_url=url)
        remote = await self._probe(url)
        limit = self.plan.max_upload_bytes
        if limit is not None and (remote.size or 0) > limit:
            raise ApiError(413, f"The file is too large: the plan allows {limit} bytes (max_upload_bytes).")
        self._check_slots(request)
        task = self._new_task(request, body, remote.name)
        task.source_url, task.content_type = url, _content_type(remote.content_type, remote.name)
        return self._start(request, task)

    async def validate_url(self, request: Request) -> Response:
        """`POST /transcriptions/validate-url`: 200 if the media can be had, else 400 with the reason (A3)."""
        url = (await _json_with_url(request))["url"]
        remote = await self._probe(url)
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
        folder = self.incoming
        form = await receive_form(request, folder, max_bytes=self.plan.max_upload_bytes)
        source = form.file.path
        target = source.with_name(f"{source.name}.converted")
        try:
            _note_file(request, form.file)
            _refuse_empty(form.file)
            kind = _conversion(form.fields)
            await self.tools.do("convert", source=str(source), target=str(target), kind=kind)
            name = f"{form.file.name.rpartition('.')[0] or form.file.name or 'audio'}.{kind}"
            file = ServedFile(target, CONVERSIONS[kind], f'"{form.file.sha256[:32]}-{kind}"', disposition(name))
            answer = serve_file(file, "POST", {})
            assert isinstance(answer, FileResponse)  # noqa: S101  (a whole file to a POST)
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

    async def _accept_early(self, request: Request, fault: Fault) -> Response:
        """Start a task, with an empty source, before the body was read; its options are not known yet."""
        limit = DEFAULT_EARLY_BYTES if fault.at_bytes is None else fault.at_bytes
        received = 0
        async with contextlib.aclosing(request.stream()) as body:
            while received < limit and (piece := await anext(body, b"")):
                received += len(piece)
        task = self._new_task(request, {}, "")
        task.media = task.task_id
        (self.media / task.task_id).touch()
        return self._start(request, task)

    async def _probe(self, url: str) -> RemoteHead:
        try:
            return await self.outbound.probe(url)
        except MediaUrlError as problem:
            raise ApiError(400, str(problem)) from problem

    def _new_task(self, request: Request, options: dict[str, Any], file_name: str) -> StoredTask:
        """Return a task with the options of A1; what is not known is kept as `extra`."""
        for name in _OPTIONS:
            if not isinstance(options.get(name), str | None):
                raise invalid((["body", name], "Input should be a string."))
        caller, now = caller_of(request), self.now()
        return StoredTask(
            user=caller.user,
            created_at=now,
            updated_at=now,
            key_id=caller.key_id,
            file_name=file_name,
            model=options.get("model") or DEFAULT_MODEL,
            input_language=options.get("input_language") or DEFAULT_LANGUAGE,
            output_language=options.get("output_language") or None,
            extra={name: value for name, value in options.items() if name not in _OPTIONS},
        )

    def _start(self, request: Request, task: StoredTask) -> Response:
        self.runner.start(task)
        Exchange.of(request).note(task_id=task.task_id, started=True)
        return JSONResponse({"task_id": task.task_id, "status": "queued"})

    def _check_slots(self, request: Request) -> None:
        """A13. Asked as the head arrives, to spare a useless upload, and again when the task would start."""
        limit = self.plan.max_concurrent_tasks
        if limit is not None and self.store.active(caller_of(request).user) >= limit:
            detail = f"Limit exceeded: {limit} concurrent tasks (max_concurrent_tasks)."
            raise ApiError(429, detail, retry_after=1)

    async def _check_file(self, file: ReceivedFile) -> None:
        _refuse_empty(file)
        limit = self.plan.max_audio_seconds
        if limit is None:
            return
        seconds = await self.runner.audio_seconds(file.path, file.name, file.size)
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


def _content_type(given: str, name: str) -> str:
    """Return the media type for the source: the sender's if it says audio or video, else by the name."""
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
