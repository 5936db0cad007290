"""What the sync client returns that is read piece by piece: lists, streams, files, batches."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, Self

from .._batch.outcomes import BatchProgress
from .._downloads.remote_file import MediaStream, RemoteMedia
from .._errors import ConfigurationError
from .._http.streamed_response import StreamedResponse
from .._tasks.pagination import TaskList
from .twin import Forwarded, Twin, iterating, parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .._batch.batch import BatchStream
    from .._batch.outcomes import Outcome
    from .._models import Task
    from .portal import Portal, PortalContext


class SyncTaskList(Twin[TaskList]):
    """All tasks, newest first: iterate over it, or over its `pages()`. Each iteration starts anew."""

    _usage = "iterate over it, or over its pages(), to fetch the tasks"

    pages: Final = iterating(TaskList.pages)

    def __iter__(self) -> Iterator[Task]:
        return self._portal.iterate(aiter(self._async))


class SyncStreamedResponse(Twin[StreamedResponse]):
    """An answer whose body is still on the wire.

    Attributes:
        status_code: HTTP status, 200 or 206.
        headers: names in lower case.
    """

    _usage = "iterate over its chunks() to read the body"

    status_code: Forwarded[int] = Forwarded(StreamedResponse, "status_code")
    headers: Forwarded[Mapping[str, str]] = Forwarded(StreamedResponse, "headers")
    url: Forwarded[str] = Forwarded(StreamedResponse, "url")
    chunks: Final = iterating(StreamedResponse.chunks)


class SyncMediaStream(Twin[MediaStream]):
    """The source media from its first byte to its last: `for chunk in stream`, once.

    Attributes:
        size: bytes, or None where the service does not send it.
        content_type: MIME type, or None where the service does not send it.
    """

    _usage = "iterate over it, once, to read the media"

    size: Forwarded[int | None] = Forwarded(MediaStream, "size")
    content_type: Forwarded[str | None] = Forwarded(MediaStream, "content_type")

    def __iter__(self) -> Iterator[bytes]:
        return self._portal.iterate(aiter(self._async))


class SyncRemoteMedia(Twin[RemoteMedia], io.RawIOBase):
    """The source media as a binary file of the standard library: what takes a file object can read it.

    Only what is read is fetched, in blocks of 256 KiB; the last 8 MiB are kept. Wrap it in `io.BufferedReader` for many
    small reads. After `close()`, or the end of its `with`, reading raises ValueError as with any file.
    """

    _usage = "a binary file: read(), seek() and readinto() fetch what is read"

    size: Forwarded[int] = Forwarded(RemoteMedia, "size")
    content_type: Forwarded[str | None] = Forwarded(RemoteMedia, "content_type")
    fetched: Forwarded[int] = Forwarded(RemoteMedia, "fetched")

    # Written out: a method of the base class can't be overridden by an attribute.

    @parameters_of(RemoteMedia.seek)
    def seek(self, *args: Any, **kwargs: Any) -> int:
        return self._async.seek(*args, **kwargs)

    @parameters_of(RemoteMedia.tell)
    def tell(self) -> int:
        return self._async.tell()

    @parameters_of(RemoteMedia.read_at)
    def read_at(self, *args: Any, **kwargs: Any) -> bytes:
        self._check_open()
        return self._portal.call(self._async.read_at, *args, **kwargs)

    @parameters_of(RemoteMedia.read)
    def read(self, *args: Any, **kwargs: Any) -> bytes:
        self._check_open()
        return self._portal.call(self._async.read, *args, **kwargs)

    def readall(self) -> bytes:
        """Read all from the position to the end."""
        return self.read()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer from the position on; the position moves on. Return how many bytes were read."""
        view = memoryview(buffer).cast("B")
        chunk = self.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("the media is closed: read it inside the `with` that opened it")

    def _on_exit(self) -> None:
        self.close()


class SyncBatch:
    """The outcomes of a batch as they complete: `for outcome in client.batch(paths)`.

    Iterating opens it, and closes it at the end or when the loop is left. `with client.batch(paths) as outcomes:` holds
    it open. It runs once.
    """

    def __init__(self, manager: AbstractAsyncContextManager[BatchStream], portal: Portal) -> None:
        self._manager = manager
        self._portal = portal
        self._context: PortalContext[BatchStream] | None = None
        self._stream: BatchStream | None = None

    def __repr__(self) -> str:
        if self._stream is None:
            return "<SyncBatch, not started: iterate over it, or open it in a `with`>"
        progress = self._stream.progress
        state = "ended" if self._context is None else "running"
        return f"<SyncBatch, {state}: {progress.done} done, {progress.failed} failed of {progress.taken} taken>"

    def __enter__(self) -> Self:
        if self._stream is not None:
            raise ConfigurationError("this batch was started before: make another with client.batch(...)")
        context = self._portal.context(self._manager)
        self._stream = context.__enter__()
        self._context = context
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(exc_type, exc, traceback)

    def __iter__(self) -> Iterator[Outcome]:
        if self._stream is None:
            with self:
                yield from self
        elif self._context is not None:
            yield from self._portal.iterate(self._stream)
            # Not left to the caller's `with`: what ended the batch has to be raised in the loop over it.
            self.__exit__(None, None, None)

    @property
    def progress(self) -> BatchProgress:
        """Progress of the batch."""
        return BatchProgress() if self._stream is None else self._stream.progress

    @property
    def in_flight(self) -> tuple[str, ...]:
        """Names of the items that are at the service, or may be, and whose outcomes were not returned yet.

        One that is not among `unreturned_tasks` too has no id yet: only `list` may show what became of it.
        """
        return () if self._stream is None else self._stream.in_flight

    @property
    def unreturned_tasks(self) -> dict[str, str]:
        """Ids of the tasks whose outcomes were not returned yet, each with the name of its item.

        After an early end without a journal this is what was paid for and can still be fetched.
        """
        return {} if self._stream is None else self._stream.unreturned_tasks

    def acknowledge(self) -> None:
        """Note that the last outcome has been dealt with; asking for the next one does so too."""
        self._portal.call(self._started().acknowledge)

    def give_back(self) -> None:
        """Leave the last outcome unacknowledged, so that a later run with the same journal returns it again."""
        self._started().give_back()

    def _started(self) -> BatchStream:
        if self._stream is None:
            raise ConfigurationError("the batch is not started: iterate over it, or open it in a `with`")
        return self._stream
