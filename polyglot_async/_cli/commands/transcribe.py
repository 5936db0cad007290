"""`polyglot transcribe`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._error_report import InputError
from .._group import command as polyglot_command
from .._journal_lookup import check_journal
from .._output import print_note
from .._output_files import STDOUT
from .._settings import with_local_server
from .._sources import find_sources, parse_formats, plan_base_paths
from .._transcribe import TranscribeOptions, TranscribeRun

if TYPE_CHECKING:
    from ..._batch.options import OnUncertain
    from .._settings import Settings
    from .._sources import Source

EXAMPLES = """
polyglot transcribe talk.mp3
polyglot transcribe talk.mp3 --language en --translate-to ru
polyglot transcribe archive/ --out subtitles/ --journal archive.db
polyglot transcribe https://example.com/talk.mp3
"""


@polyglot_command("transcribe", examples=EXAMPLES)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the results (default: beside each source).",
)
@click.option(
    "--format",
    "formats",
    default="srt,txt",
    show_default=True,
    metavar="LIST",
    help="File formats, from srt, vtt, txt, json.",
)
@click.option("--language", "--input-language", "input_language", metavar="CODE", help="Spoken language, e.g. en.")
@click.option(
    "--translate-to", "--output-language", "output_language", metavar="CODE", help="Language to translate to, e.g. ru."
)
@click.option("--model", metavar="NAME", help="Model, e.g. fast.")
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Remember progress in FILE, to continue after an interruption.",
)
@click.option("--retry-failed", is_flag=True, help="Send again what failed in an earlier run; needs --journal.")
@click.option(
    "--on-uncertain",
    type=click.Choice(["report", "retry", "raise"]),
    default="report",
    show_default=True,
    help="If an upload may or may not have been accepted: report it as failed, retry it (it may be paid for twice), "
    "or raise an error and stop.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Maximum tasks at once (default: the plan's limit).",
)
@click.option("--overwrite", is_flag=True, help="Replace existing result files.")
@click.option("--sandbox", is_flag=True, help="Use a local server instead of the service: no key, US English only.")
def command(
    settings: Settings,
    *,
    sources: tuple[str, ...],
    out: Path | None,
    formats: str,
    journal: Path | None,
    retry_failed: bool,
    on_uncertain: OnUncertain,
    concurrency: int | None,
    overwrite: bool,
    sandbox: bool,
    **request: str | None,
) -> None:
    """Transcribe files, folders and URLs.

    Each result is saved beside its source, or in --out: talk.mp3 becomes talk.srt and talk.txt, and a translation to
    ru becomes talk.ru.txt. A failure does not stop the other sources.

    With --journal, run the same command again to continue: sources that are done are skipped, and nothing is paid for
    twice.

    Exit code: 0 if all succeeded, 1 if any failed, 2 if an argument is invalid (then nothing was sent). In a pipe,
    each written file is a line: source, tab, file. With --json, each source is one JSON document.
    """
    _check_options(out=out, journal=journal, retry_failed=retry_failed, sandbox=sandbox)
    options = TranscribeOptions(
        request=request,
        formats=parse_formats(formats),
        overwrite=overwrite,
        journal=journal,
        concurrency=concurrency,
        on_uncertain=on_uncertain,
        retry_failed=retry_failed,
    )
    repeated: list[Source] = []
    found = find_sources(sources, repeated)
    if repeated and not settings.json:
        more = f" and {len(repeated) - 1} more" if len(repeated) > 1 else ""
        print_note(f"{repeated[0].label}{more}: named more than once, and sent once")
    base_paths = plan_base_paths(found, out, options.suffixes)
    run = TranscribeRun(settings=settings, options=options, sources=found, base_paths=base_paths)
    if not sandbox:
        settings.client()  # report a missing key before folders are made
    run.prepare()
    with with_local_server(settings) if sandbox else contextlib.nullcontext(settings) as target:
        run.run(target, local_server=sandbox)
    run.finish()


def _check_options(*, out: Path | None, journal: Path | None, retry_failed: bool, sandbox: bool) -> None:
    if out == STDOUT:
        raise InputError("--out is a folder; to print one transcript, use: polyglot result ID")
    if retry_failed and journal is None:
        raise InputError("--retry-failed needs --journal, which knows what failed")
    if journal is not None:
        if sandbox:
            raise InputError("--journal cannot be combined with --sandbox: a local server forgets its tasks")
        check_journal(journal)
