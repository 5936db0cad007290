"""What the sync client gives that is read bit by bit: lists, streams, files, batches."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Self

from .._batch.outcomes import BatchProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .._batch.batch import BatchStream
    from .._batch.outcomes import Outcome
    from .._downloads.remote_file import MediaStream, RemoteMedia
    from .._http.transport import StreamedResponse
    from .._models import Task, TaskPage
    from .._tasks.pagination import TaskList
    from .portal import Held, Portal


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

    @property
    def url(self) -> str:
        """The URL that answered, without query."""
        return self._response.url

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
    small reads. After `close()`, or the end of its `with`, reading raises ValueError as with any file.
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

    @property
    def fetched(self) -> int:
        """Bytes that have come over the network so far."""
        return self._media.fetched

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset`; fewer at the end of the file, none beyond it."""
        self._check_open()
        return self._portal.call(self._media.read_at, offset, size)

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes from the position, or all to the end; the position moves on."""
        self._check_open()
        return self._portal.call(self._media.read, size)

    def readall(self) -> bytes:
        """Read all from the position to the end."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer from the position on; the position moves on."""
        view = memoryview(buffer).cast("B")
        chunk = self.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

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

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the media is closed")


class SyncBatch:
    """The outcomes of a batch as they complete: `for outcome in client.batch(paths)`.

    Iterating opens it, and closes it at the end or when the loop is left. `with client.batch(paths) as outcomes:` holds
    it open.
    """

    def __init__(self, manager: AbstractAsyncContextManager[BatchStream], portal: Portal) -> None:
        self._manager = manager
        self._portal = portal
        self._held: Held[BatchStream] | None = None
        self._stream: BatchStream | None = None

    def __enter__(self) -> Self:
        held = self._portal.enter(self._manager)
        self._stream = held.__enter__()
        self._held = held
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.__exit__(exc_type, exc, traceback)

    def __iter__(self) -> Iterator[Outcome]:
        if self._stream is None:
            with self:
                yield from self
        elif self._held is not None:
            yield from self._portal.iterate(self._stream)
            # Not by the caller's `with`: what ended the batch is to end the loop over it, and not what follows.
            self.__exit__(None, None, None)

    @property
    def progress(self) -> BatchProgress:
        """How far the batch has come."""
        return BatchProgress() if self._stream is None else self._stream.progress

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of the items whose tasks go on at the service, or may: after an early end, what was left running."""
        return () if self._stream is None else self._stream.in_flight

    def acknowledge(self) -> None:
        """Note that the last outcome has been dealt with; asking for the next one does so too."""
        if self._stream is not None:
            self._portal.call(self._stream.acknowledge)
