"""An event loop in a thread of its own, for callers that do not await."""

from __future__ import annotations

import queue
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from anyio.from_thread import start_blocking_portal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from anyio.from_thread import BlockingPortal

P = ParamSpec("P")
T = TypeVar("T")


class Portal:
    """Runs coroutine functions to their end on the loop's thread, which starts with the first call.

    May be used from several threads at once, and from a thread that runs a loop of its own, as a notebook's does.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call and wait. Whatever interrupts the wait, Ctrl-C above all, cancels the coroutine and waits for its end.

        An `on_progress` among the arguments is called in this thread.
        """
        inbox: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        on_progress: Any = kwargs.get("on_progress")
        if on_progress is not None:
            kwargs["on_progress"] = _posting(inbox, on_progress)
        future: Future[T] = self._started().start_task_soon(partial(function, *args, **kwargs))
        future.add_done_callback(lambda _: inbox.put(None))
        try:
            while (job := inbox.get()) is not None:
                job()
        except BaseException:
            # `portal.call` would leave the coroutine running, connection and all.
            future.cancel()
            while inbox.get() is not None:
                pass
            raise
        return future.result()

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over an async iterator; leaving early closes it."""
        try:
            while (item := self.call(_next_of, iterator)) is not _END:
                yield item
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                self.call(close)

    def enter(self, manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """Make a context manager of an async one; both ends of it run in one task."""
        return self._started().wrap_async_context_manager(manager)

    def close(self) -> None:
        """Stop the loop and its thread."""
        with self._lock:
            self._portal = None
            self._stack.close()

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
            return self._portal


_END = object()


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    # Not StopAsyncIteration through the future: a coroutine cannot raise StopIteration's kin cleanly.
    return await anext(iterator, _END)


def _posting(inbox: queue.SimpleQueue[Any], callback: Callable[[int, int | None], object]) -> Callable[..., None]:
    return lambda done, total: inbox.put(partial(callback, done, total))
