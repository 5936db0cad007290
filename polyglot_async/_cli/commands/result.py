"""`polyglot result`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._files import STDOUT, checked_target
from .._group import command as polyglot_command
from .._group import one_word
from .._naming import FORMATS
from .._values import as_json

if TYPE_CHECKING:
    from ..._models import Transcript
    from .._settings import Settings


@polyglot_command("result", example="polyglot result 9b9c1b9a-0000-0000-0000-000000000000 --out talk.srt")
@click.argument("task_id", metavar="ID", type=one_word)
@click.option(
    "--format", "format_", type=click.Choice(FORMATS, case_sensitive=False), help="Default: as --out, or txt."
)
@click.option("--out", type=click.Path(path_type=Path), default="-", metavar="FILE", help="Write it there.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
def command(settings: Settings, *, task_id: str, format_: str | None, out: Path, overwrite: bool) -> None:
    """Show or save the transcript of a completed task."""
    target = checked_target(out, overwrite=overwrite)
    suffix = out.suffix.removeprefix(".").lower()
    chosen = format_ or (suffix if suffix in FORMATS else "txt")
    transcript = settings.call(lambda client: client.transcriptions.result(task_id))
    if target != STDOUT:
        transcript.save(target, format=chosen)
        _screen.saved(target, as_json=settings.json)
    elif settings.json:
        _screen.document(as_json(transcript))
    else:
        _show(transcript, chosen)


def _show(transcript: Transcript, chosen: str) -> None:
    _screen.line(transcript.render(chosen).rstrip("\n"))
    if chosen == "txt" and transcript.translation:
        _screen.line(f"\n{transcript.translation.strip()}")
