"""The counts of a batch, and the tasks whose outcomes it has not returned yet."""

from __future__ import annotations

import inspect
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from .._errors import SubmissionUncertainError
from .._state.items import State
from .outcomes import BatchProgress, Outcome, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .._limits.limiter import Limiter
    from .._state.items import Item
    from .options import OnBatchProgress

logger = logging.getLogger("polyglot_async.batch")
"""A logger of its own, because the command line words what a batch left in a line of its own."""

MOST_IDS_SHOWN = 20
"""Ids of tasks in one message."""


class CallbackError(Exception):
    """`on_progress` has raised. Of a class that nothing on its way takes for the failure of a call."""


@attrs.define(eq=False)
class BatchStats:
    """The counts of a batch, reported to `on_progress` at each change.

    Attributes:
        uploading: uploads under way.
        processing: items at the service, and cancelled ones that may be there.
        unreturned: items whose outcomes were not returned yet.
        callback_error: what `on_progress` has raised, which ends the batch.
    """

    _limiter: Limiter
    _on_progress: OnBatchProgress | None
    taken: int = 0
    done: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    uploading: dict[Item, Upload] = attrs.field(factory=dict)
    processing: set[Item] = attrs.field(factory=set)
    unreturned: set[Item] = attrs.field(factory=set)
    callback_error: Exception | None = None

    def progress(self) -> BatchProgress:
        """Return the progress so far."""
        return BatchProgress(
            taken=self.taken,
            uploading=tuple(self.uploading.values()),
            processing=len(self.processing),
            done=self.done,
            failed=self.failed,
            uncertain=self.uncertain,
            skipped=self.skipped,
            requests_today=self._limiter.usage.day_requests,
        )

    def unreturned_tasks(self) -> dict[str, str]:
        """Return the ids of tasks whose outcomes were not returned yet, and the names of their items."""
        tasks: dict[str, str] = {}
        for item in tuple(self.unreturned):  # a copy: a sync caller is another thread
            if item.record.task_id is not None and item.record.state is not State.FAILED:
                tasks[item.record.task_id] = item.record.name
        return tasks

    def in_flight(self) -> tuple[str, ...]:
        """Return the names of those, and of what may be at the service without an id that is known."""
        tasks = self.unreturned_tasks()
        others = (*tuple(self.processing), *tuple(self.uploading))
        return *tasks.values(), *(item.record.name for item in others if item.record.task_id not in tasks)

    async def report(self) -> None:
        """Call `on_progress`.

        Raises:
            CallbackError: it has raised, now or before.
        """
        if self._on_progress is None:
            return
        if self.callback_error is not None:
            raise CallbackError
        try:
            answer = self._on_progress(self.progress())
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            self.callback_error = error
            raise CallbackError from error

    async def end(self, outcome: Outcome | None) -> None:
        """Count an item that has ended; None for one that was skipped."""
        self.skipped += outcome is None
        self.done += outcome is not None and outcome.ok
        self.failed += outcome is not None and not outcome.ok
        self.uncertain += outcome is not None and isinstance(outcome.error, SubmissionUncertainError)
        await self.report()

    @contextmanager
    def name_unreturned_tasks(self) -> Iterator[None]:
        """Add the ids of unreturned tasks to the error that ends the batch, or where there is none, to the log.

        A cancellation is no error: nobody reads its notes.
        """
        is_error = False
        try:
            yield
        except Exception as error:
            is_error = True
            if tasks := self.unreturned_tasks():
                error.add_note(_words_of(tasks))
            raise
        finally:
            if not is_error and (tasks := self.unreturned_tasks()):
                logger.warning("the batch has ended early: %s", _words_of(tasks))

    @contextmanager
    def callers_error(self) -> Iterator[None]:
        """Raise what `on_progress` has raised, if it has, in place of what became of it."""
        try:
            yield
        except Exception:
            if self.callback_error is None:
                raise
            raise self.callback_error from self.callback_error.__cause__


def _words_of(tasks: Mapping[str, str]) -> str:
    shown = ", ".join(f"{task_id} ({name})" for task_id, name in list(tasks.items())[:MOST_IDS_SHOWN])
    more = f" and {len(tasks) - MOST_IDS_SHOWN} more, see unreturned_tasks" if len(tasks) > MOST_IDS_SHOWN else ""
    return (
        f"{len(tasks)} of its tasks were started and paid for, and their outcomes were not returned: {shown}{more}. "
        "Do not send these files again: fetch each with transcriptions.wait(id) and transcriptions.result(id)"
    )
