"""The whole server as one ASGI application: the table of the API's calls, and the control pages beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ._read_calls import ReadCalls
    from ._start_calls import StartCalls

BASE = "/api/v1"


def api_routes(start: StartCalls, read: ReadCalls) -> list[Route]:
    """Return the ten calls of the contract; the names are those of the ledger and of the faults."""
    tasks = f"{BASE}/transcriptions"
    return [
        Route(f"{tasks}/upload", start.upload, methods=["POST"], name="upload"),
        Route(f"{tasks}/from-url", start.from_url, methods=["POST"], name="from_url"),
        Route(f"{tasks}/validate-url", start.validate_url, methods=["POST"], name="validate_url"),
        Route(f"{tasks}/convert-audio", start.convert_audio, methods=["POST"], name="convert_audio"),
        Route(tasks, read.list, methods=["GET"], name="list"),
        Route(f"{tasks}/{{task_id}}", read.get, methods=["GET"], name="get"),
        Route(f"{tasks}/{{task_id}}/result", read.result, methods=["GET"], name="result"),
        Route(f"{tasks}/{{task_id}}/downloads/{{kind}}", read.download, methods=["GET"], name="download"),
        Route(f"{tasks}/{{task_id}}/source", read.source, methods=["GET"], name="source"),
        Route(f"{BASE}/developer/documentation", read.documentation, methods=["GET"], name="documentation"),
    ]


@dataclass(frozen=True, slots=True)
class App:
    """Sends `/_sandbox/...` to the control pages and everything else through the middleware."""

    api: ASGIApp
    control: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self.control if scope["path"].startswith("/_sandbox/") else self.api
        await app(scope, receive, send)
