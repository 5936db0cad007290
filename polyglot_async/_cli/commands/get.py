"""`polyglot get`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .._formatting import task_fields, to_json
from .._group import command as polyglot_command
from .._group import parse_task_id
from .._output import print_fields, print_json

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("get", examples="polyglot get 9b9c1b9a-0000-0000-0000-000000000000")
@click.argument("task_id", metavar="ID", type=parse_task_id)
def command(settings: Settings, *, task_id: str) -> None:
    """Show one task.

    `polyglot list` shows the ids. In a pipe, each field is a line: name, tab, value.
    """
    task = settings.call(lambda client: client.transcriptions.get(task_id))
    if settings.json:
        print_json(to_json(task))
    else:
        print_fields(task_fields(task))
