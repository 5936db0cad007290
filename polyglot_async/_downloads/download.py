"""Files of the service to disk: in parallel ranges, resumed after drops and by later runs, whole or not at all."""

from __future__ import annotations

import os
from contextlib import aclosing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import attrs
from anyio import to_thread

from .._arguments import check_choice
from .._concurrency import OnProgress, report_progress, unwrapped
from .._errors import RangeError, SourceChangedError
from .file_answer import checked_body
from .file_writer import FileWriter, open_file_writer
from .partial_download import PartialDownload, PathTakenError
from .range_reader import RangedFile
from .ranges import ByteRange, PartSizes, Validator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup

    from .._http.streamed_response import StreamedResponse

_DEFAULT_SIZES = PartSizes()
CONVERSION_FORMATS = ("mp3", "wav", "ogg", "m4a", "flac")


async def download_file(
    file: RangedFile,
    path: str | os.PathLike[str],
    *,
    connections: int = 1,
    on_progress: OnProgress | None = None,
    sizes: PartSizes = _DEFAULT_SIZES,
    overwrite: bool = True,
) -> Path:
    """Download to `path` over up to `connections` connections; return the path.

    What an earlier, broken run left in `<path>.part` is kept if the service proves that it still has the same version;
    else the download starts over.

    Raises:
        PathTakenError: another process is downloading to the same path, or, without `overwrite`, a file is there.
        TransferError: the disk refuses.
        SourceChangedError: the file changed on the server during the transfer.
        ResponseDecodeError: the answer is a page, a message or nothing in place of the file.
        ApiConnectionError: the service keeps breaking off; what is there stays for the next run.
    """
    partial = await to_thread.run_sync(PartialDownload, path, file.request.path)
    try:
        # Whoever else writes this path has finished: the lock is ours.
        if not overwrite and await to_thread.run_sync(os.path.lexists, partial.target):
            raise PathTakenError(f"{partial.target}: there is a file already: choose another path")
        resumed = bool(partial.done) and partial.validator.if_range is not None
        try:
            await _Download(file, partial, connections, on_progress, sizes).run(resumed=resumed)
        except (SourceChangedError, RangeError):
            if not resumed:
                raise
            await to_thread.run_sync(partial.reset)
            file = RangedFile(file.transport, file.request)
            await _Download(file, partial, connections, on_progress, sizes).run(resumed=False)
        return await to_thread.run_sync(partial.finish)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(partial.close)


async def save_stream(
    answer: AbstractAsyncContextManager[StreamedResponse], path: str | os.PathLike[str], kind: str
) -> Path:
    """Save the answer of a call that is not repeated; return the path. It is sent once the path is open for writing.

    Args:
        answer: opens the answer.
        path: where to save it.
        kind: the format that was asked for.

    Raises:
        TransferError: the disk refuses.
        ResponseDecodeError: the answer is a page, a message or nothing in place of the file.
        ApiConnectionError: the connection was lost before the end; nothing appears at `path`.
    """
    partial = await to_thread.run_sync(PartialDownload, path, "")
    try:
        await _write_answer(answer, partial, kind)
        return await to_thread.run_sync(partial.finish)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(partial.close)


async def _write_answer(
    answer: AbstractAsyncContextManager[StreamedResponse], partial: PartialDownload, kind: str
) -> None:
    async with answer as response, aclosing(response.chunks()) as chunks:
        body = await checked_body(response, chunks, kind, method="POST")
        length = response.headers.get("content-length", "")
        await to_thread.run_sync(partial.begin, int(length) if length.isdecimal() else None, Validator())
        partial.total = 0
        async with open_file_writer(partial.write_at) as writer:
            async for chunk in body:
                await writer.write(partial.total, chunk)
                partial.total += len(chunk)


def conversion_format(
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 - the API's own word
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the format to convert to, in lower case: `format`, else the suffix of the name of `path`.

    A format that `extra` names overrules it, and is for the service to know (A6).

    Raises:
        ValueError: it is none of `CONVERSION_FORMATS`, or the name has no suffix that could be one.
    """
    if extra and "format" in extra:
        return str(extra["format"])
    given: object = format
    if isinstance(given, Enum):
        given = given.value
    if given is None or given == "":
        suffix = given = Path(path).suffix[1:]
        if not (suffix.isascii() and suffix.isalnum()):
            raise ValueError(f"{os.fspath(path)!r} has no suffix that names a format: pass format=, e.g. format='mp3'")
    wanted = given.lower() if isinstance(given, str) else given
    check_choice("format", wanted, CONVERSION_FORMATS)
    return str(wanted)


@attrs.define
class _Download:
    """One run of a download: its connections take parts of what is missing until nothing is."""

    _file: RangedFile
    _partial: PartialDownload
    _connections: int
    _on_progress: OnProgress | None
    _sizes: PartSizes
    _unassigned: list[ByteRange] = attrs.field(factory=list, init=False)
    _answered: bool = attrs.field(default=False, init=False)
    _started_at: float = attrs.field(default=0.0, init=False)
    _received: int = attrs.field(default=0, init=False)
    _already_there: int = attrs.field(default=0, init=False)

    async def run(self, *, resumed: bool) -> None:
        """Download what is missing."""
        self._started_at = self._file.runtime.monotonic()
        if resumed:
            self._file.resume_from(self._partial.total, self._partial.validator)
            self._unassigned = [ByteRange(start, stop) for start, stop in self._partial.missing()]
            part = self._next_part()
        else:
            # One connection needs no second request, so it asks for all; several ask for a part to learn the size.
            part = ByteRange(0, None if self._connections == 1 else self._sizes.first)
        if part is None:
            return
        with unwrapped():
            async with open_file_writer(self._partial.write_at) as writer, anyio.create_task_group() as tasks:
                await self._run_connection(part, writer, tasks)
        if self._partial.total is None:
            self._partial.total = self._file.total

    async def _run_connection(self, part: ByteRange | None, writer: FileWriter, tasks: TaskGroup) -> None:
        """Download one part after the other."""
        while part is not None:
            async with aclosing(self._file.read(part)) as pieces:
                async for offset, chunk in pieces:
                    if not self._answered:
                        await self._start_others(part, writer, tasks)
                    await writer.write(offset, chunk)
                    self._received += len(chunk)
                    await report_progress(self._on_progress, self._already_there + self._received, self._file.total)
            if not self._answered:  # an empty file has no piece
                await self._start_others(part, writer, tasks)
            part = self._next_part()

    async def _start_others(self, first: ByteRange, writer: FileWriter, tasks: TaskGroup) -> None:
        """Note the size that the first answer shows, and start the other connections."""
        self._answered = True
        total = self._file.total
        await to_thread.run_sync(self._partial.begin, total, self._file.validator)
        self._already_there = self._partial.done_bytes
        if not self._file.ranged or total is None:
            first.stop = None
            self._unassigned = []
            return
        if not self._unassigned and first.stop is not None and first.stop < total and not self._partial.done:
            self._unassigned = [ByteRange(first.stop, total)]
        for _ in range(self._connections - 1):
            part = self._next_part()
            if part is None:
                break
            tasks.start_soon(self._run_connection, part, writer, tasks)

    def _next_part(self) -> ByteRange | None:
        """Return a part of what is assigned to no connection, and assign it; None if there is none."""
        if not self._unassigned:
            return None
        first = self._unassigned[0]
        assert first.stop is not None  # noqa: S101 - for the type checkers: what is unassigned is bounded
        missing = sum((part.stop or 0) - part.start for part in self._unassigned)
        elapsed = max(1e-3, self._file.runtime.monotonic() - self._started_at)
        rate = self._received / elapsed / self._connections
        size = self._sizes.next(missing, self._connections, rate)
        if first.stop - first.start <= size:
            return self._unassigned.pop(0)
        taken = ByteRange(first.start, first.start + size)
        first.start += size
        return taken
