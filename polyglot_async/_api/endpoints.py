"""The API as one table, then a builder and a parser for each call. Source: the contract's table of calls.

If the real service turns out to name something differently, this is the one place to change.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from .._models import Task, TaskPage, Transcript, UrlValidation
from .decoding import decode, decode_as, decode_json, structure
from .messages import ApiRequest, ApiResponse, Endpoint, Priority, readable_detail

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def upload(options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> ApiRequest:
    """Build an upload; options are form fields (A1), and the file goes into the field `file`."""
    return ApiRequest(endpoint=UPLOAD, path=UPLOAD.template, fields=_form_fields(options, extra))


def from_url(url: str, options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> ApiRequest:
    """Build a start from a URL; JSON `{"url": ..., <options>}` (A2)."""
    return ApiRequest(endpoint=FROM_URL, path=FROM_URL.template, json=_json_body(url, options, extra))


def validate_url(url: str, options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> ApiRequest:
    """Build a check of a URL; the same JSON as `from_url` (A2)."""
    return ApiRequest(endpoint=VALIDATE_URL, path=VALIDATE_URL.template, json=_json_body(url, options, extra))


def list_tasks(*, limit: int | None, offset: int, cursor: str | None, filters: Mapping[str, Any]) -> ApiRequest:
    """Build a request for one page (A4). `cursor` is a page's `next_cursor` and then says all by itself."""
    if cursor is not None:
        query = _cursor_query(cursor, filters)
    else:
        paging = {"limit": limit, "offset": offset or None}
        query = _query({**filters, **paging})
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
    fields = _form_fields({"format": to}, extra)
    return ApiRequest(endpoint=CONVERT_AUDIO, path=CONVERT_AUDIO.template, fields=fields)


def documentation() -> ApiRequest:
    """Build a request for the document that holds the live limits (A10, A16)."""
    return ApiRequest(endpoint=DOCUMENTATION, path=DOCUMENTATION.template)


parse_task = decode_as(Task)
parse_transcript = decode_as(Transcript)


def parse_validation(response: ApiResponse, url: str) -> UrlValidation:
    """Read what the service thinks of a URL: a 2xx is a yes unless the body says `valid: false`, a 400 a no (A3)."""
    if not response.is_success:
        detail = readable_detail(response.body)
        try:
            value = decode_json(response.body)
        except ValueError:
            value = None
        return UrlValidation(url=url, valid=False, reason=detail, extra=value if isinstance(value, dict) else {})
    value = decode(response, _object)
    valid = value.get("valid", True) is not False
    return UrlValidation(url=url, valid=valid, reason=None if valid else readable_detail(response.body), extra=value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is not an object")
    return value


def parse_page(response: ApiResponse) -> TaskPage:
    """Read one page of tasks: a bare array, or an object that holds one (A4)."""
    return decode(response, _page)


def _page(value: Any) -> TaskPage:
    if isinstance(value, list):
        return TaskPage(items=_tasks(value))
    if not isinstance(value, dict):
        raise ValueError(f"{value!r:.80} is not a list of tasks")
    for name in ("items", "tasks", "results", "transcriptions", "data"):
        if isinstance(value.get(name), list):
            total = value.get("total", value.get("count"))
            return TaskPage(
                items=_tasks(value[name]),
                total=total if type(total) is int and total >= 0 else None,
                next_cursor=next(
                    (value[key] for key in ("next", "next_cursor") if value.get(key) and isinstance(value[key], str)),
                    None,
                ),
            )
    raise ValueError("there is no list of tasks in the object")


def _tasks(items: list[Any]) -> tuple[Task, ...]:
    return tuple(structure(item, Task) for item in items)


def _segment(value: str, what: str) -> str:
    """Escape one path segment, so that no id can lead elsewhere on the service."""
    if value in {"", ".", ".."}:
        raise ValueError(f"{value!r} is not a {what}")
    return quote(value, safe="")


def _cursor_query(cursor: str, filters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    # Of a URL only the query is taken: the credential must not follow a link to wherever an answer points.
    # An opaque word may hold a slash (base64 does) but no question mark.
    if "?" in cursor or cursor.startswith(("http://", "https://")):
        return tuple(parse_qsl(cursor.partition("?")[2].partition("#")[0], keep_blank_values=True))
    return (*_query(filters), ("cursor", cursor))


def _query(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _text(value)) for name, value in values.items() if value is not None)


def _form_fields(options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    return _query({**options, **(extra or {})})


def _json_body(url: str, options: Mapping[str, Any], extra: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {
        "url": url,
        **{name: value for name, value in options.items() if value is not None},
        **(extra or {}),
    }


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
