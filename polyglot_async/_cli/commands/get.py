"""`polyglot get`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._group import command as polyglot_command
from .._group import one_word
from .._values import as_json, task_facts

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("get", example="polyglot get 9b9c1b9a-0000-0000-0000-000000000000")
@click.argument("task_id", metavar="ID", type=one_word)
def command(settings: Settings, *, task_id: str) -> None:
    """Show one task as it stands."""
    task = settings.call(lambda client: client.transcriptions.get(task_id))
    if settings.json:
        _screen.document(as_json(task))
    else:
        _screen.facts(task_facts(task))
