"""One poller that serves every wait of the client.

There is no task in the background: one of those who wait does the looking for all, and when its own wait is over
another takes over. A single wait asks for its one task; several ask for the list, newest first, and singly for tasks
that fell off it. Completion may also be told from outside, and then ends a wait without a look.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._errors import (
    ApiConnectionError,
    NotFoundError,
    PolyglotError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    WaitTimeoutError,
    require_result,
)
from .._models import Task, TaskStatus
from .schedule import SLACK, Durations, Pace, joint_look

if TYPE_CHECKING:
    from .._http.transport import Transport
    from .._models import WebhookEvent

_PAGE = 100
_PASSING = (ApiConnectionError, ServerError, RateLimitError)
_UNREADABLE_ANSWERS = 5
_REMEMBERED_STARTS = 10_000
SAFETY_NET_SECONDS = 60.0
"""With completions told from outside, a task is looked at after this long, or sooner when it is overdue."""
OVERDUE = 2.0
"""Overdue is what takes this many times as long as tasks do."""
_MISSES = 2
"""So many ends that nobody told in a row, and the rhythm is the usual one until the next event comes."""


@attrs.define(eq=False)
class _Wait:
    """One wait. `young` is True where the task was started by this client, so that its age is known."""

    task: Task
    started: float
    young: bool
    poll_interval: float | None
    looked: float | None = None
    news: anyio.Event = attrs.field(factory=anyio.Event)
    error: PolyglotError | None = None

    @property
    def is_over(self) -> bool:
        return self.error is not None or self.task.status.is_final


@attrs.define(eq=False)
class Watcher:
    """Waits for tasks; see the module's head.

    Attributes:
        pace: the bounds of the rhythm.
        told: whether completions are told from outside, so that looking is only a safety net.
    """

    _transport: Transport = attrs.field(repr=False)
    pace: Pace = attrs.field(factory=Pace)
    told: bool = False
    _waits: dict[str, list[_Wait]] = attrs.field(factory=dict, init=False, repr=False)
    _durations: Durations = attrs.field(factory=Durations, init=False, repr=False)
    _started: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _told_of: OrderedDict[str, WebhookEvent] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _missed: int = attrs.field(default=0, init=False)
    _leading: bool = attrs.field(default=False, init=False)
    _changed: anyio.Event = attrs.field(factory=anyio.Event, init=False, repr=False)
    _last_look: float = attrs.field(default=float("-inf"), init=False)
    _unreadable: int = attrs.field(default=0, init=False)

    async def wait(
        self,
        task: Task | str,
        *,
        timeout: float | None = None,
        poll_interval: float | None = None,
    ) -> Task:
        """Wait until a task is completed, and give it.

        Raises:
            TaskFailedError: it failed.
            TaskCancelledError: it was cancelled.
            WaitTimeoutError: it was not final after `timeout` seconds.
            NotFoundError: there is no such task.
        """
        latest = task if isinstance(task, Task) else Task(task_id=task, status=TaskStatus.QUEUED)
        if not latest.status.is_final:
            started = self._started.pop(latest.task_id, None)
            wait = _Wait(latest, started or anyio.current_time(), started is not None, poll_interval)
            with anyio.move_on_after(timeout) as patience:
                await self._until_over(wait)
            latest = wait.task
            if wait.error is not None:
                raise wait.error
            if patience.cancelled_caught and not wait.is_over:
                raise WaitTimeoutError(
                    f"task {latest.task_id} is {latest.status.value} after {timeout} s of waiting", task=latest
                )
        require_result(latest)
        return latest

    def began(self, task_id: str) -> None:
        """A task was started just now."""
        self._started[task_id] = anyio.current_time()
        if len(self._started) > _REMEMBERED_STARTS:
            self._started.popitem(last=False)

    def tell(self, event: WebhookEvent) -> None:
        """Take word from outside that a task is final; word that comes before the wait is kept for it.

        May be called from a plain callback of the loop, where there is no task and no clock.
        """
        if event.status.is_final:
            self._told_of[event.task_id] = event
            if len(self._told_of) > _REMEMBERED_STARTS:
                self._told_of.popitem(last=False)
            self._changed.set()

    def _hear(self) -> None:
        """Let what was told end the waits that it is about."""
        for task_id in self._waits.keys() & self._told_of.keys():
            event = self._told_of.pop(task_id)
            self._missed = 0
            for wait in self._waits[task_id]:
                self._see(wait, _after(wait.task, event))

    async def _until_over(self, wait: _Wait) -> None:
        self._waits.setdefault(wait.task.task_id, []).append(wait)
        self._changed.set()
        try:
            while not wait.is_over:
                if self._leading:
                    await wait.news.wait()
                    wait.news = anyio.Event()
                else:
                    await self._lead(wait)
        finally:
            waits = self._waits[wait.task.task_id]
            waits.remove(wait)
            if not waits:
                del self._waits[wait.task.task_id]
            self._hand_on()

    def _hand_on(self) -> None:
        if not self._leading:
            for waits in self._waits.values():
                waits[0].news.set()
                return

    async def _lead(self, own: _Wait) -> None:
        """Look for all who wait, until the leader's own wait is over."""
        self._leading = True
        try:
            while not own.is_over:
                self._changed = anyio.Event()
                self._hear()
                if own.is_over:
                    return
                seconds = self._next_look() - anyio.current_time()
                if seconds > 0:
                    with anyio.move_on_after(seconds):
                        await self._changed.wait()
                else:
                    await self._look()
        finally:
            self._leading = False

    def _next_look(self) -> float:
        now = anyio.current_time()
        waits = [wait for waits in self._waits.values() for wait in waits if not wait.is_over]
        expected = self._durations.expected()
        slack = SLACK * (expected.seconds if expected else 0.0)
        due = joint_look((self._due(wait, now) for wait in waits if not wait.poll_interval), slack)
        own_rhythm = [(wait.looked or wait.started) + wait.poll_interval for wait in waits if wait.poll_interval]
        due = max(due, self._last_look + self.pace.floor)
        return min(due, *own_rhythm) if own_rhythm else due

    def _due(self, wait: _Wait, now: float) -> float:
        if not wait.young and wait.looked is None:
            return now  # it may have ended long ago
        expected = self._durations.expected(wait.task.audio_duration_seconds) if wait.young else None
        if self.told and self._missed < _MISSES:
            patience = SAFETY_NET_SECONDS if expected is None else OVERDUE * expected.seconds + 10 * self.pace.floor
            return (wait.looked or wait.started) + min(SAFETY_NET_SECONDS, patience)
        return self.pace.next_look(wait.started, wait.looked, now, expected)

    async def _look(self) -> None:
        """Ask once about all who wait. What passes is waited out; what does not ends their waits."""
        waits = {task_id: waits for task_id, waits in self._waits.items() if not waits[0].is_over}
        try:
            if len(waits) == 1:
                await self._look_at(next(iter(waits)))
            else:
                await self._look_at_list(set(waits))
            self._unreadable = 0
        except _PASSING:
            self._note_look(waits)
        except PolyglotError as error:
            self._unreadable += 1
            self._note_look(waits)
            if not isinstance(error, ResponseDecodeError) or self._unreadable >= _UNREADABLE_ANSWERS:
                self._end(waits, error)
        self._last_look = anyio.current_time()

    async def _look_at_list(self, wanted: set[str]) -> None:
        """Read the list, newest first, for as long as that is cheaper than to ask for each task that is left."""
        offset = barren = 0
        cursor: str | None = None
        while len(wanted) > 1:
            request = endpoints.list_tasks(limit=_PAGE, offset=offset, cursor=cursor, filters={})
            page = endpoints.parse_page(await self._transport.send(request))
            found = [task for task in page.items if task.task_id in wanted]
            for task in found:
                self._see_all(task)
            wanted -= {task.task_id for task in found}
            offset += len(page.items)
            cursor = page.next_cursor
            barren = 0 if found else barren + 1
            if not page.items or barren >= len(wanted) or (page.total is not None and offset >= page.total):
                break
        for task_id in wanted:  # fell off the list, or was never there
            await self._look_at(task_id)

    async def _look_at(self, task_id: str) -> None:
        try:
            self._see_all(endpoints.parse_task(await self._transport.send(endpoints.get(task_id))))
        except NotFoundError as error:
            self._end({task_id: self._waits.get(task_id, [])}, error)

    def _see_all(self, task: Task) -> None:
        if self.told and task.status.is_final:
            self._missed += 1  # it should have been told; after a few, looking is trusted more than being told
        for wait in self._waits.get(task.task_id, ()):
            self._see(wait, task)

    def _see(self, wait: _Wait, task: Task) -> None:
        now = anyio.current_time()
        wait.task = task
        if task.status.is_final:
            wait.news.set()
        else:
            wait.looked = now
        if wait.young:
            note = self._durations.finished if task.status.is_final else self._durations.unfinished
            note(now - wait.started, task.audio_duration_seconds)

    def _note_look(self, waits: dict[str, list[_Wait]]) -> None:
        """A look that failed puts off the next one as one that saw nothing would."""
        now = anyio.current_time()
        for wait in (wait for waits_of_one in waits.values() for wait in waits_of_one):
            wait.looked = now

    def _end(self, waits: dict[str, list[_Wait]], error: PolyglotError) -> None:
        for wait in (wait for waits_of_one in waits.values() for wait in waits_of_one):
            wait.error = error
            wait.news.set()


def _after(task: Task, event: WebhookEvent) -> Task:
    """What is known of a task once an event has told of its end."""
    return attrs.evolve(
        task,
        status=event.status,
        model=event.model or task.model,
        failure_reason=event.failure_reason,
        transcript_preview=event.transcript_preview or task.transcript_preview,
    )
