"""What the workers of one batch share, and what each does with an item."""

from __future__ import annotations

import inspect
import re
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from .._errors import (
    ApiStatusError,
    AuthenticationError,
    ConfigurationError,
    JournalError,
    MediaError,
    NotFoundError,
    PolyglotError,
    QuotaExhaustedError,
    RateLimitError,
    ServerError,
    SubmissionUncertainError,
    TaskError,
)
from .._limits.limiter import Limiter, SlotLease
from .._models import Task, TaskStatus, Transcript
from .._state.journal import Entry, Journal, State
from .._tasks.submit import file_name_of
from .item import Item, Submitter, identify
from .outcomes import BatchProgress, BatchSource, Outcome, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from .._tasks.calls import AsyncTranscriptions
    from .._tasks.recovery import Recovery

T = TypeVar("T")

_HAS_TASK = {State.RUNNING, State.DONE, State.FAILED}
_LONGEST_STEM = 150  # bytes: the task's id, the suffix and those of an unfinished download must fit behind it
# What is wrong for every item alike ends the batch, rather than fail them one by one.
_FATAL = (AuthenticationError, ConfigurationError, QuotaExhaustedError, JournalError)


@attrs.define(eq=False)
class Board:
    """The counts of a batch, shown to `on_progress` at each change."""

    _limiter: Limiter
    _on_progress: Callable[[BatchProgress], Awaitable[None] | None] | None
    taken: int = 0
    done: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    uploading: dict[int, Upload] = attrs.field(factory=dict)
    processing: dict[int, str] = attrs.field(factory=dict)

    def progress(self) -> BatchProgress:
        """How far the batch has come."""
        return BatchProgress(
            taken=self.taken,
            uploading=tuple(self.uploading.values()),
            processing=len(self.processing),
            done=self.done,
            failed=self.failed,
            uncertain=self.uncertain,
            skipped=self.skipped,
            requests_today=self._limiter.usage.day_requests,
        )

    def in_flight(self) -> tuple[str, ...]:
        """Names of what is at the service, or may be."""
        return (*self.processing.values(), *(upload.name for upload in self.uploading.values()))

    async def show(self) -> None:
        """Tell `on_progress`."""
        if self._on_progress is not None:
            answer = self._on_progress(self.progress())
            if inspect.isawaitable(answer):
                await answer

    async def end(self, outcome: Outcome | None) -> None:
        """Count an item that has ended; None for one that was skipped."""
        self.skipped += outcome is None
        self.done += outcome is not None and outcome.ok
        self.failed += outcome is not None and not outcome.ok
        self.uncertain += outcome is not None and isinstance(outcome.error, SubmissionUncertainError)
        await self.show()


@attrs.define(eq=False, kw_only=True)
class Run:
    """One run of a batch: its parts, and the way of an item through them."""

    calls: AsyncTranscriptions
    limiter: Limiter
    journal: Journal | None
    board: Board
    submitter: Submitter
    recovery: Recovery | None
    results: Sequence[str]
    out: Path | None
    on_uncertain: str
    retry_failed: bool
    slots: anyio.Semaphore
    _began: float = attrs.field(factory=time.time, init=False)
    _busy: dict[str, anyio.Event] = attrs.field(factory=dict, init=False)
    _files: set[Path] = attrs.field(factory=set, init=False)

    async def process(self, source: BatchSource) -> Outcome | None:
        """Bring one source to its outcome; None where the journal knows it as ended.

        Raises:
            PolyglotError: what would fail every item alike.
        """
        self.board.taken += 1
        try:
            item = await identify(source, self.submitter.wish, self.journal)
        except JournalError:
            raise
        except (PolyglotError, ValueError, TypeError) as error:
            problem = error if isinstance(error, PolyglotError) else MediaError(str(error))
            outcome: Outcome | None = Outcome(source=source, name=_name_of(source), error=problem)
        else:
            async with self._alone(item):
                outcome = await self._bring(item)
        await self.board.end(outcome)
        return outcome

    async def _bring(self, item: Item) -> Outcome | None:
        entry = await self.journal.entry(item.key) if self.journal is not None and item.key is not None else None
        outcome = Outcome(source=item.source, name=item.name, key=item.key, timings=item.timings)
        if entry is not None and entry.state in {State.DONE, State.FAILED}:
            if entry.updated_at < self._began:
                if entry.state is State.DONE or not self.retry_failed:
                    return None
                entry = None
            elif entry.task_id is None:  # another file with the same content was refused in this run
                return attrs.evolve(outcome, error=PolyglotError(f"the same content was refused before: {entry.error}"))
        task: Task | None = None
        try:
            async with self.slots, self._lease() as lease:
                with _timed(item, "upload"):
                    task = await self._task_of(item, entry, lease)
                with _timed(item, "task"):
                    task = await self._wait(item, task)
            with _timed(item, "result"):
                transcript, files = await self._fetch(item, task)
        except _FATAL:
            raise
        except PolyglotError as error:
            if isinstance(error, SubmissionUncertainError) and self.on_uncertain == "raise":
                raise
            await self._note_failure(item, task, error)
            task = error.task if isinstance(error, TaskError) else task
            return attrs.evolve(outcome, task=task, error=error, attempts=item.attempts)
        return attrs.evolve(outcome, task=task, transcript=transcript, files=files, attempts=item.attempts)

    async def _task_of(self, item: Item, entry: Entry | None, lease: SlotLease) -> Task:
        """Find the item's task, or start it."""
        if entry is not None and entry.task_id is not None and entry.state in _HAS_TASK:
            return Task(task_id=entry.task_id, status=TaskStatus.PROCESSING)
        uncertain = entry is not None and entry.state in {State.SUBMITTING, State.UNCERTAIN}
        if uncertain and self.on_uncertain != "retry":
            assert entry is not None  # noqa: S101 - for the type checkers
            assert self.recovery is not None  # noqa: S101 - likewise: an entry comes from a journal
            raise self.recovery.doubt_of(entry)
        return await self._start(item, lease)

    async def _start(self, item: Item, lease: SlotLease) -> Task:
        async def on_progress(sent: int, total: int | None) -> None:
            self.board.uploading[id(item)] = Upload(name=item.name, sent=sent, total=total)
            await self.board.show()

        most = self.limiter.limits.max_upload_bytes
        if item.media is not None and most is not None and (item.media.size or 0) > most:
            raise MediaError(f"{item.name}: has {item.media.size} bytes, and the plan allows {most}")
        try:
            return await self.submitter.start(item, lease, on_progress)
        except anyio.get_cancelled_exc_class():
            if item.left:  # it may be at the service
                self.board.processing[id(item)] = item.name
            raise
        finally:
            self.board.uploading.pop(id(item), None)

    async def _wait(self, item: Item, task: Task) -> Task:
        self.board.processing[id(item)] = item.name
        await self.board.show()
        try:
            task = await _patiently(lambda: self.calls.wait(task))
        except PolyglotError as error:
            del self.board.processing[id(item)]
            if isinstance(error, NotFoundError) and self.journal is not None and item.key is not None:
                await self.journal.failed(item.key, str(error))
            raise
        del self.board.processing[id(item)]
        return task

    async def _fetch(self, item: Item, task: Task) -> tuple[Transcript | None, tuple[Path, ...]]:
        if self.results == ("task",):
            return None, ()
        if self.results == ("result",):
            return await _patiently(lambda: self.calls.result(task)), ()
        assert self.out is not None  # noqa: S101 - for the type checkers: kinds are only taken with a folder
        return None, tuple(
            [await self._download(task, kind, self._file(self.out, item, task, kind)) for kind in self.results]
        )

    async def _download(self, task: Task, kind: str, path: Path) -> Path:
        self._files.add(path)
        try:
            return await _patiently(lambda: self.calls.download(task, kind, path))
        finally:
            self._files.discard(path)

    def _file(self, out: Path, item: Item, task: Task, kind: str) -> Path:
        """Choose a result file's name; what another item owns, now or from an earlier run, is never overwritten."""
        stem = Path(file_name_of(item.name)).stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
        plain = out / f"{stem or 'result'}.{kind}"
        if plain in self._files or plain.exists():
            return out / f"{stem or 'result'}-{re.sub(r'[^A-Za-z0-9-]', '_', task.task_id)}.{kind}"
        return plain

    async def _note_failure(self, item: Item, task: Task | None, error: PolyglotError) -> None:
        # A media error or a lost connection may be over by the next run; the service's refusal is for good. A task that
        # exists and has not failed stays "running", so that the next run fetches it.
        passing = isinstance(error, RateLimitError | ServerError)
        refused = isinstance(error, ApiStatusError) and not passing and task is None
        if self.journal is not None and item.key is not None and (refused or isinstance(error, TaskError)):
            await self.journal.failed(item.key, str(error))

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[SlotLease]:
        lease = SlotLease()
        try:
            yield lease
        finally:
            await self.limiter.release(lease)

    @asynccontextmanager
    async def _alone(self, item: Item) -> AsyncIterator[None]:
        """Keep two files with the same content from being sent at once."""
        if item.key is None:
            yield
            return
        while item.key in self._busy:
            await self._busy[item.key].wait()
        self._busy[item.key] = ended = anyio.Event()
        try:
            yield
        finally:
            del self._busy[item.key]
            ended.set()


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call for as long as it meets a 429, which fails no item: the limiter waits before each."""
    while True:
        try:
            return await call()
        except RateLimitError:
            continue


@contextmanager
def _timed(item: Item, stage: str) -> Iterator[None]:
    started = anyio.current_time()
    try:
        yield
    finally:
        item.timings[stage] = round(anyio.current_time() - started, 3)


def _name_of(source: BatchSource) -> str:
    if isinstance(source, tuple):
        return str(source[0])
    return "upload.bin" if isinstance(source, bytes) else str(source)
