"""An event loop in a thread of its own, for callers that do not await.

Three ends have to be clean. Ctrl-C in a call cancels its coroutine and waits until it has released its connection. A
portal that nobody closed is closed by the garbage collector or when the interpreter exits, with a warning, as a file
is. And a forked child, which has the portal's memory but not its thread, gets an error and does not hang.
"""

from __future__ import annotations

import inspect
import os
import threading
import warnings
import weakref
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from .._errors import ApiConnectionError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
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
        self._loop: _Loop | None = None
        self._closed = False
        self._finalizer: weakref.finalize[[_Loop, str], Portal] | None = None

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call and wait. Whatever interrupts the wait, Ctrl-C above all, cancels the coroutine and waits for its end.

        An `on_progress` among the arguments is called in this thread.
        """
        if kwargs.get("on_progress") is not None:
            return self._call_with_progress(function, args, kwargs)
        call = _Call(self.running_loop(), partial(function, *args, **kwargs))
        try:
            call.start()
            return call.result()
        except BaseException:
            call.cancel()
            raise

    def _call_with_progress(
        self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        callbacks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        report = partial(self._report, kwargs["on_progress"])

        async def run() -> T:
            try:
                return await function(*args, **kwargs)
            finally:
                callbacks.put(None)

        kwargs["on_progress"] = lambda done, total: callbacks.put(partial(report, done, total))
        call = _Call(self.running_loop(), run)
        try:
            call.start()
            while (callback := callbacks.get()) is not None:
                callback()
            return call.result()
        except BaseException:
            call.cancel()
            raise

    def _report(self, on_progress: Callable[[int, int | None], object], done: int, total: int | None) -> None:
        answer = on_progress(done, total)
        if inspect.isawaitable(answer):
            self.call(_await, answer)

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

    def running_loop(self) -> _Loop:
        """Return the loop, started.

        Raises:
            ConfigurationError: the client is closed, or this process is a fork.
        """
        loop = self._loop  # read before the lock, which a thread of the parent process may have held at the fork
        if loop is not None and not loop.is_of_this_process:
            raise ConfigurationError(f"{self._name} was used before os.fork: make a new one in the child")
        with self._lock:
            if self._closed:
                raise ConfigurationError(f"{self._name} is closed: make a new one")
            if self._loop is None or self._loop.has_failed:
                self._loop = _Loop(self._closing)
                self._finalizer = weakref.finalize(self, _stop_unclosed, self._loop, self._name)
            return self._loop


class _Loop:
    """The loop and its thread. It holds no reference to its Portal, so that a portal out of use can be collected."""

    def __init__(self, closing: Callable[[], Awaitable[None]] | None) -> None:
        self._closing = closing
        self._process = os.getpid()
        self._ready: Future[BlockingPortal] = Future()
        # A daemon: the interpreter waits for other threads before it runs what would end this one.
        self._thread = threading.Thread(target=self._run, name="polyglot_async", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            anyio.run(self._main)
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _main(self) -> None:
        try:
            async with BlockingPortal() as portal:
                self._ready.set_result(portal)
                await portal.sleep_until_stopped()
        finally:
            if self._closing is not None:
                await self._closing()

    @property
    def is_of_this_process(self) -> bool:
        """Whether the thread is one of this process, and not left behind by a fork."""
        return self._process == os.getpid()

    @property
    def has_failed(self) -> bool:
        """Whether it could not be started, for want of file descriptors perhaps."""
        return self._ready.done() and self._ready.exception() is not None

    @property
    def can_be_waited_for(self) -> bool:
        """Whether waiting for the loop ends: not in its own thread, where the garbage collector may run too."""
        return self.is_of_this_process and self._thread.is_alive() and self._thread is not threading.current_thread()

    def start(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start a task, without waiting for its end."""
        try:
            return self._ready.result().start_task_soon(function)
        except RuntimeError as error:
            if self._thread is threading.current_thread():
                raise
            raise ApiConnectionError("the client was closed", maybe_sent=False) from error

    def stop(self, timeout: float | None = None) -> None:
        """Cancel what is under way, and wait for the end of the thread."""
        if self._ready.exception() is not None:
            return
        portal = self._ready.result()
        with suppress(RuntimeError):  # it has ended
            portal.start_task_soon(portal.stop, True)  # noqa: FBT003 - cancel_remaining, positional by its design
        self._thread.join(timeout)


class _Call(Generic[T]):
    """One coroutine in the loop, which can be cancelled from the moment that it may have been started.

    Attributes:
        ended: set when the coroutine is over. A future that is cancelled is done at once, its coroutine not yet.
    """

    def __init__(self, loop: _Loop, function: Callable[[], Awaitable[T]]) -> None:
        self._loop = loop
        self._function = function
        self._future: Future[T] | None = None
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False
        self.ended = threading.Event()

    async def _run(self) -> T:
        try:
            with anyio.CancelScope() as self._scope:
                if self._cancelled:
                    self._scope.cancel()
                return await self._function()
            raise CancelledError
        finally:
            self.ended.set()

    def start(self) -> None:
        self._future = self._loop.start(self._run)

    def cancel(self) -> None:
        """Cancel it, and wait for its end, unless this thread is the one that it would end in."""
        self._cancelled = True
        if self._future is not None:
            self._future.cancel()
            if self._loop.can_be_waited_for:
                self.ended.wait()
        elif self._scope is not None:  # Ctrl-C came while it was being started
            with suppress(ApiConnectionError):
                self._loop.start(partial(_cancel, self._scope))

    def result(self) -> T:
        """Wait for the end, and return or raise what the coroutine did.

        Raises:
            ApiConnectionError: the client was closed meanwhile.
        """
        assert self._future is not None  # noqa: S101 - for the type checkers: it was started
        try:
            return self._future.result()
        except CancelledError:
            raise ApiConnectionError("the client was closed during the call") from None


class PortalContext(Generic[T]):
    """An async context manager, used from a sync `with`: one task of the loop enters it and leaves it."""

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._loop = portal.running_loop()
        self._call = _Call(self._loop, self._run)
        self._manager = manager
        self._leaving: anyio.Event | None = None
        self._entered: Future[T] = Future()
        self._body_error: BaseException | None = None

    async def _run(self) -> None:
        try:
            async with self._manager as value:
                self._leaving = anyio.Event()
                self._entered.set_result(value)
                await self._leaving.wait()
                if self._body_error is not None:
                    raise self._body_error
        finally:
            self._entered.cancel()  # does nothing once it was entered

    async def _leave(self) -> None:
        assert self._leaving is not None  # noqa: S101 - for the type checkers: it was entered
        self._leaving.set()

    def __enter__(self) -> T:
        try:
            self._call.start()
            return self._entered.result()
        except CancelledError:
            self._call.result()  # raises what kept it from being entered
            raise
        except BaseException:
            self._call.cancel()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None and (not isinstance(exc, Exception) or isinstance(exc, StopIteration)):
            self._call.cancel()  # Ctrl-C raised in the loop would end it, and no coroutine can raise StopIteration
            return
        self._body_error = exc
        if not self._call.ended.is_set():
            with suppress(ApiConnectionError):  # then the loop has ended, and this with it
                self._loop.start(self._leave)
        try:
            self._call.result()
        except BaseException as error:
            if error is not exc:
                raise


def _stop_unclosed(loop: _Loop, name: str) -> None:
    """Stop the loop of a portal that nobody can close any more. Runs at exit, or in any thread at any line of it."""
    if not loop.is_of_this_process or loop.has_failed:
        return
    if threading.main_thread().is_alive():
        # Not here: this thread may hold a lock that the loop needs for its end, or be the loop's own.
        threading.Thread(target=loop.stop, args=(_EXIT_SECONDS,)).start()
    else:
        loop.stop(_EXIT_SECONDS)
    warnings.warn(f"{name} was never closed", ResourceWarning, stacklevel=2)


_END: Any = object()


async def _cancel(scope: anyio.CancelScope) -> None:
    scope.cancel()


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    # Not StopAsyncIteration through the future: a coroutine cannot raise StopIteration's kin cleanly.
    return await anext(iterator, _END)
