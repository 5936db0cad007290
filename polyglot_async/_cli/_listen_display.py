"""The requests that `polyglot listen` receives, and how each is shown: as it arrives, as a line, or as JSON."""

from __future__ import annotations

import json
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from ._formatting import scrub, to_json
from ._output import OutputClosedError, print_json, print_line, print_table, stdout_is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._models import WebhookEvent

_ID_WIDTH = 8
_PREVIEW_WIDTH = 70
_INDENT = " " * 9
_NAMES = ("event", "task_id", "status")
_SUCCESS = range(200, 300)


@attrs.define(eq=False)
class ReceivedRequest:
    """One request and what became of it.

    Attributes:
        line: method and path.
        headers: as received.
        received_at: an aware datetime.
        body: what was read of it.
        event: the event, once it is verified.
        is_new: whether the event was not handled before.
        forward_status: the status that the other server answered with, or None.
        exit_code: of the command, or None.
        problem: why forwarding or the command failed.
        status: of the answer.
        answer: the answer's body.
        hints: what would have made the signature match.
    """

    line: str
    headers: Sequence[tuple[bytes, bytes]]
    received_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    body: bytearray = attrs.field(factory=bytearray)
    event: WebhookEvent | None = None
    is_new: bool = False
    forward_status: int | None = None
    exit_code: int | None = None
    problem: str | None = None
    status: int | None = None
    answer: bytearray = attrs.field(factory=bytearray)
    hints: Sequence[str] = ()

    @property
    def succeeded(self) -> bool:
        """Whether it was answered with 2xx."""
        return self.status in _SUCCESS

    @property
    def detail(self) -> str:
        """The answer in words."""
        try:
            return str(json.loads(bytes(self.answer))["detail"])
        except (ValueError, LookupError, TypeError):
            return "the connection was closed"

    def unverified_body(self) -> dict[str, Any]:
        """Parse the body, whoever it is from; empty if it is not a JSON object."""
        try:
            found = json.loads(bytes(self.body))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def clock(self) -> str:
        """The local time of day when it was received."""
        return self.received_at.astimezone().strftime("%H:%M:%S")


CURRENT_REQUEST: ContextVar[ReceivedRequest] = ContextVar("CURRENT_REQUEST")
"""The request that the running handler deals with."""


class RequestDisplay:
    """Shows requests. When stdout cannot be written to any more, `ended` is set and `error` says why."""

    def __init__(self, *, as_json: bool, verify: bool) -> None:
        self.count = 0
        self.ended = anyio.Event()
        self.error: Exception | None = None
        self._json, self._verify = as_json, verify
        self._live = not as_json and stdout_is_terminal()

    def on_event(self, request: ReceivedRequest) -> None:
        """Show a verified event at once, on a terminal: forwarding it may take a while."""
        if self._live and request.event is not None:
            self._print_lines(*_event_lines(request, to_json(request.event)))

    def on_step(self, request: ReceivedRequest, text: str) -> None:
        """Show that an event was forwarded, or a command was run, on a terminal."""
        if self._live and request.event is not None:
            self._print_lines(f"{request.clock} {request.event.task_id[:_ID_WIDTH]} {text}")

    def on_end(self, request: ReceivedRequest) -> None:
        """Show how a request was answered."""
        self.count += 1
        if self._json:
            self._write(print_json, _to_json(request))
        elif not self._live:
            self._write(print_table, (), [_row(request)])
        elif request.event is None:
            self._print_lines(*self._unverified_lines(request))
        elif not request.is_new or not request.succeeded:
            again = "" if request.succeeded else "; it will be sent again"
            self.on_step(request, f"{request.detail}: answered {request.status}{again}")

    def _unverified_lines(self, request: ReceivedRequest) -> Iterator[str]:
        body = request.unverified_body()
        if not self._verify and request.succeeded:
            yield from _event_lines(request, body, note=" (UNVERIFIED)")
            return
        verdict = "NOT VERIFIED" if body else f"refused {request.line}"
        answered = f"answered {request.status}" if request.status is not None else "the sender closed the connection"
        yield f"{request.clock} {verdict}: {request.detail}; {answered}"
        if body:
            yield f"  body: {_names(body)}"
        for hint in request.hints:
            yield f"{_INDENT}hint: {hint}"

    def _print_lines(self, *lines: str) -> None:
        for text in lines:
            indentation = text[: len(text) - len(text.lstrip())]
            self._write(print_line, indentation + scrub(text))

    def _write(self, function: Callable[..., None], *arguments: Any) -> None:
        if self.ended.is_set():
            return
        try:
            function(*arguments)
        except (OutputClosedError, OSError) as error:
            self.error = error
            self.ended.set()


def _event_lines(request: ReceivedRequest, fields: Mapping[str, Any], note: str = "") -> Iterator[str]:
    yield f"{request.clock} {_names(fields)}{note}"
    text = _reason_or_preview(fields)
    if text:
        yield _INDENT + (text if len(text) <= _PREVIEW_WIDTH else f"{text[: _PREVIEW_WIDTH - 1]}…")


def _row(request: ReceivedRequest) -> tuple[str, ...]:
    event = request.event
    fields = to_json(event) if event is not None else request.unverified_body()
    succeeded = event is not None and request.succeeded
    text = _reason_or_preview(fields) if succeeded else request.problem or request.detail
    verdict = "verified" if event is not None else "unverified"
    return request.clock, verdict, *(_word(fields, name) for name in _NAMES), str(request.status or ""), text


def _to_json(request: ReceivedRequest) -> dict[str, Any]:
    event = request.event
    return {
        "time": request.received_at.astimezone().isoformat(timespec="milliseconds"),
        "request": request.line,
        "verified": event is not None,
        "event": to_json(event) if event is not None else None,
        "unverified_body": None if event is not None else request.unverified_body() or None,
        "handled_before": event is not None and not request.is_new,
        "forward_status": request.forward_status,
        "exit_code": request.exit_code,
        "error": request.problem or (None if request.succeeded else request.detail),
        "hints": list(request.hints),
        "status": request.status,
    }


def _names(fields: Mapping[str, Any]) -> str:
    return " ".join(word for word in (_word(fields, name) for name in _NAMES) if word) or "no known fields"


def _word(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _reason_or_preview(fields: Mapping[str, Any]) -> str:
    return _word(fields, "failure_reason") or _word(fields, "transcript_preview")
