"""Deduplication: which webhooks were handled already, so that a delivery that comes twice is handled once (A9).

A store has a key in one of three states: new, busy or done. A handler that fails releases the key, so that the
service's next attempt gets through.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
from anyio import to_thread

from .._arguments import check_count, check_path, check_seconds
from .._errors import ConfigurationError, as_configuration_error
from .._runtime import checked_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._runtime import Runtime

T = TypeVar("T")

_BUSY_SECONDS = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS polyglot_webhook_events (
    key TEXT PRIMARY KEY, done INTEGER NOT NULL, owner TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS polyglot_webhook_events_at ON polyglot_webhook_events (at)"


class DedupeState(Enum):
    """The state in which `claim` found a key."""

    NEW = "claimed by this call: confirm it when done, release it when not"
    BUSY = "claimed by another, and not confirmed yet"
    DONE = "confirmed before"


class DedupeStore(Protocol):
    """The interface of a store of handled events. Keys are ASCII text, one for each task and status.

    With Redis, for instance: `claim` is `SET key owner NX EX 60`, and on failure a `GET` tells BUSY from DONE;
    `confirm` is `SET key done EX <days>`; `release` deletes the key if it still holds the owner.
    """

    async def claim(self, key: str) -> DedupeState:
        """Claim a key, atomically: of concurrent calls, one returns NEW."""
        ...

    async def confirm(self, key: str) -> None:
        """Mark a claimed key as done."""
        ...

    async def release(self, key: str) -> None:
        """Release a claimed key: the event was not handled."""
        ...


class MemoryDedupeStore:
    """Deduplicates within this process: the latest `capacity` keys, about 2 MB for the 10,000 by default.

    Enough for one process; after a restart, what was handled before is handled again if it comes again.

    Raises:
        ConfigurationError: `capacity` is no whole number, or below 1.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        with as_configuration_error():
            check_count("capacity", capacity)
        self._capacity = capacity
        self._claimed: set[str] = set()
        self._done: dict[str, None] = {}
        self._lock = threading.Lock()

    async def claim(self, key: str) -> DedupeState:
        """Claim a key. See `DedupeStore`."""
        with self._lock:
            if key in self._done:
                self._remember(key)  # what keeps coming is kept longest
                return DedupeState.DONE
            if key in self._claimed:
                return DedupeState.BUSY
            self._claimed.add(key)
            return DedupeState.NEW

    async def confirm(self, key: str) -> None:
        """Mark the key as done."""
        with self._lock:
            self._claimed.discard(key)
            self._remember(key)

    async def release(self, key: str) -> None:
        """Release a claimed key."""
        with self._lock:
            self._claimed.discard(key)

    def _remember(self, key: str) -> None:
        self._done.pop(key, None)
        self._done[key] = None
        while len(self._done) > self._capacity:
            del self._done[next(iter(self._done))]


class SqliteDedupeStore:
    """Deduplicates in a SQLite file: survives a restart, and serves several processes of one machine.

    Each call opens the file in a worker thread and closes it again, so there is nothing to close in the end. The file
    may be shared with tables of your own.

    Args:
        path: the file; created if missing. Its folder must exist.
        keep_seconds: how long a key is kept after it was done, 90 days by default. A replay that is older gets through,
            so keep it long: a key takes some hundred bytes.
        claim_seconds: after this, a claim counts as that of a process that has died. It must be longer than your
            handler can take: another process may start on the same event then.
        runtime: the clock, for tests.

    Raises:
        ConfigurationError: `path` names no file, or a time is no number of seconds above 0.

    Its methods raise `sqlite3.Error` if the file cannot be used; the receiver then answers 503.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep_seconds: float = 90 * 86_400.0,
        claim_seconds: float = 60.0,
        runtime: Runtime | None = None,
    ) -> None:
        with as_configuration_error():
            check_path("path", path)
            check_seconds("keep_seconds", keep_seconds, above=True, needed=True)
            check_seconds("claim_seconds", claim_seconds, above=True, needed=True)
            runtime = checked_runtime(runtime)
        self._path = os.fspath(path)
        if self._path == ":memory:":
            raise ConfigurationError(f"path={path!r} is no file: to deduplicate in memory use MemoryDedupeStore")
        self._keep_seconds, self._claim_seconds = keep_seconds, claim_seconds
        self._now = runtime.unix_time
        self._owner = uuid.uuid4().hex

    async def claim(self, key: str) -> DedupeState:
        """Claim a key. See `DedupeStore`."""
        return await _in_thread(self._claim, key)

    async def confirm(self, key: str) -> None:
        """Mark the key as done; it is on the disk when this returns."""
        await _in_thread(self._confirm, key)

    async def release(self, key: str) -> None:
        """Release a claimed key."""
        await _in_thread(self._release, key)

    def _claim(self, key: str) -> DedupeState:
        def claim(database: sqlite3.Connection) -> DedupeState:
            now = self._now()
            row = database.execute("SELECT done, at FROM polyglot_webhook_events WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0]:
                return DedupeState.DONE
            # A claim from the future was made before the clock was set back, and must not block for ever.
            if row is not None and abs(now - row[1]) < self._claim_seconds:
                return DedupeState.BUSY
            self._write(database, key, done=0)
            return DedupeState.NEW

        return self._transact(claim)

    def _confirm(self, key: str) -> None:
        def confirm(database: sqlite3.Connection) -> None:
            self._write(database, key, done=1)
            forgotten = self._now() - self._keep_seconds
            database.execute("DELETE FROM polyglot_webhook_events WHERE at < ?", (forgotten,))

        self._transact(confirm)

    def _release(self, key: str) -> None:
        # Only our own: once the claim has expired, another process may hold it.
        query = "DELETE FROM polyglot_webhook_events WHERE key = ? AND done = 0 AND owner = ?"
        self._transact(lambda database: database.execute(query, (key, self._owner)))

    def _write(self, database: sqlite3.Connection, key: str, *, done: int) -> None:
        row = (key, done, self._owner, self._now())
        database.execute("INSERT OR REPLACE INTO polyglot_webhook_events VALUES (?, ?, ?, ?)", row)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as database:
            # The write lock is taken first, so that nothing comes between what is read and what is written.
            database.execute("BEGIN IMMEDIATE")
            database.execute(_TABLE)
            database.execute(_INDEX)
            result = work(database)
            database.execute("COMMIT")  # after an error closing rolls back
            return result


async def _in_thread(function: Callable[..., T], *args: Any) -> T:
    # Not with the default limiter: all of its threads may be taken by the handlers that wait for this.
    return await to_thread.run_sync(function, *args, limiter=anyio.CapacityLimiter(1))
