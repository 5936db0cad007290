"""`polyglot list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..._cli import _screen
from .._group import command as polyglot_command
from .._values import as_json, languages

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from ..._models import Task
    from .._settings import Settings

_COLUMNS = ("task", "status", "audio", "lang", "what")


@polyglot_command("list", example="polyglot list --status failed --limit 50")
@click.option("--status", metavar="STATUS", help="Only these: queued, processing, completed, failed, cancelled.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
def command(settings: Settings, *, status: str | None, limit: int) -> None:
    """List your tasks, newest first.

    In a pipe: one task a line, tab-separated: id, status, audio, language, file name or first words. With --json one
    JSON document a line.
    """
    tasks = settings.call(lambda client: _newest(client, status, limit))
    if settings.json:
        for task in tasks:
            _screen.document(as_json(task))
    elif not tasks and _screen.is_terminal_out():
        _screen.line("no tasks")
    else:
        _screen.table(_COLUMNS, (_row(task) for task in tasks), wide="what")


async def _newest(client: AsyncPolyglot, status: str | None, limit: int) -> list[Task]:
    filters: dict[str, Any] = {} if status is None else {"status": status}
    found: list[Task] = []
    async for task in client.transcriptions.list(page_size=100 if filters else min(limit, 100), **filters):
        # Filters are the service's word to keep; one that it does not know, it may well ignore.
        if status is None or task.status == status:
            found.append(task)
        if len(found) == limit:
            break
    return found


def _row(task: Task) -> tuple[str, ...]:
    what = task.failure_reason or task.file_name or task.transcript_preview or ""
    return task.task_id, str(task.status), _screen.seconds(task.audio_duration_seconds), languages(task), what
