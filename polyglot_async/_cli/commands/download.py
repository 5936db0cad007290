"""`polyglot download`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._group import command as polyglot_command
from .._group import parse_path_segment, parse_task_id
from .._output import print_saved, write
from .._output_files import STDOUT, check_output_path, safe_name

if TYPE_CHECKING:
    from .._settings import Settings

EXAMPLES = """
polyglot download 9b9c1b9a-0000-0000-0000-000000000000 srt
polyglot download 9b9c1b9a-0000-0000-0000-000000000000 json --out -
"""


@polyglot_command("download", examples=EXAMPLES)
@click.argument("task_id", metavar="ID", type=parse_task_id)
@click.argument("kind", metavar="KIND", type=parse_path_segment)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Save to FILE, or - for stdout (default: ID.KIND)."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def command(settings: Settings, *, task_id: str, kind: str, out: Path | None, overwrite: bool) -> None:
    """Download a result file, such as subtitles.

    KIND is srt, txt, json, or any other kind that the service makes.
    """
    target = check_output_path(out or Path(safe_name(f"{task_id}.{kind}")), overwrite=overwrite)
    if target == STDOUT:
        write(settings.call(lambda client: client.transcriptions.download(task_id, kind)))
        return
    path = settings.call(lambda client: client.transcriptions.download(task_id, kind, target))
    print_saved(path, as_json=settings.json)
