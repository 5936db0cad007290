"""A batch's journal: its items in a SQLite file, so that they survive kill -9.

Each move of an item that a later run has to know is on the disk before the next step is taken, and in the journal's own
file: nothing is lost if what lies beside it is. One process writes at a time; anyone may read.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs
from anyio import to_thread

from .._api.endpoints import options_text
from .._errors import JournalError
from .items import AMBIGUOUS_STATES, ItemRecord, State
from .journal_file import (
    LOCK_TIMEOUT,
    become_writer,
    check,
    check_writer,
    connect,
    create_file,
    lock,
    sqlite_errors,
)
from .usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

_COLUMNS = tuple(field.name for field in attrs.fields(ItemRecord))
_UPSERT = (
    f"INSERT INTO items ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608 - our own words
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS)}"
)


class Journal:
    """A batch's journal; open it with `locked_journal`. Each call is one transaction, in a worker thread."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self._mark = sqlite_errors(path, lambda: become_writer(database))
        self._usage: Callable[[], Usage] | None = None
        self._limiter = anyio.CapacityLimiter(1)

    async def key_at(self, path: str, size: int, modified_ns: int, options: Mapping[str, Any]) -> str | None:
        """Return the key of a file that was read before and has not changed since."""
        query = "SELECT key FROM items WHERE path = ? AND size = ? AND modified_ns = ? AND options = ?"
        values = (path, size, modified_ns, options_text(options))
        row = await self._do(lambda: self._database.execute(query, values).fetchone())
        return row[0] if row else None

    async def record(self, key: str) -> ItemRecord | None:
        """Return what is known of an item."""
        rows = await self._do(lambda: list(_records(self._database, "WHERE key = ?", (key,))))
        return rows[0] if rows else None

    async def write(self, record: ItemRecord) -> None:
        """Write a record; it is on the disk when this returns."""
        await self._write(_UPSERT, _row(record))

    async def ambiguous(self) -> list[ItemRecord]:
        """Return the items of which it is not known whether their submission was accepted."""
        states = ", ".join(f"'{state.value}'" for state in AMBIGUOUS_STATES)
        return await self._do(lambda: list(_records(self._database, f"WHERE state IN ({states})", ())))

    async def with_tasks(self) -> list[ItemRecord]:
        """Return the items that have a task."""
        return await self._do(lambda: list(_records(self._database, "WHERE task_id IS NOT NULL", ())))

    async def usage(self) -> Usage:
        """Return the requests counted by earlier runs."""
        return await self._do(lambda: _usage(self._database))

    def keep_usage(self, usage: Callable[[], Usage]) -> None:
        """Keep the count of requests with each write from now on: a later run knows it, however this one ends."""
        self._usage = usage

    async def save_usage(self) -> None:
        """Keep the count of requests as it stands."""
        await self._write("SELECT 1", ())

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        usage = json.dumps(attrs.asdict(self._usage())) if self._usage is not None else None

        def save() -> None:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                check_writer(self._database, self._path, self._mark)
                self._database.execute(statement, values)
                if usage is not None:
                    self._database.execute("INSERT OR REPLACE INTO notes VALUES ('usage', ?)", (usage,))

        await self._do(save)

    async def _do(self, action: Callable[[], T]) -> T:
        # Shielded: what has happened must be noted, whoever is cancelled meanwhile.
        with anyio.CancelScope(shield=True):
            answer = await to_thread.run_sync(lambda: sqlite_errors(self._path, action), limiter=self._limiter)
        return answer  # noqa: RET504 - a return inside the scope, which could swallow, would leave a path without one


@contextmanager
def locked_journal(path: str | os.PathLike[str]) -> Iterator[Journal]:
    """Open a journal for writing, made where there is none. Blocks: call it in a worker thread.

    Raises:
        JournalError: another batch is writing it, another version made it, it has other names (hard links), or it is no
            journal. A write raises it where the file was moved, deleted or replaced, or another batch writes it since.
    """
    if os.fspath(path) in {"", ":memory:"}:
        raise JournalError(f"{path!r} is no file: a journal has to survive its process")
    path = Path(path)
    with closing(lock(path)):
        create_file(path)
        with closing(connect(path)) as database:
            yield Journal(database, path)


def read_journal(path: str | os.PathLike[str]) -> tuple[list[ItemRecord], Usage]:
    """Read a journal, even while a batch writes it: all its items, and the requests counted. Blocks.

    Raises:
        JournalError: it is missing, another version made it, or it is no journal.
    """
    path = Path(path)
    if not path.is_file():
        raise JournalError(f"{path}: there is no such journal")

    def read() -> tuple[list[ItemRecord], Usage]:
        # Not "ro": what a killed process has left half-written is undone by the first one to open the file.
        address = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=LOCK_TIMEOUT)) as database:
            check(database, path)
            return list(_records(database, "ORDER BY updated_at", ())), _usage(database)

    return sqlite_errors(path, read)


def storable_path(path: Path) -> str:
    """Return an absolute path as text that SQLite takes: a name need not be UTF-8."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")


def _row(record: ItemRecord) -> tuple[object, ...]:
    values = {name: getattr(record, name) for name in _COLUMNS}
    values |= {
        "state": record.stored().state.value,
        "options": options_text(record.options),
        "files": json.dumps(record.files),
    }
    # What is not UTF-8 reaches Python with lone surrogates (PEP 383), which SQLite refuses.
    return tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values.values())


def _records(database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Iterator[ItemRecord]:
    for row in database.execute(f"SELECT {', '.join(_COLUMNS)} FROM items {where}", values):  # noqa: S608 - our own words
        named: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
        named |= {"state": State(named["state"]), "options": json.loads(named["options"])}
        yield ItemRecord(**{**named, "files": tuple(json.loads(named["files"]))})


def _usage(database: sqlite3.Connection) -> Usage:
    row = database.execute("SELECT value FROM notes WHERE name = 'usage'").fetchone()
    return Usage.read(json.loads(row[0])) if row else Usage()
