"""One source of a batch: what it is, how it is known again, and its record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from anyio import to_thread

from .._api.urls import bare_url, clean_url, is_media_url
from .._errors import MediaError
from .._state.items import Item, ItemRecord, storable_ns
from .._uploads.fingerprint import key_of_bytes, key_of_file, key_of_url
from .._uploads.sources import media_from

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._state.journal import Journal
    from .._uploads.sources import Media
    from .outcomes import BatchSource


@attrs.define(eq=False)
class BatchItem:
    """One source on its way.

    Attributes:
        source: as it was given.
        media: what is uploaded; None for a URL.
        url: what the service fetches; None for media.
        item: its record.
        attempts_before: submissions by earlier runs.
        timings: seconds spent, by stage.
    """

    source: BatchSource
    media: Media | None
    url: str | None
    item: Item
    attempts_before: int = 0
    timings: dict[str, float] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The file's name, or the URL without what may be secret."""
        return self.item.record.name

    @property
    def attempts(self) -> int:
        """Submissions of this run."""
        return self.item.record.attempts - self.attempts_before


async def identify(
    source: BatchSource, options: Mapping[str, Any], journal: Journal | None, unix_time: Callable[[], float]
) -> BatchItem:
    """Return a source as an item; with a journal, with its key. An unchanged file that was read before is not read.

    Raises:
        MediaError: it cannot be sent, or, with a journal, could not be known again by a later run.
    """
    if is_media_url(source):
        url = clean_url(source)
        found = BatchItem(source, None, url, Item(unix_time, ItemRecord(name=bare_url(url), options=options)))
    else:
        media = await to_thread.run_sync(media_from, source)
        record = ItemRecord(name=media.name, size=media.size, options=options)
        found = BatchItem(source, media, None, Item(unix_time, record))
    if journal is not None:
        record = found.item.record
        path = found.media.path if found.media is not None else None
        if path is not None:
            stat = await to_thread.run_sync(_stat, path)
            record = attrs.evolve(record, path=stat[0], size=stat[1], modified_ns=stat[2])
        found.item.record = attrs.evolve(record, key=await _key(found, record, options, journal))
        found.item.store = journal
    return found


async def look_up(found: BatchItem, journal: Journal) -> None:
    """Set an item's record to what the journal knows, under the name and at the path that it has now."""
    record = found.item.record
    known = await journal.record(record.key)
    if known is not None:
        found.item.record = attrs.evolve(
            known, name=record.name, path=record.path, size=record.size, modified_ns=record.modified_ns
        )
        found.attempts_before = known.attempts
    # The name alone is not worth a write: it is for messages, and need not be one that can be stored as it is.
    if known is None or attrs.evolve(found.item.record, name=known.name) != known:
        await journal.write(found.item.record)


async def _key(found: BatchItem, record: ItemRecord, options: Mapping[str, Any], journal: Journal) -> str:
    if found.url is not None:
        return key_of_url(found.url, options)
    if record.path is not None and record.size is not None and record.modified_ns is not None:
        known = await journal.key_at(record.path, record.size, record.modified_ns, options)
        assert found.media is not None  # noqa: S101 - for the type checkers: it has a path
        assert found.media.path is not None  # noqa: S101 - likewise
        if known is not None:
            return known
        return await to_thread.run_sync(key_of_file, found.media.path, options)
    data = found.source[1] if isinstance(found.source, tuple) else found.source
    if isinstance(data, bytes | bytearray | memoryview):
        return await to_thread.run_sync(key_of_bytes, bytes(data), options)
    raise MediaError(f"{record.name}: with a journal pass a path, a URL or bytes, which a later run can know again")


def _stat(path: Path) -> tuple[str, int, int]:
    from .._state.journal import storable_path  # noqa: PLC0415 - it brings SQLite, which only a journal needs

    try:
        found = path.stat()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    return storable_path(path), found.st_size, storable_ns(found.st_mtime_ns)


def name_of(source: object) -> str:
    """Return a name for a source that could not be looked at."""
    named = source[0] if isinstance(source, tuple) and source else source
    if isinstance(named, str | os.PathLike):
        return bare_url(str(named)) if "://" in str(named) else Path(named).name or str(named)
    return "upload.bin" if isinstance(named, bytes | bytearray | memoryview) else f"{named!r:.60}"
