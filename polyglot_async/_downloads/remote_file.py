"""The source media of a task without downloading it: as a stream that resumes, or as a seekable file."""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from .._arguments import check_count, check_whole
from .._errors import ConfigurationError
from .ranges import ByteRange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from .range_reader import RangedFile

BLOCK_BYTES = 256 << 10
CACHED_BLOCKS = 32


class MediaStream:
    """The source media from its first byte to its last: `async for chunk in stream`, once.

    Attributes:
        size: bytes, or None where the service does not state it.
        content_type: MIME type, or None where the service does not state it.
    """

    def __init__(self, file: RangedFile, first: bytes, rest: AsyncGenerator[tuple[int, bytes], None]) -> None:
        self.size: int | None = file.total
        self.content_type: str | None = file.content_type
        self._first = first
        self._rest = rest
        self._closed = False

    def __aiter__(self) -> MediaStream:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise ConfigurationError("the stream is closed: read it inside its `with`")
        if self._first:
            first, self._first = self._first, b""
            return first
        _, chunk = await anext(self._rest)
        return chunk


@asynccontextmanager
async def open_stream(file: RangedFile) -> AsyncIterator[MediaStream]:
    """Open the stream; after a drop it resumes from the last good byte."""
    async with aclosing(file.read(ByteRange(0))) as pieces:
        first = await anext(pieces, None)
        stream = MediaStream(file, first[1] if first else b"", pieces)
        try:
            yield stream
        finally:
            stream._closed = True  # noqa: SLF001 - else reading on would end in silence, as at the end of the file


@asynccontextmanager
async def open_media(file: RangedFile) -> AsyncIterator[RemoteMedia]:
    """Open the file for reading anywhere; its size and its first block come with the first request."""
    media = RemoteMedia(file)
    await media.read_at(0, 1)
    yield media


class RemoteMedia:
    """The source media as a seekable file: only what is read is fetched, in blocks of 256 KiB.

    The last 8 MiB read are kept. Each fetch is a request and counts against the day's quota. All reads are of one
    version of the file; if it changes on the server, they raise.
    """

    def __init__(self, file: RangedFile) -> None:
        self._file = file
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = anyio.Lock()
        self._fetched = 0

    @property
    def size(self) -> int:
        """Size of the whole, in bytes."""
        return self._file.total or 0

    @property
    def content_type(self) -> str | None:
        """MIME type, or None where the service does not state it."""
        return self._file.content_type

    @property
    def fetched(self) -> int:
        """Bytes that have come over the network so far."""
        return self._fetched

    async def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset`; fewer at the end of the file, none beyond it.

        Raises:
            SourceChangedError: the file is no longer the one that was opened.
            ApiConnectionError: the service keeps breaking off.
        """
        check_count("offset", offset, least=0)
        check_count("size", size, least=0)
        stop = offset + size if self._file.total is None else min(offset + size, self.size)
        if stop <= offset:
            return b""
        first, last = offset // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        async with self._lock:
            blocks = await self._read_blocks(first, last)
        joined = b"".join(blocks)
        return joined[offset - first * BLOCK_BYTES : stop - first * BLOCK_BYTES]

    async def read(self, size: int = -1) -> bytes:
        """Read `size` bytes from the position, or all to the end; the position moves on."""
        to_end = check_whole("size", size) < 0
        chunk = await self.read_at(self._position, max(0, self.size - self._position) if to_end else size)
        self._position += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as `io.IOBase.seek` does; no request is made. Returns the position."""
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        check_whole("offset", offset)
        if whence not in origins:
            raise ValueError(f"whence is {whence!r}: pass 0, 1 or 2")
        position = origins[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}")
        self._position = position
        return position

    def tell(self) -> int:
        """Return the position, in bytes from the start."""
        return self._position

    async def _read_blocks(self, first: int, last: int) -> list[bytes]:
        """Return the blocks from `first` to `last`; fetch each run of missing ones with one request."""
        blocks = {index: self._blocks[index] for index in range(first, last + 1) if index in self._blocks}
        index = first
        while index <= last:
            if index in blocks:
                index += 1
                continue
            end = index
            while end < last and end + 1 not in blocks:
                end += 1
            data = await self._fetch(index, end)
            blocks.update({index + i: data[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES] for i in range(end - index + 1)})
            index = end + 1
        for index in range(first, last + 1):
            self._blocks[index] = blocks[index]
            self._blocks.move_to_end(index)
        while len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return [blocks[index] for index in range(first, last + 1)]

    async def _fetch(self, first: int, last: int) -> bytes:
        data = bytearray()
        async with aclosing(self._file.read(ByteRange(first * BLOCK_BYTES, (last + 1) * BLOCK_BYTES))) as pieces:
            async for _, chunk in pieces:
                data += chunk
                self._fetched += len(chunk)
        return bytes(data)
