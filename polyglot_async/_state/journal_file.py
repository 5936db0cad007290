"""The file of a journal: one lock, one schema, and one kind of error."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from .._errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

VERSION = 2
LOCK_TIMEOUT = 30.0
"""Seconds for which a write waits for those who read, and a reader for a write."""
_APPLICATION_ID = 0x506F6C79  # "Poly", so that another program's database is not taken for a journal
_SCHEMA = """
CREATE TABLE items (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, path TEXT, size INTEGER, modified_ns INTEGER,
    options TEXT NOT NULL, task_id TEXT, attempts INTEGER NOT NULL, error TEXT, files TEXT NOT NULL,
    submitted_at REAL, accepted_at REAL, updated_at REAL NOT NULL
);
CREATE INDEX items_by_path ON items (path, size, modified_ns, options);
CREATE INDEX items_by_task ON items (task_id);
CREATE INDEX items_by_state ON items (state);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def lock(path: Path) -> sqlite3.Connection:
    """Hold a lock that dies with the process, however it dies; a database beside the journal is one on every system.

    Raises:
        JournalError: another batch holds it, here or in another process.
    """

    def begin() -> sqlite3.Connection:
        holder = sqlite3.connect(f"{path.resolve()}.lock", timeout=0.2, isolation_level=None, check_same_thread=False)
        try:
            holder.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            holder.close()
            if "locked" in str(error):
                raise JournalError(f"{path}: another batch is writing this journal") from None
            raise
        return holder

    return sqlite_errors(path, begin)


def create_file(path: Path) -> None:
    """Create the file of a journal where there is none.

    Raises:
        JournalError: it has other names (hard links), or cannot be created.
    """

    def begin() -> None:
        _make_private(path)
        found = path.stat()
        # What a killed process was in the middle of writing is undone from a file beside the name that it was opened
        # by: opened by another name it would be half-written, and undone later, by the first name, with all that came
        # after. A folder has links of its own (each folder in it has one, ".."): what is no file is refused later.
        if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise JournalError(
                f"{path}: this journal has {found.st_nlink} names (hard links), and SQLite mends what a killed process "
                "has left only by the name that it used. Delete the other names, or make a copy and pass that"
            )

    sqlite_errors(path, begin)


def connect(path: Path) -> sqlite3.Connection:
    """Open a journal's file for writing, with its tables, which are made in an empty one.

    Raises:
        JournalError: another version made it, or it is no journal.
    """

    def begin() -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=LOCK_TIMEOUT, check_same_thread=False)
        try:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                marks = f"PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {VERSION};"
                database.executescript(f"BEGIN; {marks} {_SCHEMA} COMMIT;")
            check(database, path)
            # Not a write-ahead log, as earlier versions had: what was written stands in this file alone, however the
            # process ends, for whoever renames or copies it, or deletes what lies beside it.
            database.execute("PRAGMA journal_mode = TRUNCATE")
            # Each step must outlive a power cut: a lost "left" could be paid for twice.
            database.execute("PRAGMA synchronous = FULL")
        except BaseException:
            database.close()
            raise
        return database

    return sqlite_errors(path, begin)


def become_writer(database: sqlite3.Connection) -> str:
    """Note in a journal that a further process writes it from now on, and return the mark by which it is known."""
    with database:
        database.execute("INSERT INTO notes VALUES ('writer', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
        return _writer(database)


def check_writer(database: sqlite3.Connection, path: Path, mark: str) -> None:
    """Check, in the transaction of a write, that nobody else has begun to write since.

    The lock alone is not enough: it is a file that anyone may delete.

    Raises:
        JournalError: another batch has.
    """
    if _writer(database) != mark:
        raise JournalError(
            f"{path}: another batch has begun to write this journal, which its lock ({path.name}.lock) prevents unless "
            "it is deleted. The other batch goes on, and this one ends: leave that file in its place while a batch runs"
        )


def check(database: sqlite3.Connection, path: Path) -> None:
    """Check that a database is a journal of this version.

    Raises:
        JournalError: another version made it, or it is no journal.
    """
    if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise JournalError(f"{path}: is a database, but no journal of a batch")
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise JournalError(
            f"{path}: was written by another version of polyglot_async (format {version}, this one reads {VERSION})"
        )


def sqlite_errors(path: Path, action: Callable[[], T]) -> T:
    """Run `action` on a journal's file, with whatever SQLite raises as a `JournalError`."""
    try:
        return action()
    except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: what stands in it was written by something else
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_READONLY_DBMOVED:
            raise JournalError(f"{path}: the journal cannot be used: {error}") from error
        # SQLite compares the file at the path with the one that it has open, before each write.
        raise JournalError(
            f"{path}: this journal was moved, deleted or replaced while a batch was writing it, and only it knows what "
            "was sent. Put it back before the next run; if it is deleted, look up what was started in the account's "
            "list of tasks, and leave those files out"
        ) from error


def _writer(database: sqlite3.Connection) -> str:
    return str(database.execute("SELECT value FROM notes WHERE name = 'writer'").fetchone())


def _make_private(path: Path) -> None:
    """Create the file so that only its owner can read it: names and paths of recordings stand in it."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
