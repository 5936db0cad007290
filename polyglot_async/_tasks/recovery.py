"""What became of submissions whose process died: found in the list, proven absent, or unknown (A17).

It is looked for once, at the beginning of a run, before anything else is sent. The dead process's connections are gone
with it, so after a moment nothing of it can still arrive. If the list then tells of every task since the submission
when it was created and what its file is called, a file that is not there was not accepted, and may be sent without
being paid for twice. A service that changes names proves no absence: then every unknown task may be the one.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._errors import (
    AuthenticationError,
    ConfigurationError,
    PolyglotError,
    QuotaExhaustedError,
    RateLimitError,
    SubmissionUncertainError,
)
from .._state.journal import Entry, Journal, State
from .submit import file_name_of, has_name, service_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._api.messages import ApiResponse
    from .._http.transport import Transport
    from .._models import Task

SETTLING_SECONDS = 10.0
"""How long after a process's death its submissions can still arrive: what its kernel, and proxies, held of them."""
_SLACK = timedelta(seconds=5)
_PAGE = 100
_CHANGED_ON_THE_WAY = frozenset('"\\%;?')


@attrs.define(eq=False)
class Recovery:
    """Settles what earlier runs left open: afterwards the journal says new, running or uncertain."""

    _transport: Transport
    _journal: Journal
    _doubts: dict[str, SubmissionUncertainError] = attrs.field(factory=dict, init=False)

    async def settle(self) -> None:
        """Look for all submissions of unknown fate. To be called before anything is sent.

        Raises:
            PolyglotError: what would fail every item alike: the credential, the quota, the journal.
        """
        entries = await self._journal.unsettled()
        if not entries:
            return
        await _until_settled(entries)
        try:
            listing = await self._listing(min(entry.submitted_at or 0.0 for entry in entries))
        except (AuthenticationError, ConfigurationError, QuotaExhaustedError):
            raise
        except PolyglotError as error:
            for entry in entries:
                await self._doubt(entry, f"the list of tasks cannot be read ({error})", ())
            return
        names = Counter(file_name_of(entry.name) for entry in entries)
        for entry in entries:
            await self._settle(entry, listing, entries, alone=names[file_name_of(entry.name)] == 1)

    def doubt_of(self, entry: Entry) -> SubmissionUncertainError:
        """Give the error that an item deserves whose fate is unknown."""
        return self._doubts.get(entry.key) or _uncertain(entry, entry.error or "its answer was lost", ())

    async def _settle(self, entry: Entry, listing: _Listing, entries: Sequence[Entry], *, alone: bool) -> None:
        found, possible = listing.candidates(entry, entries)
        # A clock that was set back cannot tell which tasks are new enough.
        complete = listing.complete and (entry.submitted_at or 0.0) <= listing.asked_at + 1.0
        if complete and not possible:
            await self._journal.not_submitted(entry.key)
        elif complete and alone and len(possible) == len(found) == 1:
            await self._journal.running(entry.key, found[0].task_id)
        else:
            await self._doubt(entry, "the list of tasks does not tell the outcome", possible)

    async def _doubt(self, entry: Entry, why: str, candidates: Sequence[Task]) -> None:
        error = self._doubts[entry.key] = _uncertain(entry, why, candidates)
        await self._journal.uncertain(entry.key, str(error))

    async def _listing(self, since: float) -> _Listing:
        """Read the list back to a moment of this machine's clock."""
        listing = _Listing()
        offset = 0
        cursor: str | None = None
        while True:
            answer = await self._page(offset, cursor)
            page = endpoints.parse_page(answer)
            listing.service_clock = (service_time(answer) - datetime.now(UTC)).total_seconds()
            listing.asked_at = time.time()
            new = [task for task in page.items if task.task_id not in listing.tasks]
            listing.tasks.update({task.task_id: task for task in new})
            offset += len(page.items)
            cursor = page.next_cursor
            for task in new:
                listing.known[task.task_id] = await self._journal.name_of_task(task.task_id)
            if any(task.created_at is None or task.file_name is None for task in new):
                return listing
            past = any(_created(task) < listing.earliest(since) for task in new)
            if past or not page.items or (page.total is not None and len(listing.tasks) >= page.total):
                listing.complete = True
                return listing
            if not new:  # the service does not page, so nobody knows what is behind
                return listing

    async def _page(self, offset: int, cursor: str | None) -> ApiResponse:
        while True:
            try:
                return await self._transport.send(
                    endpoints.list_tasks(limit=_PAGE, offset=offset, cursor=cursor, filters={})
                )
            except RateLimitError:
                continue  # the limiter waits


@attrs.define(eq=False)
class _Listing:
    """The service's tasks, and whose they are: `known` gives the name that the journal has for a task, or None."""

    tasks: dict[str, Task] = attrs.field(factory=dict)
    known: dict[str, str | None] = attrs.field(factory=dict)
    complete: bool = False
    service_clock: float = 0.0
    asked_at: float = attrs.field(factory=time.time)

    def earliest(self, submitted_at: float) -> datetime:
        """Give the moment, by the service's clock, before which a submission's task cannot have been made."""
        return datetime.fromtimestamp(submitted_at + self.service_clock, UTC) - _SLACK

    def candidates(self, entry: Entry, entries: Sequence[Entry]) -> tuple[list[Task], list[Task]]:
        """Give the tasks that bear the item's name, and all that may be its task."""
        earliest = self.earliest(entry.submitted_at or 0.0)
        unknown = [
            task for task in self.tasks.values() if self.known[task.task_id] is None and _created(task) >= earliest
        ]
        found = [task for task in unknown if has_name(task, entry.name)]
        name = file_name_of(entry.name)
        if self._keeps_names(entries) and name.isprintable() and not _CHANGED_ON_THE_WAY & set(name):
            return found, found
        strangers = [task for task in unknown if not any(has_name(task, other.name) for other in entries)]
        return found, found + strangers

    def _keeps_names(self, entries: Sequence[Entry]) -> bool:
        """Whether the service lists files under the names that they were sent with, as far as the list shows."""
        ours = [(self.tasks[task_id], name) for task_id, name in self.known.items() if name is not None]
        if ours:
            return all(has_name(task, name) for task, name in ours)
        return any(has_name(task, entry.name) for task in self.tasks.values() for entry in entries)


async def _until_settled(entries: Sequence[Entry]) -> None:
    """Wait until nothing can arrive any more of what was under way."""
    if any(entry.state is State.SUBMITTING for entry in entries):
        # Its process may have lived until just now, when its lock on the journal fell to us.
        await anyio.sleep(SETTLING_SECONDS)
    else:
        last = max(entry.updated_at for entry in entries)
        await anyio.sleep(max(0.0, min(SETTLING_SECONDS, last + SETTLING_SECONDS - time.time())))


def _uncertain(entry: Entry, why: str, candidates: Sequence[Task]) -> SubmissionUncertainError:
    return SubmissionUncertainError(
        f"{entry.name} may or may not have been accepted when it was last sent: {why}",
        source_name=entry.name,
        size=entry.size,
        candidates=candidates,
    )


def _created(task: Task) -> datetime:
    return task.created_at or datetime.now(UTC)
