"""One item of a batch: known by its fingerprint, submitted at most once, waited for, fetched."""

from __future__ import annotations

import os
from random import random
from typing import TYPE_CHECKING, Any

import attrs
from anyio import to_thread

from .._api import endpoints
from .._errors import (
    ApiConnectionError,
    MediaError,
    PolyglotError,
    RateLimitError,
    ServerError,
    SubmissionUncertainError,
)
from .._http.retry import delay
from .._state.journal import Journal, Place
from .._uploads.fingerprint import key_of_bytes, key_of_file, key_of_url
from .._uploads.form_body import FormBody
from .._uploads.sources import media_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .._api.messages import ApiRequest
    from .._concurrency import OnProgress
    from .._http.transport import Transport
    from .._limits.limiter import SlotLease
    from .._models import Task
    from .._tasks.submit import Submissions
    from .._uploads.sources import Media
    from .outcomes import BatchSource

MOST_ATTEMPTS = 5
_SERVICE_UNAVAILABLE = 503


@attrs.define(eq=False)
class Item:
    """One source on its way.

    Attributes:
        source: as it was given.
        name: file name, or URL.
        media: what is sent; None for a URL.
        key: its fingerprint, where there is a journal.
        attempts: submissions made.
        left: whether a submission left of which nobody can say that it was not accepted.
        timings: seconds spent, by stage.
    """

    source: BatchSource
    name: str
    media: Media | None
    key: str | None = None
    attempts: int = 0
    left: bool = False
    timings: dict[str, float] = attrs.field(factory=dict)


async def identify(source: BatchSource, options: Mapping[str, Any], journal: Journal | None) -> Item:
    """Look at a source; with a journal, find out what it holds. A file that was read before is not, if unchanged.

    Raises:
        MediaError: it cannot be sent, or, with a journal, could not be known again by a later run.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        item = Item(source, source, None)
        if journal is not None:
            item.key = key_of_url(source, options)
            await journal.add(item.key, source, None, _text(options))
        return item
    media = await to_thread.run_sync(media_from, source)
    item = Item(source, media.name, media)
    if journal is not None:
        place = await to_thread.run_sync(_place_of, media.path) if media.path is not None else None
        item.key = await _key(source, media, place, options, journal)
        await journal.add(item.key, media.name, place, _text(options))
    return item


async def _key(
    source: BatchSource, media: Media, place: Place | None, options: Mapping[str, Any], journal: Journal
) -> str:
    if place is not None and media.path is not None:
        known = await journal.key_at(place, _text(options))
        return known if known is not None else await to_thread.run_sync(key_of_file, media.path, options)
    data = source[1] if isinstance(source, tuple) else source
    if isinstance(data, bytes | bytearray | memoryview):
        return await to_thread.run_sync(key_of_bytes, bytes(data), options)
    raise MediaError(f"{media.name}: with a journal give a path, a URL or bytes, which a later run can know again")


def _place_of(path: Path) -> Place:
    try:
        found = path.stat()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    text = os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")  # a name need not be UTF-8
    return Place(path=text, size=found.st_size, modified_ns=found.st_mtime_ns)


def _text(options: Mapping[str, Any]) -> str:
    return repr(sorted((name, repr(value)) for name, value in options.items() if value is not None))


@attrs.frozen
class Submitter:
    """Starts the tasks of a batch, and tells the journal before and after."""

    transport: Transport
    submissions: Submissions
    journal: Journal | None
    options: Mapping[str, Any]
    extra: Mapping[str, Any] | None
    retry_uncertain: bool

    @property
    def wish(self) -> Mapping[str, Any]:
        """All that is asked for beside the media: part of what makes two pieces of work the same."""
        return {**self.options, **(self.extra or {})}

    async def start(self, item: Item, lease: SlotLease, on_progress: OnProgress) -> Task:
        """Start the item's task: once, or again where it certainly was not accepted.

        A 429 fails no item: the limiter holds everything back for as long as it must.

        Raises:
            SubmissionUncertainError: nobody can tell whether it was accepted.
            PolyglotError: it was not accepted.
        """
        while True:
            item.attempts += 1
            try:
                return await self._submit(item, lease, on_progress)
            except RateLimitError:
                continue
            except SubmissionUncertainError:
                if not self.retry_uncertain or item.attempts >= MOST_ATTEMPTS:
                    raise
            except (ApiConnectionError, ServerError) as error:
                if item.attempts >= MOST_ATTEMPTS:
                    raise
                await self.transport.sleep(delay(item.attempts, error, random=random()))  # noqa: S311 - jitter

    async def _submit(self, item: Item, lease: SlotLease, on_progress: OnProgress) -> Task:
        request, body = self._prepare(item, on_progress)
        if body is None:
            await self._note_leaving(item)
        try:
            raw = await self.submissions.submit(self.transport, request, item.name, body, lease)
        except SubmissionUncertainError as error:
            await self._note_uncertain(item, error)
            raise
        except ServerError as error:
            if error.status_code != _SERVICE_UNAVAILABLE:
                # An answer, but of a service that failed at an unknown point: the task may exist.
                uncertain = _uncertain(item, error)
                await self._note_uncertain(item, uncertain)
                raise uncertain from error
            await self._note_not_accepted(item)
            raise
        except PolyglotError:
            await self._note_not_accepted(item)
            raise
        except BaseException:
            if body is not None and not body.complete:  # cancelled: a body without its end is no request
                await self._note_not_accepted(item)
            raise
        task = raw.parse()
        if self.journal is not None and item.key is not None:
            await self.journal.running(item.key, task.task_id)
        return task

    def _prepare(self, item: Item, on_progress: OnProgress) -> tuple[ApiRequest, FormBody | None]:
        if item.media is None:
            return endpoints.from_url(item.name, self.options, self.extra), None
        request = endpoints.upload(self.options, self.extra)
        fields: Sequence[tuple[str, str]] = request.fields or ()
        return request, FormBody(item.media, tuple(fields), on_progress, on_start=lambda: self._note_leaving(item))

    async def _note_leaving(self, item: Item) -> None:
        item.left = True
        if self.journal is not None and item.key is not None:
            await self.journal.submitting(item.key, item.name)

    async def _note_not_accepted(self, item: Item) -> None:
        item.left = False
        if self.journal is not None and item.key is not None:
            await self.journal.not_submitted(item.key)

    async def _note_uncertain(self, item: Item, error: SubmissionUncertainError) -> None:
        if self.journal is not None and item.key is not None:
            await self.journal.uncertain(item.key, str(error))


def _uncertain(item: Item, error: PolyglotError) -> SubmissionUncertainError:
    return SubmissionUncertainError(
        f"{item.name} may or may not have been accepted ({error}). It was not sent again: that could be paid for twice",
        source_name=item.name,
        size=item.media.size if item.media is not None else None,
    )
