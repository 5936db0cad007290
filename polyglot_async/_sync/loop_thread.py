"""A thread that runs an event loop, and the calls that other threads make into it.

Ctrl-C may come between any two lines of Python, so nothing here waits with the locks that the standard library writes
in Python (`Condition`, `Event`, `Future`): interrupted, they stay locked. `SimpleQueue` and `Lock` are written in C.
"""

from __future__ import annotations

import inspect
import os
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from .._errors import ApiConnectionError

try:
    from sniffio import current_async_library_cvar
except ImportError:  # then nobody reads it
    current_async_library_cvar = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from .._models import Task

T = TypeVar("T")


class LoopThread:
    """The loop and its thread. It holds no reference to its Portal, so that a portal out of use can be collected.

    Attributes:
        start_error: why it could not be started, for want of file descriptors perhaps.
        tasks: the task group of the calls.
        calls: those that have not ended.
    """

    def __init__(self, closing: Callable[[], Awaitable[None]] | None) -> None:
        self.start_error: BaseException | None = None
        self.tasks: anyio.abc.TaskGroup
        self.calls: set[PortalCall[Any]] = set()
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
        import asyncio  # noqa: PLC0415 - by now anyio has loaded it; at the start of a program it takes long

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

    def post(self, call: PortalCall[Any], step: Callable[[], object]) -> None:
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

    def run_soon(self, step: Callable[[], object]) -> None:
        """Run a step in the loop, unless it has ended."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(step)

    def stop(self, timeout: float | None = None) -> None:
        """Cancel what is under way, and wait for the end of the thread."""
        self.wait_until_started()
        if self.start_error is None:
            self.run_soon(self._stopping.set)
        self._thread.join(timeout)


class _CallbackRun:
    """One run of a callback in the thread that waits for a call, while the call's coroutine waits for the callback.

    Attributes:
        ended: set in the loop when the callback has returned or raised.
        answers: what it returned.
        errors: what it raised.
    """

    def __init__(self, loop: LoopThread, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.ended = anyio.Event()
        self.answers: list[object] = []
        self.errors: list[Exception] = []
        self._loop = loop
        self._callback = callback
        self._args = args

    def __call__(self) -> None:
        """Call it. Ctrl-C, which is no Exception, goes to the thread: it cancels the call."""
        try:
            self.answers.append(self._callback(*self._args))
        except Exception as error:  # noqa: BLE001 - it is raised in the coroutine
            self.errors.append(error)
        self._loop.run_soon(self.ended.set)


async def run_in_caller(
    loop: LoopThread, inbox: SimpleQueue[Callable[[], object] | None], callback: Callable[..., object], *args: Any
) -> None:
    """Call a callback in the thread that reads `inbox`, and raise what it raises; await what it returns, if need be.

    So a coroutine in the loop meets an error of a sync caller's callback where it would meet an async caller's.
    """
    run = _CallbackRun(loop, callback, args)
    inbox.put(run)
    await run.ended.wait()
    if run.errors:
        raise run.errors.pop()  # popped, or it would be part of a cycle, by its traceback
    answer = run.answers.pop()
    if inspect.isawaitable(answer):
        await answer


class PortalCall(Generic[T]):
    """One coroutine in the loop, which can be cancelled from the moment that it may have been started.

    Attributes:
        inbox: what the thread that waits has to call meanwhile; None at the end.
        is_started: whether it may have been started.
        ended: whether the coroutine is over.
    """

    def __init__(
        self,
        loop: LoopThread,
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
        # What a cancellation carries out of the coroutine.
        self._task: Task | None = None
        self._maybe_sent: bool | None = None

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
                try:
                    self._results.append(await self._function(*self._args, **self._kwargs))
                except anyio.get_cancelled_exc_class() as cancelled:
                    self._task = getattr(cancelled, "task", None)
                    self._maybe_sent = getattr(cancelled, "maybe_sent", None)
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
            ApiConnectionError: the client was closed meanwhile. A task that was started is the error's `task`.
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
            raise self._closed_error()
        return self._results.pop()

    def _closed_error(self) -> ApiConnectionError:
        note = self._note()
        message = "the client was closed during the call" + ("" if note is None else f": {note}")
        error = ApiConnectionError(message, maybe_sent=self._maybe_sent is not False)
        error.task = self._task
        self._task = self._maybe_sent = None  # noted
        return error

    def explain(self, interrupt: BaseException) -> None:
        """Note in what has interrupted the call which task it has started, if it was cancelled after that."""
        note = self._note()
        if note is not None:
            vars(interrupt)["task"] = self._task
            interrupt.add_note(note)

    def _note(self) -> str | None:
        if self._task is not None:
            return f"task {self._task.task_id} was started and goes on: wait for it instead of sending its media again"
        if self._maybe_sent:
            return "what was sent may have been accepted: look for it among your tasks before you send it again"
        return None

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
