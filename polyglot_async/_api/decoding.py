"""JSON to values. One odd field must not lose what is good.

An answer is unreadable only if what makes it useful is missing: a task's id; a transcript's text and segments; the task
id or the status of a webhook. A field of an unexpected type becomes what it plainly means ("0.94" is 0.94, "true" is
True, 17 as an id is "17", "done" is completed) or None, and what came stays in `extra` under the field's name. So do
fields that the contract does not name (A14). A null is as good as a missing field.

cattrs maps the models' annotations to the hooks below, which replace its own: those turn null into 'None'.
"""

from __future__ import annotations

import json
import re
import types
import typing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import attrs
import cattrs

from .._models import Segment, Task, TaskPage, TaskStatus, Transcript, UrlValidation, WebhookEvent
from .status_errors import decode_error, readable_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .messages import ApiResponse

T = TypeVar("T")

UNKNOWN_STATUS = TaskStatus("unknown")
_WRAPPERS = ("task", "data", "result")
_LISTS = ("items", "tasks", "results", "transcriptions", "data")
_LARGEST_FLOAT = 1.7976931348623157e308
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{0,300})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_RESULT_PATH = re.compile(r"/transcriptions/([^/]+)/result$")
_SECONDS_PER_WORD = 0.4


def decode(response: ApiResponse, parse: Callable[[Any], T]) -> T:
    """Parse a response's JSON with `parse`, which raises ValueError for what it does not accept.

    Raises:
        ResponseDecodeError: it is not JSON, or not what `parse` accepts.
    """
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        try:
            value = decode_json(response.body)
        except ValueError:
            raise decode_error(response, None) from None
    try:
        return parse(value)
    except RecursionError:
        raise decode_error(response, "it is nested too deeply") from None
    except ValueError as error:
        raise decode_error(response, str(error)) from None


def decode_json(body: bytes | str) -> Any:
    """Parse JSON; bytes that are not UTF-8, line breaks within strings and endless numbers cost nothing else.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    try:
        return _TOLERANT.decode(text.lstrip("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) < 1000 else float(digits)  # noqa: PLR2004 - Python refuses to convert 4300


_TOLERANT = json.JSONDecoder(strict=False, parse_int=_int)


def read_task(value: Any, missing_status: TaskStatus = UNKNOWN_STATUS) -> Task:
    """Build a task, for which an id is enough: as `task_id` or `id`, or so in an object `task`, `data` or `result`.

    Raises:
        ValueError: there is no id.
    """
    if type(value) is not dict or type(value.get("task_id")) is not str or not value["task_id"].strip():
        value = _with_task_id(value)
    known, extra = _read_fields(value, Task)
    known.setdefault("status", missing_status)
    return Task(**known, extra=extra)


def read_started(value: Any) -> Task:
    """Build the task that an upload or a URL has started: one without a status is queued.

    Raises:
        ValueError: there is no id.
    """
    return read_task(value, TaskStatus.QUEUED)


def read_page(value: Any) -> TaskPage:
    """Build one page of tasks from a bare array, or from an object that holds one (A4). What is no task is left out.

    Raises:
        ValueError: there is no array, or none of its entries is a task.
    """
    holder = value if type(value) is dict else {}
    entries = value if type(value) is list else _list_in(holder)
    wrapped = [holder[name] for name in _WRAPPERS if type(holder.get(name)) is dict]
    while entries is None and wrapped:
        holder = wrapped.pop(0)
        entries = _list_in(holder)
    if entries is None:
        raise ValueError(f"there is no list of tasks in {_shape(value)}")
    tasks = []
    for entry in entries:
        try:
            tasks.append(read_task(entry))
        except ValueError:
            continue
    if entries and not tasks:
        raise ValueError(f"no entry of the list is a task: the first of {len(entries)} is {_shape(entries[0])}")
    total = _number_or_none(holder.get("total", holder.get("count")))
    cursors = (holder.get("next"), holder.get("next_cursor"))
    return TaskPage(
        items=tuple(tasks),
        total=int(total) if total is not None and total >= 0 else None,
        next_cursor=next((cursor for cursor in map(_cursor, cursors) if cursor), None),
        received=len(entries),
    )


def read_transcript(value: Any, task_id: str = "") -> Transcript:
    """Build a transcript, for which text or segments are enough; `task_id` is what it has where it names none itself.

    A null as the text, of a task that is at its end, is silence. Where only segments came, they are the text.

    Raises:
        ValueError: there is neither text nor segments.
    """
    if type(value) is not dict:
        raise ValueError(f"there is no transcript in {_shape(value)}")
    if not {"transcript", "segments", "text"} & value.keys():
        value = next((_unwrapped(value, name) for name in _WRAPPERS if type(value.get(name)) is dict), value)
    known, extra = _read_fields(value, Transcript)
    if "text" not in known:
        known["text"] = _missing_text(value, known.get("segments", ()))
    if not known.get("task_id", "").strip():
        known["task_id"] = task_id
    return Transcript(**known, extra=extra)


def _missing_text(value: dict[str, Any], segments: Sequence[Segment]) -> str:
    given, text, status = value.get("transcript", ""), value.get("text"), value.get("status")
    if type(given) is dict:
        text = text or given.get("text")
    if type(text) is str:
        return text
    if segments:
        return " ".join(segment.text.strip() for segment in segments if segment.text.strip())
    ended = type(status) is not str or TaskStatus(status).is_final
    if ended and (given is None or (given == "" and value.get("segments") == [])):
        return ""
    raise ValueError(f"there is neither text nor segments in {_shape(value)}")


def read_event(value: Any) -> WebhookEvent:
    """Build a webhook's event. Of `status` and `event` one is enough: the event ends with the status.

    Raises:
        ValueError: there is no task id, or neither a status nor an event.
    """
    known, extra = _read_fields(_with_task_id(value), WebhookEvent)
    name = known.get("event", "").strip()
    if "status" not in known:
        if not name:
            raise ValueError(f"there is neither a status nor an event in {_shape(value)}")
        status = TaskStatus(name.rpartition(".")[2])
        known["status"] = status if status.is_known else UNKNOWN_STATUS
    if not name:
        known["event"] = f"transcription.{known['status']}"
    return WebhookEvent(**known, extra=extra)


def read_validation(value: Any, response: ApiResponse, url: str) -> UrlValidation:
    """Build what the service answered about a URL: usable unless it answers `valid: false` (A3).

    Raises:
        ValueError: it is no object.
    """
    if type(value) is not dict:
        raise ValueError(f"{_shape(value)} is not about a URL")
    try:
        valid = value.get("valid") is None or _flag(value["valid"])
    except ValueError:
        valid = True
    return UrlValidation(url=url, valid=valid, reason=None if valid else readable_detail(response.body), extra=value)


def task_id_in(url: str) -> str:
    """Return the id of the task whose result lies at `url`, or an empty string."""
    match = _RESULT_PATH.search(url)
    return unquote(match[1]) if match else ""


# -- the shapes of answers


def _with_task_id(value: Any) -> dict[str, Any]:
    """Return the object with a usable `task_id` in it; fields of a wrapper stay beside those that it wraps."""
    if type(value) is not dict:
        raise ValueError(f"there is no task id in {_shape(value)}")
    wrapped = [name for name in _WRAPPERS if type(value.get(name)) is dict]
    for field in ("task_id", "id"):
        if _is_id(value.get(field)):
            return value if field == "task_id" else {**value, "task_id": value["id"]}
        for name in wrapped:
            if _is_id(value[name].get(field)):
                return {**_unwrapped(value, name), "task_id": value[name][field]}
    raise ValueError(f"there is no task id in {_shape(value)}")


def _unwrapped(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {**{key: item for key, item in value.items() if key != name}, **value[name]}


def _is_id(value: object) -> bool:
    return type(value) is int or (type(value) is str and bool(value.strip()))


def _list_in(value: dict[str, Any]) -> list[Any] | None:
    """Return the array of tasks in an object: under one of its usual names, or the only array of objects there."""
    named = [value[name] for name in _LISTS if name in value]
    arrays = [item for item in named if type(item) is list]
    if not arrays:
        arrays = [item for item in value.values() if type(item) is list and any(type(entry) is dict for entry in item)]
        if len(arrays) != 1:
            return [] if None in named else None  # some languages write an empty list as null
    return arrays[0]


def _shape(value: object) -> str:
    """Describe a value in a message: the names of its fields, never what they hold."""
    if type(value) is dict:
        return f"an object with the fields {', '.join(list(value)[:8]):.120}" if value else "an empty object"
    if type(value) is list:
        return f"an array of {len(value)}"
    return "null" if value is None else f"a {type(value).__name__}"


def _cursor(value: object) -> str | None:
    return str(value) if type(value) is int or (type(value) is str and value.strip()) else None


# -- fields


def _read_fields(value: dict[str, Any], cls: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of `cls` that can be read, and all else: unknown fields, and unexpected types."""
    fields = _FIELDS[cls]
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


def _flag(value: Any, _: Any = None) -> bool:
    if type(value) in {bool, int, float} and value in {0, 1}:
        return bool(value)
    if type(value) is str and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    raise ValueError("not a boolean")


def _number(value: Any, _: Any = None) -> float:
    # NaN and the infinities are no JSON, yet Python's parser takes them; `inf` also comes of 1e999.
    if type(value) in {float, int} and -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT:
        return float(value)
    if type(value) is str and _NUMBER.fullmatch(value.strip()):
        return _number(float(value))
    raise ValueError("not a finite number")


def _number_or_none(value: object) -> float | None:
    try:
        return _number(value)
    except ValueError:
        return None


def _datetime(value: Any, _: Any = None) -> datetime:
    if type(value) is not str:
        raise ValueError("not an ISO 8601 time")
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)  # A17
    except OverflowError:
        raise ValueError("a time that no calendar has") from None


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
    starts = [segment.start for segment in segments]
    if starts != sorted(starts):
        segments.sort(key=lambda segment: segment.start)
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
        known, odd = _read_fields(item, Segment) if type(item) is dict else ({}, {})
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


@attrs.frozen
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
_RENAMED = {"text": "transcript"}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    hooks: Mapping[Any, Callable[[Any, Any], Any]] = {
        str: _text, bool: _flag, float: _number, datetime: _datetime, TaskStatus: _status
    }  # fmt: skip
    for target, hook in hooks.items():
        converter.register_structure_hook(target, hook)
    converter.register_structure_hook_func(lambda target: target == tuple[Segment, ...], _segments)
    return converter


def _fields_of(cls: type[Any], converter: cattrs.Converter, renamed: Mapping[str, str]) -> dict[str, _Field]:
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
    return fields


_converter = _make_converter()
_FIELDS: Mapping[type[Any], Mapping[str, _Field]] = {
    Task: _fields_of(Task, _converter, {}),
    Segment: _fields_of(Segment, _converter, {}),
    Transcript: _fields_of(Transcript, _converter, _RENAMED),
    WebhookEvent: _fields_of(WebhookEvent, _converter, {}),
}
