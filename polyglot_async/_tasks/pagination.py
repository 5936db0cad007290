"""The list of tasks, page after page: the one reader for users, poller and proofs (A4)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from .._api import endpoints
from .sightings import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from .._http.transport import Transport
    from .._models import Task, TaskPage
    from .known_tasks import KnownTasks

logger = logging.getLogger("polyglot_async")

PAGE_SIZE = 100
_MOST_EMPTY_PAGES = 20
"""So many in a row that only name a next one, and the list is given up, though its end was not seen."""


# Classes and not generators: one may break off at any task, and nothing is left behind that had to be closed.


@attrs.define(eq=False)
class TaskPages:
    """The pages of the list, newest tasks first. A task that moved from one page to the next meanwhile comes once.

    It ends, whatever the service does: at an empty page that names no next one, where pages hold nothing new, at the
    total that the service counts, or where its cursors end. A page shorter than another is no end: the service may cut
    its pages as it likes.

    Attributes:
        reading: what is known of this reading of the list.
        has_next: whether there may be a further page.
        reached_end: whether the end of the list was certainly reached.
        skipped: entries that are no tasks as far as can be read.
        date: the `Date` of the last answer, or an empty string.
    """

    _transport: Transport = attrs.field(repr=False)
    _page_size: int | None = PAGE_SIZE
    _filters: Mapping[str, Any] = attrs.field(factory=dict)
    _known: KnownTasks | None = attrs.field(default=None, kw_only=True, repr=False)
    reading: Reading = attrs.field(init=False, repr=False)
    has_next: bool = attrs.field(default=True, init=False)
    reached_end: bool = attrs.field(default=False, init=False)
    skipped: int = attrs.field(default=0, init=False)
    date: str = attrs.field(default="", init=False)
    _seen: set[str] = attrs.field(factory=set, init=False, repr=False)
    _offset: int = attrs.field(default=0, init=False)
    _cursor: str | None = attrs.field(default=None, init=False)
    _without_new: int = attrs.field(default=0, init=False)
    _last_ids: list[str] = attrs.field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.reading = Reading(self._transport.runtime.unix_time())

    def __aiter__(self) -> TaskPages:
        return self

    async def __anext__(self) -> TaskPage:
        if not self.has_next:
            raise StopAsyncIteration
        request = endpoints.list_tasks(
            limit=self._page_size, offset=self._offset, cursor=self._cursor, filters=self._filters
        )
        raw = await self._transport.call(request, endpoints.parse_page)
        page, self.date = raw.parse(), raw.headers.get("date", "")
        unique = {task.task_id: task for task in reversed(page.items) if task.task_id not in self._seen}
        new = tuple(reversed(unique.values()))
        self._seen |= unique.keys()
        self._offset += page.received
        self.skipped += page.received - len(page.items)
        counted = page.total is not None and self._offset >= page.total
        # A page that only repeats may be all that this service shows of a longer list.
        self.reached_end = page.next_cursor is None and (not page.received or self._cursor is not None or counted)
        repeats_cursor = page.next_cursor is not None and page.next_cursor == self._cursor
        self.has_next = not (self.reached_end or repeats_cursor or self._is_given_up(page, new))
        self._cursor = page.next_cursor
        if self._known is not None:
            now = self._transport.runtime.unix_time()
            self._known.record_page(self.reading, new, now, is_end=self.reached_end)
        if not new and not self.has_next:
            raise StopAsyncIteration
        return page if len(new) == len(page.items) else attrs.evolve(page, items=new)

    def _is_given_up(self, page: TaskPage, new: Sequence[Task]) -> bool:
        """Return whether nothing new is expected after a page.

        One may hold nothing new and not be the end: entries that are no tasks are skipped, and behind an offset tasks
        that were started meanwhile push others down. Two in a row are, the same page again, and a circle. With a cursor
        a page may be empty because what stands there is filtered out.
        """
        ids = [task.task_id for task in page.items]
        has_cursor = self._cursor is not None or page.next_cursor is not None
        repeats = bool(ids) and (has_cursor or ids == self._last_ids)
        self._last_ids = ids
        self._without_new = 0 if new else self._without_new + 1
        is_empty_too_often = not page.received and self._without_new >= _MOST_EMPTY_PAGES
        if is_empty_too_often and page.next_cursor is not None:
            logger.warning("the list of tasks is given up after %d empty pages in a row", self._without_new)
        return not new and (repeats or (bool(page.received) and self._without_new > 1) or is_empty_too_often)


@attrs.define(eq=False, repr=False)
class _Tasks:
    _pages: AsyncIterator[TaskPage]
    _items: Iterator[Task] = attrs.field(factory=lambda: iter(()), init=False)

    def __aiter__(self) -> _Tasks:
        return self

    async def __anext__(self) -> Task:
        while (task := next(self._items, None)) is None:
            self._items = iter((await anext(self._pages)).items)
        return task


@attrs.frozen
class TaskList:
    """All tasks, newest first: iterate over it with `async for`, or over its `pages()`.

    Each iteration starts anew. Nothing is requested before that.
    """

    _transport: Transport = attrs.field(repr=False)
    _page_size: int
    _filters: Mapping[str, Any]

    def __aiter__(self) -> AsyncIterator[Task]:
        return _Tasks(self.pages())

    def pages(self) -> AsyncIterator[TaskPage]:
        """Iterate page by page. A task that moved from one page to the next meanwhile comes once."""
        return TaskPages(self._transport, self._page_size, self._filters)
