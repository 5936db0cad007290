"""What became of the sources of a run, and the words for it at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._errors import SubmissionUncertainError
from .._state.journal import Entry, State
from ._failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ._sources import Source

_SHOWN = 10
_MANY = 20


@attrs.define
class Report:
    """Filled while a run goes on.

    Attributes:
        total: how many sources there are.
        done: those whose files were written.
        failed: those that have no result, and why.
        uncertain: those of which nobody can tell whether they were started, and why.
        skipped: those that the journal knew as ended, and what it knows; None where that is unclear.
        missing: files of skipped sources that are not there.
        requests_today: requests counted against the day.
    """

    total: int
    done: list[Source] = attrs.field(factory=list)
    failed: dict[Source, str] = attrs.field(factory=dict)
    uncertain: dict[Source, str] = attrs.field(factory=dict)
    skipped: dict[Source, Entry | None] = attrs.field(factory=dict)
    missing: dict[Source, Path] = attrs.field(factory=dict)
    requests_today: int = 0

    def settle(self, source: Source, error: Exception | None) -> None:
        """Note how one ended."""
        if error is None:
            self.done.append(source)
        elif isinstance(error, SubmissionUncertainError):
            self.uncertain[source] = failure_of(error).message
        else:
            self.failed[source] = failure_of(error).message

    def skip(
        self, sources: Sequence[Source], known: Mapping[Source, Entry], files: Mapping[Source, Sequence[Path]]
    ) -> None:
        """Note those that were skipped: what the journal knows, and which files they should have."""
        for source in sources:
            entry = self.skipped[source] = known.get(source)
            absent = [file for file in files[source] if not file.exists()]
            if absent and (entry is None or entry.state is State.DONE):
                self.missing[source] = absent[0]

    def has_ended(self, source: Source) -> bool:
        """Whether an outcome came for it."""
        return source in self._ended()

    @property
    def failed_before(self) -> dict[Source, str]:
        """Those that were skipped because they had failed in an earlier run."""
        return {
            source: entry.error or "no reason is known"
            for source, entry in self.skipped.items()
            if entry is not None and entry.state is State.FAILED
        }

    @property
    def without_result(self) -> int:
        """How many have no result."""
        return len(self.failed) + len(self.uncertain) + len(self.failed_before)

    def unfinished(self, sources: Sequence[Source]) -> list[Source]:
        """Give those that no outcome came for."""
        ended = self._ended()
        return [source for source in sources if source not in ended]

    def counted(self) -> str:
        """Tell the counts in one line."""
        numbers = {
            "done": len(self.done),
            "failed": len(self.failed),
            "uncertain": len(self.uncertain),
            "skipped, done before": len(self.skipped) - len(self.failed_before),
            "skipped, failed before": len(self.failed_before),
        }
        shown = "; ".join(f"{number} {name}" for name, number in numbers.items() if number or name == "done")
        return f"{shown}; {self.requests_today} requests today"

    def error(self) -> str:
        """Tell in one line what is not as it should be."""
        return f"{self.without_result} of {self.total} failed: {self.counted()}"

    def notes(self, *, journal: Path | None) -> Iterator[str]:
        """Tell what to do about it, and once more what scrolled away long ago."""
        if self.total > _MANY:
            yield from _some("failed", self.failed)
            yield from _some("uncertain", self.uncertain)
        yield from _some("failed before", self.failed_before)
        if self.failed_before:
            yield "hint: --retry-failed sends what failed before once more"
        if self.uncertain:
            again = "; run this again with --on-uncertain retry to send it once more" if journal is not None else ""
            yield f"hint: see with `polyglot list` whether the uncertain ones were started{again}: that may cost twice"
        yield from self._absent()

    def as_json(self) -> dict[str, Any]:
        """Give the counts for scripts."""
        return {
            "total": self.total,
            "done": len(self.done),
            "failed": len(self.failed),
            "uncertain": len(self.uncertain),
            "skipped": len(self.skipped),
            "failed_before": len(self.failed_before),
            "requests_today": self.requests_today,
        }

    def _absent(self) -> Iterator[str]:
        for source, file in list(self.missing.items())[:_SHOWN]:
            entry = self.skipped[source]
            how = f" (get it: polyglot result {entry.task_id} --out {file})" if entry and entry.task_id else ""
            yield f"skipped {source.given}: done before, but {file} is not there{how}"
        if len(self.missing) > _SHOWN:
            yield f"... and {len(self.missing) - _SHOWN} more like this"

    def _ended(self) -> set[Source]:
        return {*self.done, *self.failed, *self.uncertain}


def _some(word: str, reasons: Mapping[Source, str]) -> Iterator[str]:
    for source, reason in list(reasons.items())[:_SHOWN]:
        yield f"{word} {source.given}: {reason}"
    if len(reasons) > _SHOWN:
        yield f"... and {len(reasons) - _SHOWN} more that {word}"
