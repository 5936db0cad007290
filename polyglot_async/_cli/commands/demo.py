"""`polyglot demo`."""

from __future__ import annotations

import contextlib
import shlex
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._formatting import timed_lines, to_json
from .._group import command as polyglot_command
from .._output import print_json, print_line
from .._output_files import check_folder, make_folder, write_beside_others
from .._progress import ProgressBars
from .._settings import with_local_server
from .._sources import check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..._client import AsyncPolyglot
    from ..._models import Transcript
    from .._settings import Settings

_RECORDING = "austen-0890.wav"
_SPOKEN_WORDS = "unless to be rather cold hearted and rather selfish is to be ill disposed"


@polyglot_command("demo", examples="polyglot demo\npolyglot demo my-recording.m4a")
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the subtitles (default: the current one)."
)
def command(settings: Settings, *, file: Path | None, out: Path | None) -> None:
    """Transcribe a recording with a local server: no key, no network.

    Without FILE, a recording that comes with the package is used. The local server's speech recogniser is small and
    knows US English only; the service's is better.
    """
    folder = out or Path()
    if file is not None:
        check_file(file)
    if out is not None:
        make_folder(out)
    check_folder(folder)
    with _recording(file) as recording, with_local_server(settings) as local_settings:
        transcript = local_settings.call(lambda client: _transcribe(client, recording, verbose=settings.verbose))
    # The same subtitles of an earlier demo are kept; a file with other content gets a neighbour.
    subtitles = write_beside_others(folder / f"{recording.stem}.srt", transcript.render("srt"))
    if settings.json:
        print_json({**to_json(transcript), "files": [str(subtitles)]})
    else:
        _print_transcript(transcript, subtitles, recording, bundled=file is None)


@contextlib.contextmanager
def _recording(file: Path | None) -> Iterator[Path]:
    if file is not None:
        yield file
        return
    # The package may be inside a zip, so the recording may have to be extracted.
    with resources.as_file(resources.files("polyglot_async._cli") / "data" / _RECORDING) as path:
        yield path


async def _transcribe(client: AsyncPolyglot, recording: Path, *, verbose: bool) -> Transcript:
    calls = client.transcriptions
    with ProgressBars(enabled=not verbose) as bars:
        row = bars.add(recording.name, "uploading")
        task = await calls.upload(recording, input_language="en", on_progress=row.update)
        row.wait_for("transcribing")
        return await calls.result(await calls.wait(task))


def _print_transcript(transcript: Transcript, subtitles: Path, recording: Path, *, bundled: bool) -> None:
    print_line(f"{recording.name}, transcribed by a local server:\n")
    for text in timed_lines(transcript):
        print_line(f"  {text or '(no speech was recognised)'}")
    print_line()
    if bundled:
        print_line(f'The speaker says: "{_SPOKEN_WORDS}".')
    print_line("The local recogniser is small and knows US English only: some words are wrong.")
    print_line(f"Subtitles: {subtitles}")
    argument = "FILE" if bundled else shlex.quote(str(recording))
    print_line(f"With the real service: POLYGLOT_API_KEY=sk_... polyglot transcribe {argument}")
