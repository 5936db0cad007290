"""`client.transcriptions` of the sync client, method by method."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from .streams import SyncMediaStream, SyncRemoteMedia, SyncStreamedResponse, SyncTaskList

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .._api.messages import RawResponse
    from .._concurrency import OnProgress
    from .._models import Task, TaskPage, Transcript, UrlValidation
    from .._tasks.calls import AsyncTranscriptions
    from .._tasks.raw_calls import RawTranscriptions, TaskOrId
    from .._uploads.sources import MediaSource
    from .portal import Portal


class Transcriptions:
    """The calls below `transcriptions/`: see `AsyncTranscriptions`, method by method."""

    def __init__(self, calls: AsyncTranscriptions, portal: Portal) -> None:
        self._calls = calls
        self._portal = portal

    @property
    def with_raw_response(self) -> SyncRawTranscriptions:
        """The same calls, answered with status, headers and body."""
        return SyncRawTranscriptions(self._calls.with_raw_response, self._portal)

    def upload(
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
        """Upload media and start a task; return it, queued."""
        return self._portal.call(
            self._calls.upload,
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

    def from_url(
        self,
        url: str,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Task:
        """Start a task from a media URL, which the service fetches; return it, queued."""
        return self._portal.call(
            self._calls.from_url,
            url,
            model=model,
            input_language=input_language,
            output_language=output_language,
            extra=extra,
        )

    def validate_url(self, url: str, *, extra: Mapping[str, Any] | None = None) -> UrlValidation:
        """Ask whether the service can use a media URL; a no is a value, not an error (A3)."""
        return self._portal.call(self._calls.validate_url, url, extra=extra)

    def list(self, *, page_size: int = 100, **filters: Any) -> SyncTaskList:
        """List the tasks, newest first: `for task in client.transcriptions.list(status="failed")`."""
        return SyncTaskList(self._calls.list(page_size=page_size, **filters), self._portal)

    def get(self, task: TaskOrId) -> Task:
        """Get one task as it stands."""
        return self._portal.call(self._calls.get, task)

    def wait(self, task: TaskOrId, *, timeout: float | None = None, poll_interval: float | None = None) -> Task:
        """Wait until a task is completed; return it."""
        return self._portal.call(self._calls.wait, task, timeout=timeout, poll_interval=poll_interval)

    def result(self, task: TaskOrId) -> Transcript:
        """Get the transcript of a completed task."""
        return self._portal.call(self._calls.result, task)

    @overload
    def download(self, task: TaskOrId, kind: str) -> bytes: ...

    @overload
    def download(self, task: TaskOrId, kind: str, path: str | os.PathLike[str]) -> Path: ...

    def download(self, task: TaskOrId, kind: str, path: str | os.PathLike[str] | None = None) -> bytes | Path:
        """Get a result file that the service made: its bytes, or with `path` the path that it was written to."""
        if path is None:
            return self._portal.call(self._calls.download, task, kind)
        return self._portal.call(self._calls.download, task, kind, path)

    @contextmanager
    def stream_download(self, task: TaskOrId, kind: str) -> Iterator[SyncStreamedResponse]:
        """Get a result file as a stream: `with ... as response: for chunk in response.chunks()`."""
        with self._portal.enter(self._calls.stream_download(task, kind)) as response:
            yield SyncStreamedResponse(response, self._portal)

    @contextmanager
    def source(self, task: TaskOrId) -> Iterator[SyncMediaStream]:
        """Get the source media as a stream: `with ... as stream: for chunk in stream`."""
        with self._portal.enter(self._calls.source(task)) as stream:
            yield SyncMediaStream(stream, self._portal)

    @contextmanager
    def open_source(self, task: TaskOrId) -> Iterator[SyncRemoteMedia]:
        """Get the source media as a file one can seek in, of which only what is read is fetched."""
        portal = self._portal
        with portal.enter(self._calls.open_source(task)) as media, SyncRemoteMedia(media, portal) as file:
            yield file

    def download_source(
        self,
        task: TaskOrId,
        path: str | os.PathLike[str],
        *,
        connections: int = 4,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Download the source media to `path`; return the path."""
        return self._portal.call(
            self._calls.download_source, task, path, connections=connections, on_progress=on_progress
        )

    def convert_audio(
        self,
        source: MediaSource,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - the API's own word (A6)
        on_progress: OnProgress | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Let the service convert audio, and write its answer to `path`; return the path."""
        return self._portal.call(
            self._calls.convert_audio, source, path, format=format, on_progress=on_progress, extra=extra
        )


class SyncRawTranscriptions:
    """The same calls, answered with status, headers and body: `.parse()` gives the value."""

    def __init__(self, calls: RawTranscriptions, portal: Portal) -> None:
        self._calls = calls
        self._portal = portal

    def upload(
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
    ) -> RawResponse[Task]:
        """Upload media and start a task: see `Transcriptions.upload`."""
        return self._portal.call(
            self._calls.upload,
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

    def from_url(
        self,
        url: str,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> RawResponse[Task]:
        """Start a task from a media URL: see `Transcriptions.from_url`."""
        return self._portal.call(
            self._calls.from_url,
            url,
            model=model,
            input_language=input_language,
            output_language=output_language,
            extra=extra,
        )

    def validate_url(self, url: str, *, extra: Mapping[str, Any] | None = None) -> RawResponse[UrlValidation]:
        """Ask whether the service can use a media URL: see `Transcriptions.validate_url`."""
        return self._portal.call(self._calls.validate_url, url, extra=extra)

    def list(
        self, *, page_size: int | None = 100, offset: int = 0, cursor: str | None = None, **filters: Any
    ) -> RawResponse[TaskPage]:
        """Get one page of the list of tasks: see `Transcriptions.list`."""
        return self._portal.call(self._calls.list, page_size=page_size, offset=offset, cursor=cursor, **filters)

    def get(self, task: TaskOrId) -> RawResponse[Task]:
        """Get one task: see `Transcriptions.get`."""
        return self._portal.call(self._calls.get, task)

    def result(self, task: TaskOrId) -> RawResponse[Transcript]:
        """Get a task's transcript: see `Transcriptions.result`."""
        return self._portal.call(self._calls.result, task)

    def download(self, task: TaskOrId, kind: str) -> RawResponse[bytes]:
        """Get a result file: see `Transcriptions.download`."""
        return self._portal.call(self._calls.download, task, kind)
