"""`polyglot journal`."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from ..._cli import _screen
from ..._state.journal import Entry, State, read_journal
from .._group import command as polyglot_command

if TYPE_CHECKING:
    from .._settings import Settings

_COLUMNS = ("state", "task", "tries", "what")


@polyglot_command("journal", example="polyglot journal archive.db --state failed")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="Only these items; may be repeated.",
)
def command(settings: Settings, *, file: Path, states: tuple[str, ...]) -> None:
    """Show what the journal of a batch knows, also while it is written.

    In a pipe: one item a line, tab-separated: name, state, task id, tries, error; the counts go to stderr. With --json
    one document. The requests are those of runs that have ended.
    """
    entries, usage = read_journal(file)
    numbers = Counter(entry.state for entry in entries)
    counts = {state.value: numbers[state] for state in State}
    today = usage.at(datetime.now(UTC)).day_requests
    shown = [entry for entry in entries if not states or entry.state.value in states]
    if settings.json:
        _screen.document({"counts": counts, "requests_today": today, "items": [_as_json(entry) for entry in shown]})
        return
    words = "; ".join(f"{number} {state}" for state, number in counts.items() if number) or "no items"
    words += f"; {today} requests today"
    if not _screen.is_terminal_out():
        _screen.note(words)
        _screen.table((), (_row(entry) for entry in shown))
        return
    _screen.line(words)
    if shown:
        _screen.line()
        _screen.table(_COLUMNS, ((*_row(entry)[1:4], _what(entry)) for entry in shown), wide="what")


def _row(entry: Entry) -> tuple[str, ...]:
    return entry.name, entry.state.value, entry.task_id or "", str(entry.attempts), entry.error or ""


def _what(entry: Entry) -> str:
    if not entry.error:
        return entry.name
    return f"{entry.name}: {entry.error.removeprefix(f'task {entry.task_id} ')}"  # the id stands beside it


def _as_json(entry: Entry) -> dict[str, Any]:
    return attrs.asdict(entry)
