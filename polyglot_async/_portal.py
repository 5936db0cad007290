"""An event loop in a thread of its own, for callers that do not await."""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from ._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from anyio.from_thread import BlockingPortal

P = ParamSpec("P")
T = TypeVar("T")


_running: weakref.WeakSet[Portal] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for portal in tuple(_running):
        portal.close()


class Portal:
    """Runs coroutine functions to their end on the loop's thread, which starts with the first call.

    May be used from several threads at once, and from a thread that runs a loop of its own, as a notebook's does.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._process = 0

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call and wait. Whatever interrupts the wait, Ctrl-C above all, cancels the coroutine and waits for its end.

        An `on_progress` among the arguments is called in this thread.
        """
        inbox: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        on_progress: Any = kwargs.get("on_progress")
        if on_progress is not None:
            kwargs["on_progress"] = _posting(inbox, on_progress)

        async def run() -> T:
            # Not the future's own callbacks: a cancelled future is done at once, the coroutine not yet.
            try:
                return await function(*args, **kwargs)
            finally:
                inbox.put(None)

        future: Future[T] = self._started().start_task_soon(run)
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
            if close is not None and self.is_running:
                self.call(close)

    @contextmanager
    def enter(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Hold an async context manager open in one task of the loop, both its ends and what goes wrong inside."""
        entered: Future[tuple[T, anyio.Event]] = Future()
        inside: list[Exception] = []

        async def hold() -> None:
            leaving = anyio.Event()
            async with manager as value:
                entered.set_result((value, leaving))
                await leaving.wait()
                if inside:
                    raise inside[0]

        portal = self._started()
        held = portal.start_task_soon(hold)
        held.add_done_callback(lambda _: entered.cancel())  # does nothing once it was entered
        try:
            value, leaving = entered.result()
        except CancelledError:
            held.result()  # raises what kept it from being entered
            raise
        except BaseException:
            _end(held)
            raise
        try:
            yield value
        except Exception as error:
            inside.append(error)
            portal.start_task_soon(_set, leaving)
            held.result()
            raise
        except BaseException:
            _end(held)  # Ctrl-C must not be raised inside the loop, which would end it
            raise
        else:
            portal.start_task_soon(_set, leaving)
            held.result()

    def close(self) -> None:
        """Stop the loop and its thread; calls under way in other threads are cancelled."""
        with self._lock:
            portal = self._portal if self.is_running else None
            self._portal = None
            _running.discard(self)
        if portal is not None:
            portal.start_task_soon(portal.stop, True)  # noqa: FBT003 - cancel_remaining, positional by its design
            self._stack.close()

    @property
    def is_running(self) -> bool:
        """Whether the loop's thread runs, in this process."""
        return self._portal is not None and self._process == os.getpid()

    def _started(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
                self._process = os.getpid()
                _running.add(self)
            if self._process != os.getpid():
                # The loop's thread has stayed in the parent: a call would wait for ever.
                raise ConfigurationError("this client was used before os.fork: make a new one in the child")
            return self._portal


_END = object()


async def _set(event: anyio.Event) -> None:
    event.set()


def _end(held: Future[None]) -> None:
    """Cancel, and wait until the end has come."""
    held.cancel()
    with suppress(Exception, CancelledError):
        held.result()


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    # Not StopAsyncIteration through the future: a coroutine cannot raise StopIteration's kin cleanly.
    return await anext(iterator, _END)


def _posting(inbox: queue.SimpleQueue[Any], callback: Callable[[int, int | None], object]) -> Callable[..., None]:
    return lambda done, total: inbox.put(partial(callback, done, total))
