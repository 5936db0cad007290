"""What the sync client gives that is read bit by bit: lists, streams, files, batches."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from .._io.transport import StreamedResponse
    from .._models import Task, TaskPage
    from .._portal import Portal
    from .._workflows.batch import BatchStream
    from .._workflows.listing import TaskList
    from .._workflows.outcomes import BatchProgress, Outcome
    from .._workflows.remote_media import MediaStream, RemoteMedia


class SyncTaskList:
    """All tasks, newest first: iterate over it, or over its `pages()`. Each iteration starts anew."""

    def __init__(self, tasks: TaskList, portal: Portal) -> None:
        self._tasks = tasks
        self._portal = portal

    def __iter__(self) -> Iterator[Task]:
        return self._portal.iterate(aiter(self._tasks))

    def pages(self) -> Iterator[TaskPage]:
        """Iterate page by page. A task that moved from one page to the next while it was read comes once."""
        return self._portal.iterate(self._tasks.pages())


class SyncStreamedResponse:
    """An answer whose body is still on the wire.

    Attributes:
        status_code: HTTP status, 200 or 206.
        headers: names in lower case.
    """

    def __init__(self, response: StreamedResponse, portal: Portal) -> None:
        self.status_code: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._portal = portal

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the body as it arrives, undecoded."""
        return self._portal.iterate(self._response.chunks())


class SyncMediaStream:
    """The source media from its first byte to its last: `for chunk in stream`, once.

    Attributes:
        size: bytes, or None where the service does not tell.
        content_type: MIME type, or None where the service does not tell.
    """

    def __init__(self, stream: MediaStream, portal: Portal) -> None:
        self.size: int | None = stream.size
        self.content_type: str | None = stream.content_type
        self._stream = stream
        self._portal = portal

    def __iter__(self) -> Iterator[bytes]:
        return self._portal.iterate(aiter(self._stream))


class SyncRemoteMedia(io.RawIOBase):
    """The source media as a binary file of the standard library: what takes a file object can read it.

    Only what is read is fetched, in blocks of 256 KiB; the last 8 MiB are kept. Wrap it in `io.BufferedReader` for many
    small reads.
    """

    def __init__(self, media: RemoteMedia, portal: Portal) -> None:
        super().__init__()
        self._media = media
        self._portal = portal

    @property
    def size(self) -> int:
        """Size of the whole, in bytes."""
        return self._media.size

    @property
    def content_type(self) -> str | None:
        """MIME type, or None where the service does not tell."""
        return self._media.content_type

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset`; fewer at the end of the file, none beyond it."""
        return self._portal.call(self._media.read_at, offset, size)

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer from the position on; the position moves on."""
        view = memoryview(buffer).cast("B")
        chunk = self._portal.call(self._media.read, len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def readall(self) -> bytes:
        """Read all from the position to the end."""
        return self._portal.call(self._media.read, -1)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as `io.IOBase.seek` does; no request is made. Returns the position."""
        return self._media.seek(offset, whence)

    def tell(self) -> int:
        """Give the position, in bytes from the start."""
        return self._media.tell()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


class SyncBatch:
    """A batch: `for outcome in client.batch(paths)`, or `with client.batch(paths) as outcomes:` to hold it.

    Iterating without `with` opens it, and closes it at the end or when the loop is left.
    """

    def __init__(self, manager: AbstractAsyncContextManager[BatchStream], portal: Portal) -> None:
        self._manager = manager
        self._portal = portal
        self._held: AbstractContextManager[BatchStream] | None = None
        self._stream: BatchStream | None = None

    def __enter__(self) -> Self:
        self._held = self._portal.enter(self._manager)
        self._stream = self._held.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(exc_type, exc, traceback)

    def __iter__(self) -> Iterator[Outcome]:
        if self._held is not None and self._stream is not None:
            yield from self._portal.iterate(self._stream)
            return
        with self:
            assert self._stream is not None  # noqa: S101 - for the type checkers: it was just opened
            yield from self._portal.iterate(self._stream)

    @property
    def progress(self) -> BatchProgress | None:
        """How far the batch has come; None before it is opened."""
        return None if self._stream is None else self._stream.progress

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of the items whose tasks go on at the service, or may: after an early end, what was left running."""
        return () if self._stream is None else self._stream.in_flight
