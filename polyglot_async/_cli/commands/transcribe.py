"""`polyglot transcribe`: finds the sources, runs the engine, writes the files, tells what became of each."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
from anyio import to_thread

from .. import _screen
from .._failures import IncompleteError, InputError, InterruptedCommandError, failure_of
from .._files import STDOUT, safe_name
from .._group import command as polyglot_command
from .._live import Live
from .._local import local
from .._naming import beside, check_bases, parse_formats, plan_bases
from .._sources import find_sources
from .._transcribe import CONCURRENCY, Outcome, transcribing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..._client import AsyncPolyglot
    from ..._models import Transcript
    from .._settings import Settings
    from .._sources import Source


@polyglot_command("transcribe", example="polyglot transcribe archive/ talk.mp4 --out subtitles/ --format srt,txt")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--sandbox", is_flag=True, help="Use a local server instead of the service: no key, US English only.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files go; default: beside each.")
@click.option("--format", "formats", default="srt,txt", show_default=True, help="Some of srt,vtt,txt,json.")
@click.option("--language", "--input-language", "input_language", metavar="CODE", help="What is spoken, e.g. en.")
@click.option("--translate-to", "--output-language", "output_language", metavar="CODE", help="E.g. ru.")
@click.option("--model", metavar="NAME", help="E.g. fast.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=CONCURRENCY, show_default=True, help="At once.")
@click.option("--overwrite", is_flag=True, help="Replace result files that are there.")
def command(
    settings: Settings,
    *,
    sources: tuple[str, ...],
    sandbox: bool,
    out: Path | None,
    formats: str,
    concurrency: int,
    overwrite: bool,
    **options: str | None,
) -> None:
    """Transcribe files, folders of media, and URLs.

    Each result is written beside its source or into --out; a translation goes into NAME.CODE.txt. One failure stops
    nothing else. Exits with 1 if any failed, with 2 (and nothing sent) if the input will not do. In a pipe: a line a
    file written, source and file tab-separated; with --json one JSON document a source.
    """
    if out == STDOUT:
        raise InputError("--out is a folder; to see one transcript, use: polyglot result ID")
    chosen = parse_formats(formats)
    language = options["output_language"]
    translation = f"{safe_name(language)}.txt" if language else None
    suffixes = (*chosen, translation) if translation else chosen
    found = find_sources(sources)
    bases = plan_bases(found, out, suffixes)
    run = _Run(settings, bases, chosen, translation)
    if not sandbox:
        settings.client()  # a missing credential is to be told before folders are made
    check_bases(bases, suffixes, overwrite=overwrite)
    with local(settings) if sandbox else contextlib.nullcontext(settings) as pointed:
        try:
            pointed.call(lambda client: run.all(client, found, options, concurrency))
        except KeyboardInterrupt:
            # A sandbox of our own has ended with us: nothing goes on there.
            raise InterruptedCommandError(run.live.where_it_stood(names_tasks=not sandbox)) from None
    if run.live.failed:
        raise IncompleteError(f"{run.live.failed} of {len(found)} failed")


@attrs.define
class _Run:
    """One run: where its results go, and what is shown of it."""

    _settings: Settings
    _bases: Mapping[Source, Path]
    _formats: Sequence[str]
    _translation: str | None
    live: Live = attrs.field(init=False)
    _silent: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.live = Live(len(self._bases), verbose=self._settings.verbose)

    async def all(
        self, client: AsyncPolyglot, sources: Sequence[Source], options: Mapping[str, Any], concurrency: int
    ) -> None:
        """Transcribe all, and tell of each as it comes."""
        with self.live:
            async with transcribing(
                client, sources, options=dict(options), concurrency=concurrency, watch=self.live
            ) as outcomes:
                async for outcome in outcomes:
                    await self._settle(outcome)

    async def _settle(self, outcome: Outcome) -> None:
        files: list[Path] = []
        error = outcome.error
        if outcome.transcript is not None:
            error = await to_thread.run_sync(self._save, outcome.transcript, self._bases[outcome.source], files)
        self.live.settled(outcome.source, failed=error is not None)
        # Whoever read our lines may have gone; what is under way is paid for, so its files are still written.
        if not self._silent:
            try:
                self._tell(outcome, files, error)
            except _screen.OutputClosedError:
                self._silent = True

    def _save(self, transcript: Transcript, base: Path, files: list[Path]) -> Exception | None:
        """Write what can be written; return what went wrong with the rest."""
        problem: Exception | None = None
        for format_ in self._formats:
            try:
                files.append(transcript.save(beside(base, format_), format=format_))
            except (OSError, ValueError) as error:
                problem = error
        if self._translation and transcript.translation:
            path = beside(base, self._translation)
            try:
                path.write_text(f"{transcript.translation.strip()}\n", encoding="utf-8", errors="replace", newline="\n")
                files.append(path)
            except OSError as error:
                problem = error
        return problem

    def _tell(self, outcome: Outcome, files: Sequence[Path], error: Exception | None) -> None:
        failure = failure_of(error, secret=self._settings.api_key) if error is not None else None
        task_id = outcome.task.task_id if outcome.task is not None else None
        if self._settings.json:
            transcript = outcome.transcript
            record = {
                "source": outcome.source.given,
                "task_id": task_id,
                "text": transcript.text if transcript else None,
                "translation": transcript.translation if transcript else None,
                "confidence": transcript.confidence if transcript else None,
                "files": [str(file) for file in files],
                "error": failure.as_json() if failure else None,
            }
            _screen.document(record)
            return
        self.live.tell(outcome.source, files)
        if failure is not None:
            also = f" (task {task_id}: polyglot result {task_id})" if outcome.transcript is not None else ""
            hint = f" (hint: {failure.hint})" if failure.hint else ""
            self.live.note(f"failed {outcome.source.given}: {failure.message}{also}{hint}")
