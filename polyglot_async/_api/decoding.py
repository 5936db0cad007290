"""JSON to values: the only cattrs converter of the SDK.

cattrs by itself coerces: `null` becomes `'None'` where a `str` is wanted. Here primitives are checked and never
coerced, except that a whole number may stand for a float. Unknown fields go to `extra` (A14).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from .._errors import ResponseDecodeError
from .._models import Segment, Task, TaskStatus, Transcript, WebhookEvent
from .messages import KEPT_BODY_BYTES, ApiResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_LARGEST_FLOAT = 1.7976931348623157e308


def decode_json(body: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is not JSON, is not UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def structure(value: object, cls: type[T]) -> T:
    """Build a model from parsed JSON.

    Raises:
        ValueError: the value does not have the model's shape.
    """
    try:
        return _converter.structure(value, cls)
    except KeyError as error:
        raise ValueError(f"the field {error} is missing") from None
    # Others' input can fail in the generated code in any of these ways.
    except (TypeError, AttributeError, OverflowError, RecursionError, cattrs.BaseValidationError) as error:
        raise ValueError(f"not the shape of a {cls.__name__}: {error}") from None


def decode(response: ApiResponse, parse: Callable[[Any], T]) -> T:
    """Parse a response's JSON with `parse`, which raises ValueError for what it does not accept.

    Raises:
        ResponseDecodeError: it is not JSON, or not what `parse` accepts.
    """
    try:
        return parse(decode_json(response.body))
    except (ValueError, RecursionError) as error:  # even to show what is nested deeply can be too deep
        raise ResponseDecodeError(
            f"{response.method} {response.url}: the answer cannot be read: {error}",
            status_code=response.status_code,
            body=response.body[:KEPT_BODY_BYTES],
            method=response.method,
            url=response.url,
            request_id=response.request_id,
        ) from None


def decode_as(cls: type[T]) -> Callable[[ApiResponse], T]:
    """Make a parser of responses that hold one `cls`."""
    return lambda response: decode(response, lambda value: structure(value, cls))


def _strict(cls: type[T]) -> Callable[[Any, Any], T]:
    def hook(value: Any, _: Any) -> T:
        if type(value) is not cls:
            raise ValueError(f"{value!r:.80} is not a {cls.__name__}")
        return value

    return hook


def _float(value: Any, _: Any = None) -> float:
    # NaN and the infinities are no JSON, yet Python's parser takes them; `inf` also comes of 1e999.
    if type(value) not in {float, int} or not -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
        raise ValueError(f"{value!r:.80} is not a finite number")
    return float(value)


def _datetime(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise ValueError(f"{value!r:.80} is not an ISO 8601 time")
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _lenient(hook: Callable[[Any, Any], T]) -> Callable[[Any, Any], T | None]:
    """Make a hook for what is nice to have: a bad value is no reason to lose the rest."""

    def lenient(value: Any, target: Any) -> T | None:
        try:
            return None if value is None else hook(value, target)
        except (ValueError, OverflowError):
            return None

    return lenient


def _status(value: Any, _: Any) -> TaskStatus:
    if type(value) is not str or not value:
        raise ValueError(f"{value!r:.80} is not a status")
    return TaskStatus(value)


def _segment(value: Any, _: Any = None) -> Segment:
    start, end, text = value["start"], value["end"], value["text"]
    if type(text) is not str:
        raise ValueError(f"{text!r:.80} is not a text")
    # The common case pays for nothing else. Of two floats the difference is finite only if both are.
    if not (type(start) is float is type(end) and -_LARGEST_FLOAT <= start - end <= _LARGEST_FLOAT):
        start, end = _float(start), _float(end)
    if len(value) == 3:  # noqa: PLR2004 - the three above
        return Segment(start, end, text)
    extra = {key: item for key, item in value.items() if key not in {"start", "end", "text"}}
    return Segment(start, end, text, extra)


def _segments(value: Any, _: Any) -> tuple[Segment, ...]:
    if value is None:
        return ()
    if type(value) is not list:
        raise ValueError("segments are not a list")
    # By hand, because a long recording has tens of thousands: half the time of the generated function.
    return tuple(map(_segment, value))


def _register_model(converter: cattrs.Converter, cls: type[Any], renamed: Mapping[str, str]) -> None:
    fields = attrs.fields(cls)
    known = {renamed.get(field.name, field.name) for field in fields} - {"extra"}
    defaulted = {renamed.get(field.name, field.name) for field in fields if field.default is not attrs.NOTHING} & known
    generated = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_detailed_validation=False,
        extra=override(omit=True),
        **{ours: override(rename=theirs) for ours, theirs in renamed.items()},  # type: ignore[arg-type]
    )

    def hook(value: Any, target: Any) -> Any:
        if type(value) is not dict:
            raise ValueError(f"{value!r:.80} is not an object")
        # A null where there is a default means the default.
        given = {key: item for key, item in value.items() if item is not None or key not in defaulted}
        built = generated(given, target)
        extra = {key: item for key, item in value.items() if key not in known}
        return attrs.evolve(built, extra=extra) if extra else built

    converter.register_structure_hook(cls, hook)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook(str, _strict(str))
    converter.register_structure_hook(bool, _strict(bool))
    converter.register_structure_hook(int, _strict(int))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(TaskStatus, _status)
    converter.register_structure_hook_func(lambda target: target == datetime | None, _lenient(_datetime))
    converter.register_structure_hook_func(lambda target: target == tuple[Segment, ...], _segments)
    for cls, renamed in ((Task, {}), (Transcript, {"text": "transcript"}), (WebhookEvent, {})):
        _register_model(converter, cls, renamed)
    return converter


_converter = _make_converter()
