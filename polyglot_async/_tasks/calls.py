"""The calls of the API, one method each, answered with values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import attrs
from anyio import to_thread

from .. import _downloads
from .._api import endpoints
from .._arguments import check_count, check_function, check_path, check_seconds
from .._models import Task, TaskStatus
from .._uploads.form_body import FormBody
from .._uploads.sources import media_from
from .pagination import TaskList
from .raw_calls import RawTranscriptions, TaskOrId, check_page, id_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from .._concurrency import OnProgress
    from .._downloads.range_reader import RangedFile
    from .._downloads.remote_file import MediaStream, RemoteMedia
    from .._http.streamed_response import StreamedResponse
    from .._http.transport import Transport
    from .._models import Transcript, UrlValidation
    from .._uploads.sources import MediaSource
    from .poller import TaskPoller
    from .submit import Submitter


@attrs.frozen
class AsyncTranscriptions:
    """The calls below `transcriptions/`.

    Wherever a task is asked for, pass a `Task` or its id. Every call may raise `ApiConnectionError`, `ApiStatusError`
    and its children, `ResponseDecodeError`, and plain `ValueError` or `TypeError` for a wrong argument.
    """

    _transport: Transport = attrs.field(repr=False)
    _submitter: Submitter = attrs.field(repr=False)
    _poller: TaskPoller = attrs.field(repr=False)

    @property
    def with_raw_response(self) -> RawTranscriptions:
        """The same calls, answered with status, headers and body."""
        return RawTranscriptions(self._transport, self._submitter)

    async def upload(
        self,
        source: MediaSource,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        name: str | None = None,
        size: int | None = None,
        content_type: str | None = None,
        on_progress: OnProgress | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Task:
        """Upload media and start a task; return it, queued.

        The media is read ahead in a worker thread, so the event loop is never blocked. It is sent at most once: see
        `SubmissionUncertainError`.

        Args:
            source: a path (`str` or `Path`), `bytes`, an open binary file (sent from where it stands, and left open),
                a sync or async iterator of bytes, an httpx response being streamed, or a pair `(name, source)`.
            model: e.g. "fast".
            input_language: what is spoken, e.g. "en".
            output_language: what to translate to, e.g. "ru".
            name: the file name to send, instead of the source's own.
            size: bytes, for an iterator whose length is known; without it the body is sent chunked.
            content_type: MIME type, where the first bytes and the suffix would tell wrong.
            on_progress: called with the media's bytes sent and in all (None where unknown), sync or async, about once
                a MiB; from 0 again when the upload is retried.
            extra: form fields sent as they are beside the options, overruling them.

        Raises:
            MediaError: missing, unreadable, empty, too large for the plan; before any request.
            SubmissionUncertainError: it went out, and neither an answer nor the list tells whether it was accepted.
            RateLimitError: a limit is exceeded, or too many tasks are unfinished.
        """
        raw = await self.with_raw_response.upload(
            source,
            model=model,
            input_language=input_language,
            output_language=output_language,
            name=name,
            size=size,
            content_type=content_type,
            on_progress=on_progress,
            extra=extra,
        )
        return raw.parse()

    async def from_url(
        self,
        url: str,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Task:
        """Start a task from a media URL, which the service fetches; return it, queued.

        Args:
            url: an http or https URL.
            model: e.g. "fast".
            input_language: what is spoken, e.g. "en".
            output_language: what to translate to, e.g. "ru".
            extra: JSON fields sent as they are beside `url` and the options, overruling them.

        Raises:
            MediaError: it is no http or https URL; before any request.
            BadRequestError: the service cannot use it.
            SubmissionUncertainError: it went out, and neither an answer nor the list tells whether it was accepted.
        """
        raw = await self.with_raw_response.from_url(
            url, model=model, input_language=input_language, output_language=output_language, extra=extra
        )
        return raw.parse()

    async def validate_url(self, url: str, *, extra: Mapping[str, Any] | None = None) -> UrlValidation:
        """Ask whether the service can use a media URL; a no is a value, not an error."""
        return (await self.with_raw_response.validate_url(url, extra=extra)).parse()

    def list(self, /, *, page_size: int = 100, **filters: Any) -> TaskList:
        """List the tasks, newest first: `async for task in client.transcriptions.list(status="failed")`.

        Args:
            page_size: tasks to ask for in one request; the service may give fewer.
            **filters: query parameters, sent as they are.

        Returns:
            An async iterable over all tasks; its `pages()` gives them page by page. Nothing is asked before it is
            iterated.
        """
        check_page(page_size, filters)
        return TaskList(self._transport, page_size, filters)

    async def get(self, task: TaskOrId) -> Task:
        """Get one task as it stands.

        Raises:
            NotFoundError: there is no such task.
        """
        return (await self._transport.call(endpoints.get(id_of(task)), endpoints.parse_task)).parse()

    async def wait(
        self,
        task: TaskOrId,
        *,
        timeout: float | None = None,
        poll_interval: float | None = None,
    ) -> Task:
        """Wait until a task is completed; return it.

        All waits of a client share one poller, whose schedule follows how long tasks really take. Server errors and
        lost connections are waited out.

        Args:
            task: the task or its id; one that is final already costs no request.
            timeout: seconds to wait, or None for as long as it takes. With 0 the task is looked at once.
            poll_interval: seconds between polls of this task, instead of the poller's own schedule.

        Raises:
            TaskFailedError: it failed; `failure_reason` says why.
            TaskCancelledError: it was cancelled on the site.
            WaitTimeoutError: it was not final after `timeout` seconds. The task goes on.
            NotFoundError: there is no such task; of a task that this client started, a 404 counts once it has lasted a
                minute of the wait.
        """
        check_seconds("timeout", timeout)
        check_seconds("poll_interval", poll_interval, above=True)
        endpoints.get(id_of(task))  # raises for what can be no id, which in the poller would end other waits as well
        if not isinstance(task, Task):
            task = Task(task_id=task, status=TaskStatus.QUEUED)
        return await self._poller.wait(self._transport, task, timeout=timeout, poll_interval=poll_interval)

    async def result(self, task: TaskOrId) -> Transcript:
        """Get the transcript of a completed task.

        Raises:
            ApiStatusError: the task is unfinished.
            NotFoundError: there is no such task.
        """
        return (await self._transport.call(endpoints.result(id_of(task)), endpoints.parse_transcript)).parse()

    @overload
    async def download(self, task: TaskOrId, kind: str) -> bytes: ...

    @overload
    async def download(self, task: TaskOrId, kind: str, path: str | os.PathLike[str]) -> Path: ...

    async def download(self, task: TaskOrId, kind: str, path: str | os.PathLike[str] | None = None) -> bytes | Path:
        """Get a result file that the service made: its bytes, or with `path` the path that it was written to.

        Args:
            task: a completed task or its id.
            kind: "srt", "txt", "json" or whatever else the service makes.
            path: where to write it; it appears there whole or not at all.

        Raises:
            NotFoundError: there is no such task or file.
            TransferError: the disk refuses it.
        """
        if path is None:
            return (await self.with_raw_response.download(task, kind)).parse()
        check_path("path", path)
        file = _downloads.RangedFile(self._transport, endpoints.download(id_of(task), kind))
        return await _downloads.download_file(file, path)

    def stream_download(self, task: TaskOrId, kind: str) -> AbstractAsyncContextManager[StreamedResponse]:
        """Get a result file as a stream: `async with ... as response: async for chunk in response.chunks()`."""
        return _downloads.open_file_stream(self._transport.stream(endpoints.download(id_of(task), kind)), kind)

    def source(self, task: TaskOrId) -> AbstractAsyncContextManager[MediaStream]:
        """Get the source media as a stream: `async with ... as stream: async for chunk in stream`.

        After a drop it goes on from the last good byte by itself, with ranges.

        Raises:
            SourceChangedError: the file changed on the server meanwhile.
        """
        return _downloads.open_stream(self._source_file(task))

    def open_source(self, task: TaskOrId) -> AbstractAsyncContextManager[RemoteMedia]:
        """Get the source media as a file one can seek in, of which only what is read is fetched.

        `async with ... as media: head = await media.read_at(0, 4096)`.
        """
        return _downloads.open_media(self._source_file(task))

    async def download_source(
        self,
        task: TaskOrId,
        path: str | os.PathLike[str],
        *,
        connections: int = 4,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Download the source media to `path`; return the path.

        It appears there whole or not at all. What a broken run left in `<path>.part` is gone on from, if the service
        proves that it still has the same version.

        Args:
            task: the task or its id.
            path: where to write it.
            connections: ranges to ask for at once. More help where the service caps the speed of a connection; each
                range is a request and counts against the day's, and 1 makes do with one.
            on_progress: called with the bytes there and in all; sync or async.

        Raises:
            TransferError: the disk refuses, or another process is downloading to the same place.
            SourceChangedError: the file changed on the server during the transfer.
            ApiConnectionError: the service keeps breaking off; what is there stays for the next run.
        """
        check_path("path", path)
        check_count("connections", connections)
        check_function("on_progress", on_progress)
        file = self._source_file(task)
        return await _downloads.download_file(file, path, connections=connections, on_progress=on_progress)

    async def convert_audio(
        self,
        source: MediaSource,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - the API's own word
        on_progress: OnProgress | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Have the service convert audio, and write its answer to `path`; return the path.

        Args:
            source: what `upload` takes.
            path: where to write the converted audio; it appears there whole or not at all.
            format: mp3, wav, ogg, m4a or flac. Default: the suffix of `path`.
            on_progress: called with the bytes sent and in all (None where unknown); sync or async.
            extra: form fields sent as they are.

        Raises:
            MediaError: the media cannot be sent; before any request.
            BadRequestError: the service cannot convert it.
            TransferError: the disk refuses.
        """
        check_path("path", path)
        check_function("on_progress", on_progress)
        wanted = _downloads.conversion_format(path, format, extra)
        media = await to_thread.run_sync(media_from, source)
        request = endpoints.convert_audio(wanted, extra)
        body = FormBody(media, request.fields or (), on_progress)
        return await _downloads.save_stream(self._transport.stream(request, body), path, wanted)

    def _source_file(self, task: TaskOrId) -> RangedFile:
        return _downloads.RangedFile(self._transport, endpoints.source(id_of(task)))
