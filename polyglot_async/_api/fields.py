"""The fields of an answer: each becomes what it plainly means or None, and what came in an odd type stays in `extra`.

cattrs maps the models' annotations to the hooks below, which replace its own: those turn null into 'None'.
"""

from __future__ import annotations

import operator
import re
import types
import typing
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from .._models import Segment, TaskStatus, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import cattrs

_LARGEST_FLOAT = 1.7976931348623157e308
_NUMBER = r"[+-]?[0-9]{1,300}(?:\.[0-9]{0,300})?(?:[eE][+-]?[0-9]{1,3})?"
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SECONDS_PER_WORD = 0.4
_FIRST_YEAR = 2000
"""Earlier times are zeros: 1970 of Unix, 1 of Go and .NET, 1900 and 1904 of spreadsheets."""
_START = operator.attrgetter("start")


def read_fields(value: dict[str, Any], cls: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of `cls` that can be read, and all else: unknown fields, and unexpected types."""
    fields = _FIELDS.get(cls) or _fields_of(cls)
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            extra[name] = item
        elif item is None:
            continue
        elif type(item) is field.exact:  # strings and booleans, whatever they hold
            known[field.name] = item
        else:
            try:
                known[field.name] = read = field.hook(item, extra)
            except ValueError:
                extra[name] = item
            else:
                if type(item) not in field.expected or (field.compared and read != item):
                    extra[name] = item
    return known, extra


def _text(value: Any, _: Any = None) -> str:
    if type(value) is not int:
        raise ValueError("not a text")
    return str(value)


def flag(value: Any, _: Any = None) -> bool:
    if type(value) in {bool, int, float} and value in {0, 1}:
        return bool(value)
    if type(value) is str and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    raise ValueError("not a boolean")


def _number(value: Any, _: Any = None) -> float:
    # NaN and the infinities are no JSON, yet Python's parser takes them; `inf` also comes of 1e999.
    if type(value) in {float, int} and -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
        return float(value)
    if type(value) is str and re.fullmatch(_NUMBER, value.strip()):
        return _number(float(value))
    raise ValueError("not a finite number")


def number_or_none(value: object) -> float | None:
    try:
        return _number(value)
    except ValueError:
        return None


def _datetime(value: Any, _: Any = None) -> datetime:
    if type(value) is not str:
        raise ValueError("not an ISO 8601 time")
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)  # A17
    except OverflowError:
        raise ValueError("a time that no calendar has") from None
    if moment.year < _FIRST_YEAR:
        raise ValueError("the zero of a clock, which stands for no time")
    return moment


def _status(value: Any, _: Any = None) -> TaskStatus:
    if type(value) is not str or not value.strip():
        raise ValueError("not a status")
    return TaskStatus(value)


# -- segments


def _segments(value: Any, extra: dict[str, Any]) -> tuple[Segment, ...]:
    """Build the segments in order of their start; what has no text goes to the transcript's `extra["segments"]`."""
    if type(value) is not list:
        raise ValueError("segments are not an array")
    try:
        # By hand, because a long recording has tens of thousands.
        segments = list(map(_segment, value))
    except (ValueError, KeyError, TypeError, AttributeError):
        segments = _odd_segments(value, extra)
    starts = list(map(_START, segments))
    if starts != sorted(starts):
        segments.sort(key=_START)
    return tuple(segments)


def _segment(value: Any) -> Segment:
    """Build a segment that is as the contract has it; raise for any other."""
    start, end, text = value["start"], value["end"], value["text"]
    if type(text) is not str:
        raise ValueError("not a text")
    # The common case pays for nothing else. Of two floats the difference is finite only if both are.
    if not (type(start) is float is type(end) and -_LARGEST_FLOAT <= start - end <= _LARGEST_FLOAT):
        if type(start) is str or type(end) is str:
            raise ValueError("not a number")
        start, end = _number(start), _number(end)
    if len(value) == 3:  # noqa: PLR2004 - the three above
        return Segment(start, end, text)
    extra = {key: item for key, item in value.items() if key not in {"start", "end", "text"}}
    return Segment(start, end, text, extra)


def _odd_segments(value: list[Any], extra: dict[str, Any]) -> list[Segment]:
    """Build segments of which some lack a time, or have it as a string.

    A missing start is the end of the segment before, a missing end the start of the next one. The last one lasts as
    long as its words take to say.
    """
    found: list[tuple[float, float | None, str, dict[str, Any]]] = []
    dropped = []
    latest = 0.0
    for item in value:
        known, odd = read_fields(item, Segment) if type(item) is dict else ({}, {})
        if "text" not in known:
            dropped.append(item)
            continue
        start, end = known.get("start", latest), known.get("end")
        latest = end if end is not None else start
        found.append((start, end, known["text"], odd))
    if dropped:
        extra["segments"] = dropped
    found.sort(key=lambda segment: segment[0])
    ends = [start for start, *_ in found[1:]]
    if found:
        start, _, text, _ = found[-1]
        ends.append(start + max(1.0, _SECONDS_PER_WORD * len(text.split())))
    return [
        Segment(start, following if end is None else end, text, odd)
        for (start, end, text, odd), following in zip(found, ends, strict=True)
    ]


# -- the models' fields, each with its hook


@attrs.frozen(eq=False, repr=False)
class _Field:
    """How a field of an answer is read.

    Attributes:
        name: of the model's field.
        hook: reads what is not of the type `exact`; gets the value and the `extra` of what is built.
        exact: the type of which every value is taken as it is, or None.
        expected: types of which a value that was read does not stay in `extra` as well.
        compared: whether it does stay if it reads as something else.
    """

    name: str
    hook: Callable[[Any, Any], Any]
    exact: type | None
    expected: frozenset[type]
    compared: bool


_EXPECTED: Mapping[Any, frozenset[type]] = {float: frozenset({float, int}), bool: frozenset({bool})}
_RENAMED: Mapping[Any, Mapping[str, str]] = {Transcript: {"text": "transcript"}}
_FIELDS: dict[type[Any], Mapping[str, _Field]] = {}  # of each model that was read


def _fields_of(cls: type[Any]) -> Mapping[str, _Field]:
    converter, renamed = load_converter(), _RENAMED.get(cls, {})
    fields = {}
    for name, annotation in typing.get_type_hints(cls).items():
        if name == "extra":
            continue
        optional = isinstance(annotation, types.UnionType)
        target = next(arm for arm in typing.get_args(annotation) if arm is not type(None)) if optional else annotation
        fields[renamed.get(name, name)] = _Field(
            name,
            converter.get_structure_hook(target),
            target if target in {str, bool} else None,
            _EXPECTED.get(target, frozenset({str, list})),
            target is TaskStatus,
        )
    _FIELDS[cls] = fields  # only now: other threads may read it
    return fields


@cache
def load_converter() -> cattrs.Converter:
    """Return cattrs' converter with the hooks above; it is imported here, with the first call."""
    import cattrs  # noqa: PLC0415 - a start without it is a twentieth faster

    converter = cattrs.Converter()
    hooks: Mapping[Any, Callable[[Any, Any], Any]] = {
        str: _text, bool: flag, float: _number, datetime: _datetime, TaskStatus: _status
    }  # fmt: skip
    for target, hook in hooks.items():
        converter.register_structure_hook(target, hook)
    converter.register_structure_hook_func(lambda target: target == tuple[Segment, ...], _segments)
    return converter
