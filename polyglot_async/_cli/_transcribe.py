"""The engine of `polyglot transcribe`: a batch of the client, whose outcomes are of the sources that a person named."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from .._batch.batch import BatchStream, OnUncertain
    from .._batch.outcomes import BatchProgress, Outcome
    from .._client import AsyncPolyglot
    from ._sources import Source


@attrs.frozen(kw_only=True)
class Wishes:
    """What is asked of a run.

    Attributes:
        options: model and languages; None where nothing was said.
        journal: the file that remembers.
        concurrency: tasks at once, or None for the plan's.
        on_uncertain: see `AsyncPolyglot.batch`.
        retry_failed: send again what the journal knows as failed.
    """

    options: Mapping[str, str | None]
    journal: Path | None = None
    concurrency: int | None = None
    on_uncertain: OnUncertain = "park"
    retry_failed: bool = False


class Outcomes:
    """The outcomes as they come, each with its source: `async for source, outcome in outcomes`."""

    def __init__(self, stream: BatchStream, by_given: Mapping[object, Source]) -> None:
        self._stream, self._by_given = stream, by_given

    @property
    def progress(self) -> BatchProgress:
        """How far it has come."""
        return self._stream.progress

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of what is at the service, or may be."""
        return self._stream.in_flight

    def __aiter__(self) -> AsyncIterator[tuple[Source, Outcome]]:
        return self

    async def __anext__(self) -> tuple[Source, Outcome]:
        outcome = await anext(self._stream)
        return self._by_given[outcome.source], outcome

    def give_back(self) -> None:
        """Leave the last outcome undone: its files could not be written, and a later run is to fetch it again."""
        # A wish to the batch: asking for the next outcome would note this one as done.
        self._stream._taken = None  # noqa: SLF001


@asynccontextmanager
async def transcribing(
    client: AsyncPolyglot, sources: Sequence[Source], wishes: Wishes, on_progress: Callable[[BatchProgress], None]
) -> AsyncIterator[Outcomes]:
    """Transcribe `sources`; give the outcomes as they come, and none for what the journal knows as ended.

    Leaving the context early sends nothing more. Tasks that were started go on at the service.
    """
    by_given: dict[object, Source] = {source.path or source.given: source for source in sources}
    async with client.batch(
        [source.path or source.given for source in sources],
        journal=wishes.journal,
        concurrency=wishes.concurrency,
        on_uncertain=wishes.on_uncertain,
        retry_failed=wishes.retry_failed,
        on_progress=on_progress,
        model=wishes.options.get("model"),
        input_language=wishes.options.get("input_language"),
        output_language=wishes.options.get("output_language"),
    ) as stream:
        yield Outcomes(stream, by_given)
