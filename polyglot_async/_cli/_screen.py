"""What comes out: results on stdout, all else on stderr. Tables on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import IO, TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a transcript or a file name must not do to somebody's terminal. Line feeds and tabs may pass.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NARROWEST = 10
_MARK = "\N{REPLACEMENT CHARACTER}"


class OutputClosedError(Exception):
    """Whoever read our output has gone: `| head`."""


def prepare() -> None:
    """Make sure that no character can fail to be written."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person looks at it; a stream that was closed before we began is None."""
    return stream is not None and not stream.closed and stream.isatty()


def line(text: str = "") -> None:
    """Write a line of the result."""
    if is_terminal(sys.stdout):
        text = visible(text)
    raw(f"{text}\n")


def is_terminal_out() -> bool:
    """Whether a person looks at the result itself."""
    return is_terminal(sys.stdout)


def saved(path: os.PathLike[str], *, as_json: bool) -> None:
    """Tell where a result was written; the path alone, so that a script can go on with it."""
    if as_json:
        document({"path": os.fspath(path)})
    else:
        line(f"saved {os.fspath(path)}" if is_terminal_out() else os.fspath(path))


def raw(content: str | bytes) -> None:
    """Write a part of the result as it is, at once.

    Raises:
        OutputClosedError: nobody reads any more.
        OSError: it cannot be written.
    """
    stream = sys.stdout
    if stream is None:
        return
    try:
        if isinstance(content, bytes):
            stream.flush()
            stream.buffer.write(content)
            stream.buffer.flush()
        else:
            stream.write(content)
            stream.flush()
    except OSError as error:
        _forget(stream)
        if isinstance(error, BrokenPipeError):
            raise OutputClosedError from None
        raise


def document(value: Any) -> None:
    """Write one JSON document on one line."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    raw(json.dumps(value, ensure_ascii=encoding != "utf8", default=str) + "\n")


def note(text: str) -> None:
    """Tell the person something that is no result, on stderr. That it cannot be told is no reason to stop."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(visible(text) + "\n")
        stream.flush()
    except OSError:
        _forget(stream)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, wide: str = "") -> None:
    """Write rows: as a table on a terminal, elsewhere tab-separated without a head; `wide` may take several lines."""
    if not is_terminal(sys.stdout):
        for row in rows:
            raw("\t".join(one_line(cell) for cell in row) + "\n")
        return
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        # Only one column may take several lines: an id in two pieces cannot be copied.
        grid.add_column(name, overflow="fold", no_wrap=name != wide)
    cells = [[one_line(cell) for cell in row] for row in rows]
    for row in cells:
        grid.add_row(*map(Text, row))
    longest = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    fixed = sum(length + 2 for name, length in zip(columns, longest, strict=True) if name != wide)
    _rendered(grid, at_least=fixed + _NARROWEST)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values: aligned on a terminal, tab-separated elsewhere."""
    if not is_terminal(sys.stdout):
        table((), pairs)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        grid.add_row(Text(name, style="bold"), Text(one_line(value), overflow="fold"))
    _rendered(grid)


def seconds(value: float | None) -> str:
    """Render a length of time: "1:02:03", "2:03", "2.9 s"."""
    if value is None:
        return ""
    if value < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def visible(text: str) -> str:
    """Take out what could do something to a terminal."""
    return _CONTROL.sub(_MARK, text)


def one_line(text: str) -> str:
    """Make one line of it, without tabs and without what could do something to a terminal."""
    return visible(" ".join(text.split()))


def _rendered(grid: Table, *, at_least: int = 0) -> None:
    console = Console(force_terminal=True, highlight=False)
    # On a narrow terminal its own wrapping is better than words that are cut off.
    console.width = max(console.width, at_least)
    with console.capture() as capture:
        console.print(grid)
    raw("\n".join(part.rstrip() for part in capture.get().splitlines()) + "\n")


def _forget(stream: IO[str]) -> None:
    """Let what is still buffered go nowhere: else the interpreter's last flush would complain."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
