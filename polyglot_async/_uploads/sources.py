"""Anything that can be uploaded, as a name, a type, a size and a stream of chunks.

The sources: a path, bytes, an open binary file (sync or async), an iterator of bytes (sync or async), another HTTP
response, or a pair `(name, source)`. A `str` is always a path, `bytes` are always the media itself.

Whatever blocks (a file, a sync iterator) is read by `read_ahead` in a worker thread. What can be read again from its
true beginning is `replayable`; the rest can be opened once: a second `open` raises, where others send an empty body.
"""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePath
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

import anyio
import attrs

from .._errors import MediaError
from .chunks import Chunks, as_media_errors, passing, read_async_file, read_file, read_iterator, reason_of
from .file_reader import CHUNK_BYTES
from .media_types import media_type_of, refined_by_name

_SNIFFED_BYTES = 16


@runtime_checkable
class ByteStreamResponse(Protocol):
    """A response of httpx, or of anything that streams like it."""

    @property
    def headers(self) -> Any:
        """The headers of the response; `Content-Length` gives the size."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the decoded body."""
        ...


Content: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | anyio.AsyncFile[bytes]
    | Iterable[bytes]
    | AsyncIterable[bytes]
    | ByteStreamResponse
)
MediaSource: TypeAlias = Content | tuple[str, Content]

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Chunks]]


@attrs.define
class Media:
    """Something to upload.

    Attributes:
        name: the file name to send; never a path.
        content_type: MIME type, from the first bytes or else from the name's suffix.
        size: bytes, or None where nobody knows before the end.
        replayable: whether it can be read again from its true beginning.
        path: where it lies on disk, for what was given as a path.
    """

    name: str
    content_type: str
    size: int | None
    replayable: bool
    path: Path | None = None
    _opener: Opener = attrs.field(repr=False, kw_only=True)
    _opened: bool = attrs.field(default=False, init=False, repr=False)

    def open(self) -> AbstractAsyncContextManager[Chunks]:
        """Open the stream of chunks; leaving the context closes the file and ends the reader's thread.

        Raises:
            MediaError: it was opened before and cannot be read again, or it cannot be read.
        """
        if self._opened and not self.replayable:
            raise MediaError(f"{self.name}: was read before and cannot be read again from its beginning")
        self._opened = True
        return self._opener()


def media_from(
    source: MediaSource, *, name: str | None = None, size: int | None = None, content_type: str | None = None
) -> Media:
    """Look at `source` and make `Media` of it; the file system is asked, nothing is read but the first bytes.

    `name`, `size` (bytes) and `content_type` overrule what the source says of itself; `size` is for iterators whose
    length the caller knows.

    Raises:
        MediaError: missing, not a file, unreadable, empty.
        TypeError: not a kind of source that is known here.
        ValueError: a negative size, or no MIME type.
    """
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[0], str | None):  # noqa: PLR2004 - a pair
            raise TypeError("a tuple must be a pair of a file name and what to upload under it")
        name, source = name or source[0], source[1]
    if size is not None and size < 0:
        raise ValueError(f"a size of {size} bytes is none")
    if content_type is not None and not _is_mime_type(content_type):
        raise ValueError(f"{content_type!r} is not a MIME type")
    media = _recognise(source)
    if name is not None:
        media.name = _base_name(name)
        media.content_type = refined_by_name(media.content_type, media.name)
    media.content_type = content_type or media.content_type
    if size is not None and media.path is None:
        media.size = size
    if media.size == 0:
        raise MediaError(f"{media.name}: is empty")
    return media


def _is_mime_type(text: str) -> bool:
    return "/" in text and text.isascii() and text.isprintable()


def _recognise(source: object) -> Media:
    if isinstance(source, list):
        source = b"".join(source)
    if isinstance(source, str | os.PathLike):
        return _from_path(Path(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source))
    if isinstance(source, io.TextIOBase):
        raise MediaError("the file is open in text mode: open it with mode 'rb'")
    if isinstance(source, ByteStreamResponse):
        return _from_response(source)
    if callable(getattr(source, "read", None)):
        return _from_async_file(source) if inspect.iscoroutinefunction(source.read) else _from_file(source)  # type: ignore[attr-defined]
    if isinstance(source, AsyncIterable):
        return _once("upload.bin", None, lambda: passing(source))
    if isinstance(source, Iterable) and not isinstance(source, Mapping | tuple):
        return _once("upload.bin", None, lambda: read_iterator(iter(source)))
    raise TypeError(f"cannot upload a {type(source).__name__}: give a path, bytes, a binary file or an iterator")


def _once(name: str, size: int | None, opener: Opener) -> Media:
    return Media(name, media_type_of(name, b""), size, replayable=False, opener=opener)


def _from_path(path: Path) -> Media:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise MediaError(f"{path}: is a directory, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise MediaError(f"{path}: is not a regular file; open it and give the open file instead")
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES)
    except FileNotFoundError:
        raise MediaError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MediaError(f"{path}: cannot be read: {reason_of(error)}") from None
    size = found.st_size

    def opener() -> AbstractAsyncContextManager[Chunks]:
        return read_file(lambda: path.open("rb", buffering=0), str(path), size, close=True)

    return Media(path.name, media_type_of(path.name, start), size, replayable=True, path=path, opener=opener)


def _from_bytes(data: bytes) -> Media:
    async def chunks() -> Chunks:
        for offset in range(0, len(data), CHUNK_BYTES):
            yield data[offset : offset + CHUNK_BYTES]

    content_type = media_type_of("", data[:_SNIFFED_BYTES])
    return Media("upload.bin", content_type, len(data), replayable=True, opener=lambda: passing(chunks()))


def _from_file(file: Any) -> Media:
    """Take an open file from where it stands; it stays open, for it is the caller's."""
    name = _name_of(file)
    try:
        if not file.readable():
            raise MediaError(f"{name}: is not open for reading")
        start, size = _measure(file)
        head = _peek(file, start)
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, AttributeError):  # a file-like object with `read` alone
            start, size, head = None, None, b""
        else:
            raise MediaError(f"{name}: cannot be read: {reason_of(error)}") from None
    if isinstance(head, str):
        raise MediaError(f"{name}: is open in text mode: open it with mode 'rb'")

    def rewound() -> Any:
        if start is not None:
            file.seek(start)
        return file

    def opener() -> AbstractAsyncContextManager[Chunks]:
        return read_file(rewound, name, size, close=False)

    return Media(name, media_type_of(name, head), size, replayable=start is not None, opener=opener)


def _from_async_file(file: Any) -> Media:
    # A file of anyio or Trio is a sync file whose calls run in a thread; that file is read by our thread directly.
    wrapped = getattr(file, "wrapped", None)
    if wrapped is not None:
        return _from_file(wrapped)
    return _once(_name_of(file), None, lambda: passing(read_async_file(file)))


def _from_response(response: ByteStreamResponse) -> Media:
    url = getattr(response, "url", "")
    name = _base_name(str(getattr(url, "path", "")) or "upload.bin")
    length = response.headers.get("content-length", "")
    # With a Content-Encoding the length counts the encoded bytes, and decoded ones are read here.
    size = int(length) if length.isdecimal() and not response.headers.get("content-encoding") else None
    media = _once(name, size, lambda: passing(as_media_errors(response.aiter_bytes(), name)))
    told = response.headers.get("content-type") or ""
    media.content_type = told if _is_mime_type(told) else media.content_type
    return media


def _measure(file: Any) -> tuple[int | None, int | None]:
    """Tell where the file stands and how many bytes follow; Nones where it cannot seek."""
    if not file.seekable():
        return None, None
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    return start, max(0, end - start)


def _peek(file: Any, start: int | None) -> Any:
    if start is None:
        return b""
    head = file.read(_SNIFFED_BYTES)
    file.seek(start)
    return head


def _name_of(file: Any) -> str:
    name = getattr(file, "name", None)
    if not isinstance(name, str):
        name = getattr(file, "filename", None)  # a web framework's upload
    return _base_name(name) if isinstance(name, str) and not name.startswith("<") else "upload.bin"


def _base_name(name: str) -> str:
    # A URL's path or the name of another system's file may hold either slash.
    name = PurePath(name.replace("\\", "/")).name
    return name if name not in {"", ".."} else "upload.bin"
