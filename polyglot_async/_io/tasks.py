"""No `ExceptionGroup` leaves a call that does one thing: what one of its tasks raised is raised as it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first real error of a group, and a cancellation only where there is nothing else.

    Stands before the task group that it unwraps: `with unwrapped(): async with anyio.create_task_group(): ...`.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        error = next((leaf for leaf in leaves if isinstance(leaf, Exception)), leaves[0])
        raise error from error.__cause__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
