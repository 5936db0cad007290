"""The counts of a batch."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from .._errors import SubmissionUncertainError
from .outcomes import BatchProgress, Outcome, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._limits.limiter import Limiter
    from .options import OnBatchProgress


class CallbackError(Exception):
    """`on_progress` has raised. Of a class that nothing on its way takes for the failure of a call."""


@attrs.define(eq=False)
class BatchStats:
    """The counts of a batch, reported to `on_progress` at each change.

    Attributes:
        callback_error: what `on_progress` has raised, which ends the batch.
    """

    _limiter: Limiter
    _on_progress: OnBatchProgress | None
    taken: int = 0
    done: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    uploading: dict[int, Upload] = attrs.field(factory=dict)
    processing: dict[int, str] = attrs.field(factory=dict)
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

    def in_flight(self) -> tuple[str, ...]:
        """Return the names of what is at the service, or may be."""
        return (*self.processing.values(), *(upload.name for upload in self.uploading.values()))

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
    def callers_error(self) -> Iterator[None]:
        """Raise what `on_progress` has raised, if it has, in place of what became of it."""
        try:
            yield
        except Exception:
            if self.callback_error is None:
                raise
            raise self.callback_error from self.callback_error.__cause__
