"""The server of `polyglot listen`: the webhook receiver under uvicorn, inside an app that records every request."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from .. import webhooks
from .._errors import PolyglotError, WebhookVerificationError
from ..webhooks._asgi import Answer, ClientGoneError, RefusedError, check_request, read_body, respond
from ._forwarding import ForwardingError
from ._listen_display import CURRENT_REQUEST, ReceivedRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime

    from .._models import WebhookEvent
    from ..webhooks._asgi import Message, Receive, Scope, Send
    from ._listen_display import RequestDisplay

_MAX_BODY_BYTES = 1 << 20
_MAX_EXPLAINED_BYTES = 1 << 16
_BODY_TIMEOUT = 10.0
_MAX_CONNECTIONS = 200
_SHUTDOWN_TIMEOUT = 1
_UNAUTHORIZED = 401


class RecordingApp:
    """ASGI middleware that records every request to the app inside and shows it."""

    def __init__(
        self, app: Any, display: RequestDisplay, secrets: Sequence[str], utc_now: Callable[[], datetime]
    ) -> None:
        self._app, self._display, self._secrets, self._utc_now = app, display, secrets, utc_now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        request = ReceivedRequest(f"{scope['method']} {scope['path']}", list(scope["headers"]), self._utc_now())
        CURRENT_REQUEST.set(request)  # each request has a task, and so a context, of its own

        async def recording_receive() -> Message:
            message = await receive()
            request.body += message.get("body", b"")
            return message

        async def recording_send(message: Message) -> None:
            request.status = message.get("status", request.status)
            request.answer += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, recording_receive, recording_send)
        finally:
            if request.status == _UNAUTHORIZED and len(request.body) <= _MAX_EXPLAINED_BYTES:
                with contextlib.suppress(WebhookVerificationError):
                    request.hints = await to_thread.run_sync(self._hints, request)
            self._display.on_end(request)

    def on_verified(self, event: WebhookEvent) -> None:
        """Record a verified event, new or not. Subscribed to the receiver."""
        request = CURRENT_REQUEST.get()
        request.event = event
        self._display.on_event(request)

    def _hints(self, request: ReceivedRequest) -> Sequence[str]:
        return tuple(dict.fromkeys(webhooks.explain(bytes(request.body), request.headers, self._secrets).hints))


async def accept_unverified(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer any webhook-shaped request with 200: the app of --insecure-skip-verify."""
    try:
        check_request(scope, path=None, max_body_bytes=_MAX_BODY_BYTES)
        body = await read_body(receive, max_body_bytes=_MAX_BODY_BYTES, timeout=_BODY_TIMEOUT)
        json.loads(body)
    except ClientGoneError:
        return
    except RefusedError as refused:
        await respond(scope, send, refused.answer)
    except (ValueError, RecursionError):
        await respond(scope, send, Answer(400, "the body is not JSON"))
    else:
        await respond(scope, send, Answer(200, "not verified"))


def check_server_installed() -> None:
    """Check that there is a server to run.

    Raises:
        PolyglotError: the extra is not installed.
    """
    if importlib.util.find_spec("uvicorn") is None:
        raise PolyglotError('polyglot listen needs an extra: pip install "polyglot_async[sandbox]"')


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        OSError: the address cannot be used.
    """
    # TCP is named, for asyncio sets TCP_NODELAY on nothing less: without it an answer may wait for an ACK.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()  # before it is announced, so that nobody is refused
    except (OSError, UnicodeError) as error:  # UnicodeError: not a host name
        sock.close()
        number, words = getattr(error, "errno", None), getattr(error, "strerror", None)
        raise OSError(number or 0, words or "not an address", f"{host}:{port}") from None
    return sock


@contextlib.asynccontextmanager
async def serve(app: Any, sock: socket.socket) -> AsyncIterator[None]:
    """Serve an app on a socket while the context is open; requests in progress get a second to finish at its end."""
    uvicorn: Any = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # the display shows bad requests
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # the entry point handles signals
    ended = anyio.Event()

    async def run_server() -> None:
        try:
            await server.serve([sock])
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_server)
        try:
            yield
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await ended.wait()


@contextlib.contextmanager
def without_forwarding_errors() -> Iterator[None]:
    """Keep out of the log on stderr what the display shows already."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], ForwardingError))

    logger = logging.getLogger("polyglot_async")
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)
