"""The whole server as one ASGI application: the table of the API's calls, and the control pages beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from ._calls_read import ReadCalls
from ._calls_start import StartCalls

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ._services import Services

BASE = "/api/v1"


def api_routes(services: Services) -> list[Route]:
    """The ten calls of the contract; the names are those of the ledger and of the faults."""
    start, read = StartCalls(services), ReadCalls(services)
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


class App:
    """Sends `/_sandbox/...` to the control pages and everything else through the gate."""

    def __init__(self, gate: ASGIApp, control: ASGIApp) -> None:
        self._gate, self._control = gate, control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._control if scope["path"].startswith("/_sandbox/") else self._gate
        await app(scope, receive, send)
