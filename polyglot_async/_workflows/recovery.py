"""What became of a submission whose process died: found in the list, proven absent, or unknown (A17).

The process is gone and its connections with it, so after a moment nothing of it can still arrive. If the list then
tells of every task since the submission when it was created and what its file is called, a file that is not there was
not accepted, and may be sent without being paid for twice.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import attrs

from .._errors import SubmissionUncertainError
from .._protocol import endpoints
from .submissions import has_name, service_time

if TYPE_CHECKING:
    from .._io.transport import Transport
    from .._models import Task
    from .journal import Entry, Journal

SETTLING_SECONDS = 5.0
"""How long after a submission left its fate can still change at the service."""
_SLACK = timedelta(seconds=5)
_PAGE = 100


@attrs.define(eq=False)
class Recovery:
    """Settles one item after the other, so that no two take the same task for theirs."""

    _transport: Transport
    _journal: Journal
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)

    async def settle(self, entry: Entry) -> Task | None:
        """Give the task that an earlier run's submission started; None where it certainly started none.

        Raises:
            SubmissionUncertainError: the list does not tell.
        """
        async with self._turn:
            submitted_at = entry.submitted_at or time.time()
            await anyio.sleep(max(0.0, min(SETTLING_SECONDS, submitted_at + SETTLING_SECONDS - time.time())))
            tasks, complete = await self._tasks_since(submitted_at)
            named = [task for task in tasks if has_name(task, entry.name)]
            candidates = [task for task in named if not await self._journal.knows_task(task.task_id)]
            if not candidates and complete:
                return None
            if complete and len(candidates) == 1 and await self._journal.unsettled_named(entry.name) == 1:
                await self._journal.running(entry.key, candidates[0].task_id)
                return candidates[0]
        raise SubmissionUncertainError(
            f"{entry.name} was being sent when an earlier run ended, and the list of tasks does not tell the outcome",
            source_name=entry.name,
            size=entry.size,
            candidates=candidates,
        )

    async def _tasks_since(self, submitted_at: float) -> tuple[list[Task], bool]:
        """Give the tasks since then, and whether that is all of them for certain."""
        found: dict[str, Task] = {}
        offset = 0
        cursor: str | None = None
        while True:
            request = endpoints.list_tasks(limit=_PAGE, offset=offset, cursor=cursor, filters={})
            answer = await self._transport.send(request)
            page = endpoints.parse_page(answer)
            age = timedelta(seconds=max(0.0, time.time() - submitted_at))
            earliest = service_time(answer) - age - _SLACK
            new = [task for task in page.items if task.task_id not in found]
            if any(task.created_at is None or task.file_name is None for task in new):
                return list(found.values()), False
            recent = [task for task in new if _created(task) >= earliest]
            found.update({task.task_id: task for task in recent})
            if len(recent) < len(page.items) or not page.items:
                return list(found.values()), True
            offset += len(page.items)
            cursor = page.next_cursor


def _created(task: Task) -> datetime:
    return task.created_at or datetime.now(UTC)
