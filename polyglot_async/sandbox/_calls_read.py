"""The calls that give out what is known: list, get, result, downloads, source, documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from ._answers import ApiError, invalid
from ._ranges import Media, serve_media
from ._render import KINDS, disposition
from ._services import caller_of, task_of
from ._tasks import ACTIVE, FINAL

if TYPE_CHECKING:
    from starlette.requests import Request

    from ._services import Services
    from ._tasks import Task

DEFAULT_PAGE = 20
LARGEST_PAGE = 100
LARGEST_OFFSET = 2**53


class ReadCalls:
    """Their handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, request: Request) -> Response:
        """`GET /transcriptions`: newest first (A4)."""
        limit = _integer(request, "limit", DEFAULT_PAGE, 1, LARGEST_PAGE)
        offset = _integer(request, "offset", 0, 0, LARGEST_OFFSET)
        status = request.query_params.get("status")
        if status not in {None, *ACTIVE, *FINAL}:
            raise invalid((["query", "status"], f"Input should be one of {', '.join(ACTIVE + FINAL)}."))
        user, store = caller_of(request).user, self._services.store
        items = [task.public() for task in store.page(user, status=status, limit=limit, offset=offset)]
        total = store.count(user, status=status)
        return JSONResponse({"items": items, "total": total, "limit": limit, "offset": offset})

    async def get(self, request: Request) -> Response:
        """`GET /transcriptions/{task_id}`."""
        return JSONResponse(task_of(request, self._services.store).public())

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
        task = task_of(request, self._services.store)
        if task.media is None:
            raise ApiError(404, "The source is not there.")
        path = self._services.media / task.media
        media = Media(path, task.content_type, f'"{task.media_sha256}"', disposition(task.file_name))
        rate = self._services.source_bytes_per_second
        try:
            return serve_media(media, request.method, request.headers, rate=rate)
        except FileNotFoundError:
            raise ApiError(404, "The source is not there.") from None

    async def documentation(self, request: Request) -> Response:  # noqa: ARG002
        """`GET /developer/documentation`: the live limits (A10), for anybody but an `sk_` key (A16)."""
        return JSONResponse({"rate_limits": self._services.plan.rate_limits()})

    def _completed(self, request: Request) -> Task:
        task = task_of(request, self._services.store)
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
