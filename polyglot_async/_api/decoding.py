"""JSON to values. One odd field must not lose what is good.

An answer is unreadable only if what makes it useful is missing: a task's id; a transcript's text and segments; the task
id or the status of a webhook. A field of an unexpected type becomes what it plainly means ("0.94" is 0.94, "true" is
True, 17 as an id is "17", "done" is completed) or None, and what came stays in `extra` under the field's name. So do
fields that the contract does not name (A14). A null is as good as a missing field.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from .._models import Task, TaskPage, TaskStatus, Transcript, UrlValidation, WebhookEvent
from .fields import flag, number_or_none, read_fields
from .status_errors import decode_error, readable_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._models import Segment
    from .messages import ApiResponse

T = TypeVar("T")

UNKNOWN_STATUS = TaskStatus("unknown")
_WRAPPERS = ("task", "data", "result")
_LISTS = ("items", "tasks", "results", "transcriptions", "data")
_LONGEST_ID = 1000
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}$")
_SURROGATE = "[\ud800-\udfff]"
_TASK_FIELDS = frozenset({"status", "audio_duration_seconds", "transcript_preview", "failure_reason"})
_SIGNS_OF_TASK = frozenset(Task.__annotations__) - {"task_id", "status", "extra"} | {
    "state", "filename", "original_filename", "name"
}  # fmt: skip
_ENVELOPE_STATUSES = frozenset({"ok", "success", "successful", "error", "fail", "failure"})
"""What answers of any kind have as their status. That of a task is none of these when it has just been started."""
_TASK_PATH = r"/transcriptions/([^/]+)(/result)?$"


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


def read_task(value: Any, missing_status: TaskStatus = UNKNOWN_STATUS, *, is_listed: bool = False) -> Task:
    """Build a task, for which an id is enough: as `task_id` or `id`, or so in an object `task`, `data` or `result`.

    A plain `id` may be that of the answer or of its request: it is a task's where its object is a task by its other
    fields too, or has no other. What is listed among tasks is one (`is_listed`).

    Raises:
        ValueError: there is no id.
    """
    if type(value) is not dict or type(value.get("task_id")) is not str or not _PLAIN_ID.match(value["task_id"]):
        value = _with_task_id(value, any_id=is_listed)
    known, extra = read_fields(value, Task)
    known.setdefault("status", missing_status)
    return Task(**known, extra=extra)


def read_asked_task(value: Any, task_id: str) -> Task:
    """Build the task that was asked for as `task_id`.

    Raises:
        ValueError: it is no object, or nothing in it is of a task.
    """
    try:
        return read_task(value)
    except ValueError:
        inner = value[0] if type(value) is list and len(value) == 1 else value
        if type(inner) is not dict or not task_id or not (_TASK_FIELDS & inner.keys() or inner.get("id") == task_id):
            raise
        return read_task({**inner, "task_id": task_id})


def read_started(value: Any) -> Task:
    """Build the task that an upload or a URL has started: one without a status is queued.

    Raises:
        ValueError: there is no id.
    """
    return read_task(value, TaskStatus.QUEUED)


def read_page(value: Any) -> TaskPage:
    """Build one page of tasks from a bare array, or from an object that holds one (A4). What is no task is left out.

    Raises:
        ValueError: there is no array, or none of its entries is an object.
    """
    holder = value if type(value) is dict else {}
    entries = value if type(value) is list else _list_in(holder)
    wrapped = [holder[name] for name in _WRAPPERS if type(holder.get(name)) is dict]
    while entries is None and wrapped:
        holder = wrapped.pop(0)
        entries = _list_in(holder)
    if entries is None:
        raise ValueError(f"there is no list of tasks in {_shape(value)}")
    if entries and not any(type(entry) is dict for entry in entries):
        raise ValueError(f"no entry of the list is a task: the first of {len(entries)} is {_shape(entries[0])}")
    tasks = []
    for entry in entries:
        try:
            tasks.append(read_task(entry, is_listed=True))
        except ValueError:
            continue
    count = number_or_none(holder.get("count"))
    if count is not None and count <= len(entries):
        count = None  # it may count this page alone
    total = number_or_none(holder["total"]) if holder.get("total") is not None else count
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
    known, extra = read_fields(value, Transcript)
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
    known, extra = read_fields(_with_task_id(value, any_id=True), WebhookEvent)
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
        valid = value.get("valid") is None or flag(value["valid"])
    except ValueError:
        valid = True
    return UrlValidation(url=url, valid=valid, reason=None if valid else readable_detail(response.body), extra=value)


def task_id_in(url: str) -> str:
    """Return the id of the task that lies, or whose result lies, at `url`; or an empty string."""
    match = re.search(_TASK_PATH, url)
    return unquote(match[1]) if match else ""


# -- the shapes of answers


def _with_task_id(value: Any, *, any_id: bool) -> dict[str, Any]:
    """Return the object with a usable `task_id` in it; fields of a wrapper stay beside those that it wraps.

    With `any_id` a plain `id` is taken wherever it is.
    """
    if type(value) is not dict:
        raise ValueError(f"there is no task id in {_shape(value)}")
    names = [name for name in _WRAPPERS if type(value.get(name)) is dict]
    wrapped = [(value[name], _unwrapped(value, name)) for name in names]
    whole = (value, value)
    tasks = [pair for name, pair in zip(names, wrapped, strict=True) if name == "task" or _is_task(pair[0])]
    tasks += [whole] if _is_task(value) else []
    others = [whole, *wrapped]
    for field, places in (("task_id", others), ("id", [*tasks, *others] if any_id else tasks)):
        for holder, fields in places:
            if _is_id(holder.get(field)):
                return {**fields, "task_id": holder[field]}
    raise ValueError(f"there is no task id in {_shape(value)}")


def _unwrapped(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {**{key: item for key, item in value.items() if key != name}, **value[name]}


def _is_task(value: dict[str, Any]) -> bool:
    """Return whether an object with a plain `id` is a task by its other fields, or has no other."""
    status = value.get("status")
    if type(status) is str and status.strip().lower() not in _ENVELOPE_STATUSES:
        return True
    present = {name for name, item in value.items() if item is not None}
    return present == {"id"} or not _SIGNS_OF_TASK.isdisjoint(present)


def _is_id(value: object) -> bool:
    """Return whether a value can be the id of a task, which has to fit into a path."""
    if type(value) is not str:
        return type(value) is int
    return (
        bool(value.strip())
        and value not in {".", ".."}
        and len(value) <= _LONGEST_ID
        and not re.search(_SURROGATE, value)
    )


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
