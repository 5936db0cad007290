"""Applies faults to a request: between the application and the exchange, so that the ledger sees what really left.

The application is wrapped for what changes its answer, its `send` for what cuts, delays or spoils the answer's bytes.
"""

from __future__ import annotations

import asyncio
import html
import json
import math
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, Response

from ..faults._rewrite import rewrite
from ._senders import SENDERS, SlowSender, phrase, with_headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ..faults._fault import Fault
    from ._exchange import Exchange
    from ._uvicorn import ClientConnection

DEFAULT_REQUEST_BYTES = 65536
_WITHOUT_BODY = frozenset({204, 304})
_FIRST_ERROR_STATUS = 300
_LET_CLOSE = 5.0
"""Seconds for a client to close a connection that was closed on it while it was sending."""


async def apply(
    faults: list[Fault], app: ASGIApp, scope: Scope, exchange: Exchange, connection: ClientConnection
) -> None:
    """Run `app` for a request that `faults` hit; at most one of them is no modifier."""
    send: Send = exchange.send
    main: Fault | None = None
    for fault in faults:
        match fault.kind:
            case "latency":
                await connection.wait_closed(fault.seconds)
            case "slow":
                send = SlowSender(fault, send, connection).send
            case "rewrite":
                app = _Rewriter(fault, app)
            case _:
                main = main if fault.modifier else fault
    if main is None:
        await app(scope, exchange.receive, send)
    elif main.kind.endswith(("_before_body", "_during_body")):
        await _disconnect(main, exchange, connection)
    else:
        app = _StatusAnswer(main, app) if main.kind == "status" else app
        make_sender = SENDERS.get(main.kind)
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


async def _disconnect(fault: Fault, exchange: Exchange, connection: ClientConnection) -> None:
    """End the connection while the body may still be under way."""
    if fault.kind.endswith("_during_body"):
        await _read(exchange.receive, DEFAULT_REQUEST_BYTES if fault.at_bytes is None else fault.at_bytes)
    exchange.settle()
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
            await connection.flush_and_reset()
        case "stop_reading":
            connection.stop_reading()
        case _ if fault.kind == "wrong_length":
            await connection.close()


def _answer(fault: Fault) -> Response:
    headers = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in fault.header)}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(fault.retry_after))
    if fault.body == "empty" or fault.status in _WITHOUT_BODY:
        return Response(status_code=fault.status, headers=headers)
    if fault.json is not None:
        return Response(fault.json, fault.status, headers, "application/json")
    if fault.body == "html":
        title = html.escape(fault.detail or f"{fault.status} {phrase(fault.status)}")
        page = f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
        return HTMLResponse(page, fault.status, headers)
    detail = fault.detail or f"Fault injected: {phrase(fault.status)}."
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
        await self._send(with_headers(start, {b"content-length": str(len(body)).encode()}))
        await self._send({"type": "http.response.body", "body": body})


def _is_good_json(start: Message) -> bool:
    content_type: bytes = dict(start.get("headers", [])).get(b"content-type", b"")
    return start["status"] < _FIRST_ERROR_STATUS and content_type.startswith(b"application/json")
