"""The live limits (contract: "Limits"): from the document's `rate_limits`, whose shape is assumed (A10).

Every number in the document is looked at once, by the words on its path. What is not understood is named, never
guessed at: a number that may count something else, and numbers that contradict each other, are not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from .._models import Limits

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_AUDIO = frozenset({"audio", "duration"})
_UPLOAD = frozenset({"uploads", "upload", "submissions"})
_SIZE = frozenset({"upload", "size", "file"})
_SECONDS = frozenset({"seconds", "second", "sec"})
_DAY = frozenset({"day", "daily"})
_MONTH = frozenset({"month", "monthly"})
_PERIOD = _DAY | _MONTH | {"hour", "hourly", "week", "weekly", "year", "yearly"}
# What a number of requests is not: a length, a size, a count of other things.
_NO_REQUESTS = (
    _AUDIO | _UPLOAD | _SECONDS | {"minutes", "min", "hours", "window", "bytes", "mb", "gb", "tasks", "files", "size"}
)


@attrs.frozen
class _Rule:
    """A path that holds one word of each set in `needs`, and none of `never`, gives `field` its number x `unit`."""

    field: str
    needs: tuple[frozenset[str], ...]
    never: frozenset[str] = frozenset()
    unit: int = 1


# The first match decides.
_RULES = (
    _Rule("max_concurrent_tasks", (frozenset({"concurrent", "concurrency", "simultaneous", "parallel"}),)),
    _Rule("max_audio_seconds", (_AUDIO, _SECONDS), _PERIOD),
    _Rule("max_audio_seconds", (_AUDIO, frozenset({"minutes", "min"})), _PERIOD, unit=60),
    _Rule("max_upload_bytes", (_SIZE, frozenset({"bytes", "byte"})), _PERIOD),
    _Rule("max_upload_bytes", (_SIZE, frozenset({"mb", "megabytes", "mib"})), _PERIOD, unit=1_000_000),
    _Rule("window_seconds", (frozenset({"window"}), _SECONDS)),
    _Rule("uploads_per_window", (_UPLOAD, frozenset({"minute", "burst"})), _NO_REQUESTS - _UPLOAD),
    _Rule("requests_per_window", (frozenset({"minute", "burst"}),), _NO_REQUESTS),
    _Rule("", (_UPLOAD, _DAY)),  # the website's own limit, not the API's
    _Rule("requests_per_day", (_DAY,), _NO_REQUESTS),
    _Rule("requests_per_month", (_MONTH,), _NO_REQUESTS),
)
_FRACTIONAL = frozenset({"max_audio_seconds", "window_seconds"})


def read_limits(document: Any) -> Limits:
    """Read `Limits` out of the documentation's JSON.

    Raises:
        ValueError: it is no object, or has no object `rate_limits`.
    """
    if not isinstance(document, dict) or not isinstance(document.get("rate_limits"), dict):
        raise ValueError("there is no object `rate_limits`")
    raw = document["rate_limits"]
    plan: str | None = None
    found: dict[str, dict[tuple[str, ...], float]] = {}
    unknown: list[str] = []
    for path, value in _leaves(raw, ()):
        rule = _rule_for(path)
        if (path[-2:] == ("plan", "name") or path == ("plan",)) and isinstance(value, str):
            plan = value
        elif rule is None or not _is_number(value):
            unknown.append(".".join(path))
        elif rule.field:
            found.setdefault(rule.field, {})[path] = _in_unit(rule, value)
    agreed: dict[str, Any] = {}
    for field, values in found.items():
        # Where each plan has its own, the account's plan tells which.
        candidates = {number for path, number in values.items() if plan in path} or set(values.values())
        if len(candidates) == 1:
            agreed[field] = candidates.pop()
        else:
            unknown.extend(map(".".join, values))
    return Limits(plan=plan, **agreed, not_understood=tuple(unknown), raw=raw)


def _rule_for(path: tuple[str, ...]) -> _Rule | None:
    """Match the last name by itself first: what stands above it is only a hint, but it may rule out a match."""
    everything = _words(path)
    for depth in range(1, len(path) + 1):
        words = _words(path[-depth:])
        for rule in _RULES:
            if all(words & any_of for any_of in rule.needs) and not everything & rule.never:
                return rule
    return None


def _words(path: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(" ".join(path)))


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and 1 <= value < float(2**53)  # type: ignore[operator]


def _in_unit(rule: _Rule, value: Any) -> float:
    number = value * rule.unit
    return float(number) if rule.field in _FRACTIONAL else int(number)


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping) and len(path) < 8:  # noqa: PLR2004 - deeper than any real document
        for name, item in value.items():
            yield from _leaves(item, (*path, str(name)))
    elif path and value is not None:
        yield path, value
