"""Progress on stderr, only where it is a terminal: bars of single transfers, and the live display of a batch."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleDimensions, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .._api.urls import bare_url
from .._batch.outcomes import BatchProgress
from ._formatting import format_duration, single_line, strip_control
from ._output import is_terminal, print_line, print_note, stdout_is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.console import RenderableType

    from .._batch.outcomes import Upload

_LABEL_WIDTH = 28
_MAX_UPLOADS_SHOWN = 8
_REFRESHES_PER_SECOND = 8
_STYLES = {"done": "green", "failed": "red", "uncertain": "yellow"}


class ProgressBars:
    """Bars at the bottom of the terminal, removed at the end. Does nothing where stderr is no terminal."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._progress = _make_progress() if enabled and is_terminal(sys.stderr) else None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def add(self, label: str, status: str = "") -> ProgressRow:
        """Add a bar."""
        if self._progress is None:
            return ProgressRow(None, None)
        return ProgressRow(self._progress, self._progress.add_task(shorten(label), total=None, status=status))


class ProgressRow:
    """One bar with a label and a short status."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task

    def update(self, done: int, total: int | None) -> None:
        """Show how many bytes are done, of how many. Fits the client's `on_progress`."""
        if self._progress is not None and self._task is not None:
            status = f"{decimal(done)} of {decimal(total)}" if total else decimal(done)
            self._progress.update(self._task, completed=done, total=total, status=status)

    def wait_for(self, status: str) -> None:
        """Show a status whose duration is unknown."""
        if self._progress is not None and self._task is not None:
            # A new row: rich cannot take a total back, and shows one that was reached as finished.
            label = self._progress.tasks[self._progress.task_ids.index(self._task)].description
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(label, total=None, status=status)


class BatchDisplay:
    """Counts, a bar for the whole batch and one for each upload; lines above them.

    Where stderr is no terminal only the lines are written.
    """

    def __init__(self, total: int, *, enabled: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._latest = BatchProgress()
        self._clock = clock
        self._started = clock()
        self._live = self._make_live() if enabled and is_terminal(sys.stderr) else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich__(self) -> RenderableType:
        """Draw the display; rich calls this a few times a second, in a thread."""
        latest = self._latest
        return Group(
            _counts_text(counts(latest, self._total)),
            self._overall_row(latest),
            *_upload_rows(latest.uploading),
        )

    def update(self, progress: BatchProgress) -> None:
        """Store the latest progress. Called for each chunk that is sent, so it draws nothing."""
        self._latest = progress

    def print_line(self, text: str) -> None:
        """Write a line of the result above the display."""
        if self._live is not None and stdout_is_terminal():
            self._live.console.print(Text(strip_control(text)), soft_wrap=True)
        else:
            print_line(text)

    def print_note(self, text: str) -> None:
        """Write a line to stderr, above the display."""
        if self._live is not None:
            self._live.console.print(Text(strip_control(text)), soft_wrap=True)
        else:
            print_note(text)

    def _overall_row(self, latest: BatchProgress) -> Table:
        ended = latest.done + latest.failed + latest.skipped
        words = [f"{ended} of {self._total}", f"{latest.requests_today} requests today"]
        left = eta(latest, self._total, self._clock() - self._started)
        if left is not None:
            words.append(f"ETA {format_duration(left)}")
        row = Table.grid(expand=True, padding=(0, 2, 0, 0))
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(ProgressBar(total=self._total, completed=ended), Text("   ".join(words)))
        return row

    def _make_live(self) -> Live:
        return Live(
            self,
            console=_NarrowConsole(stderr=True, force_terminal=True),
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            # Rich would send a piped stdout to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
        )


def counts(progress: BatchProgress, total: int) -> dict[str, int]:
    """Return how many sources are in which state; `waiting` is all the rest."""
    active = {"uploading": len(progress.uploading), "processing": progress.processing}
    ended = {
        "done": progress.done,
        "failed": progress.failed - progress.uncertain,
        "uncertain": progress.uncertain,
        "skipped": progress.skipped,
    }
    return {"waiting": max(0, total - sum(active.values()) - sum(ended.values())), **active, **ended}


def eta(progress: BatchProgress, total: int, elapsed: float) -> float | None:
    """Estimate the seconds left from those that this run has processed; None where that is unknown."""
    processed = progress.done + progress.failed
    left = total - processed - progress.skipped
    return elapsed / processed * left if processed and left > 0 else None


def shorten(label: str) -> str:
    """Return a name that fits beside a bar, with its middle cut out, or a URL without its secrets."""
    label = bare_url(label)
    half = _LABEL_WIDTH // 2
    return single_line(label if len(label) <= _LABEL_WIDTH else f"{label[: half - 1]}…{label[-half:]}")


class _NarrowConsole(Console):
    """Leaves the last columns free: the ^C that a terminal echoes would wrap and leave half a row behind."""

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(1, width - 3), height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


def _make_progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[status]}", markup=False),
        TimeElapsedColumn(),
        console=_NarrowConsole(stderr=True, force_terminal=True),
        transient=True,
        expand=True,
        # Rich would send a piped stdout to the terminal.
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _counts_text(numbers: dict[str, int]) -> Text:
    text = Text()
    for name, number in numbers.items():
        if number or name not in {"uncertain", "skipped"}:
            style = _STYLES.get(name, "bold") if number else "dim"
            text.append(f"{name} {number}", style=style).append("  ")
    return text


def _upload_rows(uploads: tuple[Upload, ...]) -> Iterator[RenderableType]:
    if not uploads:
        return
    rows = Table.grid(expand=True, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(ratio=1)
    rows.add_column(no_wrap=True, justify="right")
    for upload in uploads[:_MAX_UPLOADS_SHOWN]:
        size = f"{decimal(upload.sent)} of {decimal(upload.total)}" if upload.total else decimal(upload.sent)
        rows.add_row(Text(shorten(upload.name)), ProgressBar(total=upload.total, completed=upload.sent), Text(size))
    yield rows
    if len(uploads) > _MAX_UPLOADS_SHOWN:
        yield Text(f"and {len(uploads) - _MAX_UPLOADS_SHOWN} more", style="dim")
