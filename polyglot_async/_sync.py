"""Polyglot, the sync client: one portal call a method over the very same core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, overload

from ._client import AsyncPolyglot
from ._portal import Portal

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from ._io.credential import ApiKey
    from ._io.form_body import OnProgress
    from ._io.media import MediaSource
    from ._models import Limits, Task, TaskPage, Transcript, UrlValidation
    from ._workflows.listing import TaskList
    from ._workflows.transcriptions import AsyncTranscriptions, TaskOrId


class Polyglot:
    """A client of the Polyglot Voice API for scripts and notebooks: `AsyncPolyglot`'s words, without `await`.

    Use it as `with Polyglot() as client:`, or call `close()` at the end. It runs an event loop in a thread of its own,
    which starts with the first call. It may be used from several threads.

    The parameters and errors are those of `AsyncPolyglot`.
    """

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = 60.0,
        max_retries: int = 2,
        limits: Limits | None = None,
        on_quota: Literal["raise", "wait"] = "raise",
        allow_insecure_http: bool = False,
    ) -> None:
        self._client = AsyncPolyglot(
            api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            limits=limits,
            on_quota=on_quota,
            allow_insecure_http=allow_insecure_http,
        )
        self._portal = Portal()

    def __repr__(self) -> str:
        return repr(self._client).replace("Async", "", 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and stop the loop's thread."""
        self._portal.call(self._client.aclose)
        self._portal.close()

    @property
    def transcriptions(self) -> Transcriptions:
        """The calls of the API."""
        return Transcriptions(self._client.transcriptions, self._portal)

    def limits(self) -> Limits:
        """Get the account's live limits: see `AsyncPolyglot.limits`."""
        return self._portal.call(self._client.limits)

    def transcribe(
        self,
        source: MediaSource,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Transcript:
        """Upload media (or name a URL), wait until it is done, and return the transcript: see `AsyncPolyglot`."""
        return self._portal.call(
            self._client.transcribe,
            source,
            model=model,
            input_language=input_language,
            output_language=output_language,
            timeout=timeout,
            on_progress=on_progress,
            extra=extra,
        )


class Transcriptions:
    """The calls below `transcriptions/`: see `AsyncTranscriptions`, method by method."""

    def __init__(self, calls: AsyncTranscriptions, portal: Portal) -> None:
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
        """Ask whether the service can use a media URL; a no is a value, not an error."""
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


class SyncTaskList:
    """All tasks, newest first: iterate over it, or over its `pages()`. Each iteration starts anew."""

    def __init__(self, tasks: TaskList, portal: Portal) -> None:
        self._tasks = tasks
        self._portal = portal

    def __iter__(self) -> Iterator[Task]:
        return self._portal.iterate(aiter(self._tasks))

    def pages(self) -> Iterator[TaskPage]:
        """Iterate page by page."""
        return self._portal.iterate(self._tasks.pages())
