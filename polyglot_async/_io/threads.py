"""From any thread into the loop of this one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def from_any_thread(callback: Callable[[T], None]) -> Callable[[T], None]:
    """Make a callback that may be called in any thread and runs in the loop that is running now, a moment later.

    Once that loop is closed, calls do nothing.
    """
    loop: Any = current_token().native_token
    # asyncio's loop and Trio's token name the same thing differently.
    run_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon

    def call(value: T) -> None:
        with suppress(RuntimeError):  # the loop is closed; Trio's RunFinishedError is one too
            run_soon(partial(callback, value))

    return call
