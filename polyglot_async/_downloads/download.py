"""Files of the service to disk: in parallel ranges, resumed after drops and by later runs, whole or not at all."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import attrs
from anyio import to_thread

from .._concurrency import OnProgress, report_progress, unwrapped
from .._errors import RangeError, SourceChangedError
from .file_writer import Writer, write_behind
from .partial_download import PartFile
from .range_reader import RangedFile, Span
from .ranges import SMALLEST_PART, Validator, next_part_size

if TYPE_CHECKING:
    import os
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from anyio.abc import TaskGroup

    from .._http.transport import StreamedResponse

_FIRST_PART = 8 * SMALLEST_PART


async def download_file(
    file: RangedFile, path: str | os.PathLike[str], *, connections: int = 1, on_progress: OnProgress | None = None
) -> Path:
    """Download to `path` over up to `connections` connections; return the path.

    What an earlier, broken run left in `<path>.part` is gone on from, if the service proves that it still has the same
    version; else it is begun anew.

    Raises:
        TransferError: the disk refuses, or another process is downloading to the same place.
        SourceChangedError: the file changed on the server during the transfer.
        ApiConnectionError: the service keeps breaking off; what is there stays for the next run.
    """
    if connections < 1:
        raise ValueError(f"connections is {connections!r}: give 1 or more")
    part = await to_thread.run_sync(PartFile, path, file.request.path)
    try:
        resumed = bool(part.done) and part.validator.if_range is not None
        try:
            await _Download(file, part, connections, on_progress).run(resumed=resumed)
        except (SourceChangedError, RangeError):
            if not resumed:
                raise
            await to_thread.run_sync(part.forget)
            await _Download(file.forgotten(), part, connections, on_progress).run(resumed=False)
        return await to_thread.run_sync(part.finish)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(part.close)


async def save_stream(answer: AbstractAsyncContextManager[StreamedResponse], path: str | os.PathLike[str]) -> Path:
    """Ask for an answer that can be had only once, when its place on the disk is taken; return the path.

    Raises:
        TransferError: the disk refuses.
        ApiConnectionError: the connection was lost before the end; nothing appears at `path`.
    """
    part = await to_thread.run_sync(PartFile, path, "")
    try:
        async with answer as response:
            length = response.headers.get("content-length", "")
            await to_thread.run_sync(part.begin, int(length) if length.isdecimal() else None, Validator())
            part.total = 0
            async with write_behind(part.write_at) as writer, aclosing(response.chunks()) as chunks:
                async for chunk in chunks:
                    await writer.write(part.total, chunk)
                    part.total += len(chunk)
        return await to_thread.run_sync(part.finish)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(part.close)


@attrs.define
class _Download:
    """One run of a download: its connections take spans of what is missing until nothing is."""

    _file: RangedFile
    _part: PartFile
    _connections: int
    _on_progress: OnProgress | None
    _waiting: list[Span] = attrs.field(factory=list, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _started: float = attrs.field(factory=anyio.current_time, init=False)
    _received: int = attrs.field(default=0, init=False)
    _already: int = attrs.field(default=0, init=False)

    async def run(self, *, resumed: bool) -> None:
        """Bring what is missing."""
        if resumed:
            self._file.expect(self._part.total, self._part.validator)
            self._waiting = [Span(start, stop) for start, stop in self._part.missing()]
            span = self._next_span()
        else:
            # One connection needs no second request, so it asks for all; several ask for a part to learn the size.
            span = Span(0, None if self._connections == 1 else _FIRST_PART)
        if span is None:
            return
        with unwrapped():
            async with write_behind(self._part.write_at) as writer, anyio.create_task_group() as tasks:
                await self._work(span, writer, tasks)
        if self._part.total is None:
            self._part.total = self._file.total

    async def _work(self, span: Span | None, writer: Writer, tasks: TaskGroup) -> None:
        """Be one connection: bring a span, take the next."""
        while span is not None:
            async with aclosing(self._file.read(span)) as pieces:
                async for offset, chunk in pieces:
                    if not self._begun:
                        await self._begin(span, writer, tasks)
                    await writer.write(offset, chunk)
                    self._received += len(chunk)
                    await report_progress(self._on_progress, self._already + self._received, self._file.total)
            if not self._begun:  # an empty file has no piece
                await self._begin(span, writer, tasks)
            span = self._next_span()

    async def _begin(self, first: Span, writer: Writer, tasks: TaskGroup) -> None:
        """Take the first answer's word for the size, and let the other connections begin."""
        self._begun = True
        total = self._file.total
        await to_thread.run_sync(self._part.begin, total, self._file.validator)
        self._already = self._part.done_bytes
        if not self._file.ranged or total is None:
            first.stop = None
            self._waiting = []
            return
        if not self._waiting and first.stop is not None and first.stop < total and not self._part.done:
            self._waiting = [Span(first.stop, total)]
        for _ in range(self._connections - 1):
            span = self._next_span()
            if span is None:
                break
            tasks.start_soon(self._work, span, writer, tasks)

    def _next_span(self) -> Span | None:
        """Take a piece of what nobody has taken yet."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        assert first.stop is not None  # noqa: S101 - for the type checkers: what waits is bounded
        missing = sum((span.stop or 0) - span.start for span in self._waiting)
        elapsed = max(1e-3, anyio.current_time() - self._started)
        rate = self._received / elapsed / self._connections
        size = next_part_size(missing, self._connections, rate)
        if first.stop - first.start <= size:
            return self._waiting.pop(0)
        taken = Span(first.start, first.start + size)
        first.start += size
        return taken
