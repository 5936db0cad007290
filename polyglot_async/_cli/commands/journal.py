"""`polyglot journal`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from ..._api.urls import bare_url
from ..._state.items import ItemRecord, State
from ..._state.journal import read_journal
from .._group import command as polyglot_command
from .._output import print_json, print_line, print_note, print_table, stdout_is_terminal

if TYPE_CHECKING:
    from .._settings import Settings

# The states that a journal holds; the others are steps within a run, which a later run need not know.
_STATES = tuple(
    state.value for state in (State.NEW, State.LEFT, State.RUNNING, State.DONE, State.FAILED, State.AMBIGUOUS)
)
_COLUMNS = ("state", "task", "attempts", "name")


@polyglot_command("journal", examples="polyglot journal archive.db\npolyglot journal archive.db --state failed")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--state",
    "states",
    type=click.Choice(_STATES),
    multiple=True,
    help="Only items in this state; may be repeated.",
)
def command(settings: Settings, *, file: Path, states: tuple[str, ...]) -> None:
    """Show what a journal knows of a batch.

    FILE is what was given as --journal to `polyglot transcribe`; it may be in use. The request count does not include
    a run that is still going on.

    \b
    States:
      new        not uploaded
      left       uploaded, and no answer yet
      running    accepted by the service
      done       its result was delivered
      failed     without a result; --retry-failed sends it again
      ambiguous  it is not known whether the service accepted it

    In a pipe, each item is a line, tab-separated: name, state, task id, attempts, error; the counts go to stderr. With
    --json, everything is one JSON document.
    """  # noqa: D301 - click looks for the backspace itself
    records, usage = read_journal(file)
    numbers = Counter(record.state for record in records)
    counts = {state: numbers[State(state)] for state in _STATES}
    today = usage.at(settings.runtime.utc_now()).day_requests
    shown = [record for record in records if not states or record.state.value in states]
    if settings.json:
        print_json({"counts": counts, "requests_today": today, "items": [_to_json(record) for record in shown]})
        return
    summary = "; ".join(f"{number} {state}" for state, number in counts.items() if number) or "no items"
    summary += f"; {today} requests today"
    if not stdout_is_terminal():
        print_note(summary)
        print_table((), (_row(record) for record in shown))
        return
    print_line(summary)
    if shown:
        print_line()
        print_table(_COLUMNS, ((*_row(record)[1:4], _name_and_error(record)) for record in shown), wrap="name")


def _row(record: ItemRecord) -> tuple[str, ...]:
    return record.name, record.state.value, record.task_id or "", str(record.attempts), record.error or ""


def _name_and_error(record: ItemRecord) -> str:
    if not record.error:
        return record.name
    return f"{record.name}: {record.error.removeprefix(f'task {record.task_id} ')}"  # the id has its own column


def _to_json(record: ItemRecord) -> dict[str, Any]:
    return attrs.asdict(record) | {"name": bare_url(record.name)}
