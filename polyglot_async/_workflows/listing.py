"""The list of tasks, page after page (A4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .._models import Task, TaskPage


@attrs.frozen
class TaskList:
    """All tasks, newest first: iterate over it with `async for`, or over its `pages()`.

    Each iteration starts anew. It ends, whatever the service does, at a page that holds nothing new.
    """

    _fetch: Callable[[int, str | None], Awaitable[TaskPage]] = attrs.field(repr=False)

    async def __aiter__(self) -> AsyncIterator[Task]:
        async for page in self.pages():
            for task in page.items:
                yield task

    async def pages(self) -> AsyncIterator[TaskPage]:
        """Iterate page by page. A task that moved from one page to the next while it was read comes once."""
        seen: set[str] = set()
        offset = longest = 0
        cursor: str | None = None
        while True:
            page = await self._fetch(offset, cursor)
            new = tuple(task for task in page.items if task.task_id not in seen)
            if not new:
                return
            yield _with_items(page, new)
            seen.update(task.task_id for task in new)
            offset += len(page.items)
            longest = max(longest, len(page.items))
            cursor = page.next_cursor
            if cursor is None and _is_last(page, offset, longest):
                return


def _with_items(page: TaskPage, items: tuple[Task, ...]) -> TaskPage:
    return page if len(items) == len(page.items) else attrs.evolve(page, items=items)


def _is_last(page: TaskPage, offset: int, longest: int) -> bool:
    """Tell without another request. A page shorter than asked for proves nothing: the service may cap its pages."""
    return len(page.items) < longest or (page.total is not None and offset >= page.total)
