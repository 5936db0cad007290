"""What a journal knows of the sources that a person named, looked up before a run and after it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from .._batch.item import identify
from .._errors import JournalError, MediaError
from .._state.journal import Entry, State, locked_journal, read_journal
from ._failures import InputError
from ._files import check_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ._sources import Source
    from ._transcribe import Wishes


def check_journal(path: Path) -> None:
    """See that a journal can be there.

    Raises:
        InputError: it is a folder, or its folder will not do.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file for the journal")
    check_folder(path.parent)


def paid_for(sources: Iterable[Source], wishes: Wishes) -> set[Source]:
    """Give those that would not be sent, as the journal knows their content: files of theirs may be there already.

    Raises:
        JournalError: it cannot be used.
    """
    if wishes.journal is None or not wishes.journal.exists():
        return set()
    settled = {State.DONE, State.RUNNING} if wishes.retry_failed else {State.DONE, State.RUNNING, State.FAILED}
    return {source for source, entry in _identified(wishes.journal, sources, wishes).items() if entry.state in settled}


def known_before(sources: Iterable[Source], wishes: Wishes) -> dict[Source, Entry]:
    """Give what the journal knows of sources that a run skipped."""
    if wishes.journal is None:
        return {}
    found: dict[Source, Entry] = {}
    unclear: list[Source] = []
    with suppress(JournalError, OSError):  # the work is done; this is but a word about it
        places: dict[str, list[Entry]] = defaultdict(list)
        for entry in read_journal(wishes.journal)[0]:
            places[entry.path or entry.name].append(entry)
        for source in sources:
            here = places[str(source.path.absolute()) if source.path is not None else source.given]
            # One place may have held several contents, and been asked for several languages.
            if len(here) == 1:
                found[source] = here[0]
            else:
                unclear.append(source)
        if unclear:
            found |= _identified(wishes.journal, unclear, wishes)
    return found


def _identified(path: Path, sources: Iterable[Source], wishes: Wishes) -> Mapping[Source, Entry]:
    """Know sources by their content, as the batch does. Those that cannot be read are left out."""

    async def look() -> dict[Source, Entry]:
        found: dict[Source, Entry] = {}
        with locked_journal(path) as journal:
            for source in sources:
                with suppress(MediaError):
                    item = await identify(source.path or source.given, wishes.options, journal)
                    entry = await journal.entry(item.key or "")
                    if entry is not None:
                        found[source] = entry
        return found

    return anyio.run(look)
