"""An event loop in a thread of its own, for callers that do not await.

Three ends have to be clean. Ctrl-C in a call cancels its coroutine and waits until it has released its connection. A
portal that nobody closed is closed by the garbage collector or when the interpreter exits, with a warning, as a file
is. And a forked child, which has the portal's memory but not its thread, gets an error and does not hang.

Ctrl-C may come between any two lines of Python, so nothing here waits with the locks that the standard library writes
in Python (`Condition`, `Event`, `Future`): interrupted, they stay locked. `SimpleQueue` and `Lock` are written in C.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import warnings
import weakref
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import anyio

from .._errors import ApiConnectionError, ConfigurationError

try:
    from sniffio import current_async_library_cvar
except ImportError:  # then nobody reads it
    current_async_library_cvar = None  # type: ignore[assignment]

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
        call: _Call[T] = _Call(self.running_loop(), function, args, kwargs)
        on_progress: Any = kwargs.get("on_progress")
        if on_progress is not None:
            report, inbox = partial(self._report, on_progress), call.inbox
            kwargs["on_progress"] = lambda done, total: inbox.put(partial(report, done, total))
        try:
            call.start()
            return call.wait()
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
                self._loop = _Loop(self._closing)
                self._finalizer = weakref.finalize(self, _stop_unclosed, self._loop, self._name)
            self._loop.wait_until_started()
            if self._loop.start_error is not None:
                raise self._loop.start_error
            return self._loop


class _Loop:
    """The loop and its thread. It holds no reference to its Portal, so that a portal out of use can be collected.

    Attributes:
        start_error: why it could not be started, for want of file descriptors perhaps.
        tasks: the task group of the calls.
        calls: those that have not ended.
    """

    def __init__(self, closing: Callable[[], Awaitable[None]] | None) -> None:
        self.start_error: BaseException | None = None
        self.tasks: anyio.abc.TaskGroup
        self.calls: set[_Call[Any]] = set()
        self._closing = closing
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: anyio.Event
        self._ended = False
        self._starting = threading.Lock()  # released once it runs, or cannot
        self._starting.acquire()
        # A daemon: the interpreter waits for other threads before it runs what would end this one.
        self._thread = threading.Thread(target=self._run, name="polyglot_async", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            anyio.run(self._main)
        except BaseException as error:
            if self._loop is not None:
                raise
            self.start_error = error
            self._starting.release()
        finally:
            self._ended = True
            for call in list(self.calls):
                call.end()

    async def _main(self) -> None:
        self._stopping = anyio.Event()
        try:
            async with anyio.create_task_group() as self.tasks:
                self._loop = asyncio.get_running_loop()
                self._starting.release()
                await self._stopping.wait()
                self.tasks.cancel_scope.cancel()
        finally:
            if self._closing is not None:
                await self._closing()

    @property
    def is_of_this_process(self) -> bool:
        """Whether the thread is one of this process, and not left behind by a fork."""
        return self._process == os.getpid()

    @property
    def is_this_thread(self) -> bool:
        """Whether the caller runs in the loop's thread."""
        return self._thread is threading.current_thread()

    @property
    def can_be_waited_for(self) -> bool:
        """Whether waiting for the loop ends: not in its own thread, where the garbage collector may run too."""
        return self.is_of_this_process and not self._ended and not self.is_this_thread

    def wait_until_started(self) -> None:
        """Wait until it runs, or cannot: see `start_error`."""
        if self._loop is None:
            with self._starting:
                pass

    def post(self, call: _Call[Any], step: Callable[[], object]) -> None:
        """Run a step of a call in the loop, soon and after what was posted before; the call ends, whatever happens.

        Raises:
            ApiConnectionError: the loop has ended.
        """
        self.calls.add(call)  # before the check: what ends the loop sets `_ended` first, and then ends all calls
        try:
            if self._ended or self._loop is None:
                raise RuntimeError  # noqa: TRY301 - as a closed loop does
            self._loop.call_soon_threadsafe(step)
        except RuntimeError as error:
            self.calls.discard(call)
            raise ApiConnectionError("the client was closed", maybe_sent=False) from error

    def stop(self, timeout: float | None = None) -> None:
        """Cancel what is under way, and wait for the end of the thread."""
        self.wait_until_started()
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout)


class _Call(Generic[T]):
    """One coroutine in the loop, which can be cancelled from the moment that it may have been started.

    Attributes:
        inbox: what the thread that waits has to call meanwhile; None at the end.
        is_started: whether it may have been started.
        ended: whether the coroutine is over.
    """

    def __init__(
        self,
        loop: _Loop,
        function: Callable[..., Awaitable[T]],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.inbox: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.ended: bool = False
        self._loop = loop
        self._function = function
        self._args = args
        self._kwargs = kwargs or {}
        self.is_started: bool = False
        self._is_received = False
        self._is_cancelled = False
        self._scope: anyio.CancelScope | None = None
        self._error: BaseException | None = None
        self._results: list[T] = []

    def start(self) -> None:
        """Start it in the loop."""
        self.is_started = True
        self._loop.post(self, self._receive)

    def _receive(self) -> None:
        self._is_received = True
        if current_async_library_cvar is not None:  # the context is the caller's, who may run Trio
            current_async_library_cvar.set("asyncio")
        try:
            self._loop.tasks.start_soon(self._run)
        except RuntimeError:  # the loop is being stopped
            self.end()

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                self._results.append(await self._function(*self._args, **self._kwargs))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
        finally:
            self.end()

    def end(self) -> None:
        """Wake the thread that waits. Runs in the loop, or after its end."""
        if not self.ended:
            self.ended = True
            self._loop.calls.discard(self)
            self.inbox.put(None)

    def wait(self) -> T:
        """Wait for the end, and return or raise what the coroutine did.

        Raises:
            ApiConnectionError: the client was closed meanwhile.
        """
        while (callback := self.inbox.get()) is not None:
            callback()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # or it would be part of a cycle, by its traceback
        if not self._results:
            raise ApiConnectionError("the client was closed during the call")
        return self._results.pop()

    def cancel(self, *, wait: bool = True) -> None:
        """Cancel it, and wait for its end, unless this thread is the one that it would end in."""
        if self.ended or not self._loop.is_of_this_process:
            return
        with suppress(ApiConnectionError):
            self._loop.post(self, self._cancel)
            while wait and self._loop.can_be_waited_for and self.inbox.get() is not None:
                pass

    def _cancel(self) -> None:
        self._is_cancelled = True
        if not self._is_received:  # Ctrl-C came before it was posted
            self.end()
        elif self._scope is not None:
            self._scope.cancel()


class PortalContext(Generic[T]):
    """An async context manager, used from a sync `with`: one task of the loop enters it and leaves it."""

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[T]) -> None:
        self._loop = portal.running_loop()
        self._body = _Body(manager)
        self._call = _Call(self._loop, self._body.run)
        self._body.inbox = self._call.inbox

    def __del__(self) -> None:
        """Close what Ctrl-C left open: it may come before the first line of `__exit__`."""
        call: _Call[None] | None = getattr(self, "_call", None)
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


def _stop_unclosed(loop: _Loop, name: str) -> None:
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


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    # Not StopAsyncIteration through the future: a coroutine cannot raise StopIteration's kin cleanly.
    return await anext(iterator, _END)
