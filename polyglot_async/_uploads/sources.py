"""Anything that can be uploaded, as a name, a type, a size and a stream of chunks.

The sources: a path, bytes, an open binary file (sync or async), an iterator of bytes (sync or async), a response of
another HTTP library, or a pair `(name, source)`. A `str` is always a path, `bytes` are always the media itself.

Whatever blocks (a file, a sync iterator) is read by `read_ahead` in a worker thread. What can be read again from its
true beginning is `replayable`; the rest can be opened once: a second `open` raises, where others send an empty body.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, Collection, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs

from .._api.urls import bare_url, is_any_url, is_media_url
from .._errors import MediaError
from .file_reader import (
    CHUNK_BYTES,
    Chunks,
    FileOnce,
    FileVersion,
    measure,
    name_of,
    read_file,
    read_whole,
    reason_of,
    version_of,
)
from .fingerprint import MediaHasher, is_same_digest
from .media_types import (
    DEFAULT_NAME,
    SNIFFED_BYTES,
    base_name,
    is_media_type,
    is_mime_type,
    media_type_of,
    with_suffix,
)
from .streams import (
    ByteStreamResponse,
    StreamOpener,
    check_head,
    head_of,
    open_response,
    pass_on,
    read_async_file,
    read_bytes,
    read_iterator,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .fingerprint import MediaDigest

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


@attrs.define
class Media:
    """Something to upload.

    Attributes:
        name: the file name to send; never a path.
        content_type: MIME type, from the first bytes or else from the name's suffix.
        size: bytes, or None where nobody knows before the end.
        replayable: whether it can be read again from its true beginning.
        path: where it lies on disk, for what was given as a path.
        may_be_page: whether its first bytes have still to show that it is no error page or sign-in page of a server.
    """

    name: str
    content_type: str
    size: int | None
    replayable: bool
    path: Path | None = None
    may_be_page: bool = False
    _opener: StreamOpener = attrs.field(repr=False, kw_only=True)
    _opened: bool = attrs.field(default=False, init=False, repr=False)

    def open(self, chunk_bytes: int = CHUNK_BYTES) -> AbstractAsyncContextManager[Chunks]:
        """Open the stream of chunks; leaving the context closes the file and ends the reader's thread.

        The stream raises MediaError in the place of its end if a file changed since it was first looked at.

        Raises:
            MediaError: it was opened before and cannot be read again, or it cannot be read.
        """
        if self._opened and not self.replayable:
            raise MediaError(f"{self.name}: was read before and cannot be read again from its beginning")
        self._opened = True
        return self._opener(self.name, chunk_bytes)

    async def content(self, digest: MediaDigest) -> tuple[int, str] | None:
        """Read it once more, and return its size and hexadecimal SHA-256; None unless it still has this digest."""
        if not self.replayable:
            return None
        sha256, hasher = hashlib.sha256(), MediaHasher()
        try:
            async with self.open() as chunks:
                async for chunk in chunks:
                    sha256.update(chunk)
                    hasher.update(chunk)
        except MediaError:
            return None
        return (hasher.size, sha256.hexdigest()) if is_same_digest(digest, hasher.digest()) else None


def media_from(
    source: MediaSource, *, name: str | None = None, size: int | None = None, content_type: str | None = None
) -> Media:
    """Return `source` as `Media`; the file system is asked, nothing is read but the first bytes.

    `name` and `content_type` overrule what the source says of itself; `size` (bytes) is for sources whose length only
    the caller knows. A name without a suffix, unless given here, gets that of the type: `upload.wav`.

    Raises:
        MediaError: missing, not a file, unreadable, empty, of another size, a URL, or a response without media.
        TypeError: not a kind of source that is known here, or an argument of a wrong type.
        ValueError: a negative size, or no MIME type.
    """
    if isinstance(source, tuple):
        if len(source) != 2 or not isinstance(source[0], str | None):  # noqa: PLR2004 - a pair
            raise TypeError("a tuple must be a pair of a file name and what to upload under it")
        name, source = name or source[0], source[1]
    if name is not None or size is not None or content_type is not None:
        _check_arguments(name, size, content_type)
    media = _recognise(source, may_be_page=content_type is None)
    if name:
        media.name = base_name(name)
        media.content_type = media_type_of(media.name, kind=media.content_type)
    media.content_type = content_type or media.content_type
    if not name or media.name == DEFAULT_NAME:
        media.name = with_suffix(media.name, media.content_type)
    if size is not None:
        if media.size not in {None, size}:
            raise MediaError(f"{media.name}: has {media.size} bytes, but size={size} was given")
        media.size = size
    if media.size == 0:
        raise MediaError(f"{media.name}: is empty")
    return media


def _check_arguments(name: str | None, size: Any, content_type: str | None) -> None:
    given: dict[str, Any] = {"name": name, "content_type": content_type}
    for parameter, value in given.items():
        if not isinstance(value, str | None):
            raise TypeError(f"{parameter} must be a str, not {type(value).__name__}")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
        raise TypeError(f"size must be a whole number of bytes, not {size!r}")
    if size is not None and size < 0:
        raise ValueError(f"size must not be negative: {size} bytes")
    if content_type is not None and not is_mime_type(content_type):
        raise ValueError(f"content_type {content_type!r} is not a MIME type")


def _recognise(source: object, *, may_be_page: bool) -> Media:
    if isinstance(source, str | os.PathLike):
        return _from_path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source))
    if isinstance(source, io.TextIOBase):
        raise MediaError("the file is open in text mode: open it with mode 'rb'")
    if (media := _from_response(source, may_be_page=may_be_page)) is not None:
        return media
    if callable(getattr(source, "read", None)) and not isinstance(source, type):
        return _from_async_file(source) if inspect.iscoroutinefunction(source.read) else _from_file(source)  # type: ignore[attr-defined]
    if isinstance(source, AsyncIterable):
        return _once(DEFAULT_NAME, None, lambda name, _: pass_on(source, name))
    # A collection (list, array, DataFrame, dict) is not a stream of bytes, whatever it iterates over.
    if isinstance(source, Iterable) and not isinstance(source, Collection):
        return _once(DEFAULT_NAME, None, lambda name, _: read_iterator(iter(source), name))
    hint = ""
    if isinstance(source, list | tuple | set):
        hint = "; use `batch` for many sources, b''.join(...) for chunks of one"
    elif hasattr(source, "__array__"):
        hint = "; write the samples to a WAV file first (see the module `wave`)"
    raise TypeError(
        f"cannot upload a {type(source).__name__}: pass a path, bytes, a binary file, an iterator of bytes "
        f"or an HTTP response{hint}"
    )


def _once(name: str, size: int | None, opener: StreamOpener) -> Media:
    return Media(name, media_type_of(name), size, replayable=False, opener=opener)


def _from_path(given: str | os.PathLike[str]) -> Media:
    path, shown = Path(given), str(given) or "."
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise MediaError(f"{shown}: is a directory, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise MediaError(f"{shown}: is not a regular file; open it and give the open file instead")
        with path.open("rb", buffering=0) as file:
            start = file.read(SNIFFED_BYTES)
            version = FileVersion.of(os.fstat(file.fileno()))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(given, error) from None
    kind = media_type_of(path.name, start)
    opener = partial(_open_path, path, version, shown)
    return Media(path.name, kind, version.size, replayable=True, path=path, opener=opener)


def _unreadable(given: str | os.PathLike[str], error: Exception) -> MediaError:
    """Return the error for a path that cannot be read; it may be a URL."""
    shown, hint = str(given) or ".", ""
    if is_any_url(shown):
        shown, hint = bare_url(shown), ", and only http and https URLs can be used with from_url"
        if is_media_url(given):
            return MediaError(f"{shown}: is a URL, not a file: use from_url")
    if isinstance(error, FileNotFoundError):
        return MediaError(f"{shown}: there is no such file{hint}")
    return MediaError(f"{shown}: cannot be read: {reason_of(error)}")


def _open_path(
    path: Path, version: FileVersion, shown: str, _name: str, chunk_bytes: int
) -> AbstractAsyncContextManager[Chunks]:
    if version.size <= chunk_bytes:
        return aclosing(read_whole(path, version, shown))
    opened = partial(path.open, "rb", buffering=0)
    return read_file(FileOnce(opened, shown, version.size, version, path, chunk_bytes), close=True)


def _from_bytes(data: bytes) -> Media:
    kind = media_type_of("", data[:SNIFFED_BYTES])
    return Media(DEFAULT_NAME, kind, len(data), replayable=True, opener=partial(read_bytes, data))


def _from_file(file: Any, name: str | None = None) -> Media:
    """Return an open file as media, from where it stands; it stays open, for it is the caller's."""
    name = name or name_of(file)
    try:
        if not getattr(file, "readable", lambda: True)():
            raise MediaError(f"{name}: is not open for reading")
        start, size, head = measure(file)
    except (OSError, ValueError) as error:
        raise MediaError(f"{name}: cannot be read: {reason_of(error)}") from None
    if isinstance(head, str):
        raise MediaError(f"{name}: is open in text mode: open it with mode 'rb'")
    if start and size == 0:
        raise MediaError(f"{name}: is at its end: nothing left to read; seek(0) first")
    version = version_of(file)

    def rewound() -> Any:
        if start is not None:
            file.seek(start)
        return file

    def opener(name: str, chunk_bytes: int) -> AbstractAsyncContextManager[Chunks]:
        return read_file(FileOnce(rewound, name, size, version, None, chunk_bytes), close=False)

    return Media(name, media_type_of(name, head), size, replayable=start is not None, opener=opener)


def _from_async_file(file: Any) -> Media:
    # The async files of anyio and Trio, and the uploads of web frameworks, wrap a sync file, which is read directly.
    for wrapped in (getattr(file, "wrapped", None), getattr(file, "file", None)):
        read = getattr(wrapped, "read", None)
        if callable(read) and not inspect.iscoroutinefunction(read):
            return _from_file(wrapped, name_of(file))
    return _once(name_of(file), None, lambda name, most: pass_on(read_async_file(file, most), name, wrap_errors=True))


def _from_response(response: Any, *, may_be_page: bool) -> Media | None:
    head = head_of(response)
    if head is None:
        return None
    shown = bare_url(head.url).partition("?")[0] or head.name  # urllib3 has the path alone
    check_head(head, shown, may_be_page=may_be_page)
    media = _once(head.name, head.size, partial(open_response, response))
    media.content_type, media.may_be_page = head.content_type, may_be_page and not is_media_type(head.stated_type)
    return media
