"""The live limits (contract: "Limits"): from the document's `rate_limits`, whose shape is assumed (A10).

Every number in the document is looked at once, by the words on its path: the names above it, and what its object is
called (`{"name": "burst", "period": "minute", "limit": 60}`). What is not understood is named, never guessed at: a
number that may count something else, and numbers that contradict each other, are not understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .._models import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_QUANTITY = re.compile(r"(?<![\w.,])[0-9]{1,20}(?:[_, ][0-9]{3})*+(?:\.[0-9]{1,9})?(?![0-9.])")
_DEEPEST = 8  # no real document is deeper

_AUDIO = frozenset({"audio", "duration"})
_UPLOAD = frozenset({"uploads", "upload", "submissions"})
_SIZE = frozenset({"upload", "size", "file"})
_SECONDS = frozenset({"seconds", "second", "sec", "s"})
_MINUTE = frozenset({"minute", "minutely"})
_DAY = frozenset({"day", "daily"})
_MONTH = frozenset({"month", "monthly"})
_OTHER_PERIODS = frozenset({"hour", "hourly", "week", "weekly", "year", "yearly"})
_PERIOD = _DAY | _MONTH | _OTHER_PERIODS
# What a number of requests is not: a length, a size, a count of other things.
_NO_REQUESTS = (
    _AUDIO | _UPLOAD | _SECONDS | {"minutes", "min", "hours", "window", "bytes", "mb", "gb", "tasks", "files", "size"}
)


@attrs.frozen
class _Rule:
    """A path that holds one word of each set in `needs`, and none of `never`, is a number for `field` in this unit."""

    field: str
    needs: tuple[frozenset[str], ...]
    never: frozenset[str] = frozenset()
    unit: int = 1


# The first match decides.
_RULES = (
    _Rule("max_concurrent_tasks", (frozenset({"concurrent", "concurrency", "simultaneous", "parallel"}),)),
    _Rule("max_audio_seconds", (_AUDIO, _SECONDS), _PERIOD),
    _Rule("max_audio_seconds", (_AUDIO, frozenset({"minutes", "min"})), _PERIOD, unit=60),
    _Rule("max_audio_seconds", (_AUDIO, frozenset({"hours"})), _PERIOD, unit=3600),
    _Rule("max_upload_bytes", (_SIZE, frozenset({"bytes", "byte"})), _PERIOD),
    _Rule("max_upload_bytes", (_SIZE, frozenset({"mb", "megabytes", "mib"})), _PERIOD, unit=1_000_000),
    _Rule("max_upload_bytes", (_SIZE, frozenset({"gb", "gigabytes", "gib"})), _PERIOD, unit=1_000_000_000),
    _Rule("window_seconds", (frozenset({"window"}), _SECONDS), _PERIOD),
    _Rule("uploads_per_window", (_UPLOAD, _MINUTE | {"burst"}), (_NO_REQUESTS - _UPLOAD) | _OTHER_PERIODS),
    _Rule("requests_per_window", (_MINUTE | {"burst"},), _NO_REQUESTS | _OTHER_PERIODS),
    _Rule("", (_UPLOAD, _DAY)),  # the website's own limit, not the API's
    _Rule("requests_per_day", (_DAY,), _NO_REQUESTS),
    _Rule("requests_per_month", (_MONTH,), _NO_REQUESTS),
)
_FRACTIONAL = frozenset({"max_audio_seconds", "window_seconds"})

_LIMIT_KEYS = (frozenset({"ratelimits", "ratelimit"}), frozenset({"limits"}))  # the first ones are looked for first
# Fields that name what the numbers beside them count.
_NAMING = frozenset(
    {"name", "type", "kind", "id", "key", "title", "label", "scope", "metric", "resource", "limittype", "unit", "units"}
)
_TIMING = frozenset({"period", "per", "window", "interval", "every"})
_PERIODS: dict[float, str] = {60: "minute", 86_400: "day", **dict.fromkeys((2_419_200, 2_592_000, 2_678_400), "month")}
_UNIT_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
}


@attrs.frozen
class _Leaf:
    """A value of the document.

    Attributes:
        path: the names above it.
        words: the same, and among them what the objects on the way are called.
        value: what stands there.
    """

    path: tuple[str, ...]
    words: tuple[str, ...]
    value: object


def read_limits(document: Any) -> Limits:
    """Build `Limits` from the documentation's JSON: from its `rate_limits`, wherever they are, or from all of it.

    Raises:
        ValueError: there are no limits in it.
    """
    raw = next((place for keys in _LIMIT_KEYS if (place := _find(document, keys)) is not None), None)
    stated = raw is not None
    if raw is None and isinstance(document, (dict, list)):
        raw = document
    if raw is None:
        raise ValueError("there is no object `rate_limits`")
    plan: str | None = None
    found: dict[str, dict[_Leaf, float]] = {}
    unknown: list[str] = []
    for leaf in _leaves(raw, (), ()):
        number, rule = _understand(leaf)
        if (leaf.path[-2:] == ("plan", "name") or leaf.path == ("plan",)) and isinstance(leaf.value, str):
            plan = leaf.value
        elif rule is None or number is None:
            unknown.append(".".join(leaf.path))
        elif rule.field:
            found.setdefault(rule.field, {})[leaf] = _in_unit(rule, number)
    if not stated and not found:
        raise ValueError("there is no object `rate_limits`, and no limit elsewhere in the document")
    agreed, disputed = _agreed(found, plan)
    return Limits(plan=plan, **agreed, not_understood=(*unknown, *disputed) if stated else (*disputed,), raw=raw)


def _find(document: Any, keys: frozenset[str]) -> dict[str, Any] | list[Any] | None:
    """Return the object or array under one of `keys`, however it is spelled; the one nearest to the top."""
    level = [document]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            for name, item in items:
                if re.sub(r"[^a-z]", "", str(name).lower()) in keys and isinstance(item, (dict, list)):
                    return item
                below.append(item)
        level = below
    return None


def _agreed(found: dict[str, dict[_Leaf, float]], plan: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return the limits on which all places agree, and the places that do not."""
    agreed: dict[str, Any] = {}
    disputed: list[str] = []
    for field, values in found.items():
        # Where each plan has its own, the account's plan names the right one.
        candidates = {number for leaf, number in values.items() if plan in leaf.words} or set(values.values())
        if len(candidates) == 1:
            agreed[field] = candidates.pop()
        else:
            disputed.extend(".".join(leaf.path) for leaf in values)
    return agreed, disputed


def _understand(leaf: _Leaf) -> tuple[float | None, _Rule | None]:
    """Return the number of a leaf and the rule for it; of a text like "60 per minute" its words count as well."""
    value, words = leaf.value, leaf.words
    if isinstance(value, str):
        quantities = _QUANTITY.findall(value)
        if len(quantities) != 1:
            return None, None
        words = (*words[:-1], f"{words[-1]} {_QUANTITY.sub(' ', value)}")
        value = float(re.sub(r"[_, ]", "", quantities[0]))
    if type(value) not in {int, float} or not 1 <= value < float(2**53):  # type: ignore[operator]
        return None, None
    return value, _rule_for(words)  # type: ignore[return-value]


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


def _in_unit(rule: _Rule, value: float) -> float:
    number = value * rule.unit
    return float(number) if rule.field in _FRACTIONAL else int(number)


def _leaves(value: object, path: tuple[str, ...], words: tuple[str, ...]) -> Iterator[_Leaf]:
    if isinstance(value, dict) and len(path) < _DEEPEST:
        naming = {name: text for name in value if (text := _naming(str(name), value[name], path))}
        above = (*words, *naming.values())
        for name, item in value.items():
            if name not in naming:
                yield from _leaves(item, (*path, str(name)), (*above, str(name)))
    elif isinstance(value, list) and len(path) < _DEEPEST:
        for position, item in enumerate(value):
            yield from _leaves(item, (*path, str(position)), (*words, ""))
    elif path and value is not None:
        yield _Leaf(path, words, value)


def _naming(name: str, value: object, path: tuple[str, ...]) -> str | None:
    """Return what a field says about the numbers beside it, e.g. "burst" or "minute"; None if it is no such field."""
    words = [word.lower() for word in _WORD.findall(name)]
    if "".join(words) in _NAMING and isinstance(value, str) and path[-1:] != ("plan",):
        return value
    if not words or words[0] not in _TIMING or (words[0] == "per" and len(words) > 1):
        return None  # `per_minute` is a number of requests, `per` is a length of time
    unit = next((word for word in words if word in _UNIT_SECONDS), None)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})?\s*([a-zA-Z]*)\s*", value)
        if match is None:
            return None
        if match[1] is None:
            return value
        value, unit = int(match[1]), match[2].lower() or unit
    if type(value) not in {int, float}:
        return None
    return _PERIODS.get(value * _UNIT_SECONDS.get(unit or "s", 1))  # type: ignore[operator]
