"""What a person sees of a run over many sources, and what there is to say when it is broken off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from . import _screen
from ._bars import Bars, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from .._models import Task
    from ._sources import Source

_SHOWN_TASKS = 5


class Live:
    """A row a source under way, a row for all, and lines for those that are settled.

    Attributes:
        failed: how many sources failed.
    """

    def __init__(self, total: int, *, verbose: bool) -> None:
        self.failed = 0
        self._total, self._done = total, 0
        self._bars = Bars(wanted=not verbose)
        self._overall: Row | None = None
        self._rows: dict[Source, Row] = {}
        self._under_way: dict[Source, Task] = {}

    def __enter__(self) -> Self:
        self._bars.__enter__()
        if self._total > 1:
            self._overall = self._bars.row("all")
            self._overall.counted(0, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, value, traceback)

    def uploading(self, source: Source, done: int, total: int | None) -> None:
        """Bytes of this source have left."""
        self._row(source).moved(done, total)

    def started(self, source: Source, task: Task) -> None:
        """The service has taken this source."""
        self._under_way[source] = task
        self._row(source).waits("processing")

    def settled(self, source: Source, *, failed: bool) -> None:
        """Nothing more comes of this source."""
        self._done += 1
        self.failed += failed
        self._under_way.pop(source, None)
        row = self._rows.pop(source, None)
        if row is not None:
            row.remove()
        if self._overall is not None:
            self._overall.counted(self._done, self._total)

    def tell(self, source: Source, files: Sequence[Path]) -> None:
        """Tell which files were written."""
        if _screen.is_terminal_out():
            if files:
                self._bars.line(f"{source.given} -> {', '.join(map(str, files))}")
            return
        for file in files:
            _screen.table((), [(source.given, str(file))])

    def note(self, text: str) -> None:
        """Write a line that is no result."""
        self._bars.note(text)

    def where_it_stood(self, *, names_tasks: bool) -> str:
        """Tell how far it came, and which tasks go on at the service: they are paid for, and can be fetched."""
        words = f"{self._done} of {self._total} done"
        ids = [task.task_id for task in self._under_way.values()]
        if not ids or not names_tasks:
            return words
        more = f" and {len(ids) - _SHOWN_TASKS} more" if len(ids) > _SHOWN_TASKS else ""
        return (
            f"{words}; goes on at the service: {', '.join(ids[:_SHOWN_TASKS])}{more} (fetch with: polyglot result ID)"
        )

    def _row(self, source: Source) -> Row:
        if source not in self._rows:
            self._rows[source] = self._bars.row(source.name)
        return self._rows[source]
