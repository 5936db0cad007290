"""What cuts, delays or spoils the bytes of an answer: each wraps the `send` of an application."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from starlette.types import Message, Send

    from ..faults._fault import Fault
    from ._exchange import Exchange
    from ._uvicorn import ClientConnection

GARBAGE = b'{"task_id": "9b9c1b9a-\xff\xfe, <html>\x00 502 Bad Gateway'
_SLICES_PER_SECOND = 20


def phrase(status: int) -> str:
    """Return the reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"  # 520 to 530 are the gateways' own


def _length(message: Message) -> int:
    headers = dict(message.get("headers", []))
    return int(headers.get(b"content-length", b"0"))


def with_headers(message: Message, replaced: dict[bytes, bytes]) -> Message:
    """Return the start of an answer with these headers in place of its own of the same names."""
    headers = [(name, value) for name, value in message["headers"] if name.lower() not in replaced]
    return {**message, "headers": [*headers, *replaced.items()]}


class _Sender(Protocol):
    async def send(self, message: Message) -> None: ...


_MakeSender = Callable[["Fault", "Exchange", "Send", "ClientConnection"], _Sender]


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
            await self._send({**with_headers(message, headers), "status": 200})
        elif not message.get("more_body", False):
            await self._send({**message, "body": GARBAGE})


class SlowSender:
    """A rate cap, in small slices so that it is even."""

    def __init__(self, fault: Fault, send: Send, connection: ClientConnection) -> None:
        self._rate, self._send, self._connection = fault.bytes_per_second or 1.0, send, connection

    async def send(self, message: Message) -> None:
        body = message.get("body", b"")
        piece = max(1, int(self._rate / _SLICES_PER_SECOND))
        while len(body) > piece and not self._connection.closed.is_set():
            await self._send({**message, "body": body[:piece], "more_body": True})
            body = body[piece:]
            await self._connection.wait_closed(piece / self._rate)
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
            await self._connection.wait_closed(self._fault.seconds)
        elif self._fault.kind == "truncate":
            await self._connection.close()
        else:
            await self._connection.flush_and_reset()


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
        lines = [f"HTTP/1.1 {message['status']} {phrase(message['status'])}".encode()]
        headers = with_headers(message, {b"content-length": str(length).encode()})["headers"]
        lines += [name + b": " + value for name, value in headers]
        lines.append(b"x-request-id: " + (self._exchange.entry.request_id or "").encode())
        return b"\r\n".join([*lines, b"", b""])


SENDERS: dict[str, _MakeSender] = {
    "reset_after_body": _LostAnswerSender,
    "close_after_body": _LostAnswerSender,
    "garbage": _GarbageSender,
    "wrong_length": _WrongLengthSender,
    "stall": _InterruptingSender,
    "truncate": _InterruptingSender,
    "reset_response": _InterruptingSender,
}
