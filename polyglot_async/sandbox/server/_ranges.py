"""Serves a file from disk, whole or by a single byte range (A7; RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from ._responses import error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

PIECE = 512 * 1024
"""Bytes read at once, in a thread."""
_SLICES_PER_SECOND = 20
_SINGLE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII)
_MAX_DIGITS = 20
"""Beyond them a number is larger than any file."""
_OTHER_BYTES = bytes(reversed(range(256)))
_TRANSCODED_HEAD = b"transcoded by the sandbox\n"


class UnsatisfiableError(Exception):
    """No byte of the file is in the range, or the range makes no sense: 416."""


@dataclass(frozen=True, slots=True)
class ServedRange:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


def parse_range(header: str | None, size: int) -> ServedRange | None:
    """Return the range that a Range header asks for, None if it is to be ignored; UnsatisfiableError for a 416.

    Another unit than bytes, several ranges at once, an empty list of ranges, and a range that begins an empty file
    are ignored, which RFC 9110 section 14.2 allows; what is no range at all is refused, which it allows too. nginx does
    the same, except that it answers several ranges with several parts.
    """
    unit, _, specifier = (header or "").strip().partition("=")
    if unit.lower() != "bytes" or not specifier or "," in specifier:
        return None
    match = _SINGLE.fullmatch(specifier)
    if match is None or not any(match.groups()):
        raise UnsatisfiableError
    first, last = match.groups()
    if first:
        served = ServedRange(_number(first), min(_number(last) + 1, size) if last else size)
    else:
        served = ServedRange(max(0, size - _number(last)), size)
    if served.start == size == 0:
        return None
    if served.start >= size or (first and last and _number(last) < _number(first)):
        raise UnsatisfiableError
    return served


def _number(digits: str) -> int:
    return int(digits.lstrip("0")[:_MAX_DIGITS] or "0")


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file to be served and what is said about it."""

    path: Path
    content_type: str
    etag: str
    disposition: str | None = None


def serve_file(
    served_file: ServedFile, method: str, headers: Mapping[str, str], *, rate: float | None = None
) -> Response:
    """Return the answer to a GET or HEAD of a file; `rate` caps the bytes per second of this connection.

    FileNotFoundError if the file is not there.
    """
    file = _OpenFile(served_file.path)
    size, modified = file.size, file.modified
    try:
        answer_headers = {
            "Accept-Ranges": "bytes",
            "Content-Type": served_file.content_type,
            "ETag": served_file.etag,
            "Last-Modified": modified,
        }
        if served_file.disposition:
            answer_headers["Content-Disposition"] = served_file.disposition
        wanted = headers.get("range") if _unchanged(headers.get("if-range"), served_file.etag, modified) else None
        served = parse_range(wanted, size)
    except UnsatisfiableError:
        file.close()
        refusal = error(416, "The range cannot be satisfied.")
        refusal.headers["Content-Range"] = f"bytes */{size}"
        return refusal
    except BaseException:
        file.close()
        raise
    status = 200 if served is None else 206
    if served is not None:
        answer_headers["Content-Range"] = f"bytes {served.start}-{served.end - 1}/{size}"
    served = served or ServedRange(0, size)
    answer_headers["Content-Length"] = str(served.length)
    if method == "HEAD":
        file.close()
        return Response(status_code=status, headers=answer_headers)
    return FileResponse(file, served, status, answer_headers, rate)


def transcoded(path: Path) -> Path:
    """Return a file beside `path` whose every byte and whose size differ from it, as a transcoding service's do."""
    target = path.with_name(f"{path.name}.transcoded")
    if not target.exists():
        beside = path.with_name(f"{path.name}.{threading.get_ident()}.part")
        with path.open("rb") as source, beside.open("wb") as output:
            output.write(_TRANSCODED_HEAD)
            while piece := source.read(PIECE):
                output.write(piece.translate(_OTHER_BYTES))
        beside.replace(target)
    return target


def _unchanged(if_range: str | None, etag: str, modified: str) -> bool:
    """Whether a Range counts: If-Range must match exactly (RFC 9110 section 13.1.5); our validators are strong."""
    return if_range is None or if_range.strip() in {etag, modified}


class _OpenFile:
    """A file that may be closed while a thread still reads for an answer that nobody waits for any more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        status = os.fstat(self._file.fileno())
        self.size, self.modified = status.st_size, formatdate(status.st_mtime, usegmt=True)

    def read_at(self, at: int, size: int) -> bytes:
        with self._lock:
            if self._file.closed:
                return b""
            self._file.seek(at)
            return self._file.read(size) or b""

    def close(self) -> None:
        with self._lock:
            self._file.close()


class FileResponse(StreamingResponse):
    """Streams a range of an open file and closes it whatever happens."""

    def __init__(
        self, file: _OpenFile, served: ServedRange, status: int, headers: Mapping[str, str], rate: float | None = None
    ) -> None:
        super().__init__(_pieces(file, served, rate), status, headers)
        self._file = file
        self.then: Callable[[], None] | None = None
        """Called when the answer is over, however it went."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            if self.then is not None:
                self.then()


async def _pieces(file: _OpenFile, served: ServedRange, rate: float | None) -> AsyncIterator[bytes]:
    at, clock = served.start, asyncio.get_running_loop()
    started = clock.time()
    piece = PIECE if rate is None else max(1, min(PIECE, int(rate / _SLICES_PER_SECOND)))
    while at < served.end:
        data = await asyncio.to_thread(file.read_at, at, min(piece, served.end - at))
        if not data:
            return  # the file shrank: the client sees a short answer
        at += len(data)
        yield data
        if rate is not None:
            await asyncio.sleep(max(0.0, started + (at - served.start) / rate - clock.time()))
