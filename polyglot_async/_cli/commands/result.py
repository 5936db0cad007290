"""`polyglot result`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._formatting import to_json
from .._group import command as polyglot_command
from .._group import parse_task_id
from .._output import print_json, print_line, print_saved
from .._output_files import STDOUT, check_output_path, write_file
from .._sources import FORMATS

if TYPE_CHECKING:
    from ..._models import Transcript
    from .._settings import Settings

EXAMPLES = """
polyglot result 9b9c1b9a-0000-0000-0000-000000000000
polyglot result 9b9c1b9a-0000-0000-0000-000000000000 --out talk.srt
"""


@polyglot_command("result", examples=EXAMPLES)
@click.argument("task_id", metavar="ID", type=parse_task_id)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS, case_sensitive=False),
    help="Format (default: from the suffix of --out, else txt).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), default="-", metavar="FILE", help="Save to FILE (default: print it)."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def command(settings: Settings, *, task_id: str, format_: str | None, out: Path, overwrite: bool) -> None:
    """Show or save a transcript.

    The task must be completed: see `polyglot get ID`. The file is made from the transcript on this machine; to get a
    file that the service made, use `polyglot download`.
    """
    target = check_output_path(out, overwrite=overwrite)
    suffix = out.suffix.removeprefix(".").lower()
    chosen = format_ or (suffix if suffix in FORMATS else "txt")
    transcript = settings.call(lambda client: client.transcriptions.result(task_id))
    if target != STDOUT:
        write_file(target, transcript.render(chosen), overwrite=overwrite)
        print_saved(target, as_json=settings.json)
    elif settings.json:
        print_json(to_json(transcript))
    else:
        _print_transcript(transcript, chosen)


def _print_transcript(transcript: Transcript, chosen: str) -> None:
    print_line(transcript.render(chosen).rstrip("\n"))
    if chosen == "txt" and transcript.translation:
        print_line(f"\n{transcript.translation.strip()}")
