"""`polyglot demo`."""

from __future__ import annotations

import contextlib
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._bars import Bars
from .._files import check_folder, free_path, make_folder
from .._group import command as polyglot_command
from .._local import local
from .._sources import check_file
from .._values import as_json, timed_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..._client import AsyncPolyglot
    from ..._models import Transcript
    from .._settings import Settings

_RECORDING = "austen-0890.wav"
_WORDS = "unless to be rather cold hearted and rather selfish is to be ill disposed"


@polyglot_command("demo", example="polyglot demo my-recording.m4a")
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the subtitles go; default: here.")
def command(settings: Settings, *, file: Path | None, out: Path | None) -> None:
    """Transcribe a recording with no key and no network.

    A local server stands in for the service. It hears with a small recogniser that knows US English only.
    """
    folder = out or Path()
    if file is not None:
        check_file(file)
    if out is not None:
        make_folder(out)
    check_folder(folder)
    with _recording(file) as recording, local(settings) as pointed:
        transcript = pointed.call(lambda client: _transcribed(client, recording, verbose=settings.verbose))
    content = transcript.render("srt").encode()
    # Our own file of an earlier run holds the same bytes; another's is left alone.
    subtitles = transcript.save(free_path(folder / f"{recording.stem}.srt", content))
    if settings.json:
        _screen.document({**as_json(transcript), "files": [str(subtitles)]})
    else:
        _tell(transcript, subtitles, recording, bundled=file is None)


@contextlib.contextmanager
def _recording(file: Path | None) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    # As a file, for the package may be inside a zip.
    with resources.as_file(resources.files("polyglot_async._cli") / "data" / _RECORDING) as path:
        yield path


async def _transcribed(client: AsyncPolyglot, recording: Path, *, verbose: bool) -> Transcript:
    calls = client.transcriptions
    with Bars(wanted=not verbose) as bars:
        row = bars.row(recording.name, "sending")
        task = await calls.upload(recording, input_language="en", on_progress=row.moved)
        row.waits("listening")
        return await calls.result(await calls.wait(task))


def _tell(transcript: Transcript, subtitles: Path, recording: Path, *, bundled: bool) -> None:
    _screen.line(f"{recording.name}, sent to a local server and heard there:\n")
    for text in timed_lines(transcript):
        _screen.line(f"  {text or '(no speech was recognised)'}")
    _screen.line()
    if bundled:
        _screen.line(f'The reader says: "{_WORDS}".')
    _screen.line("The local recogniser is small and knows US English only: some words are wrong.")
    _screen.line(f"Subtitles: {subtitles}")
    shown = "FILE" if bundled else shlex.quote(str(recording))
    _screen.line(f"With the real service: POLYGLOT_API_KEY=sk_... polyglot transcribe {shown}")
