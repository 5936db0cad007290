"""Is an answer the file that was asked for? Sign-in pages, messages and empty answers come with a 2xx and are no files.

Only certain signs count, for what is paid for must never be refused because it begins oddly:

| answer | a result file of a kind, a conversion | the source, the bytes of somebody's upload |
|---|---|---|
| a web page, by its type or beginning | no file, unless the kind is HTML | no file, unless it comes with a file name |
| a JSON object | no file where the kind is never JSON; else if it is a message | the same, if its type is JSON too |
| a text, by its type and all it holds | a file; no file of a conversion | a file |
| nothing; JSON in a 202 | no file | an empty file |
| any 2xx but 200 and 206 | no file where it is fetched by ranges: not there yet | no file: not there yet |

A file name is that of `Content-Disposition`, which no page has; with one, HTML as a type says nothing of a result file.
A 206 proves nothing: nginx sends its maintenance page in ranges, with an ETag (`error_page 502 =200 /page.html`).
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs

from .._api.decoding import decode_json
from .._api.messages import KEPT_BODY_BYTES, ApiResponse, as_utf8, is_html
from .._api.status_errors import decode_error
from .._http.streamed_response import StreamedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from .._errors import ResponseDecodeError

_ACCEPTED = 202
_CONVERSION = "POST"
_WITH_CONTENT = frozenset({200, 206})
_HTML_KINDS = frozenset({"html", "htm", "xhtml"})
_TEXT_KINDS = frozenset({"srt", "vtt", "txt", "csv", "tsv", "sbv", "lrc", "ass", "ssa"})
_NEVER_JSON = _TEXT_KINDS | _HTML_KINDS | {"docx", "pdf", "ttml", "xml", "mp3", "wav", "ogg", "m4a", "flac"}
_MESSAGE_KEYS = frozenset({"detail", "error", "errors", "message"})
_BESIDE_MESSAGE = frozenset(
    {"code", "status", "status_code", "title", "type", "ok", "success", "path", "timestamp", "request_id", "task_id"}
)
_PAGE, _MESSAGE, _NOTHING, _NO_FILE = "a web page", "a message", "empty", "no file"
_ADVICE = {
    _PAGE: "check base_url, and whether a proxy or a sign-in page answers",
    _MESSAGE: "nothing was saved: mend what it says, or ask again when the task is completed",
    _NOTHING: "nothing was saved: ask again; of silence result() gets an empty transcript",
    _NO_FILE: "it is not there yet, or no longer: ask again later, of a result file once the task is completed",
}
_LONGEST_MARK = 4
"""Bytes of the longest byte order mark."""
_LOOKED_AT = 1024
_FIRST_BYTES = b"<{ \t\r\n\f\v\xef\xff\xfe\0"
"""Of pages, messages and byte order marks. What begins otherwise is never waited for."""


def kind_of(path: str) -> str | None:
    """Return the kind of result file that a call's path asks for, in lower case; None for the source media."""
    parent, _, last = path.rpartition("/")
    return unquote(last).lower() if parent.endswith("/downloads") else None


async def checked_body(
    response: StreamedResponse, chunks: AsyncIterator[bytes], kind: str | None, *, method: str = "GET"
) -> FileBody:
    """Return the body of an answer that is the file, as far as its beginning tells.

    Args:
        response: the answer.
        chunks: its body, of which nothing was read.
        kind: the kind of result file, or the format of a conversion; None for the source media.
        method: of the request, for the message.

    Raises:
        ResponseDecodeError: something else came in its place; the message has its first words and its content type.
    """
    read_on = is_html(response.headers) or (method == _CONVERSION and _is_declared_text(response.headers))
    head, is_whole = bytearray(), False
    while not is_whole and len(head) < KEPT_BODY_BYTES and (read_on or _may_be_message(head)):
        chunk = await anext(chunks, None)
        is_whole = chunk is None
        head += chunk or b""
    answer = ApiResponse(
        status_code=response.status_code, headers=response.headers, body=bytes(head), method=method, url=response.url
    )
    _require_file(answer, kind, is_whole=is_whole)
    return FileBody(chunks, answer.body)


@attrs.define(eq=False, repr=False)
class FileBody:
    """The chunks of a body whose beginning was read before. Like what it wraps, it is read once."""

    _chunks: AsyncIterator[bytes]
    _head: bytes

    def __aiter__(self) -> FileBody:
        return self

    async def __anext__(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return await anext(self._chunks)


@asynccontextmanager
async def open_file_stream(
    answer: AbstractAsyncContextManager[StreamedResponse], kind: str
) -> AsyncIterator[StreamedResponse]:
    """Open the answer of a call for a result file of `kind`.

    Raises:
        ResponseDecodeError: it is no file.
    """
    async with answer as response, aclosing(response.chunks()) as chunks:
        stream = FileResponse(response, await checked_body(response, chunks, kind))
        try:
            yield stream
        finally:
            stream.is_read = True


class FileResponse(StreamedResponse):
    """An answer whose beginning was read before.

    Attributes:
        is_read: whether its body was asked for, or is closed.
    """

    def __init__(self, response: StreamedResponse, body: FileBody) -> None:
        super().__init__(response.status_code, response.headers, response._response)  # noqa: SLF001 - of its own class
        self._body = body
        self.is_read = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the body as it arrives, undecoded."""
        if self.is_read:
            async for chunk in super().chunks():  # raises: a body is read once
                yield chunk
        self.is_read = True
        async for chunk in self._body:
            yield chunk


def file_body(answer: ApiResponse, kind: str) -> bytes:
    """Return the body of an answer that holds a result file of `kind`.

    Raises:
        ResponseDecodeError: it is no file.
    """
    _require_file(answer, kind, is_whole=True)
    return answer.body


def empty_file_error(response: StreamedResponse) -> ResponseDecodeError:
    """Return the error for a result file without a byte."""
    return _error_of_head(response, _NOTHING)


def no_file_error(response: StreamedResponse) -> ResponseDecodeError:
    """Return the error for a status that a range of a file cannot have, such as 202 or 204."""
    return _error_of_head(response, _NO_FILE)


def _error_of_head(response: StreamedResponse, problem: str) -> ResponseDecodeError:
    answer = ApiResponse(
        status_code=response.status_code, headers=response.headers, body=b"", method="GET", url=response.url
    )
    return decode_error(answer, None, kind=problem, advice=_ADVICE[problem])


def _require_file(answer: ApiResponse, kind: str | None, *, is_whole: bool) -> None:
    found = _source_problem(answer, is_whole=is_whole) if kind is None else _problem(answer, kind, is_whole=is_whole)
    if found is not None:
        raise decode_error(answer, None, kind=found, advice=_ADVICE[found])


def _source_problem(answer: ApiResponse, *, is_whole: bool) -> str | None:
    if answer.status_code not in _WITH_CONTENT:
        return _NO_FILE
    if _has_file_name(answer.headers):
        return None
    if answer.is_html:
        return _PAGE
    is_json = "json" in answer.headers.get("content-type", "").lower()
    return _MESSAGE if is_json and is_whole and _is_message(answer.body, "") else None


def _problem(answer: ApiResponse, kind: str, *, is_whole: bool) -> str | None:
    kind = kind.lower().rpartition(".")[2]
    # Some servers take whatever has no type of its own for HTML.
    if not _is_html_kind(kind) and is_html({} if _has_file_name(answer.headers) else answer.headers, answer.body):
        return _PAGE
    if is_whole and not answer.body:
        return _NOTHING
    if kind in _TEXT_KINDS and as_utf8(answer.body[:KEPT_BODY_BYTES]).lstrip().startswith(b"<!--"):
        return _PAGE
    if answer.method == _CONVERSION and _is_declared_text(answer.headers) and _is_text(answer.body):
        return _MESSAGE
    if answer.method == _CONVERSION or answer.status_code == _ACCEPTED:
        return _MESSAGE if is_whole and _json_object(answer.body) is not None else None
    return _MESSAGE if is_whole and _is_message(answer.body, kind) else None


def _has_file_name(headers: Mapping[str, str]) -> bool:
    disposition = headers.get("content-disposition", "").lower()
    return "attachment" in disposition or "filename" in disposition


def _is_declared_text(headers: Mapping[str, str]) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind.endswith(("json", "xml"))


def _is_text(body: bytes) -> bool:
    text = body.decode("utf-8", "replace").removesuffix("\ufffd")  # the beginning may end within a character
    return "\ufffd" not in text and all(character.isprintable() or character.isspace() for character in text)


def _is_html_kind(kind: str) -> bool:
    return kind.lower().rpartition(".")[2] in _HTML_KINDS


def _is_message(body: bytes, kind: str) -> bool:
    """Return whether a whole body is a message: a JSON object where there can be none, or one with nothing else."""
    value = _json_object(body)
    if value is None:
        return False
    has_nothing_else = value.keys() <= _MESSAGE_KEYS | _BESIDE_MESSAGE
    return kind in _NEVER_JSON or (has_nothing_else and not value.keys().isdisjoint(_MESSAGE_KEYS))


def _json_object(body: bytes) -> dict[str, object] | None:
    text = as_utf8(body) if len(body) <= KEPT_BODY_BYTES else b""  # no message is longer
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        value = decode_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _may_be_message(start: bytes | bytearray) -> bool:
    """Return whether more of a body has to be read to tell what it is."""
    if len(start) < _LONGEST_MARK:
        return start[:1] in _FIRST_BYTES
    return as_utf8(start[:_LOOKED_AT]).lstrip()[:1] in {b"", b"<", b"{"}
