"""The counts of a batch."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import attrs

from .._errors import SubmissionUncertainError
from .outcomes import BatchProgress, Outcome, Upload

if TYPE_CHECKING:
    from .._limits.limiter import Limiter
    from .options import OnBatchProgress


@attrs.define(eq=False)
class BatchStats:
    """The counts of a batch, reported to `on_progress` at each change."""

    _limiter: Limiter
    _on_progress: OnBatchProgress | None
    taken: int = 0
    done: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    uploading: dict[int, Upload] = attrs.field(factory=dict)
    processing: dict[int, str] = attrs.field(factory=dict)

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
        """Call `on_progress`."""
        if self._on_progress is not None:
            answer = self._on_progress(self.progress())
            if inspect.isawaitable(answer):
                await answer

    async def end(self, outcome: Outcome | None) -> None:
        """Count an item that has ended; None for one that was skipped."""
        self.skipped += outcome is None
        self.done += outcome is not None and outcome.ok
        self.failed += outcome is not None and not outcome.ok
        self.uncertain += outcome is not None and isinstance(outcome.error, SubmissionUncertainError)
        await self.report()
