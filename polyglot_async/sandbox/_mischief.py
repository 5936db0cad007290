"""Commits the faults: between the application and the exchange, so that the ledger sees what really went out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from ._answers import error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._exchange import Exchange
    from ._faults import Fault
    from ._wire import Wire

GARBAGE = b'{"task_id": "9b9c1b9a-\xff\xfe, <html>\x00 502 Bad Gateway'
DEFAULT_REQUEST_BYTES = 65536
_LET_ARRIVE = 0.05
"""Seconds between the last byte and the RST: a client that is slower than that loses bytes that were sent."""
_SLICES_PER_SECOND = 20


async def commit(faults: list[Fault], app: ASGIApp, scope: Scope, exchange: Exchange, wire: Wire) -> None:
    """Run `app` for a request that `faults` hit."""
    send: Send = exchange.send
    for fault in faults:
        match fault.kind:
            case "latency":
                await _pause(wire, fault.seconds or 0.0)
            case "slow":
                send = _Slow(fault, send, wire).send
            case "reset_before_body":
                await wire.reset()
                return
            case "reset_during_body":
                await _read(exchange.receive, fault.at_bytes or DEFAULT_REQUEST_BYTES)
                exchange.settle()
                await wire.reset()
                return
            case "status":
                app = _Refusal(fault)
            case "garbage":
                send = _Garbage(send).send
            case "reset_after_body" | "wrong_length":
                send = (
                    _Lost(exchange, wire) if fault.kind == "reset_after_body" else _WrongLength(fault, exchange, wire)
                ).send
            case _:
                send = _Interrupted(fault, exchange, send, wire).send
    await app(scope, exchange.receive, send)
    if any(fault.kind == "wrong_length" for fault in faults):
        await wire.close()


async def _read(receive: Receive, limit: float) -> None:
    """Read and drop up to `limit` bytes of the request's body."""
    size = 0
    while size < limit:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


async def _pause(wire: Wire, seconds: float | None) -> None:
    """Wait for so long (None: for ever), but no longer than the client does."""
    try:
        await asyncio.wait_for(wire.closed.wait(), seconds)
    except TimeoutError:
        return


def _length(message: Message) -> int:
    headers = dict(message.get("headers", []))
    return int(headers.get(b"content-length", b"0"))


def _with_length(message: Message, length: int, content_type: bytes | None = None) -> Message:
    replaced = {b"content-length", b"content-type"} if content_type else {b"content-length"}
    headers = [(name, value) for name, value in message["headers"] if name.lower() not in replaced]
    headers.append((b"content-length", str(length).encode()))
    if content_type:
        headers.append((b"content-type", content_type))
    return {**message, "headers": headers}


class _Refusal:
    """Answers a status; the body is read first, so that the answer is the only thing that is wrong."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _read(receive, float("inf"))
        fault = self._fault
        detail = fault.detail or f"Fault injected: {HTTPStatus(fault.status).phrase}."
        await error(fault.status, detail, retry_after=fault.retry_after)(scope, receive, send)


class _Lost:
    """The request was processed, the answer never arrives."""

    def __init__(self, exchange: Exchange, wire: Wire) -> None:
        self._exchange, self._wire = exchange, wire

    async def send(self, message: Message) -> None:  # noqa: ARG002
        self._exchange.settle()
        await self._wire.reset()


class _Garbage:
    """A body that is no JSON, nor even UTF-8, under a good status."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send({**_with_length(message, len(GARBAGE), b"application/json"), "status": 200})
        elif not message.get("more_body", False):
            await self._send({**message, "body": GARBAGE})


class _Slow:
    """A rate cap, in small slices so that it is even."""

    def __init__(self, fault: Fault, send: Send, wire: Wire) -> None:
        self._rate, self._send, self._wire = fault.bytes_per_second or 1.0, send, wire

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = max(1, int(self._rate / _SLICES_PER_SECOND))
        while len(body) > piece and not self._wire.closed.is_set():
            await self._send({**message, "body": body[:piece], "more_body": True})
            body = body[piece:]
            await _pause(self._wire, piece / self._rate)
        await self._send({**message, "body": body} if message["type"] == "http.response.body" else message)


class _Interrupted:
    """Stops after so many bytes of the answer's body: a reset, a clean close, or silence."""

    def __init__(self, fault: Fault, exchange: Exchange, send: Send, wire: Wire) -> None:
        self._fault, self._exchange, self._send, self._wire = fault, exchange, send, wire
        self._left: int | None = None
        self._struck = False

    async def send(self, message: Message) -> None:
        if self._struck:
            if self._fault.kind == "stall" and not self._wire.closed.is_set():
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
        if self._fault.kind == "stall" and not self._wire.closed.is_set():
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
            await _pause(self._wire, self._fault.seconds)
        elif self._fault.kind == "truncate":
            await self._wire.close()
        else:
            await self._wire.flush()
            await asyncio.sleep(_LET_ARRIVE)
            await self._wire.reset()


class _WrongLength:
    """The whole answer, under a Content-Length that is not its length: h11 would refuse, so it is written raw."""

    def __init__(self, fault: Fault, exchange: Exchange, wire: Wire) -> None:
        self._fault, self._exchange, self._wire = fault, exchange, wire

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._wire.write(self._head(message))
            self._exchange.sent_raw(message["status"], 0)
        else:
            await self._wire.write(message.get("body", b""))
            self._exchange.sent_raw(None, len(message.get("body", b"")))

    def _head(self, message: Message) -> bytes:
        at = self._fault.at_bytes
        wrong = _with_length(message, max(0, _length(message) - 7) if at is None else at)
        lines = [f"HTTP/1.1 {message['status']} {HTTPStatus(message['status']).phrase}".encode()]
        lines += [name + b": " + value for name, value in wrong["headers"]]
        lines.append(b"x-request-id: " + (self._exchange.entry.request_id or "").encode())
        return b"\r\n".join([*lines, b"", b""])
