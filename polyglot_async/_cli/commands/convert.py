"""`polyglot convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._bars import Bars
from .._failures import InputError
from .._files import STDOUT, checked_target
from .._group import command as polyglot_command
from .._sources import check_file

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from .._settings import Settings


@polyglot_command("convert", example="polyglot convert talk.wav talk.mp3")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--format", "format_", metavar="FORMAT", help="mp3, wav, ogg, m4a, flac; default: as OUT's suffix.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
def command(settings: Settings, *, file: Path, out: Path, format_: str | None, overwrite: bool) -> None:
    """Have the service convert audio to another format."""
    _check(file, out)
    checked_target(out, overwrite=overwrite)
    wanted = (format_ or out.suffix.removeprefix(".")).lower()
    if not wanted:
        raise InputError(f"{out}: has no suffix to tell the format by: give --format")

    async def convert(client: AsyncPolyglot) -> Path:
        with Bars(wanted=not settings.verbose) as bars:
            row = bars.row(file.name)
            return await client.transcriptions.convert_audio(file, out, format=wanted, on_progress=row.moved)

    _screen.saved(settings.call(convert), as_json=settings.json)


def _check(file: Path, out: Path) -> None:
    if STDOUT in {file, out}:
        raise InputError("give files: a conversion reads and writes neither stdin nor stdout")
    check_file(file)
    if out.exists() and out.samefile(file):
        raise InputError(f"{out}: is the file to convert itself")
