"""One poller serves every wait of the client.

There is no task in the background: one waiter runs the polling loop; when its own wait is over, another takes over.
A single wait asks for its one task; several ask for the list, newest first, and singly for tasks that fell off it, or
for all where the list cannot be read or is stale. Webhook events end waits without a poll.

A 404 of a task that is known to have been started means "not yet": replicas lag behind (A19). It is believed once it
has lasted for a minute.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._errors import NotFoundError, PolyglotError, ServiceUnavailableError, require_result
from .._http.retry import stops_batch
from .pagination import TaskPages
from .schedule import SLACK, PollFailures, PollSchedule, TaskDurations, coalesce
from .waits import NOT_YET_SECONDS, Wait, after_event, overdue_wait, timeout_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._http.transport import Transport
    from .._models import Task, WebhookEvent
    from .._runtime import Runtime
    from .known_tasks import KnownTasks

logger = logging.getLogger("polyglot_async")

_REMEMBERED_STARTS = 10_000
_MOST_MISSED_EVENTS = 2
"""So many ends in a row without an event, and tasks are polled as without webhooks until the next event comes."""
_SAFETY_NET_SECONDS = 60.0
"""With webhook events a task is polled after this long, or sooner when it is overdue. Without them, one that the list
shows unfinished is asked for by itself when it is this old, and overdue."""
_OVERDUE = 2.0
"""Overdue is what takes this many times as long as tasks do."""
_WITHOUT_LIST_SECONDS = 600.0
"""So long each task is asked for by itself after the list was refused, or was found to be stale."""


@attrs.define(eq=False, repr=False)
class TaskPoller:
    """Waits for tasks; see the head of the module.

    Attributes:
        receivers: webhook receivers whose events arrive here.
    """

    _known: KnownTasks
    _schedule: PollSchedule = attrs.field(factory=PollSchedule)
    receivers: int = 0
    _waits: dict[str, list[Wait]] = attrs.field(factory=dict, init=False)
    _durations: TaskDurations = attrs.field(factory=TaskDurations, init=False)
    _started: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)
    _events: OrderedDict[str, WebhookEvent] = attrs.field(factory=OrderedDict, init=False)
    _missed_events: int = attrs.field(default=0, init=False)
    _is_running: bool = attrs.field(default=False, init=False)
    _wake: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _last_poll: float = attrs.field(default=float("-inf"), init=False)
    _not_before: float = attrs.field(default=float("-inf"), init=False)
    _failures: PollFailures = attrs.field(factory=PollFailures, init=False)
    _unknown_statuses: set[str] = attrs.field(factory=set, init=False)
    _list_not_before: float = attrs.field(default=float("-inf"), init=False)

    async def wait(
        self,
        transport: Transport,
        task: Task,
        *,
        timeout: float | None = None,
        poll_interval: float | None = None,
        outage_timeout: float = math.inf,
        certainly_started: bool = False,
    ) -> Task:
        """Wait until a task is completed, and return it.

        With a `timeout` of 0 the task is looked at once. `certainly_started`: it was, if not by this client.

        Raises:
            ServiceUnavailableError: the service has not answered polls for `outage_timeout` seconds.
            TaskFailedError: it failed.
            TaskCancelledError: it was cancelled.
            WaitTimeoutError: it was not final after `timeout` seconds; its cause is the last error, if polls failed.
            NotFoundError: there is no such task; of one that certainly was started, a 404 counts once it has lasted a
                minute of the wait.
        """
        if not task.status.is_final:
            started = self._started.pop(task.task_id, None)
            now = transport.runtime.monotonic()
            began = now if started is None else started
            certainly_started = certainly_started or started is not None or task.task_id in self._known.own
            wait = Wait(task, transport, began, started is not None, certainly_started, poll_interval, outage_timeout)
            if not self._waits:
                self._failures = PollFailures()
            self._waits.setdefault(task.task_id, []).append(wait)
            try:
                if timeout == 0:
                    await self._look_once(wait)
                else:
                    with anyio.move_on_after(timeout):
                        await self._until_over(wait)
            finally:
                self._waits[task.task_id].remove(wait)
                if not self._waits[task.task_id]:
                    del self._waits[task.task_id]
                if not self._is_running and self._waits:
                    next(iter(self._waits.values()))[0].changed.set()  # it takes over the loop
            task = wait.task
            if wait.error is not None:
                error = copy.copy(wait.error)  # one poll may have failed for many
                error.task = task
                raise error from wait.error.__cause__ or wait.error
            if not wait.is_over:
                raise timeout_error(wait, timeout, self._failures.last) from self._failures.last
        require_result(task)
        return task

    def started(self, task_id: str, now: float) -> None:
        """Note that a task was started at `now`."""
        self._started[task_id] = now
        if len(self._started) > _REMEMBERED_STARTS:
            self._started.popitem(last=False)

    def notify(self, event: WebhookEvent) -> None:
        """Wake the waits that a webhook event is about; one that comes before its wait is kept for it.

        May be called from a plain callback of the loop, where there is no task and no clock.
        """
        if event.status.is_final:
            self._events[event.task_id] = event
            if len(self._events) > _REMEMBERED_STARTS:
                self._events.popitem(last=False)
            self._wake.set()

    async def _look_once(self, wait: Wait) -> None:
        """Ask for one task now, whatever the schedule says."""
        self._apply_events()
        if not wait.is_over:
            try:
                await self._poll_one(attrs.evolve(wait.transport, max_retries=0), wait.task.task_id)
                self._failures.last = None
            except PolyglotError as error:
                self._failed(error, [wait.task.task_id], wait.transport.runtime)

    async def _until_over(self, own: Wait) -> None:
        """Wait until the caller's own wait is over; poll for all of them if nobody does."""
        self._wake.set()
        while self._is_running and not own.is_over:
            await own.changed.wait()
            own.changed = anyio.Event()
        if own.is_over:
            return
        self._is_running = True
        try:
            while not own.is_over:
                self._wake = anyio.Event()
                if self._events:
                    self._apply_events()
                    if own.is_over:
                        return
                now = own.transport.runtime.monotonic()
                seconds = self._next_poll_at(now) - now
                if seconds > 0:
                    with anyio.move_on_after(seconds):
                        await self._wake.wait()
                else:
                    await self._poll(own.transport)
        finally:
            self._is_running = False

    def _apply_events(self) -> None:
        """End the waits that an event is about."""
        for task_id in self._waits.keys() & self._events.keys():
            event = self._events.pop(task_id)
            self._missed_events = 0
            for wait in self._waits[task_id]:
                self._see(wait, after_event(wait.task, event))

    def _next_poll_at(self, now: float) -> float:
        expected = self._durations.expected()
        dues: list[float] = []
        fixed: list[float] = []
        for waits in self._waits.values():
            for wait in waits:
                if not wait.is_over:
                    (dues if wait.poll_interval is None else fixed).append(self._due(wait, now))
        due = coalesce(dues, SLACK * expected.seconds if expected else 0.0)
        due = min([*fixed, max(due, self._last_poll + self._schedule.min_interval)])
        return max(due, self._not_before)

    def _due(self, wait: Wait, now: float) -> float:
        last = wait.started if wait.polled is None else wait.polled
        if wait.poll_interval is not None:
            return last + wait.poll_interval
        if not wait.has_known_start and wait.polled is None:
            return now  # it may have ended long ago
        expected = self._durations.expected(wait.task.audio_duration_seconds) if wait.has_known_start else None
        if self.receivers and self._missed_events < _MOST_MISSED_EVENTS:
            overdue = _OVERDUE * expected.seconds + 10 * self._schedule.min_interval if expected else math.inf
            return last + min(_SAFETY_NET_SECONDS, overdue)
        return self._schedule.next_poll_at(wait.started, wait.polled, now, expected)

    async def _poll(self, transport: Transport) -> None:
        """Ask once about all waits.

        What the retry policy would repeat is waited out. A refusal of the list puts it aside, any other failure ends
        the waits that it was for.
        """
        wanted: set[str] = set()
        for task_id, waits in self._waits.items():
            if not waits[0].is_over:
                wanted.add(task_id)
                for wait in waits:  # no wait takes longer than its own client allows
                    if (wait.transport.timeout or math.inf) < (transport.timeout or math.inf):
                        transport = wait.transport
        # Repeated here and not below, so that each failure is known to whoever gives up waiting.
        transport = attrs.evolve(transport, max_retries=0)
        now = transport.runtime.monotonic()
        left = wanted
        try:
            if len(wanted) > 1:
                reads_list = now >= self._list_not_before
                left = await self._poll_list(transport, wanted) if reads_list else self._due_tasks(now)
        except PolyglotError as error:
            self._list_failed(error, wanted, transport.runtime)
        else:
            for task_id in left:  # fell off the list, or was never there
                try:
                    await self._poll_one(transport, task_id)
                except PolyglotError as error:
                    self._failed(error, wanted if stops_batch(error) else [task_id], transport.runtime)
                    break
            else:
                self._failures = PollFailures()
        self._last_poll = transport.runtime.monotonic()

    def _due_tasks(self, now: float) -> set[str]:
        return {
            task_id
            for task_id, waits in self._waits.items()
            if any(self._due(wait, now) <= now for wait in waits if not wait.is_over)
        }

    def _failed(self, error: PolyglotError, polled: Iterable[str], runtime: Runtime) -> None:
        """Postpone the next poll after one that failed, or end the waits that it was for."""
        if not self._postpone(error, runtime):
            for wait in [wait for task_id in polled for wait in self._waits.get(task_id, ())]:
                self._end(wait, error)

    def _list_failed(self, error: PolyglotError, wanted: Iterable[str], runtime: Runtime) -> None:
        """Postpone the next poll after the list failed, do without it, or end all waits."""
        if stops_batch(error):
            self._failed(error, wanted, runtime)
        elif not self._postpone(error, runtime):
            logger.warning("the list cannot be read, each task is asked for by itself: %s", error)
            self._list_not_before = runtime.monotonic() + _WITHOUT_LIST_SECONDS

    def _postpone(self, error: PolyglotError, runtime: Runtime) -> bool:
        """Postpone the next poll after one that failed; return False if no repetition mends that.

        The waits that wait no longer for a service that does not answer end.
        """
        now = runtime.monotonic()
        pause = self._failures.pause_after(error, now, random=runtime.random())
        if pause is None:
            return False
        if self._failures.count == 1 and self._is_running:
            logger.warning("tasks cannot be polled, it is tried again: %s", error)
        self._not_before = now + pause
        down_for = self._failures.down_for(now)
        for wait in itertools.chain(*self._waits.values()):
            if down_for > wait.outage_timeout:
                message = f"the service could not be reached for {wait.outage_timeout:.0f} s: {error}"
                self._end(wait, outage := ServiceUnavailableError(message))
                outage.__cause__ = error
        return True

    async def _poll_list(self, transport: Transport, wanted: set[str]) -> set[str]:
        """Read the list, newest first, for as long as that is cheaper than to ask for each task that is left.

        Return the ids that it did not show.
        """
        pages_without = 0
        left = wanted
        async for page in TaskPages(transport, known=self._known):
            found = [task for task in page.items if task.task_id in left]
            for task in found:
                self._see_all(task)
            left = left.difference(task.task_id for task in found)
            pages_without = 0 if found else pages_without + 1
            if len(left) <= 1 or pages_without >= len(left):
                break
        await self._check_list(transport, wanted - left)
        return left

    async def _check_list(self, transport: Transport, shown: Iterable[str]) -> None:
        """Ask for one task that the list shows unfinished long past its expected end: the list may be stale."""
        now, expected = transport.runtime.monotonic(), self._durations.expected()
        least = max(_SAFETY_NET_SECONDS, _OVERDUE * expected.at_most if expected else 0.0)
        wait = overdue_wait([wait for task_id in shown for wait in self._waits.get(task_id, ())], now, least)
        if wait is None:
            return
        wait.checked_age = now - wait.started
        try:
            task = await _get(transport, wait.task.task_id)
        except PolyglotError:  # what ends a wait or postpones a poll is for the list to show
            return
        if task.status.is_final:
            logger.warning("the list is stale, each task is asked for by itself: task %s has ended", task.task_id)
            self._list_not_before = now + _WITHOUT_LIST_SECONDS
            self._see_all(task)

    async def _poll_one(self, transport: Transport, task_id: str) -> None:
        try:
            self._see_all(await _get(transport, task_id))
        except NotFoundError as error:
            waits, now = self._waits.get(task_id, ()), transport.runtime.monotonic()
            certainly_started = any(wait.certainly_started for wait in waits)
            for wait in waits:
                if wait.missing_since is None:
                    wait.missing_since = now
                if certainly_started and now - wait.missing_since < NOT_YET_SECONDS:
                    wait.polled = now
                else:
                    self._end(wait, error)

    def _see_all(self, task: Task) -> None:
        if task.status.is_final:
            self._missed_events += bool(self.receivers)  # there should have been an event
        elif not task.status.is_known and task.status not in self._unknown_statuses:
            self._unknown_statuses.add(task.status)
            logger.warning("task %s has the unknown status %r: it is waited for", task.task_id, task.status.value)
        for wait in self._waits.get(task.task_id, ()):
            self._see(wait, task)

    def _see(self, wait: Wait, task: Task) -> None:
        now = wait.transport.runtime.monotonic()
        wait.task, wait.was_seen, wait.missing_since = task, True, None
        if task.status.is_final:
            wait.is_over = True
            wait.changed.set()
            self._known.ended(task.task_id, wait.transport.runtime.unix_time())
        else:
            wait.polled = now
        if wait.has_known_start:
            note = self._durations.finished if wait.is_over else self._durations.unfinished
            note(now - wait.started, task.audio_duration_seconds)

    def _end(self, wait: Wait, error: PolyglotError) -> None:
        if not wait.is_over:  # an event, or the page before, may have shown its end
            wait.error, wait.is_over = error, True
            wait.changed.set()


async def _get(transport: Transport, task_id: str) -> Task:
    """Return a task, under the id that was asked for, even if the answer writes it in another way."""
    raw = await transport.call(endpoints.get(task_id), endpoints.parse_task)
    return attrs.evolve(raw.parse(), task_id=task_id)
