"""A file writer in a worker thread: the mirror of the file reader of uploads. Runs on asyncio and on Trio.

Any number of tasks queue chunks with their positions; one thread writes them. A few MiB may be queued, then `write`
waits, so that a slow disk slows the network down and never fills the memory.

What is queued is copied into slabs that are used again and again. The copy costs less than it spares: chunks that were
kept would have the allocator return and fault in their memory all the time, and small ones would each cost a write.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio import from_thread, to_thread

from .._concurrency import unwrapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SLAB_BYTES = 1 << 19
MAX_SLABS = 6


@asynccontextmanager
async def open_file_writer(write: Callable[[int, memoryview], None]) -> AsyncIterator[FileWriter]:
    """Open a writer that calls `write(offset, chunk)` in a worker thread; leaving waits until all is written.

    `write` may use the chunk only until it returns. What `write` raises is raised by the writer, at the latest when the
    context is left.
    """
    writer = FileWriter(write)
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            try:
                yield writer
            finally:
                writer.close()
    writer.raise_error()


class _Slab:
    """Bytes gathered for the thread, and the place in the file of each extent of them."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(SLAB_BYTES))
        self._filled = 0
        self._extents: list[list[int]] = []  # offset in the file, start and stop in the buffer

    @property
    def is_full(self) -> bool:
        return self._filled == SLAB_BYTES

    def append(self, offset: int, chunk: memoryview) -> int:
        """Copy as much as fits; return how much that was."""
        start = self._filled
        stop = self._filled = min(SLAB_BYTES, start + len(chunk))
        self._buffer[start:stop] = chunk[: stop - start]
        last = self._extents[-1] if self._extents else None
        if last is not None and last[0] + last[2] - last[1] == offset:
            last[2] = stop
        else:
            self._extents.append([offset, start, stop])
        return stop - start

    def write_out(self, write: Callable[[int, memoryview], None]) -> None:
        for offset, start, stop in self._extents:
            write(offset, self._buffer[start:stop])

    def clear(self) -> None:
        self._filled = 0
        self._extents.clear()


class FileWriter:
    """Queues chunks for the thread that writes them; see `open_file_writer`."""

    def __init__(self, write: Callable[[int, memoryview], None]) -> None:
        self._write = write
        self._current: _Slab | None = None
        self._allocated = 0
        self._free: deque[_Slab] = deque()
        self._queue: deque[_Slab | None] = deque()
        self._queued = threading.Semaphore(0)
        self._slab_freed: anyio.Event | None = None
        self._error: Exception | None = None

    async def write(self, offset: int, chunk: bytes) -> None:
        """Queue a chunk for position `offset`; wait while too much is queued already.

        Raises:
            Exception: what an earlier write raised.
        """
        rest = memoryview(chunk)
        while rest:
            self.raise_error()
            slab = self._current = self._current or self._take_slab()
            if slab is None:
                await self._wait_for_slab()
                continue
            copied = slab.append(offset, rest)
            offset, rest = offset + copied, rest[copied:]
            if slab.is_full:
                self._enqueue(slab)
                self._current = None

    def close(self) -> None:
        """Queue what is left; the thread ends once all is written."""
        if self._current is not None:
            self._enqueue(self._current)
        self._enqueue(None)

    def raise_error(self) -> None:
        """Raise what a write raised, if one did."""
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Write until `close`; a cancelled caller still waits for what was queued."""
        # Shielded from a cancellation that comes before the thread has started: `close` is the only way to end it.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._write_queue, limiter=anyio.CapacityLimiter(1))

    def _take_slab(self) -> _Slab | None:
        if self._free:
            return self._free.popleft()
        if self._allocated == MAX_SLABS:
            return None
        self._allocated += 1
        return _Slab()

    def _enqueue(self, slab: _Slab | None) -> None:
        self._queue.append(slab)
        self._queued.release()

    async def _wait_for_slab(self) -> None:
        freed = self._slab_freed = self._slab_freed or anyio.Event()
        # Checked again now that the event is set up: the thread may have freed a slab in between.
        if not self._free:
            await freed.wait()

    def _write_queue(self) -> None:
        while True:
            self._queued.acquire()
            slab = self._queue.popleft()
            if slab is None:
                return
            if self._error is None:
                try:
                    slab.write_out(self._write)
                except Exception as error:  # noqa: BLE001 - raised by the next `write`
                    self._error = error
            slab.clear()
            self._free.append(slab)
            # Only where a task waits: a call into the loop takes as long as the write did.
            if self._slab_freed is not None:
                from_thread.run_sync(self._notify_slab_freed)

    def _notify_slab_freed(self) -> None:
        freed, self._slab_freed = self._slab_freed, None
        if freed is not None:
            freed.set()
