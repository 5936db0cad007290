"""`polyglot transcribe`: finds the sources, runs a batch, writes the files, tells what became of each."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import click
from anyio import to_thread

from ..._cli import _screen
from .._failures import IncompleteError, InputError, InterruptedCommandError, failure_of
from .._files import STDOUT, put, safe_name
from .._group import command as polyglot_command
from .._live import Live
from .._local import local
from .._naming import beside, files_there, make_folders, parse_formats, plan_bases, refuse_files
from .._report import Report
from .._resume import check_journal, known_before, paid_for
from .._sources import find_sources
from .._transcribe import Outcomes, Wishes, transcribing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..._batch.outcomes import Outcome
    from ..._client import AsyncPolyglot
    from ..._models import Transcript
    from .._settings import Settings
    from .._sources import Source

_SHOWN_NAMES = 5


@polyglot_command("transcribe", example="polyglot transcribe archive/ --out subtitles/ --journal archive.db")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--sandbox", is_flag=True, help="Use a local server instead of the service: no key, US English only.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the files go; default: beside each.")
@click.option("--format", "formats", default="srt,txt", show_default=True, help="Some of srt,vtt,txt,json.")
@click.option("--language", "--input-language", "input_language", metavar="CODE", help="What is spoken, e.g. en.")
@click.option("--translate-to", "--output-language", "output_language", metavar="CODE", help="E.g. ru.")
@click.option("--model", metavar="NAME", help="E.g. fast.")
@click.option(
    "--journal", type=click.Path(path_type=Path), metavar="FILE", help="Remember in FILE; run again to go on."
)
@click.option("--retry-failed", is_flag=True, help="Send again what failed in an earlier run.")
@click.option(
    "--on-uncertain",
    type=click.Choice(["park", "retry", "raise"]),
    default="park",
    show_default=True,
    help="What may or may not have been accepted: leave it, risk paying twice, or stop.",
)
@click.option("--concurrency", type=click.IntRange(1, 1000), metavar="N", help="Tasks at once; default: the plan's.")
@click.option("--overwrite", is_flag=True, help="Replace result files that are there.")
def command(
    settings: Settings,
    *,
    sources: tuple[str, ...],
    sandbox: bool,
    out: Path | None,
    formats: str,
    journal: Path | None,
    retry_failed: bool,
    on_uncertain: Literal["park", "retry", "raise"],
    concurrency: int | None,
    overwrite: bool,
    **options: str | None,
) -> None:
    """Transcribe files, folders of media, and URLs.

    Each result is written beside its source or into --out; a translation goes into NAME.CODE.txt. One failure stops
    nothing else. With --journal, what is finished is skipped by a later run, and nothing is paid for twice. Exits with
    1 if any failed, with 2 (and nothing sent) if the input will not do. In a pipe: a line a file written, source and
    file tab-separated; with --json one JSON document a source.
    """
    if out == STDOUT:
        raise InputError("--out is a folder; to see one transcript, use: polyglot result ID")
    if journal is not None:
        if sandbox:
            raise InputError("a local server forgets its tasks when it ends: leave --journal or --sandbox away")
        check_journal(journal)
    elif retry_failed:
        raise InputError("--retry-failed needs --journal, which knows what failed")
    chosen = parse_formats(formats)
    language = options["output_language"]
    suffixes = (*chosen, f"{safe_name(language)}.txt") if language else chosen
    found = find_sources(sources)
    run = _Run(
        settings=settings,
        sources=found,
        wishes=Wishes(
            options=options,
            journal=journal,
            concurrency=concurrency,
            on_uncertain=on_uncertain,
            retry_failed=retry_failed,
        ),
        bases=plan_bases(found, out, suffixes),
        formats=chosen,
        translation=suffixes[-1] if language else None,
        overwrite=overwrite,
    )
    if not sandbox:
        settings.client()  # a missing credential is to be told before folders are made
    run.prepare()
    with local(settings) if sandbox else contextlib.nullcontext(settings) as pointed:
        run.run(pointed, own_server=sandbox)
    run.conclude()


@attrs.define(kw_only=True)
class _Run:
    """One run: what is asked for, where its results go, and what is told of it."""

    settings: Settings
    sources: Sequence[Source]
    wishes: Wishes
    bases: Mapping[Source, Path]
    formats: Sequence[str]
    translation: str | None
    overwrite: bool
    _live: Live = attrs.field(init=False)
    _report: Report = attrs.field(init=False)
    _outcomes: Outcomes | None = attrs.field(default=None, init=False)
    _silent: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._live = Live(len(self.sources), wanted=not self.settings.verbose)
        self._report = Report(len(self.sources))

    def prepare(self) -> None:
        """Make the folders, and see that no file would be replaced.

        Files of what is paid for already are looked at when they are written: an earlier run may have come that far.

        Raises:
            InputError: a folder cannot be made, or a file is there.
        """
        make_folders(self.bases)
        if not self.overwrite:
            there = files_there(self.bases, self._suffixes())
            known = paid_for(there, self.wishes) if there else set()
            refuse_files(file for source, files in there.items() if source not in known for file in files)

    def run(self, settings: Settings, *, own_server: bool) -> None:
        """Run the batch.

        Raises:
            InterruptedCommandError: Ctrl-C, with what goes on.
            PolyglotError: what would fail every source alike.
        """
        try:
            settings.call(self._all)
        except KeyboardInterrupt:
            # A server of our own has ended with us: nothing goes on there.
            raise InterruptedCommandError(self._where_it_stood(own_server=own_server)) from None
        except Exception:
            if self._outcomes is not None and not self.settings.json:
                _screen.note(self._where_it_stood(own_server=own_server))
            raise

    def conclude(self) -> None:
        """Tell of what was skipped, and how it went in all.

        Raises:
            IncompleteError: some have no result.
        """
        skipped = self._report.unfinished(self.sources)
        files = {source: [beside(self.bases[source], suffix) for suffix in self.formats] for source in skipped}
        self._report.skip(skipped, known_before(skipped, self.wishes) if skipped else {}, files)
        report = self._report
        if self.settings.json:
            self._tell_skipped_as_json()
        else:
            for note in report.notes(journal=self.wishes.journal):
                _screen.note(note)
        if report.without_result:
            raise IncompleteError(report.error(), report.as_json())
        if not self.settings.json and (report.skipped or (_screen.is_terminal_out() and report.total > 1)):
            _screen.note(report.counted())

    async def _all(self, client: AsyncPolyglot) -> None:
        with self._live:
            async with transcribing(client, self.sources, self.wishes, self._live.show) as outcomes:
                self._outcomes = outcomes
                async for source, outcome in outcomes:
                    await self._settle(source, outcome, outcomes)
                self._report.requests_today = outcomes.progress.requests_today

    async def _settle(self, source: Source, outcome: Outcome, outcomes: Outcomes) -> None:
        files: list[Path] = []
        error: Exception | None = outcome.error
        if outcome.transcript is not None:
            # Before the next outcome is asked for: then the journal notes this one as done.
            error = await to_thread.run_sync(self._save, outcome.transcript, self.bases[source], files)
            if isinstance(error, OSError):
                outcomes.give_back()
        self._report.settle(source, error)
        # Whoever read our lines may have gone; what is under way is paid for, so its files are still written.
        if not self._silent:
            try:
                self._tell(source, outcome, files, error)
            except _screen.OutputClosedError:
                self._silent = True

    def _save(self, transcript: Transcript, base: Path, files: list[Path]) -> Exception | None:
        """Write what can be written; return what went wrong with the rest."""
        problem: Exception | None = None
        for suffix in self._suffixes():
            if suffix == self.translation and not transcript.translation:
                continue
            path = beside(base, suffix)
            try:
                put(path, self._text(transcript, suffix), overwrite=self.overwrite)
                files.append(path)
            except (OSError, ValueError) as error:
                problem = problem if isinstance(problem, OSError) else error
        return problem

    def _text(self, transcript: Transcript, suffix: str) -> str:
        return (
            f"{(transcript.translation or '').strip()}\n" if suffix == self.translation else transcript.render(suffix)
        )

    def _tell(self, source: Source, outcome: Outcome, files: Sequence[Path], error: Exception | None) -> None:
        failure = failure_of(error, secret=self.settings.api_key) if error is not None else None
        task_id = outcome.task.task_id if outcome.task is not None else None
        if self.settings.json:
            transcript = outcome.transcript
            record = {
                "source": source.given,
                "state": "done" if error is None else "uncertain" if source in self._report.uncertain else "failed",
                "task_id": task_id,
                "text": transcript.text if transcript else None,
                "translation": transcript.translation if transcript else None,
                "confidence": transcript.confidence if transcript else None,
                "files": [str(file) for file in files],
                "error": failure.as_json() if failure else None,
            }
            _screen.document(record)
            return
        if not _screen.is_terminal_out():
            _screen.table((), ((source.given, str(file)) for file in files))
        elif files:
            self._live.line(f"{source.given} -> {', '.join(map(str, files))}")
        if failure is not None:
            also = f" (task {task_id}: polyglot result {task_id})" if outcome.transcript is not None else ""
            hint = f" (hint: {failure.hint})" if failure.hint else ""
            self._live.note(f"failed {source.given}: {failure.message}{also}{hint}")

    def _tell_skipped_as_json(self) -> None:
        if self._silent:
            return
        with contextlib.suppress(_screen.OutputClosedError):
            for source, entry in self._report.skipped.items():
                before = self._report.failed_before.get(source)
                record = {
                    "source": source.given,
                    "state": "skipped",
                    "task_id": entry.task_id if entry else None,
                    "error": {"type": "FailedBefore", "message": before, "hint": "--retry-failed"} if before else None,
                }
                _screen.document(record)

    def _where_it_stood(self, *, own_server: bool) -> str:
        """Tell how far it came, and what goes on at the service: it is paid for, and can be fetched."""
        skipped = self._outcomes.progress.skipped if self._outcomes is not None else 0
        words = f"{len(self._report.done)} of {len(self.sources)} done" + (f", {skipped} skipped" if skipped else "")
        names = self._outcomes.in_flight if self._outcomes is not None else ()
        if not names or own_server:
            return words
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        how = "the same command again goes on" if self.wishes.journal is not None else "find it with: polyglot list"
        return f"{words}; at the service, or may be: {', '.join(names[:_SHOWN_NAMES])}{more} ({how})"

    def _suffixes(self) -> tuple[str, ...]:
        return (*self.formats, self.translation) if self.translation else tuple(self.formats)
