"""The ASGI 3 side of a receiver: check a request, read its body, answer it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import anyio
import attrs

logger = logging.getLogger("polyglot_async")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


@attrs.frozen
class Answer:
    """An answer: a status, a sentence, and headers beside those of every answer."""

    status: int
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class RefusedError(Exception):
    """The request is refused.

    Attributes:
        answer: what to answer.
        reason: a keyword for the log.
    """

    def __init__(self, answer: Answer, reason: str = "request") -> None:
        super().__init__(answer.detail)
        self.answer = answer
        self.reason = reason


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


def check_request(scope: Scope, *, path: str | None, max_body_bytes: int) -> None:
    """Raise RefusedError for what can be refused without reading the body."""
    if path is not None and normal_path(_path_within(scope)) != path:
        raise RefusedError(Answer(404, "not found"))
    if scope["method"] != "POST":
        raise RefusedError(Answer(405, "only POST is allowed here", ((b"allow", b"POST"),)))
    types = [value.partition(b";")[0].strip().lower() for value in _values(scope, b"content-type")]
    if types != [b"application/json"]:
        raise RefusedError(Answer(415, "the content type is not application/json"))
    for length in _values(scope, b"content-length"):
        if not length.isdigit():
            raise RefusedError(Answer(400, "the Content-Length is not a number"))
        # More digits are more bytes; converting thousands of them is refused by Python, with an error of its own.
        digits = length.lstrip(b"0")
        if len(digits) > len(str(max_body_bytes)) or int(digits or b"0") > max_body_bytes:
            raise _too_large(max_body_bytes)


async def read_body(receive: Receive, *, max_body_bytes: int, timeout: float) -> bytes:
    """Read the whole body within `timeout` seconds, however it trickles.

    Raises:
        RefusedError: it took too long, or is too large, whatever Content-Length said.
        ClientGoneError: the client went away.
    """
    body = bytearray()
    with anyio.move_on_after(timeout):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            body += message.get("body", b"")
            if len(body) > max_body_bytes:
                raise _too_large(max_body_bytes)
            if not message.get("more_body", False):
                return bytes(body)
    raise RefusedError(Answer(408, f"the body did not come within {timeout:g} s"))


async def respond(scope: Scope, send: Send, answer: Answer) -> None:
    """Send an answer; a client that is gone by then is no error."""
    body = json.dumps({"detail": answer.detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *answer.headers,
    ]
    if answer.status in {408, 413} and scope.get("http_version", "1.1").startswith("1"):
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for (RFC 9110, 15.5.9, 15.5.14)
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except Exception as error:  # noqa: BLE001 - whether the answer arrives changes nothing of what was done
        logger.info("the sender of a webhook did not take its answer %d: %s", answer.status, type(error).__name__)


async def handle_lifespan(receive: Receive, send: Send) -> None:
    """Answer the lifespan messages: there is nothing to start, and the server waits for running requests."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def normal_path(path: str) -> str:
    """Return a path with one slash before it and none behind."""
    return "/" + path.strip("/")


def _path_within(scope: Scope) -> str:
    # Within a mount, newer ASGI versions include `root_path` in `path`, older ones do not.
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def _too_large(max_body_bytes: int) -> RefusedError:
    return RefusedError(Answer(413, f"the body is larger than {max_body_bytes} bytes"))


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]
