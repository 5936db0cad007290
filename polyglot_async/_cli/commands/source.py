"""`polyglot source`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._error_report import InputError
from .._group import command as polyglot_command
from .._group import parse_task_id
from .._output import print_saved
from .._output_files import STDOUT, check_output_path, safe_name
from .._progress import ProgressBars

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from .._settings import Settings

EXAMPLES = """
polyglot source 9b9c1b9a-0000-0000-0000-000000000000
polyglot source 9b9c1b9a-0000-0000-0000-000000000000 --out talk.mp4
"""


@polyglot_command("source", examples=EXAMPLES)
@click.argument("task_id", metavar="ID", type=parse_task_id)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Save to FILE (default: the uploaded file's name)."
)
@click.option(
    "--connections", type=click.IntRange(1, 32), default=4, show_default=True, metavar="N", help="Parallel connections."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def command(settings: Settings, *, task_id: str, out: Path | None, connections: int, overwrite: bool) -> None:
    """Download the media that a task was made from."""
    if out == STDOUT:
        raise InputError("several parts are downloaded at once, which needs a file: use --out FILE")
    if out is not None:
        check_output_path(out, overwrite=overwrite)

    async def fetch(client: AsyncPolyglot) -> Path:
        target = out or check_output_path(await _uploaded_name(client, task_id), overwrite=overwrite)
        with ProgressBars(enabled=not settings.verbose) as bars:
            row = bars.add(target.name)
            return await client.transcriptions.download_source(
                task_id, target, connections=connections, on_progress=row.update
            )

    print_saved(settings.call(fetch), as_json=settings.json)


async def _uploaded_name(client: AsyncPolyglot, task_id: str) -> Path:
    task = await client.transcriptions.get(task_id)
    return Path(safe_name(task.file_name or f"{task_id}.media"))
