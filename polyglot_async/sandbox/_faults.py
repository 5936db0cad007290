"""Faults on request: what shall go wrong, with which call, how often.

As text, for `--fault` and wherever a string is handier: the kind, then `name=value` pairs, for example
`status call=upload status=503 times=2 retry_after=1` or `reset_during_body call=upload at_bytes=65536`.
"""

from __future__ import annotations

import shlex
import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CALLS = (
    "upload",
    "from_url",
    "validate_url",
    "list",
    "get",
    "result",
    "download",
    "source",
    "convert_audio",
    "documentation",
    "other",
)
KINDS = {
    "latency": "waits `seconds` before anything else",
    "status": "answers `status` (with `retry_after` seconds, if given) and processes nothing",
    "reset_before_body": "resets the connection as soon as the head arrives",
    "reset_during_body": "resets it after `at_bytes` of the request's body (default 65536)",
    "reset_after_body": "processes the request (a task IS started), then resets instead of answering",
    "reset_response": "resets after `at_bytes` of the answer's body (default: half of it)",
    "truncate": "likewise, but closes cleanly: Content-Length promised more",
    "wrong_length": "sends the whole answer under a Content-Length of `at_bytes` (default: 7 too few)",
    "garbage": "processes the request, then answers 200 with a body that is no JSON",
    "stall": "stops after `at_bytes` of the answer (default 0) for `seconds` (default: until the client leaves)",
    "slow": "answers at `bytes_per_second`",
}
MODIFIERS = frozenset({"latency", "slow"})
"""Kinds that go together with any other."""
_FOREVER = {"forever", "none", "always"}
_HIGHEST_STATUS = 599


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: one of KINDS.
        call: the call that it hits (the names of the ledger); None for any call of the API.
        times: how many requests it hits; None for all.
        after: how many matching requests it lets through first.
        seconds: for latency and stall.
        status: for status.
        retry_after: seconds, for status.
        at_bytes: where in a body it strikes.
        bytes_per_second: for slow.
        detail: the text of a status answer.
    """

    kind: str
    call: str | None = None
    times: int | None = 1
    after: int = 0
    seconds: float | None = None
    status: int = 500
    retry_after: float | None = None
    at_bytes: int | None = None
    bytes_per_second: float | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}, known are {', '.join(KINDS)}")
        if self.call is not None and self.call not in CALLS:
            raise ValueError(f"unknown call {self.call!r}, known are {', '.join(CALLS)}")
        if not 200 <= self.status <= _HIGHEST_STATUS:  # noqa: PLR2004
            raise ValueError(f"status is 200 to 599, not {self.status}")
        if self.kind == "latency" and self.seconds is None:
            raise ValueError("latency needs seconds")
        if self.kind == "slow" and not self.bytes_per_second:
            raise ValueError("slow needs bytes_per_second")
        for name in ("times", "after", "seconds", "retry_after", "at_bytes", "bytes_per_second"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is not negative")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read the text form; ValueError says what is wrong with it."""
        kind, *pairs = shlex.split(text) or [""]
        values: dict[str, str] = {}
        for pair in pairs:
            name, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"{pair!r} is not name=value")
            values[name] = value
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
    try:
        if name in {"times", "after", "status", "at_bytes"}:
            return int(str(value))
        if name in {"seconds", "retry_after", "bytes_per_second"}:
            return float(str(value))
    except ValueError:
        raise ValueError(f"{name} is a number, not {value!r}") from None
    return str(value)


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
            self._pending.append(_Pending(fault, fault.after, fault.times))
        return fault

    def clear(self) -> None:
        """Let everything go right again."""
        with self._lock:
            self._pending.clear()

    def pending(self) -> list[Fault]:
        """The faults that can still hit."""
        with self._lock:
            return [pending.fault for pending in self._pending]

    def take(self, call: str) -> list[Fault]:
        """The faults that hit a request: every matching modifier, and the first matching one of the other kinds."""
        hits: list[Fault] = []
        with self._lock:
            for pending in list(self._pending):
                modifier = pending.fault.kind in MODIFIERS
                if not modifier and any(hit.kind not in MODIFIERS for hit in hits):
                    continue  # a later fault waits for the next request
                if pending.hits(call):
                    hits.append(pending.fault)
                if pending.left == 0:
                    self._pending.remove(pending)
        return hits


class _Pending:
    def __init__(self, fault: Fault, skip: int, left: int | None) -> None:
        self.fault, self.skip, self.left = fault, skip, left

    def hits(self, call: str) -> bool:
        if self.left == 0 or self.fault.call not in {None, call}:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True
