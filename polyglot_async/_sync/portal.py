"""An event loop in a thread of its own, for callers that do not await.

Three ends have to be clean. Ctrl-C in a call cancels its coroutine and waits until it has released its connection. A
portal that nobody closed is closed by the garbage collector or when the interpreter exits, with a warning, as a file
is. And a forked child, which has the portal's memory but not its thread, gets an error and does not hang.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import anyio

from .._errors import ApiConnectionError, ConfigurationError
from .loop_thread import LoopThread, PortalCall, run_in_caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from queue import SimpleQueue
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")

_EXIT_SECONDS = 5.0
"""The interpreter's exit waits no longer than this for a loop to end."""


class Portal:
    """Runs coroutine functions to their end on the loop's thread, which starts with the first call.

    May be used from several threads at once, and from a thread that runs a loop of its own, as a notebook's does.

    Args:
        name: the owner, for messages.
        closing: awaited in the loop as its last act, once all calls have ended.
    """

    def __init__(self, name: str = "the portal", closing: Callable[[], Awaitable[None]] | None = None) -> None:
        self._name = name
        self._closing = closing
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._closed = False
        self._finalizer: weakref.finalize[[LoopThread, str], Portal] | None = None

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call and wait. Whatever interrupts the wait, Ctrl-C above all, cancels the coroutine and waits for its end.

        An `on_progress` among the arguments is called in this thread, and what it raises is raised in the coroutine.
        """
        loop = self.running_loop()
        call: PortalCall[T] = PortalCall(loop, function, args, kwargs)
        on_progress: Any = kwargs.get("on_progress")
        if callable(on_progress):
            kwargs["on_progress"] = partial(run_in_caller, loop, call.inbox, on_progress)
        try:
            call.start()
            return call.wait()
        except BaseException as error:
            call.cancel()
            call.explain(error)
            raise

    def iterate(self, iterator: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over an async iterator; leaving early closes it."""
        try:
            while (item := self.call(_next_of, iterator)) is not _END:
                yield item
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None and self._loop is not None and self._loop.can_be_waited_for:
                self.call(close)

    def context(self, manager: AbstractAsyncContextManager[T]) -> PortalContext[T]:
        """Return the sync twin of an async context manager, both ends of which run in one task of the loop."""
        return PortalContext(self, manager)

    def close(self) -> None:
        """Stop the loop and its thread; calls under way in other threads are cancelled."""
        with self._lock:
            loop, self._loop = self._loop, None
            self._closed = True
            if self._finalizer is not None:
                self._finalizer.detach()
        if loop is not None and loop.is_of_this_process:
            loop.stop()

    def running_loop(self) -> LoopThread:
        """Return the loop, started.

        Raises:
            ConfigurationError: the client is closed, or this process is a fork, or this is the loop's own thread.
        """
        loop = self._loop  # read before the lock, which a thread of the parent process may have held at the fork
        if loop is not None and not loop.is_of_this_process:
            raise ConfigurationError(f"{self._name} was used before os.fork: make a new one in the child")
        if loop is not None and loop.is_this_thread:
            raise ConfigurationError(
                f"{self._name} was called from its own thread, where a batch's on_progress runs: call it from another"
            )
        with self._lock:
            if self._closed:
                raise ConfigurationError(f"{self._name} is closed: make a new one")
            if self._loop is None or self._loop.start_error is not None:
                self._loop = LoopThread(self._closing)
                self._finalizer = weakref.finalize(self, _stop_unclosed, self._loop, self._name)
            self._loop.wait_until_started()
            if self._loop.start_error is not None:
                raise self._loop.start_error
            return self._loop


class PortalContext(Generic[T]):
    """An async context manager, used from a sync `with`: one task of the loop enters it and leaves it."""

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._loop = portal.running_loop()
        self._body = _Body(manager)
        self._call = PortalCall(self._loop, self._body.run)
        self._body.inbox = self._call.inbox

    def __del__(self) -> None:
        """Close what Ctrl-C left open: it may come before the first line of `__exit__`."""
        call: PortalCall[None] | None = getattr(self, "_call", None)
        if call is not None and call.is_started:
            call.cancel(wait=False)

    def __enter__(self) -> T:
        try:
            self._call.start()
            if self._call.inbox.get() is None:
                self._call.inbox.put(None)
                self._call.wait()  # raises what kept it from being entered
        except BaseException:
            self._call.cancel()
            raise
        return self._body.value

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None and (not isinstance(exc, Exception) or isinstance(exc, StopIteration)):
            self._call.cancel()  # Ctrl-C raised in the loop would end it, and no coroutine can raise StopIteration
            return
        self._body.error = exc
        try:
            if not self._call.ended:
                with suppress(ApiConnectionError):  # then the loop has ended, and this with it
                    self._loop.post(self._call, self._body.left.set)
            self._call.wait()
        except BaseException as error:
            if error is not exc:
                self._call.cancel()  # does nothing if it has ended: Ctrl-C came while it was being left
                raise


class _Body(Generic[T]):
    """The loop's side of a context. It holds no reference to the other side, which may so be collected.

    Attributes:
        inbox: gets `_entered`.
        value: what the manager returned.
        left: set when the `with` ends.
        error: what the `with` raised.
    """

    inbox: SimpleQueue[Callable[[], object] | None]
    value: T
    left: anyio.Event

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager
        self.error: BaseException | None = None

    async def run(self) -> None:
        """Enter the manager, wait for the end of the `with`, and leave it."""
        async with self._manager as self.value:
            self.left = anyio.Event()
            self.inbox.put(_entered)
            await self.left.wait()
            if self.error is not None:
                raise self.error


def _entered() -> None:
    """Stands in a context's inbox for: it has been entered."""


def _stop_unclosed(loop: LoopThread, name: str) -> None:
    """Stop the loop of a portal that nobody can close any more. Runs at exit, or in any thread at any line of it."""
    if not loop.is_of_this_process or loop.start_error is not None:
        return
    if threading.main_thread().is_alive():
        # Not here: this thread may hold a lock that the loop needs for its end, or be the loop's own.
        threading.Thread(target=loop.stop, args=(_EXIT_SECONDS,)).start()
    else:
        loop.stop(_EXIT_SECONDS)
    warnings.warn(f"{name} was never closed", ResourceWarning, stacklevel=2)


_END: Any = object()


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    # Not StopAsyncIteration through the future: a coroutine cannot raise StopIteration's kin cleanly.
    return await anext(iterator, _END)
