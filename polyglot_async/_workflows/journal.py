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
from .._protocol.windows import Usage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

VERSION = 1
_APPLICATION_ID = 0x506F6C79  # "Poly", so that another program's database is not taken for a journal
_SCHEMA = """
CREATE TABLE items (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, path TEXT, size INTEGER, modified_ns INTEGER, options TEXT NOT NULL,
    state TEXT NOT NULL, task_id TEXT, attempts INTEGER NOT NULL DEFAULT 0, error TEXT,
    files TEXT NOT NULL DEFAULT '[]', submitted_at REAL, updated_at REAL NOT NULL
);
CREATE INDEX items_by_place ON items (path, size, modified_ns, options);
CREATE INDEX items_by_task ON items (task_id);
CREATE INDEX items_by_state ON items (state);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


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
            (key, name, *values, options, time.time()),
        )

    async def submitting(self, key: str) -> None:
        """A submission is about to leave."""
        now = time.time()
        await self._write(
            "UPDATE items SET state = 'submitting', attempts = attempts + 1, submitted_at = ?, updated_at = ? "
            "WHERE key = ?",
            (now, now, key),
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

    async def knows_task(self, task_id: str) -> bool:
        """Whether a task belongs to an item."""
        query = "SELECT 1 FROM items WHERE task_id = ?"
        return await self._do(lambda: self._database.execute(query, (task_id,)).fetchone()) is not None

    async def unsettled_named(self, name: str) -> int:
        """Count the items of this name whose submission's fate is unknown."""
        query = "SELECT count(*) FROM items WHERE name = ? AND state IN ('submitting', 'uncertain')"
        row = await self._do(lambda: self._database.execute(query, (name,)).fetchone())
        return int(row[0])

    async def usage(self) -> Usage:
        """Give the requests counted by earlier runs."""
        return await self._do(lambda: _usage(self._database))

    async def save_usage(self, usage: Usage) -> None:
        """Keep the count of requests for later runs."""
        await self._write("INSERT OR REPLACE INTO notes VALUES ('usage', ?)", (json.dumps(attrs.asdict(usage)),))

    async def _set(self, key: str, state: State, error: str | None = None) -> None:
        await self._write(
            "UPDATE items SET state = ?, error = ?, updated_at = ? WHERE key = ?",
            (state.value, error, time.time(), key),
        )

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        def write() -> None:
            with self._database:
                self._database.execute(statement, values)

        await self._do(write)

    async def _do(self, action: Callable[[], T]) -> T:
        # Shielded: what has happened must be noted, whoever is cancelled meanwhile.
        with anyio.CancelScope(shield=True):
            answer = await to_thread.run_sync(lambda: _told(self._path, action), limiter=self._turn)
        return answer  # noqa: RET504 - a return inside the scope, which could swallow, would leave a path without one


@contextmanager
def locked_journal(path: str | os.PathLike[str]) -> Iterator[Journal]:
    """Open a journal for writing, made where there is none. Blocks: call it in a worker thread.

    Raises:
        JournalError: another process writes it, a newer version made it, or it is no journal.
    """
    path = Path(path)
    with closing(_lock(path)), closing(_connect(path)) as database:
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
            _check(database, path)
            row = database.execute("SELECT value FROM notes WHERE name = 'usage'").fetchone()
            return list(_entries(database, "ORDER BY updated_at", ())), Usage.read(
                json.loads(row[0])
            ) if row else Usage()

    return _told(path, read)


def _lock(path: Path) -> sqlite3.Connection:
    """Hold a lock that dies with the process, however it dies; a database beside the journal is one on every system."""

    def lock() -> sqlite3.Connection:
        holder = sqlite3.connect(f"{path}.lock", timeout=0.2, isolation_level=None, check_same_thread=False)
        try:
            holder.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            holder.close()
            if "locked" in str(error):
                raise JournalError(f"{path}: another process is writing this journal") from None
            raise
        return holder

    return _told(path, lock)


def _connect(path: Path) -> sqlite3.Connection:
    def connect() -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=10, check_same_thread=False)
        try:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION};"
                database.executescript(f"BEGIN; {marks} {_SCHEMA} COMMIT;")
            _check(database, path)
            database.execute("PRAGMA journal_mode = WAL")
            # Each step must outlive a power cut: a lost "submitting" could be paid for twice.
            database.execute("PRAGMA synchronous = FULL")
        except BaseException:
            database.close()
            raise
        return database

    return _told(path, connect)


def _check(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise JournalError(f"{path}: is a database, but no journal of a batch")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise JournalError(f"{path}: was written by a newer version of polyglot_async (format {version})")


def _entries(database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> Iterator[Entry]:
    columns = "key, name, state, path, size, task_id, attempts, error, files, submitted_at, updated_at"
    for row in database.execute(f"SELECT {columns} FROM items {where}", values):  # noqa: S608 - our own words only
        named: Mapping[str, object] = dict(zip(columns.split(", "), row, strict=True))
        yield Entry(**{**named, "state": State(row[2]), "files": tuple(json.loads(row[8]))})  # type: ignore[arg-type]


def _usage(database: sqlite3.Connection) -> Usage:
    row = database.execute("SELECT value FROM notes WHERE name = 'usage'").fetchone()
    return Usage.read(json.loads(row[0])) if row else Usage()


def _told(path: Path, action: Callable[[], T]) -> T:
    try:
        return action()
    except sqlite3.Error as error:
        raise JournalError(f"{path}: the journal cannot be used: {error}") from error
