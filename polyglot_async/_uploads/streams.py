"""Streams of chunks that are no files: iterators, async files, and the responses of other HTTP libraries.

What blocks is read ahead in a worker thread, what is async is passed on. Each stream ends with its context: the thread
is gone, and a generator is closed.

Responses are those of httpx, aiohttp, requests, urllib3 and urllib. None of these is imported here: what a response
offers tells how it is read. A Content-Encoding is undone by its library, or reported.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeAlias, runtime_checkable
from urllib.parse import unquote, urlsplit

import anyio
import attrs
from anyio import to_thread

from .._errors import MediaError
from .file_reader import Chunks, read_ahead, reason_of, to_bytes
from .media_types import base_name, is_page_type, name_in_disposition, type_of_response

StreamOpener: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Chunks]]
"""Opens a stream of chunks, from what errors call it and the bytes of one read."""


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


@attrs.frozen
class ResponseHead:
    """What a response states of its body.

    Attributes:
        status: HTTP status; None for what has none.
        url: as its library gives it, query included.
        name: from Content-Disposition or else the URL's path.
        stated_type: its Content-Type as it is.
        content_type: the MIME type of the media.
        size: bytes of the decoded body, where they are known.
        encoding: a Content-Encoding that its library leaves in the body; or empty.
    """

    status: int | None
    url: str
    name: str
    stated_type: str
    content_type: str
    size: int | None
    encoding: str


def head_of(response: Any) -> ResponseHead | None:
    """Return what `response` states of its body; None if it is no response."""
    if isinstance(response, type) or not callable(getattr(getattr(response, "headers", None), "items", None)):
        return None
    codes = (getattr(response, "status_code", None), getattr(response, "status", None))
    status = next((code for code in codes if isinstance(code, int)), None)
    if status is None and not hasattr(response, "aiter_bytes"):
        return None  # a web framework's upload has headers too
    headers = {str(key).lower(): str(value) for key, value in response.headers.items()}
    stated = headers.get("content-type", "")
    url = str(getattr(response, "url", None) or "")
    name = base_name(name_in_disposition(headers.get("content-disposition", "")) or _path_of(url))
    encoding = headers.get("content-encoding", "").strip().lower().replace("identity", "")
    length = headers.get("content-length", "").strip()
    return ResponseHead(
        status=status,
        url=url,
        name=name,
        stated_type=stated,
        content_type=type_of_response(stated, name),
        # With a Content-Encoding the length counts the encoded bytes.
        size=int(length) if length.isascii() and length.isdecimal() and not encoding else None,
        encoding="" if _is_aiohttp(response) or any(hasattr(response, name) for name in _DECODING) else encoding,
    )


def check_head(head: ResponseHead, shown: str, *, may_be_page: bool) -> None:
    """Check that there is media to upload; errors call the response `shown`.

    Raises:
        MediaError: its status is no success, it is a page, or its bytes are encoded.
    """
    if head.status is not None and not 200 <= head.status < 300:  # noqa: PLR2004 - the statuses of success
        raise MediaError(f"{shown}: was answered with status {head.status}: there is no media to upload")
    if may_be_page and is_page_type(head.stated_type):
        raise MediaError(
            f"{shown}: was answered with {head.stated_type.strip()}, an error page or sign-in page rather than media; "
            "pass content_type=... to upload it all the same"
        )
    if head.encoding:
        raise MediaError(f"{shown}: is encoded ({head.encoding}); request it with 'Accept-Encoding: identity'")


_DECODING = ("aiter_bytes", "iter_bytes", "iter_content", "decode_content")


def open_response(response: Any, name: str, chunk_bytes: int) -> AbstractAsyncContextManager[Chunks]:
    """Open the stream of a response's decoded body; whatever it raises is raised as `MediaError`."""
    chunks: Any
    if _is_aiohttp(response):
        chunks = response.content.iter_chunked(chunk_bytes)
    elif hasattr(response, "aiter_bytes") and not _is_sync_httpx(response):
        chunks = response.aiter_bytes()
    elif hasattr(response, "iter_bytes"):
        chunks = response.iter_bytes()
    elif hasattr(response, "iter_content"):  # requests
        chunks = _deferred(response.iter_content, chunk_bytes)
    elif hasattr(response, "decode_content") and hasattr(response, "stream"):  # urllib3; the `.raw` of requests
        chunks = response.stream(chunk_bytes, decode_content=True)
    elif inspect.iscoroutinefunction(getattr(response, "read", None)):
        chunks = read_async_file(response, chunk_bytes)
    else:
        chunks = iter(partial(response.read, chunk_bytes), b"")
    if hasattr(chunks, "__aiter__"):
        return pass_on(chunks, name, wrap_errors=True)
    return read_iterator(iter(chunks), name, wrap_errors=True)


def _deferred(make: Callable[[int], Any], chunk_bytes: int) -> Iterator[Any]:
    yield from make(chunk_bytes)  # raises at once if it was read before: then here, where errors are wrapped


def _is_aiohttp(response: Any) -> bool:
    # `read` is looked at first: `content` of httpx and requests is the whole body, and reading it would fetch it.
    return inspect.iscoroutinefunction(getattr(response, "read", None)) and hasattr(
        getattr(response, "content", None), "iter_chunked"
    )


def _is_sync_httpx(response: Any) -> bool:
    stream = getattr(response, "stream", None)
    return hasattr(response, "iter_bytes") and hasattr(stream, "__iter__") and not hasattr(stream, "__aiter__")


def _path_of(url: str) -> str:
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""


@asynccontextmanager
async def read_iterator(iterator: Iterator[Any], name: str, *, wrap_errors: bool = False) -> AsyncIterator[Chunks]:
    """Read a sync iterator in a thread; what it raises comes out as it is, or with `wrap_errors` as `MediaError`.

    Raises:
        MediaError: it gives something else than bytes.
    """

    def read() -> bytes:
        try:
            for chunk in iterator:
                if data := to_bytes(chunk, name):  # an empty chunk is no end
                    return data
        except Exception as error:
            if wrap_errors:
                raise _media_error(error, name) from error
            raise
        return b""

    try:
        async with read_ahead(read) as chunks:
            yield chunks
    finally:
        if inspect.isgenerator(iterator):
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(iterator.close)


@asynccontextmanager
async def pass_on(chunks: AsyncIterable[Any], name: str, *, wrap_errors: bool = False) -> AsyncIterator[Chunks]:
    """Pass on chunks as they come, and close their generator at the end; errors as in `read_iterator`.

    Raises:
        MediaError: they are something else than bytes.
    """
    iterator = aiter(chunks)
    stream = _bytes_of(iterator, name, wrap_errors=wrap_errors)
    try:
        yield stream
    finally:
        await stream.aclose()
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


async def _bytes_of(chunks: AsyncIterator[Any], name: str, *, wrap_errors: bool) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            if data := to_bytes(chunk, name):
                yield data
    except Exception as error:
        # Wrapped here: further out it would look like an error of the connection to the service.
        if wrap_errors:
            raise _media_error(error, name) from error
        raise


def read_bytes(data: bytes, _name: str, chunk_bytes: int) -> AbstractAsyncContextManager[Chunks]:
    """Iterate over bytes in chunks."""
    return aclosing(_slices(data, chunk_bytes))


async def _slices(data: bytes, chunk_bytes: int) -> AsyncGenerator[bytes]:
    for offset in range(0, len(data), chunk_bytes):
        yield data[offset : offset + chunk_bytes]


async def read_async_file(file: Any, chunk_bytes: int) -> AsyncGenerator[Any]:
    """Iterate over a file whose `read` is to be awaited."""
    while chunk := await file.read(chunk_bytes):
        yield chunk


def _media_error(error: Exception, name: str) -> MediaError:
    if isinstance(error, MediaError):
        return error
    return MediaError(f"{name}: cannot be read: {reason_of(error) or type(error).__name__}")
