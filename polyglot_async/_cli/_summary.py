"""Collect how the sources of a run ended, and word it for people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._errors import SubmissionUncertainError
from ._error_report import describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .._state.items import ItemRecord
    from ._sources import Source

_MAX_SHOWN = 10
_SCREENFUL = 20


@attrs.define
class RunSummary:
    """Filled while a run goes on.

    Attributes:
        total: how many sources there are.
        done: those whose files were written.
        failed: those without a result, and why.
        uncertain: those that may or may not have been submitted, and why nobody can tell.
        skipped: those that an earlier run had finished, with their journal records, or None where that is unclear.
        missing: skipped sources whose result file does not exist, and that file.
        requests_today: requests counted against the day's quota.
    """

    total: int
    done: list[Source] = attrs.field(factory=list)
    failed: dict[Source, str] = attrs.field(factory=dict)
    uncertain: dict[Source, str] = attrs.field(factory=dict)
    skipped: dict[Source, ItemRecord | None] = attrs.field(factory=dict)
    missing: dict[Source, Path] = attrs.field(factory=dict)
    requests_today: int = 0

    def add(self, source: Source, error: Exception | None, *, secret: str | None = None) -> None:
        """Add one that ended in this run; `secret` is removed from the error's message."""
        if error is None:
            self.done.append(source)
        elif isinstance(error, SubmissionUncertainError):
            self.uncertain[source] = describe_error(error, secret=secret).message
        else:
            self.failed[source] = describe_error(error, secret=secret).message

    def add_skipped(
        self, sources: Sequence[Source], records: Mapping[Source, ItemRecord], files: Mapping[Source, Sequence[Path]]
    ) -> None:
        """Add those that were skipped, with their journal records and the result files that they should have."""
        for source in sources:
            record = self.skipped[source] = records.get(source)
            absent = [file for file in files[source] if not file.exists()]
            if absent and (record is None or record.state == "done"):
                self.missing[source] = absent[0]

    @property
    def failed_before(self) -> dict[Source, str]:
        """Those that were skipped because they failed in an earlier run."""
        return {
            source: record.error or "reason unknown"
            for source, record in self.skipped.items()
            if record is not None and record.state == "failed"
        }

    @property
    def without_result(self) -> int:
        """How many have no result."""
        return len(self.failed) + len(self.uncertain) + len(self.failed_before)

    def not_ended(self, sources: Sequence[Source]) -> list[Source]:
        """Return those that this run has no outcome for."""
        ended = {*self.done, *self.failed, *self.uncertain}
        return [source for source in sources if source not in ended]

    def counts(self) -> str:
        """Return the counts on one line."""
        numbers = {
            "failed": len(self.failed),
            "uncertain": len(self.uncertain),
            "skipped (done earlier)": len(self.skipped) - len(self.failed_before),
            "skipped (failed earlier)": len(self.failed_before),
        }
        parts = [f"{len(self.done)} of {self.total} done"]
        parts += [f"{number} {name}" for name, number in numbers.items() if number]
        return f"{'; '.join(parts)}; {self.requests_today} requests today"

    def to_json(self) -> dict[str, Any]:
        """Return the counts for scripts."""
        return {
            "total": self.total,
            "done": len(self.done),
            "failed": len(self.failed),
            "uncertain": len(self.uncertain),
            "skipped": len(self.skipped),
            "failed_before": len(self.failed_before),
            "requests_today": self.requests_today,
        }

    def notes(self, *, journal: Path | None) -> Iterator[str]:
        """Yield what to do next, and the failures once more if they have scrolled off the screen."""
        if self.total > _SCREENFUL:
            yield from _first("failed", self.failed)
            yield from _first("uncertain", self.uncertain)
        yield from _first("failed earlier:", self.failed_before)
        if self.failed_before:
            yield "hint: send them again with --retry-failed"
        if self.uncertain:
            retry = " If not, send them again with --on-uncertain retry." if journal is not None else ""
            yield f"hint: check with `polyglot list` whether the uncertain ones were started.{retry}"
        yield from self._missing_notes()

    def _missing_notes(self) -> Iterator[str]:
        for source, file in list(self.missing.items())[:_MAX_SHOWN]:
            record = self.skipped[source]
            fetch = f" (fetch it: polyglot result {record.task_id} --out {file})" if record and record.task_id else ""
            yield f"skipped {source.label}: done earlier, but {file} does not exist{fetch}"
        if len(self.missing) > _MAX_SHOWN:
            yield f"... and {len(self.missing) - _MAX_SHOWN} more without their files"


def _first(word: str, reasons: Mapping[Source, str]) -> Iterator[str]:
    for source, reason in list(reasons.items())[:_MAX_SHOWN]:
        yield f"{word} {source.label}: {reason}"
    if len(reasons) > _MAX_SHOWN:
        yield f"... and {len(reasons) - _MAX_SHOWN} more {word.rstrip(':')}"
