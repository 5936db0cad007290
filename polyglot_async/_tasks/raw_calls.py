"""The calls of the API as they are answered: with status, headers and body."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from anyio import to_thread

from .. import _downloads
from .._api import endpoints
from .._api.urls import bare_url, clean_url
from .._arguments import check_count, check_function, check_text
from .._errors import MediaError
from .._models import Task
from .._state.items import Item, ItemRecord
from .._uploads.form_body import FormBody, JsonBody
from .._uploads.sources import media_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._api.messages import RawResponse
    from .._concurrency import OnProgress
    from .._http.transport import Transport
    from .._models import TaskPage, Transcript, UrlValidation
    from .._uploads.sources import Media, MediaSource
    from .submit import Submitter

TaskOrId: TypeAlias = "Task | str"


@attrs.frozen
class RawTranscriptions:
    """The same calls, answered with status, headers and body: `.parse()` returns the value.

    Parameters, units and errors are those of the methods of the same name on `client.transcriptions`; an error status,
    and an answer that cannot be read, raise here too.
    """

    _transport: Transport = attrs.field(repr=False)
    _submitter: Submitter = attrs.field(repr=False)

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
        if on_progress is not None:
            check_function("on_progress", on_progress)
        # In a thread: even to look at a file may take long on a slow disk.
        media = await to_thread.run_sync(partial(media_from, source, name=name, size=size, content_type=content_type))
        check_size(media, self._transport.limiter.limits.max_upload_bytes)
        options = {"model": model, "input_language": input_language, "output_language": output_language}
        sent = endpoints.sent_options(options, extra)
        request = endpoints.upload(sent)
        body = FormBody(media, request.fields or (), on_progress)
        record = ItemRecord(name=media.name, size=media.size, options=sent)
        item = Item(self._transport.runtime.unix_time, record)
        return await self._submitter.submit(self._transport, request, body, item)

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
        url = clean_url(url)
        options = {"model": model, "input_language": input_language, "output_language": output_language}
        sent = endpoints.sent_options(options, extra)
        request = endpoints.from_url(url, sent)
        record = ItemRecord(name=bare_url(url), options=sent)
        item = Item(self._transport.runtime.unix_time, record)
        return await self._submitter.submit(self._transport, request, JsonBody(request.json or {}), item)

    async def validate_url(self, url: str, *, extra: Mapping[str, Any] | None = None) -> RawResponse[UrlValidation]:
        """Check whether the service can use a media URL: see `AsyncTranscriptions.validate_url`."""
        url = clean_url(url)
        request = endpoints.validate_url(url, endpoints.sent_options({}, extra))
        parse = partial(endpoints.parse_validation, url=url)
        return await self._transport.call(request, parse, JsonBody(request.json or {}))

    async def list(
        self, /, *, page_size: int | None = 100, offset: int = 0, cursor: str | None = None, **filters: Any
    ) -> RawResponse[TaskPage]:
        """Get one page of the list of tasks: see `AsyncTranscriptions.list`."""
        check_page(page_size, filters)
        check_count("offset", offset, least=0)
        if cursor is not None:
            check_text("cursor", cursor)
        request = endpoints.list_tasks(limit=page_size, offset=offset, cursor=cursor, filters=filters)
        return await self._transport.call(request, endpoints.parse_page)

    async def get(self, task: TaskOrId) -> RawResponse[Task]:
        """Get one task: see `AsyncTranscriptions.get`."""
        return await self._transport.call(endpoints.get(id_of(task)), endpoints.parse_task)

    async def result(self, task: TaskOrId) -> RawResponse[Transcript]:
        """Get a task's transcript: see `AsyncTranscriptions.result`."""
        return await self._transport.call(endpoints.result(id_of(task)), endpoints.parse_transcript)

    async def download(self, task: TaskOrId, kind: str) -> RawResponse[bytes]:
        """Get a result file: see `AsyncTranscriptions.download`."""
        return await self._transport.call(
            endpoints.download(id_of(task), kind), partial(_downloads.file_body, kind=kind)
        )


def check_size(media: Media, most: int | None) -> None:
    """Raise MediaError for media that is larger than the plan allows."""
    if most is not None and media.size is not None and media.size > most:
        raise MediaError(f"{media.name}: has {media.size} bytes, and the plan allows {most}")


def check_page(page_size: int | None, filters: Mapping[str, Any]) -> None:
    """Raise for a page without tasks, and for filters that pages are asked for with."""
    if page_size is not None:
        check_count("page_size", page_size)
    for name in filters.keys() & {"limit", "offset", "cursor"}:
        raise TypeError(f"{name} is no filter: it says where a page begins or ends, and page_size sets how long it is")


def id_of(task: TaskOrId) -> str:
    """Return the id of a task, or an id itself."""
    if isinstance(task, Task):
        return task.task_id
    if not isinstance(task, str):
        raise TypeError(f"pass a Task or its id, not {task!r:.60}")
    return task
