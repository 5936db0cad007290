"""`polyglot convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._downloads import conversion_format
from .._error_report import InputError
from .._group import command as polyglot_command
from .._output import print_saved
from .._output_files import STDOUT, check_output_path
from .._progress import ProgressBars
from .._sources import check_file

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from .._settings import Settings


@polyglot_command("convert", examples="polyglot convert talk.wav talk.mp3")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--format", "format_", metavar="FORMAT", help="mp3, wav, ogg, m4a or flac (default: OUT's suffix).")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
def command(settings: Settings, *, file: Path, out: Path, format_: str | None, overwrite: bool) -> None:
    """Convert audio to another format.

    FILE is uploaded, the service converts it, and the result is saved as OUT.
    """
    _check_paths(file, out)
    check_output_path(out, overwrite=overwrite)
    chosen = _format(out, format_)

    async def convert(client: AsyncPolyglot) -> Path:
        with ProgressBars(enabled=not settings.verbose) as bars:
            row = bars.add(file.name)
            return await client.transcriptions.convert_audio(file, out, format=chosen, on_progress=row.update)

    print_saved(settings.call(convert), as_json=settings.json)


def _check_paths(file: Path, out: Path) -> None:
    if STDOUT in {file, out}:
        raise InputError("stdin and stdout cannot be used here: name two files")
    check_file(file)
    if out.exists() and out.samefile(file):
        raise InputError(f"{out}: cannot be converted onto itself")


def _format(out: Path, given: str | None) -> str:
    if not given and not out.suffix.removeprefix("."):
        raise InputError(f"{out} has no suffix that names the format: use --format")
    try:
        return conversion_format(out, given)
    except ValueError as error:
        raise InputError(f"{error}, with --format or as the suffix of OUT") from None
