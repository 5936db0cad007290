"""One wait for a task, as the poller knows it, and the wait for what a task has once it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from .._errors import NotFoundError, WaitTimeoutError
from .._http.retry import delay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .._errors import PolyglotError
    from .._http.transport import Transport
    from .._models import Task, WebhookEvent
    from .._runtime import Runtime

T = TypeVar("T")

NOT_YET_SECONDS = 60.0
"""So long a 404 of what certainly is there means that a replica lags behind (A19)."""


@attrs.define(eq=False, repr=False)
class Wait:
    """One wait.

    Attributes:
        task: as it was last seen.
        transport: sends its polls.
        started: when the task was started, or else the wait, by the monotonic clock.
        has_known_start: the task was started by this client, so that its age is known.
        certainly_started: its id is no mistyped one, so that a 404 may mean "not yet".
        poll_interval: seconds between its polls, or None for the usual schedule.
        outage_timeout: how many seconds without an answer of the service end it.
        polled: when it was last asked for and not seen at its end; None: never.
        missing_since: when the 404s began that the service answers with still; None: it does not.
        checked_age: how old the task was when the list was last checked by asking for it, in seconds.
        was_seen: an answer has shown the task.
        is_over: it has ended, with `error` if there is one.
        changed: set when it has ended, and when it is to run the polling loop.
    """

    task: Task
    transport: Transport
    started: float
    has_known_start: bool
    certainly_started: bool
    poll_interval: float | None
    outage_timeout: float
    polled: float | None = None
    missing_since: float | None = None
    checked_age: float = 0.0
    was_seen: bool = False
    is_over: bool = False
    changed: anyio.Event = attrs.field(factory=anyio.Event)
    error: PolyglotError | None = None


async def when_there(fetch: Callable[[], Awaitable[T]], runtime: Runtime) -> T:
    """Fetch what a task has once it has ended: a 404 means "not yet" (A19) until it has lasted for a minute.

    Raises:
        NotFoundError: it has.
    """
    began, failures = runtime.monotonic(), 0
    while True:
        try:
            return await fetch()
        except NotFoundError as error:
            if runtime.monotonic() - began >= NOT_YET_SECONDS:
                raise
            failures += 1
            await runtime.sleep(delay(failures, error, random=runtime.random()))


def overdue_wait(waits: Iterable[Wait], now: float, least_age: float) -> Wait | None:
    """Return the wait whose task is to be asked for because the list shows it unfinished; None if there is none.

    Its task is `least_age` seconds old or older, and twice as old as when it was last asked for: a long one costs few
    requests.
    """
    overdue = [
        wait for wait in waits if not wait.is_over and now - wait.started >= max(least_age, 2 * wait.checked_age)
    ]
    return min(overdue, key=lambda wait: wait.checked_age, default=None)


def after_event(task: Task, event: WebhookEvent) -> Task:
    """Return what is known of a task once an event has announced its end."""
    return attrs.evolve(
        task,
        status=event.status,
        model=event.model or task.model,
        failure_reason=event.failure_reason,
        transcript_preview=event.transcript_preview or task.transcript_preview,
    )


def timeout_error(wait: Wait, timeout: float | None, last_error: PolyglotError | None) -> WaitTimeoutError:
    """Return the error of a wait that was not over after `timeout` seconds."""
    seen = f"last seen {wait.task.status.value}" if wait.was_seen else "last seen: never"
    if wait.missing_since is not None:
        failed = "; the service answers that there is no such task (404)"
        advice = "Wait for it again: a replica may be behind for a minute"
    else:
        failed = f"; the last poll failed: {last_error}" if last_error is not None else ""
        advice = "It goes on: wait for it again" if wait.was_seen else "Wait for it again when the service answers"
    return WaitTimeoutError(
        f"task {wait.task.task_id} was not done after {timeout} s of waiting ({seen}){failed}. {advice}",
        task=wait.task,
    )
