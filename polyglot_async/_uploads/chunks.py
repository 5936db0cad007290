"""The streams of chunks behind each kind of media: what blocks is read ahead in a thread, what is async is passed on.

Each ends with its context: the reader's thread is gone, what was opened here is closed, and a generator is closed too.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from .._errors import MediaError
from .file_reader import CHUNK_BYTES, read_ahead

Chunks: TypeAlias = AsyncIterator[bytes]


@asynccontextmanager
async def passing(chunks: AsyncIterable[bytes]) -> AsyncIterator[Chunks]:
    """Give the chunks as they come, and close their generator at the end."""
    iterator = aiter(chunks)
    try:
        yield iterator
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


@asynccontextmanager
async def read_iterator(iterator: Iterator[Any]) -> AsyncIterator[Chunks]:
    """Read a sync iterator in a thread; what it raises comes out as it is.

    Raises:
        MediaError: it gives something else than bytes.
    """

    def read() -> bytes:
        for chunk in iterator:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise MediaError(f"the iterator gives {type(chunk).__name__} where bytes are wanted")
            # An empty chunk is no end. Copied, because the iterator runs ahead and may fill the same buffer again.
            if copied := bytes(chunk):
                return copied
        return b""

    try:
        async with read_ahead(read) as chunks:
            yield chunks
    finally:
        if inspect.isgenerator(iterator):
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(iterator.close)


@asynccontextmanager
async def read_file(get_file: Callable[[], Any], name: str, size: int | None, *, close: bool) -> AsyncIterator[Chunks]:
    """Read a file in a thread: `size` bytes of it, or to its end; with `close` the file is ours to close.

    Raises:
        MediaError: it cannot be read.
    """
    file: Any = None
    left = size

    def read() -> bytes:
        """Run in the reader's thread, opening the file there too: a slow disk is slow from the first call."""
        nonlocal file, left
        try:
            if file is None:
                file = get_file()
            chunk: bytes | None = file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        except (OSError, ValueError) as error:  # ValueError: the caller closed the file
            raise MediaError(f"{name}: cannot be read: {reason_of(error)}") from error
        if chunk is None:  # not the end: what follows would be lost in silence
            raise MediaError(f"{name}: is in non-blocking mode and has nothing to read now")
        if left is not None:
            left -= len(chunk)
        return chunk

    try:
        async with read_ahead(read) as chunks:
            yield chunks
    finally:
        if close and file is not None:
            file.close()


async def read_async_file(file: Any) -> AsyncGenerator[bytes]:
    """Read a file whose `read` is to be awaited."""
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk


async def as_media_errors(chunks: AsyncIterable[bytes], name: str) -> AsyncGenerator[bytes]:
    """Pass on `chunks`, and whatever they raise as `MediaError`."""
    try:
        async with passing(chunks) as iterator:
            async for chunk in iterator:
                yield chunk
    except Exception as error:
        # Translated here: further out it would look like an error of the connection to the service.
        raise MediaError(f"{name}: cannot be read: {reason_of(error) or type(error).__name__}") from error


def reason_of(error: Exception) -> str:
    """Say why a file cannot be read, without the path that the message has already."""
    return getattr(error, "strerror", None) or str(error)
