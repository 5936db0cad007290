"""What parts with tasks or threads need: errors that are not groups, a way into the event loop, progress callbacks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

OnProgress: TypeAlias = Callable[[int, int | None], Awaitable[None] | None]
"""Called with the bytes done and the bytes in all (None where unknown); sync or async. A retry starts from 0 again."""


async def report_progress(on_progress: OnProgress | None, done: int, total: int | None) -> None:
    """Call a progress callback, sync or async."""
    if on_progress is not None:
        answer = on_progress(done, total)
        if inspect.isawaitable(answer):
            await answer


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first error of a group: an exit such as Ctrl-C before any other, a cancellation if there is no other.

    Stands before the task group that it unwraps: `with unwrapped(): async with anyio.create_task_group(): ...`.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        exits = [leaf for leaf in leaves if isinstance(leaf, KeyboardInterrupt | SystemExit)]
        errors = [leaf for leaf in leaves if isinstance(leaf, Exception)]
        error = (exits or errors or leaves)[0]
        raise error from error.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def from_any_thread(callback: Callable[[T], None]) -> Callable[[T], None]:
    """Return a function that any thread may call, and that runs `callback` in the event loop of this moment.

    Once that loop is closed, calls do nothing.
    """
    loop: Any = current_token().native_token
    # asyncio's loop and Trio's token name the same thing differently.
    run_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def call(value: T) -> None:
        with suppress(RuntimeError):  # the loop is closed; Trio's RunFinishedError is one too
            run_soon(partial(callback, value))

    return call
