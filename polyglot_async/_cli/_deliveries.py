"""One delivery of a webhook, and how it is shown: as it comes on a terminal, elsewhere as one line or JSON document."""

from __future__ import annotations

import json
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from .._cli import _screen
from ._failures import scrubbed
from ._values import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._models import WebhookEvent

CURRENT: ContextVar[Delivery] = ContextVar("CURRENT")
"""The delivery that the running handler deals with."""
_SHOWN_ID = 8
_SHOWN_PREVIEW = 70
_INDENT = " " * 9
_NAMES = ("event", "task_id", "status")
_TAKEN = range(200, 300)


@attrs.define(eq=False)
class Delivery:
    """One request, and all that came of it.

    Attributes:
        request: method and path.
        headers: as they came.
        body: what was read of it.
        event: the event, once it is verified.
        is_new: whether it was handed on, and not handled before.
        forwarded: the status that the other server answered, or why there is none.
        exec_code: the command's exit code.
        problem: why it could not be handed on.
        status: what was answered.
        answer: the body of the answer.
        hints: what would have made the signature fit.
    """

    request: str
    headers: Sequence[tuple[bytes, bytes]]
    at: datetime = attrs.field(factory=lambda: datetime.now().astimezone())
    body: bytearray = attrs.field(factory=bytearray)
    event: WebhookEvent | None = None
    is_new: bool = False
    forwarded: int | None = None
    exec_code: int | None = None
    problem: str | None = None
    status: int | None = None
    answer: bytearray = attrs.field(factory=bytearray)
    hints: Sequence[str] = ()

    @property
    def detail(self) -> str:
        """The answer in words."""
        try:
            return str(json.loads(bytes(self.answer))["detail"])
        except (ValueError, LookupError, TypeError):
            return "broken off"

    def claims(self) -> dict[str, Any]:
        """Give what the body says, proven or not; nothing if it is no JSON object."""
        try:
            found = json.loads(bytes(self.body))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class Display:
    """Shows deliveries. When nobody reads any more, `ended` is set and `error` says why."""

    def __init__(self, *, as_json: bool, verifies: bool) -> None:
        self.count = 0
        self.ended = anyio.Event()
        self.error: Exception | None = None
        self._json, self._verifies = as_json, verifies
        self._live = not as_json and _screen.is_terminal_out()

    def came(self, delivery: Delivery) -> None:
        """Show a verified event at once; what becomes of it may take a while."""
        if self._live and delivery.event is not None:
            self._lines(*_headlines(delivery, as_json(delivery.event)))

    def handed_on(self, delivery: Delivery, words: str) -> None:
        """Show that it was forwarded, or a command was run."""
        if self._live and delivery.event is not None:
            self._lines(f"{_clock(delivery)} {delivery.event.task_id[:_SHOWN_ID]} {words}")

    def settled(self, delivery: Delivery) -> None:
        """Show how it ended."""
        self.count += 1
        if self._json:
            self._write(_screen.document, self._record(delivery))
        elif not self._live:
            self._write(_screen.table, (), [self._row(delivery)])
        elif delivery.event is None:
            self._lines(*self._unproven(delivery))
        elif not delivery.is_new or delivery.status not in _TAKEN:
            again = "" if delivery.status in _TAKEN else "; it will be sent again"
            self.handed_on(delivery, f"{delivery.detail}: answered {delivery.status}{again}")

    def _unproven(self, delivery: Delivery) -> Iterator[str]:
        claims = delivery.claims()
        if not self._verifies and delivery.status in _TAKEN:
            yield from _headlines(delivery, claims, note=" (UNVERIFIED)")
            return
        verdict = "NOT VERIFIED" if claims else f"refused {delivery.request}"
        yield f"{_clock(delivery)} {verdict}: {delivery.detail}; {_answered(delivery)}"
        if claims:
            yield f"  claims {_words(claims)}"
        for hint in delivery.hints:
            yield f"{_INDENT}hint: {hint}"

    def _row(self, delivery: Delivery) -> tuple[str, ...]:
        proven = delivery.event is not None
        facts = as_json(delivery.event) if delivery.event is not None else delivery.claims()
        said = _said(facts) if proven and delivery.status in _TAKEN else delivery.problem or delivery.detail
        verdict = "verified" if proven else "unverified"
        return _clock(delivery), verdict, *(_word(facts, name) for name in _NAMES), str(delivery.status or ""), said

    def _record(self, delivery: Delivery) -> dict[str, Any]:
        proven = delivery.event is not None
        return {
            "time": delivery.at.isoformat(timespec="milliseconds"),
            "request": delivery.request,
            "verified": proven,
            "event": as_json(delivery.event) if delivery.event is not None else None,
            "claims": None if proven else delivery.claims() or None,
            "handled_before": proven and not delivery.is_new,
            "forwarded": delivery.forwarded,
            "exec_code": delivery.exec_code,
            "error": delivery.problem or (None if delivery.status in _TAKEN else delivery.detail),
            "hints": list(delivery.hints),
            "answered": delivery.status,
        }

    def _lines(self, *lines: str) -> None:
        for text in lines:
            indentation = text[: len(text) - len(text.lstrip())]
            self._write(_screen.line, indentation + scrubbed(text))

    def _write(self, write: Callable[..., None], *what: Any) -> None:
        if self.ended.is_set():
            return
        try:
            write(*what)
        except (_screen.OutputClosedError, OSError) as error:
            self.error = error
            self.ended.set()


def _headlines(delivery: Delivery, facts: Mapping[str, Any], note: str = "") -> Iterator[str]:
    yield f"{_clock(delivery)} {_words(facts)}{note}"
    said = _said(facts)
    if said:
        yield _INDENT + (said if len(said) <= _SHOWN_PREVIEW else f"{said[: _SHOWN_PREVIEW - 1]}…")


def _words(facts: Mapping[str, Any]) -> str:
    return " ".join(word for word in (_word(facts, name) for name in _NAMES) if word) or "nothing that is known"


def _word(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""


def _said(facts: Mapping[str, Any]) -> str:
    return _word(facts, "failure_reason") or _word(facts, "transcript_preview")


def _answered(delivery: Delivery) -> str:
    return f"answered {delivery.status}" if delivery.status is not None else "the sender has gone"


def _clock(delivery: Delivery) -> str:
    return delivery.at.strftime("%H:%M:%S")
