"""`polyglot download`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._files import STDOUT, checked_target, safe_name
from .._group import command as polyglot_command
from .._group import one_word

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("download", example="polyglot download 9b9c1b9a-0000-0000-0000-000000000000 srt --out talk.srt")
@click.argument("task_id", metavar="ID", type=one_word)
@click.argument("kind", metavar="KIND", type=one_word)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: ID.KIND; - is stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def command(settings: Settings, *, task_id: str, kind: str, out: Path | None, overwrite: bool) -> None:
    """Get a result file that the service made.

    KIND is srt, txt, json or whatever else it makes.
    """
    target = checked_target(out or Path(safe_name(f"{task_id}.{kind}")), overwrite=overwrite)
    if target == STDOUT:
        _screen.raw(settings.call(lambda client: client.transcriptions.download(task_id, kind)))
        return
    path = settings.call(lambda client: client.transcriptions.download(task_id, kind, target))
    _screen.saved(path, as_json=settings.json)
