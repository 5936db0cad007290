"""Bounded fan-out under the limits: many files in, outcomes out as they complete.

Workers take sources one at a time, never further ahead than there are workers. A worker identifies its item by its
fingerprint, asks the journal, takes a task slot, submits, waits, releases the slot, fetches the result, and yields the
outcome. An item is done when its outcome has been acknowledged, so that what a crash swallows is returned again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
from anyio import to_thread

from .._concurrency import unwrapped
from .._state.items import Item, State
from .._tasks.account import learn_limits
from .outcomes import BatchProgress, BatchSource, Outcome
from .recovery import recover
from .stats import BatchStats
from .worker import BatchWorker

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from .._http.transport import Transport
    from .._state.journal import Journal
    from .._tasks.calls import AsyncTranscriptions
    from .._tasks.poller import TaskPoller
    from .._tasks.submit import Submitter
    from .options import BatchOptions

Sources: TypeAlias = "Iterable[BatchSource] | AsyncIterable[BatchSource]"
_Ended: TypeAlias = tuple[Outcome, Item | None]

_MOST_WORKERS = 1000
"""A plan may call a huge number "unlimited"."""
DEFAULT_CONCURRENCY = 4
_END: Any = object()


class BatchStream:
    """The outcomes of a batch as they complete: `async for outcome in outcomes`."""

    def __init__(self, outcomes: MemoryObjectReceiveStream[_Ended], stats: BatchStats) -> None:
        self._outcomes = outcomes
        self._stats = stats
        self._last: _Ended | None = None

    @property
    def progress(self) -> BatchProgress:
        """Progress of the batch."""
        return self._stats.progress()

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of the items that are at the service, or may be, and whose outcomes were not returned yet.

        One that is not among `unreturned_tasks` too has no id yet: only `list` may show what became of it.
        """
        return self._stats.in_flight()

    @property
    def unreturned_tasks(self) -> dict[str, str]:
        """Ids of the tasks whose outcomes were not returned yet, each with the name of its item.

        After an early end without a journal this is what was paid for and can still be fetched.
        """
        return self._stats.unreturned_tasks()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        await self.acknowledge()
        try:
            self._last = await self._outcomes.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise StopAsyncIteration from None
        if self._last[1] is not None:
            self._stats.unreturned.discard(self._last[1])
        return self._last[0]

    async def acknowledge(self) -> None:
        """Note that the last outcome has been dealt with; asking for the next one does so too."""
        last, self._last = self._last, None
        if last is not None and last[0].ok and last[1] is not None and last[1].record.state is State.FETCHED:
            await last[1].move(State.DONE)

    def give_back(self) -> None:
        """Leave the last outcome unacknowledged, so that a later run with the same journal returns it again."""
        self._last = None


@asynccontextmanager
async def run_batch(
    feed: SourceFeed,
    options: BatchOptions,
    transport: Transport,
    calls: AsyncTranscriptions,
    submitter: Submitter,
    poller: TaskPoller,
) -> AsyncIterator[BatchStream]:
    """Run a batch while the context is open.

    Leaving early stops new work, cancels uploads under way, and leaves the journal right; tasks go on at the service.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(feed.aclose)
        await learn_limits(transport)
        await submitter.note_older_tasks(transport)
        concurrency = options.concurrency or transport.limiter.limits.max_concurrent_tasks or DEFAULT_CONCURRENCY
        journal = await _open_journal(options.journal, transport, stack) if options.journal is not None else None
        worker = BatchWorker(
            transport=transport,
            calls=calls,
            submitter=submitter,
            poller=poller,
            journal=journal,
            stats=BatchStats(transport.limiter, options.on_progress),
            options=options,
            proofs=await recover(journal, submitter, transport.runtime) if journal is not None else {},
            concurrency=anyio.Semaphore(concurrency),
        )
        with nullcontext() if journal is not None else worker.stats.name_unreturned_tasks():
            async with _stream(feed, worker, concurrency) as stream:
                yield stream


@asynccontextmanager
async def _stream(feed: SourceFeed, worker: BatchWorker, concurrency: int) -> AsyncIterator[BatchStream]:
    """Run the workers while the context is open."""
    send, receive = anyio.create_memory_object_stream[_Ended]()
    stream = BatchStream(receive, worker.stats)
    failure: Exception | None = None
    with worker.stats.callers_error(), unwrapped():
        async with receive, anyio.create_task_group() as tasks:
            async with send:
                # Twice the slots: while tasks hold them, others prepare the next items and fetch results.
                for _ in range(min(2 * concurrency, _MOST_WORKERS)):
                    tasks.start_soon(_work, feed, worker, send.clone())
            try:
                yield stream
                await stream.acknowledge()
            except Exception as error:  # noqa: BLE001 - the caller's own: carried out of the group and raised there
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # else the traceback would hold the frame that holds the traceback


async def _work(feed: SourceFeed, worker: BatchWorker, outcomes: MemoryObjectSendStream[_Ended]) -> None:
    """Process one source after the other, and send each outcome."""
    async with outcomes:
        while (source := await feed.next()) is not _END:
            ended = await worker.process(source)
            if ended is not None:
                await outcomes.send(ended)


class SourceFeed:
    """Any kind of sources, one at a time. A sync iterator may block, so it is asked in a worker thread.

    Raises:
        TypeError: what was given is not several sources.
    """

    def __init__(self, sources: Sources) -> None:
        is_async = isinstance(sources, AsyncIterable)
        is_one = isinstance(sources, str | bytes | bytearray | memoryview | os.PathLike) or hasattr(sources, "read")
        if is_one or not (is_async or isinstance(sources, Iterable)):
            raise TypeError(
                f"a batch takes several sources: pass a list, a generator or an async iterator, not {sources!r:.60}"
            )
        self._async = aiter(sources) if isinstance(sources, AsyncIterable) else None
        self._sync = iter(sources) if isinstance(sources, Iterable) else iter(())
        self._in_memory = isinstance(sources, Sequence)
        self._lock = anyio.Lock()
        self._ended = False

    async def next(self) -> Any:
        """Return the next source, or the end."""
        async with self._lock:
            if self._ended:
                return _END
            if self._async is not None:
                source = await anext(self._async, _END)
            elif self._in_memory:
                source = next(self._sync, _END)
            else:
                # Abandoned, so that an iterator which waits for something does not hold up the end of the batch.
                source = await to_thread.run_sync(next, self._sync, _END, abandon_on_cancel=True)
            self._ended = source is _END
            return source

    async def aclose(self) -> None:
        """Close an async generator that was not read to its end, so that what it holds is released now."""
        if isinstance(self._async, AsyncGenerator):
            await self._async.aclose()


async def _open_journal(path: str | os.PathLike[str], transport: Transport, stack: AsyncExitStack) -> Journal:
    from .._state.journal import locked_journal  # noqa: PLC0415 - it brings SQLite, which only a journal needs

    manager = locked_journal(path)
    journal = await to_thread.run_sync(manager.__enter__)
    stack.push(manager)
    await transport.limiter.restore(await journal.usage())
    journal.keep_usage(lambda: transport.limiter.usage)
    stack.push_async_callback(journal.save_usage)
    return journal
