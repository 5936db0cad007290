"""Reads a multipart form as it arrives: the file goes to disk in big slices, hashed on the way, never into memory.

The form is that of `upload` and `convert-audio` (contract: "multipart form, the file in field `file`"; A1, A6). Names
of files are raw UTF-8 (RFC 7578 section 4.2) in which a quote and line ends are percent-encoded, as browsers do (WHATWG
HTML, "multipart form data").
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ._responses import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request

SLICE = 1 << 20
"""Bytes that are gathered before a thread writes them."""
INLINE = 1 << 16
"""A last slice up to this size is written on the loop: a thread would cost more than the write."""
MAX_FIELD = 1 << 16
MAX_PARTS = 100
_ESCAPES = {"%22": '"', "%0d": "\r", "%0a": "\n"}


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that arrived whole: `name` as the sender gave it, `path` of our own."""

    name: str
    content_type: str
    path: Path
    size: int
    sha256: str


@dataclass(slots=True)
class Form:
    """What a form held."""

    file: ReceivedFile
    fields: dict[str, str] = field(default_factory=dict)


async def receive_form(request: Request, folder: Path, *, max_bytes: int | None = None) -> Form:
    """Read the form of a request, its file into `folder`; ApiError if it is malformed, incomplete or too large.

    On any error, the client's leaving included, no file stays behind. On success the caller owns the file.
    """
    boundary = _boundary(request)
    if max_bytes is not None and int(request.headers.get("content-length", "0")) > max_bytes + MAX_FIELD:
        raise _too_large(max_bytes)
    reader = _FormReader(boundary, folder, max_bytes)
    try:
        return await reader.read(request.stream())
    except BaseException:
        reader.discard()
        raise


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", "").encode("latin-1"))
    if kind != b"multipart/form-data":
        raise invalid((["body", "file"], "Field required: send multipart/form-data."))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise ApiError(400, "The form has no boundary.")
    return boundary


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"The file is too large: the plan allows {max_bytes} bytes (max_upload_bytes).")


class _FormReader:
    def __init__(self, boundary: bytes, folder: Path, max_bytes: int | None) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._fields: dict[str, str] = {}
        self._file: _FileWriter | None = None
        self._part: _Part | None = None
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as problem:
            raise ApiError(400, f"Malformed form: {problem}") from None

    async def read(self, body: AsyncIterator[bytes]) -> Form:
        async for piece in body:
            try:
                self._parser.write(piece)
            except FormParserError as problem:
                raise ApiError(400, f"Malformed form: {problem}") from None
            if self._file is not None:
                if self._max_bytes is not None and self._file.size > self._max_bytes:
                    raise _too_large(self._max_bytes)
                await self._file.flush(SLICE)
        if not self._ended:
            raise ApiError(400, "Malformed form: it ends before its closing boundary.")
        if self._file is None:
            raise invalid((["body", "file"], "Field required: a file."))
        return Form(await self._file.finish(), self._fields)

    def discard(self) -> None:
        if self._file is not None:
            self._file.discard()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ApiError(400, f"The form has more than {MAX_PARTS} parts.")
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None  # noqa: S101  (the parser begins a part first)
        self._part.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None  # noqa: S101
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        assert self._part is not None  # noqa: S101
        self._part.keep_header()

    def _headers_finished(self) -> None:
        assert self._part is not None  # noqa: S101
        part = self._part
        part.understand()
        if part.field == "file" and part.file_name is not None and self._file is None:
            self._file = part.writer = _FileWriter(part.file_name, part.content_type, self._folder)

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None  # noqa: S101
        if self._part.writer is not None:
            self._part.writer.gather(data, start, end)
        elif len(self._part.text) + end - start > MAX_FIELD:
            raise ApiError(400, f"The field {self._part.field!r} is longer than {MAX_FIELD} bytes.")
        else:
            self._part.text += data[start:end]

    def _end_part(self) -> None:
        part = self._part
        if part is not None and part.writer is None and part.file_name is None:
            self._fields[part.field] = part.text.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


class _Part:
    """A part of the form while it is read."""

    def __init__(self) -> None:
        self.name, self.value, self.text = bytearray(), bytearray(), bytearray()
        self.headers: dict[str, bytes] = {}
        self.field = ""
        self.file_name: str | None = None
        self.content_type = "application/octet-stream"
        self.writer: _FileWriter | None = None

    def keep_header(self) -> None:
        self.headers[self.name.decode("latin-1").lower()] = bytes(self.value)
        self.name.clear()
        self.value.clear()

    def understand(self) -> None:
        disposition = self.headers.get("content-disposition", b"")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise ApiError(400, "Malformed form: a part has no Content-Disposition with a name.")
        self.field = _unescape(options[b"name"])
        if b"filename" in options:
            self.file_name = _unescape(options[b"filename"])
        elif extended := re.search(rb"filename\*=utf-8''([^;\s]+)", disposition, re.IGNORECASE):
            # RFC 7578 forbids this form, yet older HTTP libraries send it for names beyond ASCII.
            self.file_name = unquote(extended[1].decode("latin-1"))
        if "content-type" in self.headers:
            self.content_type = self.headers["content-type"].decode("latin-1")


def _unescape(name: bytes) -> str:
    text = name.decode("utf-8", "replace")
    return re.sub("%(?:22|0d|0a)", lambda match: _ESCAPES[match[0].lower()], text, flags=re.IGNORECASE)


class _FileWriter:
    """Gathers slices on the loop, hashes and writes them in a thread."""

    def __init__(self, name: str, content_type: str, folder: Path) -> None:
        self._name, self._content_type = name, content_type
        self._path = folder / uuid.uuid4().hex
        self._file: BinaryIO = self._path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._lock = threading.Lock()
        self.size = 0

    def gather(self, data: bytes, start: int, end: int) -> None:
        self._gathered += memoryview(data)[start:end]
        self.size += end - start

    async def flush(self, at_least: int) -> None:
        if len(self._gathered) < at_least:
            return
        gathered, self._gathered = self._gathered, bytearray()
        if len(gathered) <= INLINE:
            self._write(gathered)
        else:
            await asyncio.to_thread(self._write, gathered)

    async def finish(self) -> ReceivedFile:
        await self.flush(1)
        self._file.close()
        return ReceivedFile(self._name, self._content_type, self._path, self.size, self._hash.hexdigest())

    def discard(self) -> None:
        with self._lock:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, gathered: bytearray) -> None:
        with self._lock:
            if self._file.closed:
                return  # the request was cancelled while this waited for a thread
            self._hash.update(gathered)
            view = memoryview(gathered)
            while view:
                view = view[self._file.write(view) :]
