"""Requests and answers as plain values."""

from __future__ import annotations

import json
import re
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
# What no file but a web page begins with (WHATWG MIME Sniffing, 7.1, without what subtitles are marked up with).
# Possessive, so that many comments are not tried in all their combinations. What is declared as XML may have a <title>.
_COMMENTS = rb"\s*+(?><!--.*?-->\s*+)*+"
_HTML_START = re.compile(
    rb"%b(?:<\?xml\b[^>]*+>%b)?+<(?:!doctype\s+html|html)(?![\w-])|%b<(?:head|body|title|meta|script|style)(?![\w-])"
    % (_COMMENTS, _COMMENTS, _COMMENTS),
    re.IGNORECASE | re.DOTALL,
)
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}


class Priority(IntEnum):
    """Who goes first when permits are scarce: a free task slot must never wait for a poll."""

    START = 0
    RESULT = 1
    POLL = 2
    DOWNLOAD = 3


@attrs.frozen(eq=False, repr=False)
class Endpoint:
    """One line of the API.

    Attributes:
        call: the SDK's name for it.
        method: HTTP method.
        template: path below the base URL.
        priority: its place in the queue for permits.
        billable: True where sending it twice may be paid for twice.
        accept: the media type to ask for.
        answers: error statuses that are an answer of this call and no error.
    """

    call: str
    method: str
    template: str
    priority: Priority = Priority.RESULT
    billable: bool = False
    accept: str = "application/json"
    answers: frozenset[int] = frozenset()


@attrs.frozen(kw_only=True, eq=False, repr=False)
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

    @property
    def is_html(self) -> bool:
        """True for a web page, by its content type or by how the body begins."""
        return is_html(self.headers, self.body)


class AnsweredBy(Enum):
    """Who sent an answer where JSON is due."""

    SERVICE = "JSON, even if it is cut short or of another shape"
    PROXY = "a page"
    UNKNOWN = "a text or nothing"


def answered_by(body: bytes) -> AnsweredBy:
    """Return who sent an answer where JSON is due, by its body alone: an error keeps no headers.

    Files are not JSON, and a result file may begin with markup: whether one is a page in its place, `is_html` tells.
    """
    start = as_utf8(body[:KEPT_BODY_BYTES]).lstrip()
    if start.startswith(b"<"):
        return AnsweredBy.PROXY
    if start.startswith((b"{", b"[")):
        return AnsweredBy.SERVICE
    try:
        json.loads(start)
    except ValueError:
        return AnsweredBy.UNKNOWN
    return AnsweredBy.SERVICE


def is_html(headers: Mapping[str, str], start: bytes = b"") -> bool:
    """Return whether an answer is a web page: by its content type, or by the first bytes of its body."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return content_type in _HTML_TYPES or _HTML_START.match(as_utf8(start[:KEPT_BODY_BYTES])) is not None


def as_utf8(start: bytes | bytearray) -> bytes:
    """Return a text's first bytes as UTF-8 without a byte order mark, if they are UTF-16; any others as they are."""
    encoding = _UTF16.get(bytes(start[:2])) if len(start) > len(_UTF8_MARK) else None
    if encoding is not None:
        return start.decode(encoding, "replace").encode("utf-8", "replace")
    return bytes(start.removeprefix(_UTF8_MARK))


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
    _value: T = attrs.field(alias="value", repr=False)

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
        """Return the value that the call without `with_raw_response` returns."""
        return self._value
