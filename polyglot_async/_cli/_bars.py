"""Progress for what takes long, on stderr and only where a person looks at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleDimensions
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from .._cli import _screen

if TYPE_CHECKING:
    from types import TracebackType

_LABEL = 28


class Bars:
    """A block of rows at the foot of the terminal, gone when it is left. Where nobody looks it does nothing."""

    def __init__(self, *, wanted: bool = True) -> None:
        self._progress = _progress() if wanted and _screen.is_terminal(sys.stderr) else None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def row(self, label: str, state: str = "") -> Row:
        """Add a row."""
        if self._progress is None:
            return Row(None, None)
        return Row(self._progress, self._progress.add_task(short(label), total=None, state=state))

    def line(self, text: str) -> None:
        """Write a line of the result above the rows, without the two getting into one another's way."""
        if self._progress is not None and _screen.is_terminal(sys.stdout):
            self._progress.console.print(Text(_screen.visible(text)), soft_wrap=True)
        else:
            _screen.line(text)

    def note(self, text: str) -> None:
        """Write a note above the rows."""
        if self._progress is not None:
            self._progress.console.print(Text(_screen.visible(text)), soft_wrap=True)
        else:
            _screen.note(text)


class Row:
    """One row: a label, a bar, and a state in a few words."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress, self._task = progress, task

    def moved(self, done: int, total: int | None) -> None:
        """Show how many bytes are done, of how many; fits wherever the client takes `on_progress`."""
        if self._progress is not None and self._task is not None:
            state = f"{decimal(done)} of {decimal(total)}" if total else decimal(done)
            self._progress.update(self._task, completed=done, total=total, state=state)

    def counted(self, done: int, total: int) -> None:
        """Show how many things are done, of how many."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, state=f"{done} of {total}")

    def waits(self, state: str) -> None:
        """Show what is waited for; nobody knows how long."""
        if self._progress is not None and self._task is not None:
            # A new row: rich cannot take a total back, and holds one that was reached for finished.
            label = self._progress.tasks[self._progress.task_ids.index(self._task)].description
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(label, total=None, state=state)

    def remove(self) -> None:
        """Take the row away."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)


def short(label: str) -> str:
    """Cut the middle out of a long name."""
    shown = label if len(label) <= _LABEL else f"{label[: _LABEL // 2 - 1]}…{label[-_LABEL // 2 :]}"
    return _screen.one_line(shown)


class NarrowConsole(Console):
    """Leaves the last columns free: the ^C that a terminal echoes would wrap and leave half a row behind."""

    @property
    def size(self) -> ConsoleDimensions:
        """The terminal's size, a little narrower."""
        width, height = super().size
        return ConsoleDimensions(max(1, width - 3), height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        console=NarrowConsole(stderr=True, force_terminal=True),
        transient=True,
        expand=True,
        # Rich would send a piped stdout to the terminal.
        redirect_stdout=False,
        redirect_stderr=False,
    )
