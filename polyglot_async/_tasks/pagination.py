"""The list of tasks, page after page (A4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

    from .._models import Task, TaskPage


@attrs.frozen
class TaskList:
    """All tasks, newest first: iterate over it with `async for`, or over its `pages()`.

    Each iteration starts anew. It ends, whatever the service does, at a page that holds nothing new.
    """

    _fetch: Callable[[int, str | None], Awaitable[TaskPage]] = attrs.field(repr=False)

    def __aiter__(self) -> AsyncIterator[Task]:
        return _Tasks(self.pages())

    def pages(self) -> AsyncIterator[TaskPage]:
        """Iterate page by page. A task that moved from one page to the next while it was read comes once."""
        return _Pages(self._fetch)


# Classes and not generators: one may break off at any task, and nothing is left behind that had to be closed.


@attrs.define
class _Tasks:
    _pages: AsyncIterator[TaskPage]
    _items: Iterator[Task] = attrs.field(factory=lambda: iter(()), init=False)

    def __aiter__(self) -> _Tasks:
        return self

    async def __anext__(self) -> Task:
        while (task := next(self._items, None)) is None:
            self._items = iter((await anext(self._pages)).items)
        return task


@attrs.define
class _Pages:
    _fetch: Callable[[int, str | None], Awaitable[TaskPage]]
    _seen: set[str] = attrs.field(factory=set, init=False)
    _offset: int = attrs.field(default=0, init=False)
    _longest: int = attrs.field(default=0, init=False)
    _cursor: str | None = attrs.field(default=None, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    def __aiter__(self) -> _Pages:
        return self

    async def __anext__(self) -> TaskPage:
        if self._ended:
            raise StopAsyncIteration
        page = await self._fetch(self._offset, self._cursor)
        new = tuple(self._unseen(page.items))
        self._offset += len(page.items)
        self._longest = max(self._longest, len(page.items))
        self._ended = not new or (page.next_cursor is None and self._is_last(page))
        self._cursor = page.next_cursor
        if not new:
            raise StopAsyncIteration
        return page if len(new) == len(page.items) else attrs.evolve(page, items=new)

    def _unseen(self, tasks: Iterable[Task]) -> Iterator[Task]:
        for task in tasks:
            if task.task_id not in self._seen:
                self._seen.add(task.task_id)
                yield task

    def _is_last(self, page: TaskPage) -> bool:
        """Tell without another request. A page shorter than asked for proves nothing: the service may cap its pages."""
        followed = self._cursor is not None
        counted = page.total is not None and self._offset >= page.total
        return followed or counted or len(page.items) < self._longest
