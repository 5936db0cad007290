"""Read ahead in a worker thread: the loop never waits for the disk, and the wire never waits for the loop.

One thread reads chunk after chunk and hands each over; a few are kept ready. One thread for the whole file and not one
hop a chunk: a hop costs the loop more than sending the chunk does. Runs on asyncio and on Trio.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from anyio import from_thread, to_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CHUNK_BYTES = 1 << 20
"""One read. Smaller ones pay h11 and the socket more often; larger ones only lengthen the loop's lag."""

_READY_CHUNKS = 4


@asynccontextmanager
async def read_ahead(read: Callable[[], bytes], *, ready: int = _READY_CHUNKS) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give an iterator over what `read` returns, until it returns nothing.

    `read` runs in a worker thread, and what it raises is raised by the iterator. Leaving the context stops the thread
    and waits until it is gone, which takes no longer than the `read` under way.
    """
    pump = _Pump(read, ready)
    # Not a plain task group around the yield: its ExceptionGroup would wrap whatever the caller raises inside.
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pump.run)
        try:
            yield pump
        except BaseException as error:  # noqa: BLE001 - carried out of the group and raised there
            failure = error
        finally:
            pump.stop()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # else the traceback would hold the frame that holds the traceback


class _Pump:
    def __init__(self, read: Callable[[], bytes], ready: int) -> None:
        self._read = read
        self._room = threading.Semaphore(ready)
        self._stopped = False
        self._chunks: deque[bytes | None] = deque()
        self._news: anyio.Event | None = None
        self._error: BaseException | None = None

    async def run(self) -> None:
        # A thread of its own limiter: the default one's forty may all be taken by what waits for this upload.
        # Shielded: `stop` is the only way to end it, and it ends after the read under way.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._fill, limiter=anyio.CapacityLimiter(1))

    def stop(self) -> None:
        self._stopped = True
        self._room.release()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            news = self._news = anyio.Event()
            # Looked at again now that the event stands there: a chunk may have come in between.
            if not self._chunks:
                await news.wait()
        chunk = self._chunks.popleft()
        if chunk is None:
            self._chunks.append(None)
            if isinstance(self._error, StopAsyncIteration):  # raised here it would pass for the end
                raise RuntimeError("the reader raised StopAsyncIteration") from self._error
            if self._error is not None:
                raise self._error
            raise StopAsyncIteration
        self._room.release()
        return chunk

    def _fill(self) -> None:
        try:
            while True:
                self._room.acquire()
                if self._stopped:
                    return
                chunk = self._read()
                if not chunk:
                    break
                self._hand_over(chunk)
        except BaseException as error:  # noqa: BLE001 - raised where the chunk is awaited
            self._error = error
        self._hand_over(None)

    def _hand_over(self, chunk: bytes | None) -> None:
        self._chunks.append(chunk)
        # Only where somebody waits: a call into the loop takes as long as the read did.
        if self._news is not None:
            from_thread.run_sync(self._wake)

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set()
