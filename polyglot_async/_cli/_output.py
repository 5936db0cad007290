"""Write results to stdout and everything else to stderr: tables on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._formatting import redact_urls, single_line, strip_control

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NARROWEST_COLUMN = 10


class OutputClosedError(Exception):
    """The reader of stdout has gone, as with `| head`."""


def escape_unencodable() -> None:
    """Set stdout and stderr to write what their encoding lacks as an escape sequence, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a stream is a terminal; one that was closed before the process began is None."""
    return stream is not None and not stream.closed and stream.isatty()


def stdout_is_terminal() -> bool:
    """Return whether results are shown on a terminal."""
    return is_terminal(sys.stdout)


def write(content: str | bytes) -> None:
    """Write a part of the result as it is, and flush it.

    Raises:
        OutputClosedError: the reader has gone.
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
        _discard_buffer(stream)
        if isinstance(error, BrokenPipeError):
            raise OutputClosedError from None
        error.filename = "standard output"
        raise


def print_line(text: str = "") -> None:
    """Write a line of the result."""
    write(f"{strip_control(text) if stdout_is_terminal() else text}\n")


def print_json(value: Any) -> None:
    """Write one JSON document on one line."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    write(json.dumps(value, ensure_ascii=encoding != "utf8", default=str) + "\n")


def print_saved(path: os.PathLike[str], *, as_json: bool) -> None:
    """Write where a result was saved; in a pipe the path alone, for a script to go on with."""
    if as_json:
        print_json({"path": os.fspath(path)})
    else:
        print_line(f"saved {os.fspath(path)}" if stdout_is_terminal() else os.fspath(path))


def print_note(text: str) -> None:
    """Write a line to stderr. A stderr that cannot be written to is ignored."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(strip_control(text) + "\n")
        stream.flush()
    except OSError:
        _discard_buffer(stream)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, wrap: str = "") -> None:
    """Write rows: a table on a terminal, elsewhere tab-separated without a header. Only the column `wrap` may wrap."""
    cells = ([single_line(redact_urls(cell)) for cell in row] for row in rows)
    if not stdout_is_terminal():
        for row in cells:
            write("\t".join(row) + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        # Only one column may wrap: an id in two pieces cannot be copied.
        table.add_column(name, overflow="fold", no_wrap=name != wrap)
    listed = list(cells)
    for row in listed:
        table.add_row(*map(Text, row))
    longest = [max(map(len, column)) for column in zip(columns, *listed, strict=True)]
    fixed = sum(length + 2 for name, length in zip(columns, longest, strict=True) if name != wrap)
    _render(table, at_least=fixed + _NARROWEST_COLUMN)


def print_fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values: aligned on a terminal, tab-separated elsewhere."""
    if not stdout_is_terminal():
        print_table((), pairs)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        table.add_row(Text(single_line(name), style="bold"), Text(single_line(redact_urls(value)), overflow="fold"))
    _render(table)


def _render(table: Table, *, at_least: int = 0) -> None:
    console = Console(force_terminal=True, highlight=False)
    # On a narrow terminal its own wrapping is better than words that are cut off.
    console.width = max(console.width, at_least)
    with console.capture() as capture:
        console.print(table)
    write("\n".join(part.rstrip() for part in capture.get().splitlines()) + "\n")


def _discard_buffer(stream: IO[str]) -> None:
    """Point the stream at /dev/null: the interpreter's last flush of what is still buffered would fail aloud."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
