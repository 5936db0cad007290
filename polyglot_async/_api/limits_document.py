"""The live limits (contract: "Limits"): from the document's `rate_limits`, whose shape is assumed (A10).

Every number in the document is looked at once, by the words on its path: the names above it, and what its object is
called (`{"name": "burst", "period": "minute", "limit": 60}`). What is not understood is named, never guessed at: a
number that may count something else, and numbers that contradict each other, are not understood. So it is with a text
such as "2 GB" or "60 per minute" whose number is followed by a word that is neither a unit nor known to be none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from .._models import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WORD = re.compile(r"[KMGT]iB(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# One number, with nothing of another before or after it. Of "5.000" nobody knows whether it is five or five thousand.
_TEXT = re.compile(
    r"(?P<before>(?:\D*[\s:=(])?)(?P<number>[0-9]{1,20}(?:[_, ][0-9]{3})*+(?:\.[0-9]{1,2})?)(?P<after>[^\d%]*)"
)
_NEXT_WORD = re.compile(r"[\s-]*([^\W\d_]+)")
_DEEPEST = 8  # no real document is deeper

_AUDIO = frozenset({"audio", "duration"})
_UPLOAD = frozenset({"uploads", "upload", "submissions"})
_SIZE = frozenset({"upload", "size", "file"})
_WINDOW = frozenset({"window"})
_SECONDS = frozenset({"seconds", "second", "sec", "s"})
_MINUTE = frozenset({"minute", "minutely"})
_DAY = frozenset({"day", "daily"})
_MONTH = frozenset({"month", "monthly"})
_OTHER_PERIODS = frozenset({"hour", "hourly", "week", "weekly", "year", "yearly"})
_PERIOD = _DAY | _MONTH | _OTHER_PERIODS
_RATES = (_MINUTE, _DAY, _MONTH, _OTHER_PERIODS)
# A unit in the text of a value, and what is one of: bytes, or seconds of a length.
_SIZES = {"b": 1, "byte": 1, "bytes": 1}
for _power, (_prefix, _name) in enumerate(zip("kmgt", ("kilo", "mega", "giga", "tera"), strict=True), 1):
    _SIZES |= {f"{_prefix}b": 1000**_power, f"{_prefix}ib": 1024**_power}
    _SIZES |= dict.fromkeys((f"{_name}byte", f"{_name}bytes"), 1000**_power)
_LENGTHS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
}
_UNIT_SECONDS = {**_LENGTHS, **dict.fromkeys(("d", "day", "days"), 86_400)}
_UNITS = _SIZES.keys() | _UNIT_SECONDS.keys()
# The units that a name may hold: one letter, and "minute", may be anything else there.
_NAMED_UNITS = (_SIZES.keys() - {"b"}) | _SECONDS | {"minutes", "min", "hours"}
# What a number of requests is not: a length, a size, a count of other things.
_NO_REQUESTS = _AUDIO | _UPLOAD | _WINDOW | _NAMED_UNITS | {"tasks", "files", "size"}
# What may follow a number that is one of no unit.
_COUNTED = frozenset(
    {"request", "requests", "call", "calls", "upload", "uploads", "submission", "submissions", "task", "tasks",
     "concurrent", "simultaneous", "parallel", "daily", "monthly", "per", "a", "an", "each", "every", "at", "in"}
)  # fmt: skip


@attrs.frozen
class _Rule:
    """A path that holds one word of each set in `needs`, and none of `never`, is a number for `field`.

    Where there are `units`, one of them has to be named: in the value's own text, or else in the path.
    """

    field: str
    needs: tuple[frozenset[str], ...]
    never: frozenset[str] = frozenset()
    units: Mapping[str, int] = attrs.field(factory=dict)

    def factor(self, words: frozenset[str], unit: str | None) -> int | None:
        """Return what a number under these words is multiplied by; None if that is not known."""
        if not self.units:
            return None if unit in _UNITS else 1
        if unit is not None and unit != "per":
            return self.units.get(unit)
        named = {self.units[word] for word in words & _NAMED_UNITS & self.units.keys()}
        return named.pop() if len(named) == 1 else None


# The first match decides.
_RULES = (
    _Rule("max_concurrent_tasks", (frozenset({"concurrent", "concurrency", "simultaneous", "parallel"}),)),
    _Rule("max_audio_seconds", (_AUDIO,), _PERIOD, _LENGTHS),
    _Rule("max_upload_bytes", (_SIZE,), _PERIOD, _SIZES),
    _Rule("window_seconds", (_WINDOW,), _PERIOD, _LENGTHS),
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
        understood = _understand(leaf)
        if (leaf.path[-2:] == ("plan", "name") or leaf.path == ("plan",)) and isinstance(leaf.value, str):
            plan = leaf.value
        elif understood is None:
            unknown.append(".".join(leaf.path))
        elif understood[0]:
            found.setdefault(understood[0], {})[leaf] = understood[1]
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


def _understand(leaf: _Leaf) -> tuple[str, float] | None:
    """Return the field that a leaf is for, and its number in the field's unit; None if it is not understood."""
    value, words, unit = leaf.value, leaf.words, None
    if isinstance(value, str):
        text = _read_text(value)
        if text is None:
            return None
        value, unit, said = text
        last = _words((words[-1], said))
        if unit not in _UNITS and sum(not last.isdisjoint(rate) for rate in _RATES) > 1:
            return None  # "60 per day" of something that is called per minute
        words = (*words[:-1], f"{words[-1]} {said}")
    if type(value) not in {int, float} or not 1 <= value < float(2**53):  # type: ignore[operator]
        return None
    rule, factor = _rule_for(words, unit)
    if rule is None:
        return None
    number = value * factor  # type: ignore[operator]
    return rule.field, float(number) if rule.field in _FRACTIONAL else int(number)


def _read_text(text: str) -> tuple[float, str | None, str] | None:
    """Return the number of a text, the word that follows it, and what else is said; None where that word is not known.

    A unit is not among what else is said, where it would be taken for a rate: "60 minutes".
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    number, before, after = float(re.sub(r"[_, ]", "", match["number"])), match["before"], match["after"]
    following = _NEXT_WORD.match(after)
    if following is None:
        return number, None, f"{before} {after}"
    word, rest = following[1].lower(), after[following.end() :]
    if word in _UNITS:
        said = f"{before} {rest}"
        return None if _words((said,)) & _UNITS else (number, word, said)  # "5 MB/s" is no size
    return (number, word, f"{before} {after}") if word in _COUNTED else None


def _rule_for(path: tuple[str, ...], unit: str | None) -> tuple[_Rule, int] | tuple[None, None]:
    """Match the last name by itself first: what stands above it is only a hint, but it may rule out a match."""
    everything = _words(path)
    for depth in range(1, len(path) + 1):
        words = _words(path[-depth:])
        for rule in _RULES:
            if all(words & any_of for any_of in rule.needs) and not everything & rule.never:
                factor = rule.factor(words, unit)
                if factor is not None:
                    return rule, factor
    return None, None


def _words(path: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(" ".join(path)))


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
