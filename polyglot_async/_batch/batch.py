"""Bounded fan-out under the limits: many files in, outcomes out as they complete.

Workers take sources one at a time, never further ahead than there are workers. A worker knows its item by its
fingerprint, asks the journal, takes a slot, uploads, waits, gives the slot back, fetches the result, and hands the
outcome over. An item is done when its outcome has been taken, so that what a crash swallows is given again.
"""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
import attrs
from anyio import to_thread

from .._concurrency import unwrapped
from .._errors import AuthenticationError, PolyglotError, QuotaExhaustedError
from .._state.journal import Journal, locked_journal
from .._tasks.account import fetch_limits
from .._tasks.recovery import Recovery
from .item import Submitter
from .outcomes import BatchProgress, BatchSource, Outcome
from .worker import Board, Run

if TYPE_CHECKING:
    import os

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from .._http.transport import Transport
    from .._tasks.calls import AsyncTranscriptions
    from .._tasks.submit import Submissions

OnUncertain: TypeAlias = Literal["park", "retry", "raise"]
Sources: TypeAlias = "Iterable[BatchSource] | AsyncIterable[BatchSource]"
OnBatchProgress: TypeAlias = Callable[[BatchProgress], Awaitable[None] | None]

logger = logging.getLogger("polyglot_async")

DEFAULT_CONCURRENCY = 4
_END: Any = object()


class BatchStream:
    """The outcomes of a batch as they complete: `async for outcome in outcomes`."""

    def __init__(self, outcomes: MemoryObjectReceiveStream[Outcome], board: Board, journal: Journal | None) -> None:
        self._outcomes = outcomes
        self._board = board
        self._journal = journal
        self._taken: Outcome | None = None

    @property
    def progress(self) -> BatchProgress:
        """How far the batch has come."""
        return self._board.progress()

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of the items whose tasks go on at the service, or may: after an early end, what was left running."""
        return self._board.in_flight()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        await self.acknowledge()
        try:
            self._taken = await self._outcomes.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise StopAsyncIteration from None
        return self._taken

    async def acknowledge(self) -> None:
        """Note that the last outcome has been dealt with; asking for the next one does so too."""
        taken, self._taken = self._taken, None
        if taken is not None and taken.ok and taken.key is not None and self._journal is not None:
            await self._journal.done(taken.key, tuple(map(str, taken.files)))


def _check_concurrency(_: object, __: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"concurrency is {value!r}: give 1 or more")


def _check_uncertain(_: object, __: object, value: str) -> None:
    if value not in {"park", "retry", "raise"}:
        raise ValueError(f"on_uncertain is {value!r}: give 'park', 'retry' or 'raise'")


@attrs.frozen(kw_only=True)
class BatchOptions:
    """What was asked of a batch; see `AsyncPolyglot.batch`."""

    options: Mapping[str, Any]
    extra: Mapping[str, Any] | None
    journal: str | os.PathLike[str] | None
    concurrency: int | None = attrs.field(validator=_check_concurrency)
    results: Sequence[str]
    out: Path | None
    on_uncertain: OnUncertain = attrs.field(validator=_check_uncertain)
    retry_failed: bool
    on_progress: OnBatchProgress | None

    def __attrs_post_init__(self) -> None:
        if not self.results:
            raise ValueError("results is empty: give 'result', 'task' or kinds of files")
        if self.results not in {("result",), ("task",)} and (self.out is None or not self.out.is_dir()):
            raise ValueError(f"to download {', '.join(self.results)}, give out= as an existing folder, not {self.out}")


@asynccontextmanager
async def run_batch(
    sources: Sources, asked: BatchOptions, transport: Transport, calls: AsyncTranscriptions, submissions: Submissions
) -> AsyncIterator[BatchStream]:
    """Run a batch while the context is open.

    Leaving early stops new work, cancels uploads under way, and leaves the journal right; tasks go on at the service.
    """
    feed = _Feed(sources)
    await _learn_limits(transport)
    concurrency = asked.concurrency or transport.limiter.limits.max_concurrent_tasks or DEFAULT_CONCURRENCY
    async with AsyncExitStack() as stack:
        stack.push_async_callback(feed.aclose)
        journal = await _open_journal(asked.journal, transport, stack) if asked.journal is not None else None
        recovery = Recovery(transport, journal) if journal is not None else None
        if recovery is not None:
            await recovery.settle()
        board = Board(transport.limiter, asked.on_progress)
        run = Run(
            calls=calls,
            limiter=transport.limiter,
            journal=journal,
            board=board,
            submitter=Submitter(
                transport, submissions, journal, asked.options, asked.extra, asked.on_uncertain == "retry"
            ),
            recovery=recovery,
            results=asked.results,
            out=asked.out,
            on_uncertain=asked.on_uncertain,
            retry_failed=asked.retry_failed,
            slots=anyio.Semaphore(concurrency),
        )
        send, receive = anyio.create_memory_object_stream[Outcome]()
        stream = BatchStream(receive, board, journal)
        with unwrapped():
            async with receive, anyio.create_task_group() as tasks:
                async with send:
                    # Twice the slots: while tasks hold them, others prepare the next items and fetch results.
                    for _ in range(2 * concurrency):
                        tasks.start_soon(_work, feed, run, send.clone())
                yield stream
                await stream.acknowledge()
                tasks.cancel_scope.cancel()


async def _work(feed: _Feed, run: Run, outcomes: MemoryObjectSendStream[Outcome]) -> None:
    """Be one worker: take a source, bring its outcome, take the next."""
    async with outcomes:
        while (source := await feed.next()) is not _END:
            outcome = await run.process(source)
            if outcome is not None:
                await outcomes.send(outcome)


class _Feed:
    """Any kind of sources, one at a time. A sync iterator may block, so it is asked in a worker thread."""

    def __init__(self, sources: Sources) -> None:
        if isinstance(sources, str | bytes | Path):
            raise TypeError("a batch takes several sources: give a list, a generator or an async iterator")
        self._async = aiter(sources) if isinstance(sources, AsyncIterable) else None
        self._sync = iter(sources) if isinstance(sources, Iterable) else iter(())
        self._in_memory = isinstance(sources, Sequence)
        self._turn = anyio.Lock()
        self._ended = False

    async def next(self) -> Any:
        """Give the next source, or the end."""
        async with self._turn:
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
        """Close an async generator that was not read to its end, so that what it holds is given back now."""
        if isinstance(self._async, AsyncGenerator):
            await self._async.aclose()


async def _learn_limits(transport: Transport) -> None:
    """Ask for the limits, once for each client, unless the caller stated them."""
    known = transport.limiter.limits
    if transport.limiter.was_told or None not in {known.requests_per_window, known.max_concurrent_tasks}:
        return
    try:
        await fetch_limits(transport)
    except (AuthenticationError, QuotaExhaustedError):
        raise
    except PolyglotError as error:
        logger.info("the account's limits are unknown, and will be learned from 429s: %s", error)


async def _open_journal(path: str | os.PathLike[str], transport: Transport, stack: AsyncExitStack) -> Journal:
    manager = locked_journal(path)
    journal = await to_thread.run_sync(manager.__enter__)
    stack.push(manager)
    await transport.limiter.store.restore(await journal.usage())

    journal.keep_usage(lambda: transport.limiter.usage)
    stack.push_async_callback(journal.save_usage)
    return journal
