"""Run `polyglot transcribe`: a batch over the sources, the result files, and what is printed of each."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from anyio import to_thread

from .._api.urls import bare_url
from .._batch.stats import MOST_IDS_SHOWN
from .._errors import SubmissionUncertainError
from ._error_report import IncompleteError, InterruptedCommandError, attach_tasks, describe_error
from ._journal_lookup import find_records, find_started
from ._output import OutputClosedError, print_json, print_note, print_table, stdout_is_terminal
from ._output_files import safe_name, write_file
from ._progress import BatchDisplay
from ._sources import existing_outputs, make_output_folders, refuse_existing, with_suffix
from ._summary import RunSummary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .._batch.batch import BatchStream
    from .._batch.options import OnUncertain
    from .._batch.outcomes import Outcome
    from .._client import AsyncPolyglot
    from .._models import Transcript
    from ._settings import Settings
    from ._sources import Source

_MAX_NAMES_SHOWN = 5


@attrs.frozen(kw_only=True)
class TranscribeOptions:
    """The options of a run.

    Attributes:
        request: model and languages; None where none was given.
        formats: suffixes of the files that are written.
        overwrite: replace result files.
        journal: the file that remembers, or None.
        concurrency: tasks at once; None for the plan's.
        on_uncertain: see `AsyncPolyglot.batch`.
        retry_failed: send again what failed in an earlier run.
    """

    request: Mapping[str, str | None]
    formats: Sequence[str]
    overwrite: bool = False
    journal: Path | None = None
    concurrency: int | None = None
    on_uncertain: OnUncertain = "report"
    retry_failed: bool = False

    @property
    def translation_suffix(self) -> str | None:
        """The suffix of the translation's file, such as "ru.txt"; None without a translation."""
        language = self.request.get("output_language")
        return f"{safe_name(language)}.txt" if language else None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of all files of one source."""
        return (*self.formats, *([self.translation_suffix] if self.translation_suffix else []))


@attrs.define(kw_only=True)
class TranscribeRun:
    """One run. Call `prepare`, `run` and `finish`, in this order.

    Attributes:
        settings: the shared options.
        options: what is asked for.
        sources: what is transcribed.
        base_paths: where the results of each go, without suffix.
    """

    settings: Settings
    options: TranscribeOptions
    sources: Sequence[Source]
    base_paths: Mapping[Source, Path]
    _display: BatchDisplay = attrs.field(init=False)
    _summary: RunSummary = attrs.field(init=False)
    _stream: BatchStream | None = attrs.field(default=None, init=False)
    _stdout_error: OutputClosedError | OSError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._display = BatchDisplay(len(self.sources), enabled=not self.settings.verbose)
        self._summary = RunSummary(len(self.sources))

    def prepare(self) -> None:
        """Make the folders and check that no file would be replaced.

        Files of sources that are paid for already are checked when they are written: a run that was interrupted may
        have written them.

        Raises:
            InputError: a folder cannot be made, or a file exists.
        """
        make_output_folders(self.base_paths)
        if self.options.overwrite:
            return
        existing = existing_outputs(self.base_paths, self.options.suffixes)
        started: set[Source] = set()
        if existing:
            options = self.options
            started = find_started(
                options.journal,
                existing,
                options.request,
                self.settings.runtime.unix_time,
                retry_failed=options.retry_failed,
            )
        refuse_existing([file for source, files in existing.items() if source not in started for file in files])

    def run(self, settings: Settings, *, local_server: bool) -> None:
        """Transcribe everything.

        Raises:
            InterruptedCommandError: Ctrl-C; the message says what goes on at the service.
            PolyglotError: what would fail every source alike.
        """
        try:
            settings.call(self._transcribe_all)
        except KeyboardInterrupt:
            end = InterruptedCommandError(self._state_of_run(local_server=local_server))
            attach_tasks(end, self._unreturned_tasks(local_server=local_server))
            raise end from None
        except Exception as error:
            if self._stream is not None and not self.settings.json:
                print_note(f"stopped: {self._state_of_run(local_server=local_server)}")
            attach_tasks(error, self._unreturned_tasks(local_server=local_server))
            raise

    def finish(self) -> None:
        """Print what was skipped, and the outcome.

        Raises:
            IncompleteError: some sources have no result.
            OSError: stdout could not be written to, as on a full disk.
        """
        summary, options = self._summary, self.options
        skipped = summary.not_ended(self.sources)
        files = {source: [with_suffix(self.base_paths[source], name) for name in options.formats] for source in skipped}
        if skipped:
            unix_time = self.settings.runtime.unix_time
            summary.add_skipped(skipped, find_records(options.journal, skipped, options.request, unix_time), files)
        if self.settings.json:
            self._print_skipped_json()
        else:
            for note in summary.notes(journal=options.journal):
                print_note(note)
        if summary.without_result:
            raise IncompleteError(summary.counts(), summary.to_json())
        if not self.settings.json and (summary.skipped or (stdout_is_terminal() and summary.total > 1)):
            print_note(f"outcome: {summary.counts()}")
        if isinstance(self._stdout_error, OSError):
            raise self._stdout_error

    async def _transcribe_all(self, client: AsyncPolyglot) -> None:
        request = self.options.request
        by_given: dict[object, Source] = {source.path or source.given: source for source in self.sources}
        with self._display:
            async with client.batch(
                list(by_given),  # type: ignore[arg-type]  # paths and URLs
                journal=self.options.journal,
                concurrency=self.options.concurrency,
                on_uncertain=self.options.on_uncertain,
                retry_failed=self.options.retry_failed,
                on_progress=self._display.update,
                model=request.get("model"),
                input_language=request.get("input_language"),
                output_language=request.get("output_language"),
            ) as stream:
                self._stream = stream
                async for outcome in stream:
                    await self._handle(by_given[outcome.source], outcome, stream)
                self._summary.requests_today = stream.progress.requests_today

    async def _handle(self, source: Source, outcome: Outcome, stream: BatchStream) -> None:
        files: list[Path] = []
        error: Exception | None = outcome.error
        if outcome.transcript is not None:
            # Before the next outcome is asked for: that notes this one as done in the journal.
            error = await to_thread.run_sync(self._save, outcome.transcript, self.base_paths[source], files)
            if isinstance(error, OSError):
                stream.give_back()  # a later run fetches it again
        self._summary.add(source, error, secret=self.settings.api_key)
        if self._stdout_error is not None:
            return
        try:
            self._print_outcome(source, outcome, files, error)
        except (OutputClosedError, OSError) as problem:
            # The reader has gone, or the disk is full. What is under way is paid for, so its files are still written.
            self._stdout_error = problem

    def _save(self, transcript: Transcript, base: Path, files: list[Path]) -> Exception | None:
        """Write as many files as possible, append their paths to `files`, and return the first problem."""
        problem: Exception | None = None
        for suffix in self.options.suffixes:
            is_translation = suffix == self.options.translation_suffix
            if is_translation and not transcript.translation:
                continue
            path = with_suffix(base, suffix)
            try:
                text = f"{(transcript.translation or '').strip()}\n" if is_translation else transcript.render(suffix)
                write_file(path, text, overwrite=self.options.overwrite)
                files.append(path)
            except (OSError, ValueError) as error:
                problem = problem if isinstance(problem, OSError) else error
        return problem

    def _print_outcome(self, source: Source, outcome: Outcome, files: Sequence[Path], error: Exception | None) -> None:
        task_id = outcome.task.task_id if outcome.task is not None else None
        if self.settings.json:
            print_json(self._outcome_json(source, outcome, files, error))
            return
        if not stdout_is_terminal():
            print_table((), ((source.label, str(file)) for file in files))
        elif files:
            self._display.print_line(f"{source.label} -> {', '.join(map(str, files))}")
        if error is not None:
            report = describe_error(error, secret=self.settings.api_key)
            fetch = f" (fetch it: polyglot result {task_id})" if outcome.transcript is not None else ""
            hint = f" (hint: {report.hint})" if report.hint else ""
            self._display.print_note(f"failed {source.label}: {report.message}{fetch}{hint}")

    def _outcome_json(
        self, source: Source, outcome: Outcome, files: Sequence[Path], error: Exception | None
    ) -> dict[str, Any]:
        transcript = outcome.transcript
        failed_state = "uncertain" if isinstance(error, SubmissionUncertainError) else "failed"
        return {
            "source": source.label,
            "state": "done" if error is None else failed_state,
            "task_id": outcome.task.task_id if outcome.task is not None else None,
            "text": transcript.text if transcript else None,
            "translation": transcript.translation if transcript else None,
            "confidence": transcript.confidence if transcript else None,
            "files": [str(file) for file in files],
            "error": describe_error(error, secret=self.settings.api_key).to_json() if error is not None else None,
        }

    def _print_skipped_json(self) -> None:
        if self._stdout_error is not None:
            return
        with contextlib.suppress(OutputClosedError):
            for source, record in self._summary.skipped.items():
                reason = self._summary.failed_before.get(source)
                error = {"type": "FailedBefore", "message": reason, "hint": "use --retry-failed"} if reason else None
                task_id = record.task_id if record else None
                print_json({"source": source.label, "state": "skipped", "task_id": task_id, "error": error})

    def _state_of_run(self, *, local_server: bool) -> str:
        """Return how far the run came, and what goes on at the service: it is paid for, and can be fetched."""
        skipped = self._stream.progress.skipped if self._stream is not None else 0
        words = f"{len(self._summary.done)} of {len(self.sources)} done" + (f"; {skipped} skipped" if skipped else "")
        left = self._names_left(local_server=local_server)
        if not left:
            return words
        most = _MAX_NAMES_SHOWN if self.options.journal else MOST_IDS_SHOWN  # without one nothing else knows them
        more = f" and {len(left) - most} more" if len(left) > most else ""
        next_step = "run the same command again to continue" if self.options.journal else "check: polyglot list"
        return f"{words}; submitted, or possibly: {', '.join(left[:most])}{more} ({next_step})"

    def _names_left(self, *, local_server: bool) -> list[str]:
        """Return the names of what goes on at the service, or may, with the task's id where it is known."""
        if self._stream is None or local_server:
            return []
        tasks = self._unreturned_tasks(local_server=local_server)
        without_id = Counter(map(bare_url, self._stream.in_flight)) - Counter(tasks.values())
        return [*(f"{name} ({task_id})" for task_id, name in tasks.items()), *without_id.elements()]

    def _unreturned_tasks(self, *, local_server: bool) -> dict[str, str]:
        if self._stream is None or local_server:  # a local server has ended with this process
            return {}
        return {task_id: bare_url(name) for task_id, name in self._stream.unreturned_tasks.items()}
