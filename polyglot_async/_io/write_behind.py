"""Write behind in a worker thread: the mirror of `read_ahead`. Runs on asyncio and on Trio.

Any number of tasks hand over chunks with their positions; one thread writes them. A few MiB may wait, then those who
hand over wait, so that a slow disk slows the network down and never fills the memory.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio import from_thread, to_thread

from .tasks import unwrapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WAITING_BYTES = 8 << 20


@asynccontextmanager
async def write_behind(write: Callable[[int, bytes], None]) -> AsyncIterator[Writer]:
    """Give a writer that calls `write(offset, chunk)` in a worker thread; leaving waits until all is written.

    What `write` raises is raised by the writer, at the latest when the context is left.
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


class Writer:
    """Takes chunks; see `write_behind`."""

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        self._write = write
        self._chunks: deque[tuple[int, bytes] | None] = deque()
        self._ready = threading.Semaphore(0)
        self._waiting = 0
        self._room = anyio.Event()
        self._error: Exception | None = None

    async def write(self, offset: int, chunk: bytes) -> None:
        """Hand over a chunk for position `offset`; wait while too much is waiting already.

        Raises:
            Exception: what an earlier write raised.
        """
        while self._waiting >= WAITING_BYTES and self._error is None:
            if self._room.is_set():  # else another task waits for this very event
                self._room = anyio.Event()
            await self._room.wait()
        self.raise_error()
        self._waiting += len(chunk)
        self._chunks.append((offset, chunk))
        self._ready.release()

    def finish(self) -> None:
        """Let the thread end once all that was handed over is written."""
        self._chunks.append(None)
        self._ready.release()

    def raise_error(self) -> None:
        """Raise what a write raised, if one did."""
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Write until `finish`; a cancelled caller still waits for what was handed over."""
        await to_thread.run_sync(self._drain, limiter=anyio.CapacityLimiter(1))

    def _drain(self) -> None:
        while True:
            self._ready.acquire()
            entry = self._chunks.popleft()
            if entry is None:
                return
            if self._error is None:
                try:
                    self._write(*entry)
                except Exception as error:  # noqa: BLE001 - raised to those who hand over
                    self._error = error
            from_thread.run_sync(self._written, len(entry[1]))

    def _written(self, size: int) -> None:
        self._waiting -= size
        self._room.set()
