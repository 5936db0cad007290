"""The engine of `polyglot transcribe`: many sources in, outcomes out as they come. Nothing else knows how.

The seam is `transcribing`: an async context manager over a stream of outcomes, as a batch of the client is one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .._client import AsyncPolyglot
    from .._models import Task, Transcript
    from ._sources import Source

CONCURRENCY = 3


@attrs.frozen
class Outcome:
    """What became of one source: a transcript or an error, and the task where one was started."""

    source: Source
    task: Task | None = None
    transcript: Transcript | None = None
    error: Exception | None = None


class Watch(Protocol):
    """Whoever wants to see how it goes."""

    def uploading(self, source: Source, done: int, total: int | None) -> None:
        """Bytes of this source have left."""

    def started(self, source: Source, task: Task) -> None:
        """The service has taken this source, and is paid for it from here on."""


@asynccontextmanager
async def transcribing(
    client: AsyncPolyglot, sources: Sequence[Source], *, options: dict[str, Any], concurrency: int, watch: Watch
) -> AsyncIterator[AsyncIterator[Outcome]]:
    """Transcribe `sources`, at most `concurrency` at once; give the outcomes as they come.

    Leaving the context early sends nothing more. Tasks that were started go on at the service.
    """
    outbox, inbox = anyio.create_memory_object_stream[Outcome]()
    waiting = iter(sources)

    async def work() -> None:
        for source in waiting:
            await outbox.send(await _outcome(client, source, options, watch))

    async def work_all() -> None:
        # Closing the outbox is what ends the stream of outcomes.
        async with outbox, anyio.create_task_group() as workers:
            for _ in range(min(concurrency, len(sources))):
                workers.start_soon(work)

    async with inbox, outbox, anyio.create_task_group() as group:
        group.start_soon(work_all)
        yield inbox
        group.cancel_scope.cancel()


async def _outcome(client: AsyncPolyglot, source: Source, options: dict[str, Any], watch: Watch) -> Outcome:
    calls = client.transcriptions
    task: Task | None = None
    try:
        task = await _start(client, source, options, watch)
        watch.started(source, task)
        task = await calls.wait(task)
        return Outcome(source, task, await calls.result(task))
    except Exception as error:  # noqa: BLE001 - whatever befalls one file, the others go on
        return Outcome(source, task, error=error)


async def _start(client: AsyncPolyglot, source: Source, options: dict[str, Any], watch: Watch) -> Task:
    if source.path is None:
        return await client.transcriptions.from_url(source.given, **options)

    def moved(done: int, total: int | None) -> None:
        watch.uploading(source, done, total)

    return await client.transcriptions.upload(source.path, on_progress=moved, **options)
