"""Which webhooks were handled already: what makes a delivery that comes twice be handled once (A9).

A store knows three things of a key: nobody had it, somebody is at it, or it is done. A handler that fails gives the key
back, so that the vendor's next attempt gets through.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
from anyio import to_thread

from .._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_BUSY_SECONDS = 5.0
_TABLE = """
CREATE TABLE IF NOT EXISTS polyglot_webhooks_seen (
    key TEXT PRIMARY KEY, done INTEGER NOT NULL, owner TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS polyglot_webhooks_seen_at ON polyglot_webhooks_seen (at)"


class Claim(Enum):
    """What a store says to one who asks for a key."""

    NEW = "it is yours: confirm it when done, release it when not"
    BUSY = "another is at it"
    DONE = "it was done before"


class SeenStore(Protocol):
    """Where a receiver remembers what it has handled. Keys are ASCII text, one for each task and status.

    With Redis, for instance: `claim` is `SET key owner NX EX 60`, and on failure a `GET` tells BUSY from DONE;
    `confirm` is `SET key done EX <days>`; `release` deletes the key if it still holds the owner.
    """

    async def claim(self, key: str) -> Claim:
        """Take the key, atomically: of many who ask at once, one gets NEW."""
        ...

    async def confirm(self, key: str) -> None:
        """Mark a claimed key as done."""
        ...

    async def release(self, key: str) -> None:
        """Give a claimed key back: it was not done."""
        ...


class MemorySeenStore:
    """Remembers in this process, the latest `capacity` keys: about 2 MB for the 10,000 by default.

    Enough for one process; after a restart what was handled before is handled again if it comes again.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ConfigurationError("a store of what was seen needs room for at least one key")
        self._capacity = capacity
        self._claimed: set[str] = set()
        self._done: dict[str, None] = {}
        self._lock = threading.Lock()

    async def claim(self, key: str) -> Claim:
        """Take the key. See `SeenStore`."""
        with self._lock:
            if key in self._done:
                self._remember(key)  # what keeps coming is kept longest
                return Claim.DONE
            if key in self._claimed:
                return Claim.BUSY
            self._claimed.add(key)
            return Claim.NEW

    async def confirm(self, key: str) -> None:
        """Mark the key as done."""
        with self._lock:
            self._claimed.discard(key)
            self._remember(key)

    async def release(self, key: str) -> None:
        """Give the key back."""
        with self._lock:
            self._claimed.discard(key)

    def _remember(self, key: str) -> None:
        self._done.pop(key, None)
        self._done[key] = None
        while len(self._done) > self._capacity:
            del self._done[next(iter(self._done))]


class SqliteSeenStore:
    """Remembers in a SQLite file: survives a restart, and serves several processes of one machine.

    Each call opens the file in a worker thread and closes it again, so there is nothing to close in the end. The file
    may be shared with tables of your own.

    Args:
        path: the file; made if missing. Its folder must exist.
        keep_seconds: how long a key is remembered after it was done, 90 days by default. A replay that is older gets
            through, so keep it long: a key takes some hundred bytes.
        claim_seconds: after this a claim counts as that of a process that has died. It must be longer than your
            handler can take: another process may start on the same event then.
        clock: gives Unix seconds, for tests.

    Its methods raise `sqlite3.Error` if the file cannot be used; the receiver then answers 503.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keep_seconds: float = 90 * 86_400.0,
        claim_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = os.fspath(path)
        if not self._path or self._path == ":memory:":
            raise ConfigurationError("SqliteSeenStore needs a file; to remember in memory use MemorySeenStore")
        self._keep_seconds, self._claim_seconds, self._clock = keep_seconds, claim_seconds, clock
        self._owner = uuid.uuid4().hex

    async def claim(self, key: str) -> Claim:
        """Take the key. See `SeenStore`."""
        return await _in_thread(self._claim, key)

    async def confirm(self, key: str) -> None:
        """Mark the key as done; it is on the disk when this returns."""
        await _in_thread(self._confirm, key)

    async def release(self, key: str) -> None:
        """Give the key back."""
        await _in_thread(self._release, key)

    def _claim(self, key: str) -> Claim:
        def claim(database: sqlite3.Connection) -> Claim:
            now = self._clock()
            row = database.execute("SELECT done, at FROM polyglot_webhooks_seen WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0]:
                return Claim.DONE
            # A claim from the future is one from before the clock was set back: it cannot be left to block for ever.
            if row is not None and abs(now - row[1]) < self._claim_seconds:
                return Claim.BUSY
            self._write(database, key, done=0)
            return Claim.NEW

        return self._transact(claim)

    def _confirm(self, key: str) -> None:
        def confirm(database: sqlite3.Connection) -> None:
            self._write(database, key, done=1)
            forgotten = self._clock() - self._keep_seconds
            database.execute("DELETE FROM polyglot_webhooks_seen WHERE at < ?", (forgotten,))

        self._transact(confirm)

    def _release(self, key: str) -> None:
        # Only our own: if the claim has expired meanwhile, it is another's now.
        query = "DELETE FROM polyglot_webhooks_seen WHERE key = ? AND done = 0 AND owner = ?"
        self._transact(lambda database: database.execute(query, (key, self._owner)))

    def _write(self, database: sqlite3.Connection, key: str, *, done: int) -> None:
        row = (key, done, self._owner, self._clock())
        database.execute("INSERT OR REPLACE INTO polyglot_webhooks_seen VALUES (?, ?, ?, ?)", row)

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
    # Not among the default limiter's threads: all of them may be taken by the handlers that wait for this.
    return await to_thread.run_sync(function, *args, limiter=anyio.CapacityLimiter(1))
