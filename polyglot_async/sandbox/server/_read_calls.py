"""The calls that give out what is known: list, get, result, downloads, source, documentation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from .._storage import ACTIVE, FINAL
from ._exchange import Exchange, caller_of
from ._ranges import ServedFile, serve_file, transcoded
from ._responses import ApiError, disposition, invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request

    from .._storage import StoredTask, TaskStore
    from ._limits import Plan

DEFAULT_PAGE = 20
LARGEST_PAGE = 100
LARGEST_OFFSET = 2**53


@dataclass(frozen=True, slots=True)
class ReadCalls:
    """Their handlers; `source_rate` caps the bytes per second of each connection that reads a source."""

    plan: Plan
    store: TaskStore
    media: Path
    now: Callable[[], float]
    source_rate: float | None

    async def list(self, request: Request) -> Response:
        """`GET /transcriptions`: newest first (A4)."""
        limit = _integer(request, "limit", DEFAULT_PAGE, 1, LARGEST_PAGE)
        offset = _integer(request, "offset", 0, 0, LARGEST_OFFSET)
        status = request.query_params.get("status")
        if status not in {None, *ACTIVE, *FINAL}:
            raise invalid((["query", "status"], f"Input should be one of {', '.join(ACTIVE + FINAL)}."))
        lag = Exchange.of(request).fault("lag")
        before = self.now() - lag.seconds if lag is not None and lag.seconds is not None else None
        user = caller_of(request).user
        tasks = self.store.page(user, status=status, limit=limit, offset=offset, created_before=before)
        total = self.store.count(user, status=status, created_before=before)
        items = [task.public() for task in tasks]
        return JSONResponse({"items": items, "total": total, "limit": limit, "offset": offset})

    async def get(self, request: Request) -> Response:
        """`GET /transcriptions/{task_id}`."""
        return JSONResponse(self._task(request).public())

    async def result(self, request: Request) -> Response:
        """`GET /transcriptions/{task_id}/result`; 409 if there is none (A5)."""
        return JSONResponse(self._completed(request).result())

    async def download(self, request: Request) -> Response:
        """`GET /transcriptions/{task_id}/downloads/{kind}`."""
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise ApiError(404, f"There is no such file; kinds are {', '.join(KINDS)}.")
        task = self._completed(request)
        content_type, render = KINDS[kind]
        name = f"{task.file_name.rpartition('.')[0] or task.file_name}.{kind}"
        headers = {"Content-Type": content_type, "Content-Disposition": disposition(name)}
        return Response(render(task).encode("utf-8", "replace"), headers=headers)

    async def source(self, request: Request) -> Response:
        """`GET /transcriptions/{task_id}/source`: the media as it came, with Range (A7)."""
        task = self._task(request)
        exchange = Exchange.of(request)
        headers = {} if exchange.fault("ignore_range") else request.headers
        if task.media is None:
            raise ApiError(404, "The source is not there.")
        try:
            path, etag = self.media / task.media, f'"{task.media_sha256}"'
            if exchange.fault("transcode"):
                path, etag = await asyncio.to_thread(transcoded, path), f'"{task.task_id}-transcoded"'
            file = ServedFile(path, task.content_type, etag, disposition(task.file_name))
            return serve_file(file, request.method, headers, rate=self.source_rate)
        except FileNotFoundError:
            raise ApiError(404, "The source is not there.") from None

    async def documentation(self, request: Request) -> Response:  # noqa: ARG002
        """`GET /developer/documentation`: the live limits (A10), for anybody but an `sk_` key (A16)."""
        return JSONResponse({"rate_limits": self.plan.rate_limits()})

    def _task(self, request: Request) -> StoredTask:
        """Return the task that a request's path names; another user's is as good as none: 404."""
        task = self.store.get(request.path_params["task_id"], caller_of(request).user)
        lag = Exchange.of(request).fault("lag")
        hidden = task is not None and lag is not None and self.now() - task.created_at < (lag.seconds or 0.0)
        if task is None or hidden:
            raise ApiError(404, "Task not found.")
        return task

    def _completed(self, request: Request) -> StoredTask:
        task = self._task(request)
        if task.status == "completed":
            return task
        reason = f": {task.failure_reason}" if task.failure_reason else ""
        raise ApiError(409, f"There is no result, the task is {task.status}{reason}")


def _integer(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and least <= int(text[:20]) <= most):
        raise invalid((["query", name], f"Input should be an integer from {least} to {most}."))
    return int(text)


def _timestamp(seconds: float, comma: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{comma}{milliseconds % 1000:03}"


def _cue(segment: dict[str, Any], comma: str) -> str:
    return f"{_timestamp(segment['start'], comma)} --> {_timestamp(segment['end'], comma)}\n{segment['text']}\n"


def _srt(task: StoredTask) -> str:
    return "\n".join(f"{number}\n{_cue(segment, ',')}" for number, segment in enumerate(task.segments, 1))


def _vtt(task: StoredTask) -> str:
    return "\n".join(["WEBVTT\n", *(_cue(segment, ".") for segment in task.segments)])


def _txt(task: StoredTask) -> str:
    return f"{task.transcript}\n"


def _json(task: StoredTask) -> str:
    return json.dumps(task.result(), ensure_ascii=False, indent=2)


KINDS: dict[str, tuple[str, Callable[[StoredTask], str]]] = {
    "srt": ("application/x-subrip; charset=utf-8", _srt),
    "vtt": ("text/vtt; charset=utf-8", _vtt),
    "txt": ("text/plain; charset=utf-8", _txt),
    "json": ("application/json", _json),
}
