"""Faults: what goes wrong, with which requests, how often.

As text, for `--fault` and wherever a string is handier: the kind, then `name=value` pairs, for example
`status call=upload status=503 times=2 retry_after=1` or `reset_during_body call=upload at_bytes=65536`. An option that
takes several values (`header`, `set`, `drop`, `where`) may be repeated.
"""

from __future__ import annotations

import json
import math
import shlex
import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ._kinds import CALLS, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OF_EVERY_KIND = frozenset({"kind", "call", "credential", "within", "times", "after"})
_CHOICES = {
    "credential": (None, "key", "token", "none"),
    "when": ("before", "after", "early"),
    "body": ("json", "html", "empty"),
    "then": ("keep_reading", "close", "reset", "stop_reading"),
}
_INTEGERS = frozenset({"times", "after", "status", "at_bytes"})
_NUMBERS = frozenset({"within", "seconds", "retry_after", "bytes_per_second"})
_LISTS = frozenset({"header", "set", "drop", "where"})
_FOREVER = frozenset({"forever", "none", "always"})
_LOWEST_STATUS, _HIGHEST_STATUS = 200, 599
_MAX_OFFSET_HOURS = 24


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: one of KINDS.
        call: the calls that it hits, by their names in the ledger, joined by commas; None for any call of the API.
        credential: "key", "token" or "none" hits only requests with such a credential, or without one.
        within: hits only requests for a task that was started less than so many seconds ago (for its result and
            downloads: that ended less than so many seconds ago).
        times: how many requests it hits; None for all.
        after: how many matching requests it lets through first.
        seconds: for latency, lag and stall.
        status: for status, 200 to 599.
        when: for status: "before" the request is processed, "after" it, or "early", before its body was read.
        then: what follows an early answer: "keep_reading" reads and drops the rest of the body, "close" and "reset"
            end the connection, "stop_reading" leaves it open and reads no more.
        retry_after: seconds, for status.
        body: for status: "json" (`{"detail": ...}`), "html" (a page with a title) or "empty".
        detail: the text of that body.
        json: the whole body of a status answer, as JSON text.
        header: further headers of a status answer, "Name: value".
        at_bytes: where in a body it strikes.
        bytes_per_second: for slow.
        set: for rewrite: fields to set, "field:json".
        drop: for rewrite: fields to remove.
        where: for rewrite: "field:json" that must hold in the object to be changed.
        utc_offset: for rewrite: hours east of UTC; times are then sent as naive local ones.
    """

    kind: str
    call: str | None = None
    credential: str | None = None
    within: float | None = None
    times: int | None = 1
    after: int = 0
    seconds: float | None = None
    status: int = 500
    when: str = "before"
    then: str = "keep_reading"
    retry_after: float | None = None
    body: str = "json"
    detail: str | None = None
    json: str | None = None
    header: tuple[str, ...] = ()
    at_bytes: int | None = None
    bytes_per_second: float | None = None
    set: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    utc_offset: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}, known are {', '.join(KINDS)}")
        for name in _LISTS:
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        self._check_options()
        self._check_values()

    def _check_options(self) -> None:
        kind = KINDS[self.kind]
        given = {field.name for field in fields(self) if getattr(self, field.name) != field.default}
        if foreign := given - kind.options - _OF_EVERY_KIND:
            raise ValueError(f"{self.kind} takes no {', '.join(sorted(foreign))}")
        if kind.required is not None and getattr(self, kind.required) is None:
            raise ValueError(f"{self.kind} needs {kind.required}")
        if unknown := [call for call in self.calls or () if call not in CALLS]:
            raise ValueError(f"unknown call {unknown[0]!r}, known are {', '.join(CALLS)}")

    def _check_values(self) -> None:
        for name in (*_INTEGERS, *_NUMBERS):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number from 0, not {value}")
        if self.bytes_per_second == 0:
            raise ValueError("bytes_per_second is more than 0")
        if not _LOWEST_STATUS <= self.status <= _HIGHEST_STATUS:
            raise ValueError(f"status is {_LOWEST_STATUS} to {_HIGHEST_STATUS}, not {self.status}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(filter(None, choices))}, not {getattr(self, name)!r}")
        if self.utc_offset is not None and not abs(self.utc_offset) < _MAX_OFFSET_HOURS:
            raise ValueError("utc_offset is less than 24 hours")
        self._check_texts()

    def _check_texts(self) -> None:
        if self.json is not None:
            _parse_json("json", self.json)
        for text in self.header:
            if not text.partition(":")[1] or not text.isascii() or not text.isprintable():
                raise ValueError(f"header is 'Name: value', not {text!r}")
        _ = self.assignments, self.conditions

    @property
    def modifier(self) -> bool:
        """Whether it goes together with any other fault."""
        return KINDS[self.kind].modifier

    @property
    def calls(self) -> frozenset[str] | None:
        """The calls that it hits; None for any."""
        return None if self.call is None else frozenset(self.call.split(","))

    @property
    def assignments(self) -> list[tuple[str, Any]]:
        """The fields to set, and their values."""
        return [_field_and_value("set", text) for text in self.set]

    @property
    def conditions(self) -> list[tuple[str, Any]]:
        """The fields that must have these values."""
        return [_field_and_value("where", text) for text in self.where]

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Parse the text form; ValueError says what is wrong with it."""
        kind, *pairs = shlex.split(text) or [""]
        values: dict[str, Any] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"{pair!r} is not name=value")
            values[name] = [*values.get(name, []), value] if name in _LISTS else value
        return cls.from_mapping({"kind": kind, **values})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Fault:
        """Make a fault of names and values, which may be text; ValueError for an unknown name or a bad value."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
        return cls(**{name: _convert(name, value) for name, value in values.items()})


def _convert(name: str, value: object) -> Any:
    if value is None or (name == "times" and str(value).lower() in _FOREVER):
        return None
    if name in _LISTS:
        return value
    try:
        if name in _INTEGERS:
            return int(str(value))
        if name in _NUMBERS or name == "utc_offset":
            return float(str(value))
    except ValueError:
        raise ValueError(f"{name} is a number, not {value!r}") from None
    return str(value)


def _listed(name: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else None
    if values is None or not all(isinstance(item, str) for item in values):
        raise ValueError(f"{name} is text or a list of texts, not {value!r}")
    return tuple(part for item in values for part in item.split(",")) if name == "drop" else tuple(values)


def _field_and_value(name: str, text: str) -> tuple[str, Any]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"{name} is field:json, not {text!r}")
    return path, _parse_json(name, value)


def _parse_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name}: {text!r} is not JSON (a text needs its double quotes)") from None


class Faults:
    """The faults that wait for their requests; any thread may add to them."""

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._lock = threading.Lock()
        self._pending: list[_Pending] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault | str) -> Fault:
        """Add a fault, given as such or in its text form."""
        fault = Fault.parse(fault) if isinstance(fault, str) else fault
        with self._lock:
            self._pending.append(_Pending(fault))
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that can still hit."""
        with self._lock:
            return [pending.fault for pending in self._pending]

    def take(self, call: str, *, credential: str = "none", age: float | None = None) -> list[Fault]:
        """Return the faults that hit a request: every matching modifier, and the first matching one of the others.

        `age` is in seconds, of the task that is asked for; None if there is none.
        """
        hits: list[Fault] = []
        with self._lock:
            for pending in list(self._pending):
                if not pending.fault.modifier and not all(hit.modifier for hit in hits):
                    continue  # a later fault waits for the next request
                if pending.hits(call, credential, age):
                    hits.append(pending.fault)
                if pending.left == 0:
                    self._pending.remove(pending)
        return hits


class _Pending:
    """A fault, and how many requests it still lets through and still hits."""

    def __init__(self, fault: Fault) -> None:
        self.fault, self.calls, self.skip, self.left = fault, fault.calls, fault.after, fault.times

    def hits(self, call: str, credential: str, age: float | None) -> bool:
        fault = self.fault
        matches = (
            self.left != 0
            and (self.calls is None or call in self.calls)
            and fault.credential in {None, credential}
            and (fault.within is None or (age is not None and age < fault.within))
        )
        if not matches:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True
