"""What the workers of one batch share, and the way of an item through them."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from .._api import endpoints
from .._api.messages import AnsweredBy, answered_by
from .._errors import (
    ApiStatusError,
    MediaError,
    NotFoundError,
    PolyglotError,
    RateLimitError,
    ServiceUnavailableError,
    SubmissionUncertainError,
    TaskError,
)
from .._http.retry import Attempts, is_outage, may_pass, stops_batch
from .._limits.limiter import TaskSlotLease
from .._models import Task, TaskStatus, Transcript
from .._state.items import Item, State
from .._tasks.outage import BATCH_TIMEOUT
from .._tasks.proof import Proof
from .._tasks.raw_calls import check_size
from .._tasks.submit import uncertain_error
from .._tasks.waits import when_there
from .._uploads.form_body import FormBody, JsonBody
from .item import BatchItem, identify, look_up, name_of
from .outcomes import BatchSource, Outcome, Upload
from .result_files import ResultFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from .._http.transport import Transport
    from .._state.journal import Journal
    from .._tasks.calls import AsyncTranscriptions
    from .._tasks.poller import TaskPoller
    from .._tasks.submit import Submitter
    from .options import BatchOptions
    from .stats import BatchStats

T = TypeVar("T")

_SAME_CONTENT = (
    "the same content was sent as another file of this batch, for which no answer tells whether it was accepted"
)


@attrs.define(eq=False, kw_only=True)
class BatchWorker:
    """One run of a batch: its parts, and the way of an item through them."""

    transport: Transport
    calls: AsyncTranscriptions
    poller: TaskPoller
    submitter: Submitter
    journal: Journal | None
    stats: BatchStats
    options: BatchOptions
    proofs: Mapping[str, Proof]
    concurrency: anyio.Semaphore
    _began: float = attrs.field(init=False)
    _busy: dict[str, anyio.Event] = attrs.field(factory=dict, init=False)
    _missing_kinds: set[str] = attrs.field(factory=set, init=False)
    _files: ResultFiles | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.transport.runtime.unix_time()
        out = self.options.out
        self._files = None if out is None else ResultFiles(self.transport, out, self.options.results)

    async def process(self, source: BatchSource) -> tuple[Outcome, Item | None] | None:
        """Process one source; return its outcome, or None where the journal knows it as ended.

        Raises:
            PolyglotError: what would fail every item alike.
            CallbackError: `on_progress` has raised.
        """
        self.stats.taken += 1
        item: Item | None = None
        try:
            found = await identify(source, self.options.sent, self.journal, self.transport.runtime.unix_time)
            item = found.item
            self.stats.unreturned.add(item)
            async with self._content_lock(item.record.key):
                # Looked up only now: another file with the same content may be on its way, or just have ended.
                if self.journal is not None:
                    await look_up(found, self.journal)
                outcome = await self._run(found)
        except Exception as error:
            if self._ends_batch(error):
                raise
            outcome = Outcome(source=source, name=item.record.name if item else name_of(source), error=_as_ours(error))
        if outcome is None and item is not None:
            self.stats.unreturned.discard(item)
        await self.stats.end(outcome)
        return None if outcome is None else (outcome, item)

    def _ends_batch(self, error: Exception) -> bool:
        raises = isinstance(error, SubmissionUncertainError) and self.options.on_uncertain == "raise"
        stops = isinstance(error, PolyglotError) and stops_batch(error)
        return raises or stops or self.stats.callback_error is not None

    async def _run(self, found: BatchItem) -> Outcome | None:
        record = found.item.record
        outcome = Outcome(source=found.source, name=record.name, key=record.key or None, timings=found.timings)
        if record.state in {State.DONE, State.FAILED}:
            if record.updated_at < self._began:
                if record.state is State.DONE or not self.options.retry_failed:
                    return None
                await found.item.move(State.NEW, task_id=None)
            elif record.task_id is None:  # another file with the same content was refused in this run
                refused = PolyglotError(f"the same content was refused before: {record.error}")
                return attrs.evolve(outcome, error=refused)
        task: Task | None = None
        try:
            async with self.concurrency, self._task_slot() as slot:
                with self._timed(found, "upload"):
                    task = await self._task_of(found, slot)
                with self._timed(found, "task"):
                    task = await self._wait(found, task)
            with self._timed(found, "result"):
                transcript, files = await self._fetch(found, task)
        except Exception as raised:
            error = _as_ours(raised)
            task = error.task = error.task or task
            if self._ends_batch(error):
                raise
            await self._note_failure(found.item, task, error)
            return attrs.evolve(outcome, task=task, error=error, attempts=found.attempts)
        return attrs.evolve(outcome, task=task, transcript=transcript, files=files, attempts=found.attempts)

    async def _task_of(self, found: BatchItem, slot: TaskSlotLease) -> Task:
        """Return the item's task, started if there is none."""
        record = found.item.record
        if record.task_id is not None:
            return Task(task_id=record.task_id, status=TaskStatus.PROCESSING)
        if record.state is State.AMBIGUOUS and self.options.on_uncertain != "retry":
            # Without a proof it became so in this run, for another file with the same content.
            raise uncertain_error(found.item, self.proofs.get(record.key) or Proof(reason=_SAME_CONTENT))
        if found.media is not None:
            check_size(found.media, self.transport.limiter.limits.max_upload_bytes)
        try:
            return await self._start(found, slot)
        except anyio.get_cancelled_exc_class():
            if found.item.record.state in {State.LEAVING, State.LEFT, State.AMBIGUOUS}:  # it may be at the service
                self.stats.processing.add(found.item)
            raise
        finally:
            self.stats.uploading.pop(found.item, None)

    async def _start(self, found: BatchItem, slot: TaskSlotLease) -> Task:
        """Start the item's task: once, or again where it certainly was not accepted. A 429 fails no item."""

        async def on_progress(sent: int, total: int | None) -> None:
            self.stats.uploading[found.item] = Upload(name=found.name, sent=sent, total=total)
            await self.stats.report()

        if found.media is None:
            request = endpoints.from_url(found.url or "", self.options.sent)
            body: FormBody | JsonBody = JsonBody(request.json or {})
        else:
            request = endpoints.upload(self.options.sent)
            body = FormBody(found.media, request.fields or (), on_progress)
        attempts = Attempts(self.transport.max_retries, forgives_429=True)
        submit = partial(
            self.submitter.submit,
            self.transport,
            request,
            body,
            found.item,
            task_slot=slot,
            attempts=attempts,
            outage_timeout=BATCH_TIMEOUT,
        )
        while True:
            try:
                return (await self._through_outages(submit, body, attempts)).parse()
            except SubmissionUncertainError as error:
                if isinstance(error.__cause__, ServiceUnavailableError):
                    raise error.__cause__ from error
                if self.options.on_uncertain != "retry" or attempts.made > attempts.retries:
                    raise

    async def _wait(self, found: BatchItem, task: Task) -> Task:
        self.stats.processing.add(found.item)
        await self.stats.report()
        try:
            task = await self._through_outages(
                lambda: self.poller.wait(self.transport, task, outage_timeout=BATCH_TIMEOUT, certainly_started=True)
            )
        except Exception:  # a cancellation leaves it in flight, which it is
            self.stats.processing.remove(found.item)
            raise
        self.stats.processing.remove(found.item)
        if found.item.record.state is State.RUNNING:
            await found.item.move(State.ENDED)
        return task

    async def _fetch(self, found: BatchItem, task: Task) -> tuple[Transcript | None, tuple[Path, ...]]:
        transcript: Transcript | None = None
        files: list[Path] = []
        if self.options.results == ("result",):
            transcript = await self._fetch_result("result", lambda: self.calls.result(task))
        elif self.options.results != ("task",):
            assert self._files is not None  # noqa: S101 - for the type checkers: kinds are taken with a folder only
            with self._files.reserve(found, task) as paths:
                for kind, path in paths.items():
                    download = partial(self._files.download, found, task, kind, path)
                    files.append(await self._fetch_result(kind, download))
        if found.item.record.state is State.ENDED:
            await found.item.move(State.FETCHED, files=tuple(map(str, files)))
        return transcript, tuple(files)

    async def _note_failure(self, item: Item, task: Task | None, error: PolyglotError) -> None:
        # A media error or a lost connection may be over by the next run; the service's own refusal is for good. A task
        # that exists and has not failed stays "running", so that the next run fetches it. So does one that is said not
        # to exist while the list is not there either: then the whole service answers so, and may have it all the same.
        refused = isinstance(error, ApiStatusError) and answered_by(error.body) is AnsweredBy.SERVICE
        if task is None:
            refused = refused and not may_pass(error)
        else:
            is_missing = refused and isinstance(error, NotFoundError) and item.record.state is State.RUNNING
            refused = is_missing and item.store is not None and await self._list_is_there()
        ended = isinstance(error, TaskError) and error.task.status.is_final
        if (refused or ended) and item.record.state is not State.AMBIGUOUS:
            await item.move(State.FAILED, error=str(error))

    async def _list_is_there(self) -> bool:
        try:
            await self.transport.call(endpoints.PROBE, endpoints.parse_page, attempts=Attempts(retries=0))
        except PolyglotError:
            return False
        return True

    async def _fetch_result(self, kind: str, call: Callable[[], Awaitable[T]]) -> T:
        """Fetch a result of a task that has ended.

        A kind of file that was missing for a minute is not waited for again for the other items, unless one of them
        has it.
        """
        fetch = partial(self._through_outages, call)
        try:
            is_missing = kind in self._missing_kinds
            fetched = await (fetch() if is_missing else when_there(fetch, self.transport.runtime))
        except NotFoundError:
            if kind != "result":  # each completed task has one; a kind of file may not exist at all
                self._missing_kinds.add(kind)
            raise
        self._missing_kinds.discard(kind)
        return fetched

    async def _through_outages(
        self,
        call: Callable[[], Awaitable[T]],
        body: FormBody | JsonBody | None = None,
        attempts: Attempts | None = None,
    ) -> T:
        """Repeat a call while it meets 429s, which fail no item, and through outages of the whole service.

        With `attempts`, what never left used up none of them; without, the call is free.
        """
        failed_once = False
        while True:
            try:
                return await call()
            except PolyglotError as error:
                # What the caller's own source has raised is no failure of the service, whatever its class.
                if body is not None and (error is body.failure or not body.can_be_sent):
                    raise
                if isinstance(error, RateLimitError):
                    continue
                if not is_outage(error):
                    raise
                was_outage = await self.submitter.gate.wait_out(error, timeout=BATCH_TIMEOUT)
                if attempts is not None:
                    attempts.forgive_unsent()
                # An outage may be over before it is asked for: once more then, if an attempt is left.
                is_last = failed_once or (attempts is not None and attempts.made > attempts.retries)
                if is_last and not was_outage:
                    raise
                failed_once = not was_outage

    @asynccontextmanager
    async def _task_slot(self) -> AsyncIterator[TaskSlotLease]:
        slot = TaskSlotLease()
        try:
            yield slot
        finally:
            await self.transport.limiter.release(slot)

    @asynccontextmanager
    async def _content_lock(self, key: str) -> AsyncIterator[None]:
        """Wait until no other file with the same content is being processed."""
        while key in self._busy:
            await self._busy[key].wait()
        if key:
            self._busy[key] = anyio.Event()
        try:
            yield
        finally:
            if key:
                self._busy.pop(key).set()

    @contextmanager
    def _timed(self, found: BatchItem, stage: str) -> Iterator[None]:
        now = self.transport.runtime.monotonic
        started = now()
        try:
            yield
        finally:
            found.timings[stage] = round(now() - started, 3)


def _as_ours(error: Exception) -> PolyglotError:
    """Return an error of a source, or one that nobody foresaw, as one of ours: it fails its item and not the batch."""
    if isinstance(error, PolyglotError):
        return error
    cls = MediaError if isinstance(error, ValueError | TypeError | OSError) else PolyglotError
    ours = cls(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    ours.__cause__ = error
    return ours
