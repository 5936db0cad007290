"""What is asked and what is answered, as plain values, and how an error status becomes an exception."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from .._errors import (
    ApiStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")

KEPT_BODY_BYTES = 64 * 1024
_REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-correlation-id",
    "x-trace-id",
    "x-amzn-requestid",
    "x-amz-cf-id",
    "cf-ray",
)


class Priority(IntEnum):
    """Who goes first when permits are scarce: a free slot must never wait for a poll."""

    START = 0
    RESULT = 1
    POLL = 2
    DOWNLOAD = 3


@attrs.frozen
class Endpoint:
    """One line of the API.

    Attributes:
        call: the SDK's name for it.
        method: HTTP method.
        template: path below the base URL.
        priority: its place in the queue for permits.
        billable: True where sending it twice may be paid for twice.
        accept: the media type to ask for.
        answers: error statuses that are an answer of this call and no error (A3).
    """

    call: str
    method: str
    template: str
    priority: Priority = Priority.RESULT
    billable: bool = False
    accept: str = "application/json"
    answers: frozenset[int] = frozenset()


@attrs.frozen(kw_only=True)
class ApiRequest:
    """A call ready to be sent.

    Attributes:
        endpoint: which call.
        path: path below the base URL, escaped.
        query: query parameters.
        json: JSON body, or None.
        fields: form fields that go beside the file, or None where no file is sent.
    """

    endpoint: Endpoint
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Mapping[str, Any] | None = None
    fields: tuple[tuple[str, str], ...] | None = None


@attrs.frozen(kw_only=True)
class ApiResponse:
    """An answer, read to its end.

    Attributes:
        status_code: HTTP status.
        headers: names in lower case; of a repeated header the last value.
        body: the decoded body.
        method: of the request.
        url: of the request, without query.
    """

    status_code: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    method: str = ""
    url: str = ""

    @property
    def request_id(self) -> str | None:
        """The id under which the service or its proxy knows this request."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if self.headers.get(name)), None)

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status_code < 300  # noqa: PLR2004 - RFC 9110, section 15


@attrs.frozen
class RawResponse(Generic[T]):
    """An answer with its status, headers and body, and what the SDK reads in it.

    Attributes:
        status_code: HTTP status.
        headers: names in lower case.
        body: the decoded body.
        request_id: the id under which the service or its proxy knows this request, or None.
    """

    _response: ApiResponse = attrs.field(alias="response")
    _parse: Callable[[ApiResponse], T] = attrs.field(alias="parse", repr=False)

    @property
    def status_code(self) -> int:
        """HTTP status."""
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, names in lower case."""
        return self._response.headers

    @property
    def body(self) -> bytes:
        """The answer's decoded body."""
        return self._response.body

    @property
    def request_id(self) -> str | None:
        """The id under which the service or its proxy knows this request."""
        return self._response.request_id

    def parse(self) -> T:
        """Read the value that the call without `with_raw_response` gives.

        Raises:
            ResponseDecodeError: the body is not what the contract promises.
        """
        return self._parse(self._response)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3; A12). Never negative."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError, OverflowError):  # no date, a date without a zone, a year out of range
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def error_of(response: ApiResponse, now: datetime, *, billable: bool = False) -> ApiStatusError:
    """Turn an answer that is no success into the exception it deserves."""
    detail = readable_detail(response.body)
    limit = _named_limit(detail or "")
    status = response.status_code
    cls = _class_of(status)
    if status == 403 and billable and limit == "concurrency":  # noqa: PLR2004 - A13
        cls = RateLimitError
    request_id = response.request_id
    error = cls(
        f"{response.method} {response.url}: {status}"
        + (f" {detail}" if detail else "")
        + (f" (request {request_id})" if request_id else ""),
        status_code=status,
        detail=detail,
        request_id=request_id,
        retry_after=retry_after_seconds(response.headers, now),
        body=response.body[:KEPT_BODY_BYTES],
        method=response.method,
        url=response.url,
    )
    if isinstance(error, RateLimitError):
        error.limit = limit
    return error


_CLASSES: Mapping[int, type[ApiStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
}


def _class_of(status: int) -> type[ApiStatusError]:
    if status >= 500:  # noqa: PLR2004
        return ServerError
    if status >= 400:  # noqa: PLR2004
        return _CLASSES.get(status, BadRequestError)
    return ApiStatusError  # a redirect that cannot be followed


def _named_limit(detail: str) -> str | None:
    words = detail.lower()
    for name, pattern in _LIMIT_WORDS:
        if re.search(pattern, words):
            return name
    return None


_LIMIT_WORDS = (
    ("concurrency", r"concurren|simultaneous|parallel|at once|in flight"),
    ("daily", r"\bdaily\b|\bday\b"),
    ("monthly", r"\bmonth"),
    ("burst", r"minute|burst|second|too many|rate"),
)


def readable_detail(body: bytes) -> str | None:
    """Render an error body's `detail`, whatever JSON it is (A15); of a body that is not JSON its first line."""
    try:
        value = json.loads(body[:KEPT_BODY_BYTES])
        if isinstance(value, dict):
            value = next((value[key] for key in ("detail", "message", "reason", "error") if value.get(key)), value)
        return _sentence(value)
    except (ValueError, RecursionError):
        return _first_line(body)


def _sentence(value: object) -> str | None:
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, str):
        return _shortened(value) or None
    if isinstance(value, Sequence) and all(isinstance(item, dict) and "msg" in item for item in value):
        return _shortened("; ".join(_validation_line(item) for item in value))
    return _shortened(json.dumps(value, ensure_ascii=False))


def _validation_line(item: Mapping[str, Any]) -> str:
    place = item.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else str(place or "")
    return f"{where}: {item['msg']}" if where else str(item["msg"])


def _first_line(body: bytes) -> str | None:
    text = body[:1000].decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):  # a proxy's HTML page says nothing that the status does not
        return None
    return _shortened(text.splitlines()[0])


def _shortened(text: str, most: int = 500) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[:most]}..."
