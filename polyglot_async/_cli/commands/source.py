"""`polyglot source`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._bars import Bars
from .._failures import InputError
from .._files import STDOUT, checked_target, safe_name
from .._group import command as polyglot_command
from .._group import one_word

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from .._settings import Settings


@polyglot_command("source", example="polyglot source 9b9c1b9a-0000-0000-0000-000000000000 --out talk.mp4")
@click.argument("task_id", metavar="ID", type=one_word)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: the name it was sent under.")
@click.option("--connections", type=click.IntRange(1, 32), default=4, show_default=True, help="How many at once.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def command(settings: Settings, *, task_id: str, out: Path | None, connections: int, overwrite: bool) -> None:
    """Get back the media that a task was made from."""
    if out == STDOUT:
        raise InputError("a source is read in several parts at once, so it needs a file: give --out FILE")
    if out is not None:
        checked_target(out, overwrite=overwrite)

    async def fetch(client: AsyncPolyglot) -> Path:
        target = out or checked_target(await _own_name(client, task_id), overwrite=overwrite)
        with Bars(wanted=not settings.verbose) as bars:
            row = bars.row(target.name)
            return await client.transcriptions.download_source(
                task_id, target, connections=connections, on_progress=row.moved
            )

    _screen.saved(settings.call(fetch), as_json=settings.json)


async def _own_name(client: AsyncPolyglot, task_id: str) -> Path:
    task = await client.transcriptions.get(task_id)
    return Path(safe_name(task.file_name or f"{task_id}.media"))
