"""The calls of the API as they are answered: with status, headers and body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from anyio import to_thread

from .._api import endpoints
from .._api.messages import RawResponse
from .._errors import MediaError
from .._models import Task
from .._uploads.form_body import FormBody
from .._uploads.sources import media_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._concurrency import OnProgress
    from .._http.transport import Transport
    from .._models import TaskPage, Transcript, UrlValidation
    from .._uploads.sources import Media, MediaSource
    from .submit import Submissions

TaskOrId: TypeAlias = "Task | str"


@attrs.frozen
class RawTranscriptions:
    """The same calls, answered with status, headers and body: `.parse()` gives the value.

    Parameters, units and errors are those of the methods of the same name on `client.transcriptions`; an error status
    raises here too.
    """

    _transport: Transport = attrs.field(repr=False)
    _submissions: Submissions = attrs.field(repr=False)

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
    ) -> RawResponse[Task]:
        """Upload media and start a task: see `AsyncTranscriptions.upload`."""
        media = await media_of(source, name, size, content_type)
        _check_size(media, self._transport.limiter.limits.max_upload_bytes)
        request = endpoints.upload(_options_of(model, input_language, output_language), extra)
        body = FormBody(media, request.fields or (), on_progress)
        return await self._submissions.submit(self._transport, request, media.name, body)

    async def from_url(
        self,
        url: str,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> RawResponse[Task]:
        """Start a task from a media URL: see `AsyncTranscriptions.from_url`."""
        request = endpoints.from_url(_checked_url(url), _options_of(model, input_language, output_language), extra)
        return await self._submissions.submit(self._transport, request, url)

    async def validate_url(self, url: str, *, extra: Mapping[str, Any] | None = None) -> RawResponse[UrlValidation]:
        """Ask whether the service can use a media URL: see `AsyncTranscriptions.validate_url`."""
        answer = await self._transport.send(endpoints.validate_url(_checked_url(url), {}, extra))
        return RawResponse(answer, lambda answer: endpoints.parse_validation(answer, url))

    async def list(
        self, /, *, page_size: int | None = 100, offset: int = 0, cursor: str | None = None, **filters: Any
    ) -> RawResponse[TaskPage]:
        """Get one page of the list of tasks: see `AsyncTranscriptions.list`."""
        request = endpoints.list_tasks(limit=page_size, offset=offset, cursor=cursor, filters=filters)
        return RawResponse(await self._transport.send(request), endpoints.parse_page)

    async def get(self, task: TaskOrId) -> RawResponse[Task]:
        """Get one task: see `AsyncTranscriptions.get`."""
        return RawResponse(await self._transport.send(endpoints.get(id_of(task))), endpoints.parse_task)

    async def result(self, task: TaskOrId) -> RawResponse[Transcript]:
        """Get a task's transcript: see `AsyncTranscriptions.result`."""
        return RawResponse(await self._transport.send(endpoints.result(id_of(task))), endpoints.parse_transcript)

    async def download(self, task: TaskOrId, kind: str) -> RawResponse[bytes]:
        """Get a result file: see `AsyncTranscriptions.download`."""
        answer = await self._transport.send(endpoints.download(id_of(task), kind))
        return RawResponse(answer, lambda answer: answer.body)


async def media_of(
    source: MediaSource, name: str | None = None, size: int | None = None, content_type: str | None = None
) -> Media:
    """Look at what is to be sent.

    Raises:
        MediaError: it cannot be sent.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise MediaError(f"{source!r} is a URL, not a path: use from_url")
    # In a thread: even to look at a file may take long on a slow disk.
    return await to_thread.run_sync(lambda: media_from(source, name=name, size=size, content_type=content_type))


def _check_size(media: Media, most: int | None) -> None:
    if most is not None and media.size is not None and media.size > most:
        raise MediaError(f"{media.name}: has {media.size} bytes, and the plan allows {most}")


def _checked_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise MediaError(f"{url!r} is not an http or https URL")
    return url


def id_of(task: TaskOrId) -> str:
    """Give the id of a task, or of an id itself."""
    return task.task_id if isinstance(task, Task) else task


def _options_of(model: str | None, input_language: str | None, output_language: str | None) -> dict[str, Any]:
    return {"model": model, "input_language": input_language, "output_language": output_language}
