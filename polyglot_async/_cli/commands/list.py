"""`polyglot list`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from ..._models import TaskStatus
from .._formatting import format_duration, format_languages, to_json
from .._group import command as polyglot_command
from .._output import print_json, print_line, print_note, print_table, stdout_is_terminal

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from ..._models import Task
    from .._settings import Settings

_COLUMNS = ("task", "status", "audio", "language", "name")
_LARGEST_PAGE = 100


@polyglot_command("list", examples="polyglot list\npolyglot list --status failed --limit 50")
@click.option(
    "--status",
    metavar="STATUS",
    help="Only tasks that are queued, processing, completed, failed or cancelled, or have another status.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Maximum number of tasks."
)
def command(settings: Settings, *, status: str | None, limit: int) -> None:
    """List tasks, newest first.

    In a pipe, each task is a line, tab-separated: id, status, audio length, language, and the reason of a failure,
    the file name or the first words. With --json, each task is one JSON document.
    """
    wanted = None if status is None else TaskStatus(status)
    seen: set[TaskStatus] = set()
    tasks = settings.call(lambda client: _newest(client, wanted, limit, seen))
    if settings.json:
        for task in tasks:
            print_json(to_json(task))
    elif not tasks and wanted is not None and not wanted.is_known:
        print_note(_nothing_found(wanted, seen))
    elif not tasks and stdout_is_terminal():
        print_line("no tasks")
    else:
        print_table(_COLUMNS, (_row(task) for task in tasks), wrap="name")


async def _newest(client: AsyncPolyglot, status: TaskStatus | None, limit: int, seen: set[TaskStatus]) -> list[Task]:
    """Return the tasks, and add to `seen` the statuses of all that were read for it."""
    filters: dict[str, Any] = {} if status is None else {"status": status}
    found: list[Task] = []
    page_size = _LARGEST_PAGE if filters else min(limit, _LARGEST_PAGE)
    async for task in client.transcriptions.list(page_size=page_size, **filters):
        seen.add(task.status)
        # Filters are not documented: a service that does not know them sends everything.
        if status is None or task.status == status:
            found.append(task)
        if len(found) == limit:
            break
    return found


def _nothing_found(status: TaskStatus, seen: set[TaskStatus]) -> str:
    """Return what to say where no task has a status that may be a slip; the service may have statuses of its own."""
    known = list(map(str, (*TaskStatus, *sorted(seen - {*TaskStatus}))))
    similar = difflib.get_close_matches(status.lower(), known, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"known are {', '.join(known)}"
    return f"no tasks with the status {str(status)!r}: {hint}"


def _row(task: Task) -> tuple[str, ...]:
    name = task.failure_reason or task.file_name or task.transcript_preview or ""
    return task.task_id, str(task.status), format_duration(task.audio_duration_seconds), format_languages(task), name
