"""Work that outlives the request that started it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
LOGGER = logging.getLogger("polyglot_async.sandbox")


class BackgroundTasks:
    """Holds running coroutines, so that none is lost, and ends them all at close."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it; what it raises is logged."""
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._done)
        return running

    async def close(self) -> None:
        """Cancel all and wait for them."""
        running = list(self._running)
        for work in running:
            work.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._running.discard(work)
        if not work.cancelled() and (problem := work.exception()) is not None:
            LOGGER.error("background work failed", exc_info=problem)


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run blocking work that may take for ever: unlike the loop's own threads, this one does not hold up the close."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, problem: Exception | None) -> None:
        if result.cancelled():
            return
        if problem is not None:
            result.set_exception(problem)
        else:
            result.set_result(cast("T", value))

    def run() -> None:
        value, problem = None, None
        try:
            value = work()
        except Exception as raised:  # noqa: BLE001  (handed over to whoever waits)
            problem = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, problem)

    threading.Thread(target=run, daemon=True).start()
    return await result
