"""Look up in a journal what earlier runs did with the sources of this one."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .._api.urls import bare_url
from .._batch.item import identify
from .._errors import JournalError, MediaError
from .._state.journal import locked_journal, read_journal
from ._error_report import InputError
from ._output_files import check_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .._state.items import ItemRecord
    from ._sources import Source

# A run does not upload these again.
_STARTED = frozenset({"running", "ended", "fetched", "done"})


def check_journal(path: Path) -> None:
    """Check that a journal can be at `path`.

    Raises:
        InputError: it is a folder, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file for --journal")
    check_folder(path.parent)


def find_started(
    journal: Path | None,
    sources: Iterable[Source],
    options: Mapping[str, str | None],
    unix_time: Callable[[], float],
    *,
    retry_failed: bool,
) -> set[Source]:
    """Return the sources that a run will not upload, so that some of their result files may exist already.

    Raises:
        JournalError: the journal cannot be used.
    """
    if journal is None or not journal.exists():
        return set()
    states = _STARTED if retry_failed else _STARTED | {"failed"}
    records = _by_content(journal, sources, options, unix_time)
    return {source for source, record in records.items() if record.state in states}


def find_records(
    journal: Path | None,
    sources: Iterable[Source],
    options: Mapping[str, str | None],
    unix_time: Callable[[], float],
) -> dict[Source, ItemRecord]:
    """Return what the journal knows of sources that a run skipped; nothing for those of which it is unclear."""
    if journal is None:
        return {}
    found: dict[Source, ItemRecord] = {}
    unclear: list[Source] = []
    with suppress(JournalError, OSError):  # the work is done; this only adds to the summary
        by_place: dict[str, list[ItemRecord]] = defaultdict(list)
        for record in read_journal(journal)[0]:
            by_place[record.path or bare_url(record.name)].append(record)
        for source in sources:
            records = by_place[str(source.path.absolute()) if source.path is not None else source.label]
            # One path may have held several contents, or been transcribed with several options.
            if len(records) == 1:
                found[source] = records[0]
            else:
                unclear.append(source)
        if unclear:
            found |= _by_content(journal, unclear, options, unix_time)
    return found


def _by_content(
    path: Path, sources: Iterable[Source], options: Mapping[str, str | None], unix_time: Callable[[], float]
) -> Mapping[Source, ItemRecord]:
    """Return the records of sources by their content and options, as a batch does; unreadable ones are left out."""

    async def look_up() -> dict[Source, ItemRecord]:
        found: dict[Source, ItemRecord] = {}
        with locked_journal(path) as journal:
            for source in sources:
                with suppress(MediaError):
                    item = (await identify(source.path or source.given, options, journal, unix_time)).item
                    if (record := await journal.record(item.record.key)) is not None:
                        found[source] = record
        return found

    return anyio.run(look_up)
