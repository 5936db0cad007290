"""The server of `polyglot listen`: the receiver under uvicorn, and around it what shows every request."""

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
from ._deliveries import CURRENT, Delivery
from ._hand_on import NotTakenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from .._models import WebhookEvent
    from ..webhooks._asgi import Message, Receive, Scope, Send
    from ._deliveries import Display

_MAX_BODY_BYTES = 1 << 20
_EXPLAINED_BYTES = 1 << 16
_BODY_TIMEOUT = 10.0
_CONNECTIONS = 200
_LEAVING = 1
_UNAUTHORIZED = 401


class Tap:
    """An ASGI app around the receiver that notes every request and shows it."""

    def __init__(self, app: Any, display: Display, secrets: Sequence[str]) -> None:
        self._app, self._display, self._secrets = app, display, secrets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        delivery = Delivery(f"{scope['method']} {scope['path']}", list(scope["headers"]))
        CURRENT.set(delivery)  # each request has a task, and so a context, of its own

        async def hear() -> Message:
            message = await receive()
            delivery.body += message.get("body", b"")
            return message

        async def answer(message: Message) -> None:
            delivery.status = message.get("status", delivery.status)
            delivery.answer += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, hear, answer)
        finally:
            if delivery.status == _UNAUTHORIZED and len(delivery.body) <= _EXPLAINED_BYTES:
                with contextlib.suppress(WebhookVerificationError):
                    delivery.hints = await to_thread.run_sync(self._hints, delivery)
            self._display.settled(delivery)

    def heard(self, event: WebhookEvent) -> None:
        """Take a verified event, new or not; subscribed to the receiver."""
        delivery = CURRENT.get()
        delivery.event = event
        self._display.came(delivery)

    def _hints(self, delivery: Delivery) -> Sequence[str]:
        return tuple(dict.fromkeys(webhooks.explain(bytes(delivery.body), delivery.headers, self._secrets).hints))


async def take_unverified(scope: Scope, receive: Receive, send: Send) -> None:
    """Be the app that verifies nothing: whatever is a delivery by its shape is answered with 200."""
    try:
        check_request(scope, path=None, max_body_bytes=_MAX_BODY_BYTES)
        body = await read_body(receive, max_body_bytes=_MAX_BODY_BYTES, timeout=_BODY_TIMEOUT)
        json.loads(body)
    except ClientGoneError:
        return
    except RefusedError as refused:
        await respond(scope, send, refused.answer)
    except (ValueError, RecursionError):
        await respond(scope, send, Answer(400, "the body is no JSON"))
    else:
        await respond(scope, send, Answer(200, "not verified"))


def check_server() -> None:
    """See that there is a server to run.

    Raises:
        PolyglotError: the extra is not installed.
    """
    if importlib.util.find_spec("uvicorn") is None:
        raise PolyglotError('to listen needs an extra: pip install "polyglot_async[sandbox]"')


def bind(host: str, port: int) -> socket.socket:
    """Take the address before anything is announced.

    Raises:
        OSError: it cannot be taken.
    """
    # Named TCP, for asyncio sets TCP_NODELAY on nothing less: without it an answer may wait for an ACK.
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()  # now, so that nobody is refused who comes as soon as it is announced
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host
        sock.close()
        number, words = getattr(error, "errno", None), getattr(error, "strerror", None)
        raise OSError(number or 0, words or "is no address", f"{host}:{port}") from None
    return sock


@contextlib.asynccontextmanager
async def serving(app: Any, sock: socket.socket) -> AsyncIterator[None]:
    """Serve on a socket while the context is open; what is being handled at its end gets some seconds more."""
    uvicorn: Any = importlib.import_module("uvicorn")
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what it would say of a bad request, the display says
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_LEAVING,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # signals are the command line's
    ended = anyio.Event()

    async def serve() -> None:
        try:
            await server.serve([sock])
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        try:
            yield
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True):
                await ended.wait()


@contextlib.contextmanager
def quiet_log() -> Iterator[None]:
    """Keep what the display has told already out of the log on stderr."""

    def is_news(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], NotTakenError))

    logger = logging.getLogger("polyglot_async")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
