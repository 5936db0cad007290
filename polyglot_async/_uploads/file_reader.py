"""Read ahead in a worker thread: the loop never waits for the disk, and the socket never waits for the loop.

One thread reads chunk after chunk into a queue of a few. One thread for the whole file and not one hop a chunk: a hop
costs the loop more than sending the chunk does. A file of one chunk needs no queue, and is read whole in one hop. Each
file is compared with what it was when it was first looked at, so that what changes under the reader is never sent
whole. Runs on asyncio and on Trio.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs
from anyio import from_thread, to_thread

from .._errors import MediaError
from .media_types import DEFAULT_NAME, SNIFFED_BYTES, base_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Chunks: TypeAlias = AsyncIterator[bytes]

CHUNK_BYTES = 1 << 20
"""One read. Smaller ones pay h11 and the socket more often; larger ones only lengthen the loop's lag."""

_QUEUE_SIZE = 4


@asynccontextmanager
async def read_ahead(
    read: Callable[[], bytes], *, queue_size: int = _QUEUE_SIZE, at_end: Callable[[], None] | None = None
) -> AsyncIterator[Chunks]:
    """Open an iterator over what `read` returns, until it returns nothing.

    `read` runs in a worker thread, and what it raises is raised by the iterator. Leaving the context stops the thread
    and waits until it is gone, which takes no longer than the `read` under way.

    `at_end` runs in a worker thread when the last chunk was used and the next is asked for; what it raises stands in
    the place of the end.
    """
    reader = _Reader(read, queue_size, at_end)
    # Not a plain task group around the yield: its ExceptionGroup would wrap whatever the caller raises inside.
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        try:
            yield reader
        except BaseException as error:  # noqa: BLE001 - carried out of the group and raised there
            failure = error
        finally:
            reader.stop()
    if failure is not None:
        try:
            raise failure
        finally:
            failure = None  # else the traceback would hold the frame that holds the traceback


class _Reader:
    def __init__(self, read: Callable[[], bytes], queue_size: int, at_end: Callable[[], None] | None) -> None:
        self._read = read
        self._at_end = at_end
        self._free_places = threading.Semaphore(queue_size)
        self._stopped = False
        self._queue: deque[bytes | None] = deque()
        self._not_empty: anyio.Event | None = None
        self._error: BaseException | None = None

    async def run(self) -> None:
        # A thread of its own limiter: the default one's forty may all be taken by what waits for this upload.
        # Shielded: `stop` is the only way to end it, and it ends after the read under way.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self._fill, limiter=anyio.CapacityLimiter(1))

    def stop(self) -> None:
        self._stopped = True
        self._free_places.release()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        while not self._queue:
            not_empty = self._not_empty = anyio.Event()
            # Looked at again now that the event stands there: a chunk may have come in between.
            if not self._queue:
                await not_empty.wait()
        chunk = self._queue.popleft()
        if chunk is not None:
            self._free_places.release()
            return chunk
        self._queue.append(None)
        if isinstance(self._error, StopAsyncIteration):  # raised here it would pass for the end
            raise RuntimeError("the reader raised StopAsyncIteration") from self._error
        if self._error is not None:
            raise self._error
        if self._at_end is not None:
            await to_thread.run_sync(self._at_end, limiter=anyio.CapacityLimiter(1))
        raise StopAsyncIteration

    def _fill(self) -> None:
        try:
            while True:
                self._free_places.acquire()
                if self._stopped:
                    return
                chunk = self._read()
                if not chunk:
                    break
                self._put(chunk)
        except BaseException as error:  # noqa: BLE001 - raised where the chunk is awaited
            self._error = error
        self._put(None)

    def _put(self, chunk: bytes | None) -> None:
        self._queue.append(chunk)
        # Only where somebody waits: a call into the loop takes as long as the read did.
        if self._not_empty is not None:
            from_thread.run_sync(self._wake)

    def _wake(self) -> None:
        not_empty, self._not_empty = self._not_empty, None
        if not_empty is not None:
            not_empty.set()


@attrs.frozen
class FileVersion:
    """What shows whether a file on disk was changed or replaced: one that was written to has another `modified_ns`."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileVersion:
        """Return that of the answer of `stat` or `fstat`."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def version_of(file: Any) -> FileVersion | None:
    """Return the version of the regular file behind an open one; None if there is none, as for a BytesIO."""
    if hasattr(file, "rollover"):  # a SpooledTemporaryFile writes itself to the disk when asked for its descriptor
        return None
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return FileVersion.of(found) if stat.S_ISREG(found.st_mode) else None


def measure(file: Any) -> tuple[int | None, int | None, Any]:
    """Return where a file stands, how many bytes follow, and the first of them; Nones where it cannot seek.

    Raises:
        OSError: it cannot be read.
        ValueError: it is closed.
    """
    if not (hasattr(file, "seek") and hasattr(file, "tell") and getattr(file, "seekable", lambda: True)()):
        return None, None, b""
    try:
        start = file.tell()
        file.seek(0, os.SEEK_END)
        end = file.tell()  # and not what `seek` returned: files of codecs return nothing
        file.seek(start)
        head = file.read(SNIFFED_BYTES)
        file.seek(start)
    except (AttributeError, NotImplementedError, TypeError):
        return None, None, b""
    return start, max(0, end - start), head


def name_of(file: Any) -> str:
    """Return the file name of an open file or of a web framework's upload; `upload.bin` if it has none."""
    name = getattr(file, "name", None)
    if not isinstance(name, str):
        name = getattr(file, "filename", None)
    return base_name(name) if isinstance(name, str) and not name.startswith("<") else DEFAULT_NAME


@attrs.define
class FileOnce:
    """One reading of a file, from `open_file()` on; `read` and `check_end` run in worker threads.

    Attributes:
        open_file: opens the file, or returns the caller's own one, standing where to begin.
        name: what errors call it.
        size: bytes to read, or None to read to its end.
        version: its version when it was first looked at, where it has one.
        path: where it lies, for what was given as a path; then `version` is known.
        chunk_bytes: bytes of one read.
    """

    open_file: Callable[[], Any]
    name: str
    size: int | None
    version: FileVersion | None = None
    path: Path | None = None
    chunk_bytes: int = CHUNK_BYTES
    _file: Any = attrs.field(default=None, init=False)
    _done: int = attrs.field(default=0, init=False)

    def read(self) -> bytes:
        """Return the next chunk, empty at the end. Opens the file here: a slow disk is slow from the first call.

        Raises:
            MediaError: it cannot be read, or it was changed.
        """
        most = self.chunk_bytes if self.size is None else min(self.chunk_bytes, self.size - self._done)
        try:
            if self._file is None:
                self._file = self.open_file()
                self._check_version()
            chunk = self._file.read(most) if most else b""
        except (OSError, ValueError) as error:  # ValueError: the caller closed the file
            raise MediaError(f"{self.name}: cannot be read: {reason_of(error)}") from error
        if chunk is None:  # not the end: what follows would be lost in silence
            raise MediaError(f"{self.name}: is in non-blocking mode and has nothing to read now")
        data = to_bytes(chunk, self.name)
        self._done += len(data)
        self._check_version()  # once a chunk: nobody sends the other gigabytes of a file that is being written
        return data

    def check_end(self) -> None:
        """Check that what was read is what was looked at first, whole and still in its place.

        Raises:
            MediaError: it was overwritten, cut, continued or replaced meanwhile.
        """
        self._check_version()
        if self.path is not None:
            _check_path(self.path, self.version, self.name)
        elif self.size is not None and self._done == self.size and self._grew():
            raise _changed(self.name)

    def close(self) -> None:
        """Close the file, if it was opened."""
        if self._file is not None:
            self._file.close()

    def _grew(self) -> bool:
        try:
            return bool(self._file.read(1))
        except (OSError, ValueError):
            return False  # closed by its owner: nothing says that it grew

    def _check_version(self) -> None:
        if self.version is not None and version_of(self._file) not in {self.version, None}:
            raise _changed(self.name)


@asynccontextmanager
async def read_file(file: FileOnce, *, close: bool) -> AsyncIterator[Chunks]:
    """Read a file in a thread; with `close` it is ours to close.

    Raises:
        MediaError: it cannot be read, or it changed since it was first looked at.
    """
    try:
        async with read_ahead(file.read, at_end=file.check_end) as chunks:
            yield chunks
    finally:
        if close:
            file.close()


async def read_whole(path: Path, version: FileVersion, name: str) -> AsyncGenerator[bytes]:
    """Read a file of one chunk in one hop; check in another, when the chunk was used, that it is still in its place.

    Raises:
        MediaError: it cannot be read, or it changed since it was first looked at.
    """
    limiter = anyio.CapacityLimiter(1)  # of its own, as in `_Reader.run`
    yield await to_thread.run_sync(_read_unchanged, path, version, name, limiter=limiter)
    await to_thread.run_sync(_check_path, path, version, name, limiter=limiter)


def _read_unchanged(path: Path, version: FileVersion, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            before = FileVersion.of(os.fstat(file.fileno()))
            data = file.read(version.size + 1)  # one more than there should be: then it grew
            after = FileVersion.of(os.fstat(file.fileno()))
    except (OSError, ValueError) as error:
        raise MediaError(f"{name}: cannot be read: {reason_of(error)}") from error
    if not before == version == after or len(data) > version.size:
        raise _changed(name)
    return data


def _check_path(path: Path, version: FileVersion | None, name: str) -> None:
    """Raise MediaError where another version lies at `path` now."""
    try:
        if FileVersion.of(path.stat()) != version:
            raise _changed(name)
    except FileNotFoundError:
        pass  # deleted once it was open: what was read is the whole of it
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {reason_of(error)}") from error


def _changed(name: str) -> MediaError:
    return MediaError(
        f"{name}: changed after it was first looked at (other size, time of modification or file); "
        "the upload was aborted before its end, so no task was started: try again when the file is complete"
    )


def to_bytes(chunk: Any, name: str) -> bytes:
    """Return a chunk as bytes of its own: its source may run ahead and fill the same buffer again. Bytes cost nothing.

    Raises:
        MediaError: it is something else.
    """
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise MediaError(f"{name}: gives {type(chunk).__name__} where bytes are expected")


def reason_of(error: Exception) -> str:
    """Return why a file cannot be read, without the path, which the message has already."""
    return getattr(error, "strerror", None) or str(error)
