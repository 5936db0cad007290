"""What a batch did, in SQLite, so that it survives kill -9.

Before a submission leaves, the journal says so; after it, the task's id. Each step is on the disk before the next one
is taken. One process writes at a time; anyone may read.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs
from anyio import to_thread

from .._errors import JournalError
from .._state.usage import Usage
from .journal_file import check, connect, lock, told

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")


class State(StrEnum):
    """Where an item of a batch stands.

    `submitting`: its submission may be under way. `uncertain`: nobody can tell whether it was accepted.
    """

    NEW = "new"
    SUBMITTING = "submitting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


@attrs.frozen(kw_only=True)
class Entry:
    """One item of a journal.

    Attributes:
        key: fingerprint of the content and of what was asked for.
        name: the file's name, or the URL.
        path: where it lay, for a file.
        size: bytes, for a file.
        state: see `State`.
        task_id: the service's id, once known.
        attempts: submissions that left.
        error: why it failed, or why nobody can tell.
        files: result files that were written.
        submitted_at: when the last submission left, Unix seconds of this machine's clock.
        updated_at: when this was last changed, Unix seconds.
    """

    key: str
    name: str
    state: State
    path: str | None = None
    size: int | None = None
    task_id: str | None = None
    attempts: int = 0
    error: str | None = None
    files: tuple[str, ...] = ()
    submitted_at: float | None = None
    updated_at: float = 0.0


@attrs.frozen(kw_only=True)
class Place:
    """Where a file lies and what it looks like from outside: unchanged, it need not be read again to be known."""

    path: str
    size: int
    modified_ns: int


class Journal:
    """A batch's journal; open it with `open_journal`. Each call is one transaction, on a thread of its own."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self._usage: Callable[[], Usage] | None = None
        self._turn = anyio.CapacityLimiter(1)

    async def key_at(self, place: Place, options: str) -> str | None:
        """Give the key of a file that was read before and has not changed since."""
        query = "SELECT key FROM items WHERE path = ? AND size = ? AND modified_ns = ? AND options = ?"
        row = await self._do(
            lambda: self._database.execute(query, (place.path, place.size, place.modified_ns, options)).fetchone()
        )
        return row[0] if row else None

    async def entry(self, key: str) -> Entry | None:
        """Give one item."""
        rows = await self._do(lambda: list(_entries(self._database, "WHERE key = ?", (key,))))
        return rows[0] if rows else None

    async def add(self, key: str, name: str, place: Place | None, options: str) -> None:
        """Note an item, or where a known one lies now."""
        values = (place.path, place.size, place.modified_ns) if place else (None, None, None)
        await self._write(
            "INSERT INTO items (key, name, path, size, modified_ns, options, state, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, 'new', ?) ON CONFLICT (key) DO UPDATE SET path = excluded.path, "
            "size = excluded.size, modified_ns = excluded.modified_ns",
            (key, storable(name), *values, options, time.time()),
        )

    async def submitting(self, key: str, name: str) -> None:
        """A submission is about to leave, under this name: it is what the service's list will show."""
        now = time.time()
        await self._write(
            "UPDATE items SET state = 'submitting', name = ?, attempts = attempts + 1, submitted_at = ?, "
            "updated_at = ? WHERE key = ?",
            (storable(name), now, now, key),
        )

    async def not_submitted(self, key: str) -> None:
        """The submission certainly was not accepted."""
        await self._set(key, State.NEW)

    async def running(self, key: str, task_id: str) -> None:
        """The service has it."""
        await self._write(
            "UPDATE items SET state = 'running', task_id = ?, error = NULL, updated_at = ? WHERE key = ?",
            (task_id, time.time(), key),
        )

    async def done(self, key: str, files: tuple[str, ...]) -> None:
        """Its outcome has been handed over."""
        await self._write(
            "UPDATE items SET state = 'done', files = ?, error = NULL, updated_at = ? WHERE key = ?",
            (json.dumps(files), time.time(), key),
        )

    async def failed(self, key: str, error: str) -> None:
        """It failed for good."""
        await self._set(key, State.FAILED, error)

    async def uncertain(self, key: str, error: str) -> None:
        """Nobody can tell whether it was accepted."""
        await self._set(key, State.UNCERTAIN, error)

    async def unsettled(self) -> list[Entry]:
        """Give the items whose submission's fate is unknown."""
        return await self._do(lambda: list(_entries(self._database, "WHERE state IN ('submitting', 'uncertain')", ())))

    async def name_of_task(self, task_id: str) -> str | None:
        """Give the name under which a task's media was sent; None where the task is of no item."""
        query = "SELECT name FROM items WHERE task_id = ?"
        row = await self._do(lambda: self._database.execute(query, (task_id,)).fetchone())
        return row[0] if row else None

    async def usage(self) -> Usage:
        """Give the requests counted by earlier runs."""
        return await self._do(lambda: _usage(self._database))

    def keep_usage(self, usage: Callable[[], Usage]) -> None:
        """Keep the count of requests with each step from now on, so that a later run knows it however this one ends."""
        self._usage = usage

    async def save_usage(self) -> None:
        """Keep the count of requests as it stands."""
        await self._do(self._saving("SELECT 1", ()))

    async def _set(self, key: str, state: State, error: str | None = None) -> None:
        await self._write(
            "UPDATE items SET state = ?, error = ?, updated_at = ? WHERE key = ?",
            (state.value, error and storable(error), time.time(), key),
        )

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        await self._do(self._saving(statement, values))

    def _saving(self, statement: str, values: tuple[object, ...]) -> Callable[[], None]:
        usage = json.dumps(attrs.asdict(self._usage())) if self._usage is not None else None

        def save() -> None:
            with self._database:
                self._database.execute(statement, values)
                if usage is not None:
                    self._database.execute("INSERT OR REPLACE INTO notes VALUES ('usage', ?)", (usage,))

        return save

    async def _do(self, action: Callable[[], T]) -> T:
        # Shielded: what has happened must be noted, whoever is cancelled meanwhile.
        with anyio.CancelScope(shield=True):
            answer = await to_thread.run_sync(lambda: told(self._path, action), limiter=self._turn)
        return answer  # noqa: RET504 - a return inside the scope, which could swallow, would leave a path without one


@contextmanager
def locked_journal(path: str | os.PathLike[str]) -> Iterator[Journal]:
    """Open a journal for writing, made where there is none. Blocks: call it in a worker thread.

    Raises:
        JournalError: another process writes it, a newer version made it, or it is no journal.
    """
    path = Path(path)
    with closing(lock(path)), closing(connect(path)) as database:
        yield Journal(database, path)


def read_journal(path: str | os.PathLike[str]) -> tuple[list[Entry], Usage]:
    """Read a journal, even while a batch writes it: all its items, and the requests counted. Blocks.

    Raises:
        JournalError: it is missing, a newer version made it, or it is no journal.
    """
    path = Path(path)
    if not path.is_file():
        raise JournalError(f"{path}: there is no such journal")

    def read() -> tuple[list[Entry], Usage]:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            check(database, path)
            return list(_entries(database, "ORDER BY updated_at", ())), _usage(database)

    return told(path, read)


def storable(text: str) -> str:
    """Give a name or path as SQLite takes it and as it is sent: one that is not UTF-8 has lone surrogates (PEP 383)."""
    return text.encode("utf-8", "replace").decode()


def _entries(database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Iterator[Entry]:
    columns = "key, name, state, path, size, task_id, attempts, error, files, submitted_at, updated_at"
    for row in database.execute(f"SELECT {columns} FROM items {where}", values):  # noqa: S608 - our own words only
        named: Mapping[str, object] = dict(zip(columns.split(", "), row, strict=True))
        yield Entry(**{**named, "state": State(row[2]), "files": tuple(json.loads(row[8]))})  # type: ignore[arg-type]


def _usage(database: sqlite3.Connection) -> Usage:
    row = database.execute("SELECT value FROM notes WHERE name = 'usage'").fetchone()
    return Usage.read(json.loads(row[0])) if row else Usage()
