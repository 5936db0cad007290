"""Write behind in a worker thread: the mirror of `read_ahead`. Runs on asyncio and on Trio.

Any number of tasks hand over chunks with their positions; one thread writes them. A few MiB may wait, then those who
hand over wait, so that a slow disk slows the network down and never fills the memory.

What waits is copied into slabs that are used again and again. The copy costs less than it spares: chunks that lived on
here would have the allocator return and fault in their memory all the time, and small ones would each cost a write.
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
SLABS = 6


@asynccontextmanager
async def write_behind(write: Callable[[int, memoryview], None]) -> AsyncIterator[Writer]:
    """Give a writer that calls `write(offset, chunk)` in a worker thread; leaving waits until all is written.

    The chunk is `write`'s only until it returns. What `write` raises is raised by the writer, at the latest when the
    context is left.
    """
    writer = Writer(write)
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            try:
                yield writer
            finally:
                writer.finish()
    writer.raise_error()


class _Slab:
    """Bytes gathered for the thread, and where each stretch of them belongs."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(SLAB_BYTES))
        self._filled = 0
        self._stretches: list[list[int]] = []  # offset in the file, start and stop in the buffer

    @property
    def is_full(self) -> bool:
        return self._filled == SLAB_BYTES

    def take(self, offset: int, chunk: memoryview) -> int:
        """Copy what there is room for; return how much that was."""
        start = self._filled
        stop = self._filled = min(SLAB_BYTES, start + len(chunk))
        self._buffer[start:stop] = chunk[: stop - start]
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last[0] + last[2] - last[1] == offset:
            last[2] = stop
        else:
            self._stretches.append([offset, start, stop])
        return stop - start

    def write_out(self, write: Callable[[int, memoryview], None]) -> None:
        for offset, start, stop in self._stretches:
            write(offset, self._buffer[start:stop])

    def clear(self) -> None:
        self._filled = 0
        self._stretches.clear()


class Writer:
    """Takes chunks; see `write_behind`."""

    def __init__(self, write: Callable[[int, memoryview], None]) -> None:
        self._write = write
        self._open: _Slab | None = None
        self._made = 0
        self._free: deque[_Slab] = deque()
        self._full: deque[_Slab | None] = deque()
        self._ready = threading.Semaphore(0)
        self._room: anyio.Event | None = None
        self._error: Exception | None = None

    async def write(self, offset: int, chunk: bytes) -> None:
        """Hand over a chunk for position `offset`; wait while too much is waiting already.

        Raises:
            Exception: what an earlier write raised.
        """
        rest = memoryview(chunk)
        while rest:
            self.raise_error()
            slab = self._open = self._open or self._fresh_slab()
            if slab is None:
                await self._wait_for_room()
                continue
            taken = slab.take(offset, rest)
            offset, rest = offset + taken, rest[taken:]
            if slab.is_full:
                self._hand_over(slab)
                self._open = None

    def finish(self) -> None:
        """Let the thread end once all that was handed over is written."""
        if self._open is not None:
            self._hand_over(self._open)
        self._hand_over(None)

    def raise_error(self) -> None:
        """Raise what a write raised, if one did."""
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Write until `finish`; a cancelled caller still waits for what was handed over."""
        # Shielded from a cancellation that comes before the thread has started: `finish` is the only way to end it.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._drain, limiter=anyio.CapacityLimiter(1))

    def _fresh_slab(self) -> _Slab | None:
        if self._free:
            return self._free.popleft()
        if self._made == SLABS:
            return None
        self._made += 1
        return _Slab()

    def _hand_over(self, slab: _Slab | None) -> None:
        self._full.append(slab)
        self._ready.release()

    async def _wait_for_room(self) -> None:
        room = self._room = self._room or anyio.Event()
        # Looked at again now that the event stands there: the thread may have come back with a slab in between.
        if not self._free:
            await room.wait()

    def _drain(self) -> None:
        while True:
            self._ready.acquire()
            slab = self._full.popleft()
            if slab is None:
                return
            if self._error is None:
                try:
                    slab.write_out(self._write)
                except Exception as error:  # noqa: BLE001 - raised to those who hand over
                    self._error = error
            slab.clear()
            self._free.append(slab)
            # Only where somebody waits: a call into the loop takes as long as the write did.
            if self._room is not None:
                from_thread.run_sync(self._make_room)

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()
