"""The API as one table, then a builder and a parser for each call. Source: the contract's table of calls.

If the real service turns out to name something differently, this is the one place to change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urljoin, urlsplit

from .._arguments import check_text
from .._errors import ResponseDecodeError
from .._models import UrlValidation
from .decoding import (
    decode,
    decode_json,
    read_asked_task,
    read_page,
    read_started,
    read_task,
    read_transcript,
    read_validation,
    task_id_in,
)
from .fields import load_converter
from .messages import ApiRequest, ApiResponse, Endpoint, Priority
from .status_errors import readable_detail
from .urls import is_same_origin

if TYPE_CHECKING:
    from .._models import Limits, Task, TaskPage, Transcript

UPLOAD = Endpoint("upload", "POST", "/transcriptions/upload", Priority.START, billable=True)
FROM_URL = Endpoint("from_url", "POST", "/transcriptions/from-url", Priority.START, billable=True)
VALIDATE_URL = Endpoint(
    "validate_url", "POST", "/transcriptions/validate-url", Priority.START, answers=frozenset({400})
)
LIST = Endpoint("list", "GET", "/transcriptions", Priority.POLL)
GET = Endpoint("get", "GET", "/transcriptions/{task_id}", Priority.POLL)
RESULT = Endpoint("result", "GET", "/transcriptions/{task_id}/result", Priority.RESULT)
DOWNLOAD = Endpoint(
    "download",
    "GET",
    "/transcriptions/{task_id}/downloads/{kind}",
    Priority.DOWNLOAD,
    accept="*/*",
    answers=frozenset({416}),
)
SOURCE = Endpoint(
    "source",
    "GET",
    "/transcriptions/{task_id}/source",
    Priority.DOWNLOAD,
    accept="*/*",
    answers=frozenset({416}),
)
CONVERT_AUDIO = Endpoint("convert_audio", "POST", "/transcriptions/convert-audio", Priority.DOWNLOAD, accept="*/*")
DOCUMENTATION = Endpoint("limits", "GET", "/developer/documentation", Priority.START)

ENDPOINTS = (
    UPLOAD,
    FROM_URL,
    VALIDATE_URL,
    LIST,
    GET,
    RESULT,
    DOWNLOAD,
    SOURCE,
    CONVERT_AUDIO,
    DOCUMENTATION,
)


_CALL_NAMES = frozenset(endpoint.template.rpartition("/")[2] for endpoint in ENDPOINTS)


def sent_options(options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the options beside the media as they are sent; those in `extra` win.

    Raises:
        TypeError: an option is no text; before anything is sent and paid for.
    """
    load_converter()  # here as well: the answer to what was paid for must not be lost to an import that fails
    sent: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            if not isinstance(value, str | Enum):
                raise TypeError(f"{name} is {value!r:.60}: pass a str, or None")
            sent[name] = plain_value(value)
    if extra is not None and not isinstance(extra, Mapping):
        raise TypeError(f"extra is {extra!r:.60}: pass a dict of options, or None")
    for name, value in (extra or {}).items():
        check_text("the name of an option in extra", name)
        sent[plain_value(name)] = plain_value(value)
    return sent


def options_text(options: Mapping[str, Any]) -> str:
    """Return options as JSON that is the same for all that mean the same: what is None is not given."""
    given = {name: value for name, value in options.items() if value is not None}
    return json.dumps(given, sort_keys=True, ensure_ascii=True, default=str)


def upload(sent: Mapping[str, Any]) -> ApiRequest:
    """Build an upload; options, see `sent_options`, are form fields (A1), and the file goes into the field `file`."""
    return ApiRequest(endpoint=UPLOAD, path=UPLOAD.template, fields=_query(sent))


def from_url(url: str, sent: Mapping[str, Any]) -> ApiRequest:
    """Build a start from a URL; JSON `{"url": ..., <options>}` (A2)."""
    return ApiRequest(endpoint=FROM_URL, path=FROM_URL.template, json={"url": url, **sent})


def validate_url(url: str, sent: Mapping[str, Any]) -> ApiRequest:
    """Build a check of a URL; the same JSON as `from_url` (A2)."""
    return ApiRequest(endpoint=VALIDATE_URL, path=VALIDATE_URL.template, json={"url": url, **sent})


def list_tasks(*, limit: int | None, offset: int, cursor: str | None, filters: Mapping[str, Any]) -> ApiRequest:
    """Build a request for one page (A4): by `cursor`, a page's `next_cursor`, or by `offset`."""
    if cursor is not None:
        query = _cursor_query(cursor, limit, filters)
    else:
        query = _query({**filters, "limit": limit, "offset": offset or None})
    return ApiRequest(endpoint=LIST, path=LIST.template, query=query)


def get(task_id: str) -> ApiRequest:
    """Build a request for one task."""
    return ApiRequest(endpoint=GET, path=GET.template.format(task_id=_segment(task_id, "task id")))


def result(task_id: str) -> ApiRequest:
    """Build a request for a task's transcript."""
    return ApiRequest(endpoint=RESULT, path=RESULT.template.format(task_id=_segment(task_id, "task id")))


def download(task_id: str, kind: str) -> ApiRequest:
    """Build a request for a result file."""
    path = DOWNLOAD.template.format(task_id=_segment(task_id, "task id"), kind=_segment(kind, "kind"))
    return ApiRequest(endpoint=DOWNLOAD, path=path)


def source(task_id: str) -> ApiRequest:
    """Build a request for the source media."""
    return ApiRequest(endpoint=SOURCE, path=SOURCE.template.format(task_id=_segment(task_id, "task id")))


def convert_audio(to: str, extra: Mapping[str, Any] | None) -> ApiRequest:
    """Build a conversion; the wanted format is the form field `format` (A6)."""
    fields = _query(sent_options({"format": to}, extra))
    return ApiRequest(endpoint=CONVERT_AUDIO, path=CONVERT_AUDIO.template, fields=fields)


def documentation() -> ApiRequest:
    """Build a request for the document that holds the live limits (A10, A16)."""
    return ApiRequest(endpoint=DOCUMENTATION, path=DOCUMENTATION.template)


def parse_started(response: ApiResponse) -> Task:
    """Return the task that an upload or a URL has started. Its id is enough, wherever it plainly is.

    Raises:
        ResponseDecodeError: there is no task id in the answer.
    """
    try:
        return decode(response, read_started)
    except ResponseDecodeError:
        # 201 and 202 may name what was created in `Location` alone (RFC 9110, 15.3.2), and so does 303 (15.4.4).
        with suppress(ValueError):
            base_url = response.url.rpartition(f"{LIST.template}/")[0]
            location = response.headers.get("location", "")
            return read_started({"task_id": started_task_id(location and urljoin(response.url, location), base_url)})
        raise


def started_task_id(location: str, base_url: str) -> str:
    """Return the id of the task that a `Location` names, an absolute URL, or an empty string.

    A task lies, as its result does, below the base URL alone: other pages of its host may have paths that end alike.
    """
    if not is_same_origin(location, base_url):
        return ""
    path, base_path = urlsplit(location).path, urlsplit(base_url).path
    if not path.startswith(f"{base_path}{LIST.template}/"):
        return ""
    task_id = task_id_in(path.removeprefix(base_path).rstrip("/"))
    return "" if task_id in _CALL_NAMES else task_id


def parse_task(response: ApiResponse) -> Task:
    """Return one task. One that does not name itself has the id in the response's URL.

    Raises:
        ResponseDecodeError: the answer is no object.
    """
    try:
        return decode(response, read_task)
    except ResponseDecodeError:
        return decode(response, partial(read_asked_task, task_id=task_id_in(response.url)))


def parse_transcript(response: ApiResponse) -> Transcript:
    """Return a transcript. One that does not name its task has the id in the response's URL.

    Raises:
        ResponseDecodeError: there is neither text nor segments.
    """
    return decode(response, partial(read_transcript, task_id=task_id_in(response.url)))


def parse_validation(response: ApiResponse, url: str) -> UrlValidation:
    """Return what the service answered about a URL: a 2xx is a yes unless its body is `valid: false`, a 400 a no (A3).

    Raises:
        ResponseDecodeError: a 2xx that is no JSON object.
    """
    if response.is_success:
        return decode(response, lambda value: read_validation(value, response, url))
    try:
        value = decode_json(response.body)
    except ValueError:
        value = None
    reason = readable_detail(response.body)
    return UrlValidation(url=url, valid=False, reason=reason, extra=value if isinstance(value, dict) else {})


def parse_page(response: ApiResponse) -> TaskPage:
    """Return one page of tasks: a bare array, or an object that holds one (A4). What is no task is left out.

    Raises:
        ResponseDecodeError: there is no array, or none of its entries is a task.
    """
    return decode(response, read_page)


def parse_limits(response: ApiResponse) -> Limits:
    """Return the live limits (A10).

    Raises:
        ResponseDecodeError: there are no limits in the document.
    """
    from .limits_document import read_limits  # noqa: PLC0415 - many clients never ask for the limits

    return decode(response, read_limits)


def _segment(value: str, what: str) -> str:
    """Escape one path segment, so that no id can lead elsewhere on the service."""
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str):
        raise TypeError(f"invalid {what}: {value!r:.60}: pass a str")
    if value in {"", ".", ".."}:
        raise ValueError(f"invalid {what}: {value!r}")
    return quote(value, safe="")


def _cursor_query(cursor: str, limit: int | None, filters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # Of a URL only the query is taken: the credential must not follow a link to wherever an answer points.
    # An opaque word may hold a slash (base64 does) but no question mark.
    if "?" in cursor or cursor.startswith(("http://", "https://")):
        linked = tuple(parse_qsl(cursor.partition("?")[2].partition("#")[0], keep_blank_values=True))
        return linked if "limit" in dict(linked) else (*linked, *_query({"limit": limit}))
    return (*_query({**filters, "limit": limit}), ("cursor", cursor))


def _query(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if value is not None:
            plain = plain_value(value)
            pairs.append((name, str(plain) if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)))
    return tuple(pairs)


def plain_value(value: Any) -> Any:
    """Replace members of enumerations by their values, e.g. of `class Model(str, Enum)`."""
    if isinstance(value, Enum):
        return plain_value(value.value)
    if isinstance(value, Mapping):
        return {plain_value(name): plain_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(item) for item in value]
    return value


PROBE = list_tasks(limit=1, offset=0, cursor=None, filters={})
"""The cheapest free call of the API: whether it is answered shows whether the service is there."""
