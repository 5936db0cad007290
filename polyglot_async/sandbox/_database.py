"""The sandbox's state in one SQLite file, so that it survives a restart.

Writes are single small statements in WAL mode without fsync: microseconds each, safe against the death of the process
(not of the machine, which a sandbox need not survive). They therefore run where they are called, on the server's loop
or on the caller's thread, under one lock.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    key_id TEXT PRIMARY KEY, secret_key TEXT UNIQUE NOT NULL, webhook_secret TEXT NOT NULL, user TEXT NOT NULL,
    expires_at REAL NOT NULL, webhook_url TEXT);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (user TEXT, period TEXT, requests INTEGER, PRIMARY KEY (user, period));
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT UNIQUE NOT NULL, user TEXT NOT NULL, status TEXT NOT NULL,
    document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_by_user ON tasks (user, number);
CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks (user, status, number);
"""


class Database:
    """One connection that any thread may use; `folder` is owned exclusively while it is open."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            folder / "state.sqlite3", isolation_level=None, check_same_thread=False, timeout=0.5
        )
        try:
            # An exclusive lock keeps a second sandbox from running the same tasks out of the same folder.
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")
            self._connection.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            self._connection.close()
            raise RuntimeError(f"{folder} cannot be opened, is another sandbox using it? ({error})") from error

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement and return its rows."""
        with self._lock:
            return self._connection.execute(statement, parameters).fetchall()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._connection.close()
