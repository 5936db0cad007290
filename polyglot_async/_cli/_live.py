"""What a person sees of a run while it goes on: counts, a bar for all, a bar for each upload; lines above them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.filesize import decimal
from rich.live import Live as LiveBlock
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .._batch.outcomes import BatchProgress
from .._cli import _screen
from ._bars import NarrowConsole, short

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from rich.console import RenderableType

    from .._batch.outcomes import Upload

_SHOWN_UPLOADS = 8
_REFRESHES = 8
_STYLES = {"done": "green", "failed": "red", "uncertain": "yellow"}


class Live:
    """A block at the foot of the terminal, gone when it is left. Where nobody looks there are only the lines."""

    def __init__(self, total: int, *, wanted: bool) -> None:
        self._total = total
        self._latest = BatchProgress()
        self._started = time.monotonic()
        self._block = self._make() if wanted and _screen.is_terminal(sys.stderr) else None

    def __enter__(self) -> Self:
        if self._block is not None:
            self._block.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._block is not None:
            self._block.stop()

    def __rich__(self) -> RenderableType:
        """Draw the block; called a few times a second, from a thread of rich's."""
        latest = self._latest
        return Group(
            _counted(counts(latest, self._total)),
            self._overall(latest),
            *_upload_rows(latest.uploading),
        )

    def show(self, progress: BatchProgress) -> None:
        """Take the latest news. Called at each chunk that leaves, so it only keeps them."""
        self._latest = progress

    def line(self, text: str) -> None:
        """Write a line of the result, above the block."""
        if self._block is not None and _screen.is_terminal_out():
            self._block.console.print(Text(_screen.visible(text)), soft_wrap=True)
        else:
            _screen.line(text)

    def note(self, text: str) -> None:
        """Write a line that is no result."""
        if self._block is not None:
            self._block.console.print(Text(_screen.visible(text)), soft_wrap=True)
        else:
            _screen.note(text)

    def _overall(self, latest: BatchProgress) -> Table:
        ended = latest.done + latest.failed + latest.skipped
        words = [f"{ended} of {self._total}", f"{latest.requests_today} requests today"]
        left = eta(latest, self._total, time.monotonic() - self._started)
        if left is not None:
            words.append(f"ETA {_screen.seconds(left)}")
        row = Table.grid(expand=True, padding=(0, 2, 0, 0))
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(ProgressBar(total=self._total, completed=ended), Text("   ".join(words)))
        return row

    def _make(self) -> LiveBlock:
        return LiveBlock(
            self,
            console=NarrowConsole(stderr=True, force_terminal=True),
            refresh_per_second=_REFRESHES,
            transient=True,
            # Rich would send a piped stdout to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
        )


def counts(progress: BatchProgress, total: int) -> dict[str, int]:
    """Say where how many are. `waiting` is all the rest: for a slot, a permit, or for its result to come."""
    at_work = {"uploading": len(progress.uploading), "processing": progress.processing}
    ended = {
        "done": progress.done,
        "failed": progress.failed - progress.uncertain,
        "uncertain": progress.uncertain,
        "skipped": progress.skipped,
    }
    return {"waiting": max(0, total - sum(at_work.values()) - sum(ended.values())), **at_work, **ended}


def eta(progress: BatchProgress, total: int, elapsed: float) -> float | None:
    """Guess the seconds left, from how long those took that were not skipped."""
    worked = progress.done + progress.failed
    left = total - worked - progress.skipped
    return elapsed / worked * left if worked and left > 0 else None


def _counted(numbers: dict[str, int]) -> Text:
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
    for upload in uploads[:_SHOWN_UPLOADS]:
        size = f"{decimal(upload.sent)} of {decimal(upload.total)}" if upload.total else decimal(upload.sent)
        rows.add_row(Text(short(upload.name)), ProgressBar(total=upload.total, completed=upload.sent), Text(size))
    yield rows
    if len(uploads) > _SHOWN_UPLOADS:
        yield Text(f"and {len(uploads) - _SHOWN_UPLOADS} more", style="dim")
