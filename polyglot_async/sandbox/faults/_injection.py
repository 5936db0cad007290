"""Applies faults to a request: between the application and the exchange, so that the ledger sees what really left.

The application is wrapped for what changes its answer, its `send` for what cuts, delays or spoils the answer's bytes.
"""

from __future__ import annotations

import asyncio
import html
import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from starlette.responses import HTMLResponse, JSONResponse, Response

from ._rewrite import rewrite

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..server._middleware import Exchange
    from ..server._uvicorn import ClientConnection
    from ._fault import Fault

GARBAGE = b'{"task_id": "9b9c1b9a-\xff\xfe, <html>\x00 502 Bad Gateway'
DEFAULT_REQUEST_BYTES = 65536
_WITHOUT_BODY = frozenset({204, 304})
_FIRST_ERROR_STATUS = 300
_LET_ARRIVE = 0.05
"""Seconds between the last byte and the RST: a client that is slower than that loses bytes that were sent."""
_LET_CLOSE = 5.0
"""Seconds for a client to close a connection that was closed on it while it was sending."""
_SLICES_PER_SECOND = 20


async def apply(
    faults: list[Fault], app: ASGIApp, scope: Scope, exchange: Exchange, connection: ClientConnection
) -> None:
    """Run `app` for a request that `faults` hit; at most one of them is no modifier."""
    send: Send = exchange.send
    main: Fault | None = None
    for fault in faults:
        match fault.kind:
            case "latency":
                await _wait(connection, fault.seconds)
            case "slow":
                send = _SlowSender(fault, send, connection).send
            case "rewrite":
                app = _Rewriter(fault, app)
            case _:
                main = main if fault.modifier else fault
    if main is None:
        await app(scope, exchange.receive, send)
    elif main.kind.endswith(("_before_body", "_during_body")):
        limit = 0 if main.kind.endswith("_before_body") else main.at_bytes or DEFAULT_REQUEST_BYTES
        await _read(exchange.receive, limit)
        exchange.settle()
        await _disconnect(main, exchange, connection)
    else:
        app = _StatusAnswer(main, app) if main.kind == "status" else app
        make_sender = _SENDERS.get(main.kind)
        if make_sender is not None:
            send = make_sender(main, exchange, send, connection).send
        await app(scope, exchange.receive, send)
        await _finish(main, connection)


async def _read(receive: Receive, limit: float) -> None:
    """Read and drop up to `limit` bytes of the request's body."""
    size = 0
    while size < limit:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


async def _wait(connection: ClientConnection, seconds: float | None) -> None:
    """Wait for so long (None: for ever), but no longer than the client does."""
    try:
        await asyncio.wait_for(connection.closed.wait(), seconds)
    except TimeoutError:
        return


async def _disconnect(fault: Fault, exchange: Exchange, connection: ClientConnection) -> None:
    """End the connection while the body may still be under way."""
    if fault.kind.startswith("reset"):
        await connection.reset()
        return
    connection.send_eof()
    try:
        # Closing with bytes unread would send RST: they are read until the client has seen the end and closes too.
        async with asyncio.timeout(_LET_CLOSE):
            await _read(exchange.receive, float("inf"))
            await connection.closed.wait()
    except TimeoutError:
        connection.abort()
        await connection.closed.wait()


async def _finish(fault: Fault, connection: ClientConnection) -> None:
    """Do what follows the answer."""
    match fault.then:
        case "close":
            await connection.close()
        case "reset":
            await connection.flush()
            await asyncio.sleep(_LET_ARRIVE)
            await connection.reset()
        case "stop_reading":
            connection.stop_reading()
        case _ if fault.kind == "wrong_length":
            await connection.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"  # 520 to 530 are the gateways' own


def _answer(fault: Fault) -> Response:
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in fault.header)}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(fault.retry_after))
    if fault.body == "empty" or fault.status in _WITHOUT_BODY:
        return Response(status_code=fault.status, headers=headers)
    if fault.json is not None:
        return Response(fault.json, fault.status, headers, "application/json")
    if fault.body == "html":
        title = html.escape(fault.detail or f"{fault.status} {_phrase(fault.status)}")
        page = f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
        return HTMLResponse(page, fault.status, headers)
    detail = fault.detail or f"Fault injected: {_phrase(fault.status)}."
    return JSONResponse({"detail": detail}, fault.status, headers)


class _StatusAnswer:
    """Answers a status: instead of the application, after it, or before the body was read."""

    def __init__(self, fault: Fault, app: ASGIApp) -> None:
        self._fault, self._app = fault, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fault.when == "after":
            await self._app(scope, receive, _discard)
        else:
            # The whole body is read unless asked otherwise, so that the answer is the only thing that is wrong.
            await _read(receive, self._fault.at_bytes or 0 if self._fault.when == "early" else float("inf"))
        await _answer(self._fault)(scope, receive, send)


async def _discard(message: Message) -> None:
    """Drop what the application answers."""


class _Rewriter:
    """Changes the fields of a good JSON answer."""

    def __init__(self, fault: Fault, app: ASGIApp) -> None:
        self._fault, self._app = fault, app
        self._send: Send = _discard
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        await self._app(scope, receive, self._receive_answer)

    async def _receive_answer(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_good_json(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_changed(self._start)

    async def _send_changed(self, start: Message) -> None:
        document = json.loads(self._body)
        rewrite(document, self._fault)
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        await self._send(_with_headers(start, {b"content-length": str(len(body)).encode()}))
        await self._send({"type": "http.response.body", "body": body})


def _is_good_json(start: Message) -> bool:
    content_type: bytes = dict(start.get("headers", [])).get(b"content-type", b"")
    return start["status"] < _FIRST_ERROR_STATUS and content_type.startswith(b"application/json")


def _length(message: Message) -> int:
    headers = dict(message.get("headers", []))
    return int(headers.get(b"content-length", b"0"))


def _with_headers(message: Message, replaced: dict[bytes, bytes]) -> Message:
    headers = [(name, value) for name, value in message["headers"] if name.lower() not in replaced]
    return {**message, "headers": [*headers, *replaced.items()]}


class _LostAnswerSender:
    """The request was processed, the answer never arrives."""

    def __init__(self, fault: Fault, exchange: Exchange, send: Send, connection: ClientConnection) -> None:  # noqa: ARG002
        self._reset, self._exchange, self._connection = fault.kind.startswith("reset"), exchange, connection

    async def send(self, message: Message) -> None:  # noqa: ARG002
        self._exchange.settle()
        await (self._connection.reset() if self._reset else self._connection.close())


class _GarbageSender:
    """A body that is no JSON, nor even UTF-8, under a good status."""

    def __init__(self, fault: Fault, exchange: Exchange, send: Send, connection: ClientConnection) -> None:  # noqa: ARG002
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {b"content-length": str(len(GARBAGE)).encode(), b"content-type": b"application/json"}
            await self._send({**_with_headers(message, headers), "status": 200})
        elif not message.get("more_body", False):
            await self._send({**message, "body": GARBAGE})


class _Sender(Protocol):
    async def send(self, message: Message) -> None: ...


_MakeSender = Callable[["Fault", "Exchange", "Send", "ClientConnection"], _Sender]


class _SlowSender:
    """A rate cap, in small slices so that it is even."""

    def __init__(self, fault: Fault, send: Send, connection: ClientConnection) -> None:
        self._rate, self._send, self._connection = fault.bytes_per_second or 1.0, send, connection

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = max(1, int(self._rate / _SLICES_PER_SECOND))
        while len(body) > piece and not self._connection.closed.is_set():
            await self._send({**message, "body": body[:piece], "more_body": True})
            body = body[piece:]
            await _wait(self._connection, piece / self._rate)
        await self._send({**message, "body": body} if message["type"] == "http.response.body" else message)


class _InterruptingSender:
    """Stops after so many bytes of the answer's body: a reset, a clean close, or silence."""

    def __init__(self, fault: Fault, exchange: Exchange, send: Send, connection: ClientConnection) -> None:
        self._fault, self._exchange, self._send, self._connection = fault, exchange, send, connection
        self._left: int | None = None
        self._struck = False

    async def send(self, message: Message) -> None:
        if self._struck:
            if self._fault.kind == "stall" and not self._connection.closed.is_set():
                await self._send(message)
            return
        if message["type"] == "http.response.start":
            self._left = self._where(_length(message))
            await self._send(message)
            if self._left == 0:
                await self._strike()
            return
        body = message.get("body", b"")
        assert self._left is not None  # noqa: S101  (the start came first)
        if len(body) < self._left:
            self._left -= len(body)
            await self._send(message)
            return
        if self._left:
            await self._send({**message, "body": body[: self._left], "more_body": True})
        await self._strike()
        if self._fault.kind == "stall" and not self._connection.closed.is_set():
            await self._send({**message, "body": body[self._left :]})

    def _where(self, length: int) -> int:
        at = self._fault.at_bytes
        if at is None:
            at = 0 if self._fault.kind == "stall" else length // 2
        return max(0, min(at, length - 1))

    async def _strike(self) -> None:
        self._struck = True
        self._exchange.settle()
        if self._fault.kind == "stall":
            await _wait(self._connection, self._fault.seconds)
        elif self._fault.kind == "truncate":
            await self._connection.close()
        else:
            await self._connection.flush()
            await asyncio.sleep(_LET_ARRIVE)
            await self._connection.reset()


class _WrongLengthSender:
    """The whole answer, under a Content-Length that is not its length: h11 would refuse, so it is written raw."""

    def __init__(self, fault: Fault, exchange: Exchange, send: Send, connection: ClientConnection) -> None:  # noqa: ARG002
        self._fault, self._exchange, self._connection = fault, exchange, connection

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._connection.write(self._head(message))
            self._exchange.sent_raw(message["status"], 0)
        else:
            await self._connection.write(message.get("body", b""))
            self._exchange.sent_raw(None, len(message.get("body", b"")))

    def _head(self, message: Message) -> bytes:
        at = self._fault.at_bytes
        length = max(0, _length(message) - 7) if at is None else at
        lines = [f"HTTP/1.1 {message['status']} {_phrase(message['status'])}".encode()]
        headers = _with_headers(message, {b"content-length": str(length).encode()})["headers"]
        lines += [name + b": " + value for name, value in headers]
        lines.append(b"x-request-id: " + (self._exchange.entry.request_id or "").encode())
        return b"\r\n".join([*lines, b"", b""])


_SENDERS: dict[str, _MakeSender] = {
    "reset_after_body": _LostAnswerSender,
    "close_after_body": _LostAnswerSender,
    "garbage": _GarbageSender,
    "wrong_length": _WrongLengthSender,
    "stall": _InterruptingSender,
    "truncate": _InterruptingSender,
    "reset_response": _InterruptingSender,
}
