"""An append-only record of every request that reached the sandbox, so that a test can assert what really arrived."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One request.

    Attributes:
        number: 1 for the first since the sandbox was made or the ledger was cleared.
        at: Unix seconds when its head arrived.
        method: as sent.
        path: without the query, percent-decoded.
        query: as sent.
        call: upload, from_url, validate_url, list, get, result, download, source, convert_audio, documentation or
            other.
        user: whose credential it carried; None if it was refused or there was none.
        credential: "key", "token" or None; never the secret.
        status: the one that was sent; None while unanswered or if the connection was cut before.
        bytes_in: bytes of the request's body that the sandbox read.
        bytes_out: bytes of the answer's body.
        body_complete: whether the request's body arrived whole.
        file_name: as the sender gave it.
        file_size: bytes of the file received whole.
        file_sha256: hex, of those bytes.
        source_url: the media URL that it named.
        task_id: the task that was started or asked for.
        started: whether it started a task, whatever was answered.
        fault: the kinds of the faults that hit it, joined by "+".
        complete: whether the answer was sent whole.
        request_id: as answered in X-Request-Id.
    """

    number: int
    at: float
    method: str
    path: str
    query: str
    call: str
    user: str | None = None
    credential: str | None = None
    status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    body_complete: bool = False
    file_name: str | None = None
    file_size: int | None = None
    file_sha256: str | None = None
    source_url: str | None = None
    task_id: str | None = None
    started: bool = False
    fault: str | None = None
    complete: bool = False
    request_id: str | None = None


class Ledger:
    """The entries in the order in which the heads arrived; any thread may read.

    A request is in the ledger from the moment that its head arrives, and is final before the last byte of its answer
    leaves: whoever has read an answer finds its entry. While the sandbox runs, each entry is also appended to
    `ledger.jsonl` in its folder, as a line of JSON, once final. The entries in memory outlive a stop and a start of
    the same Sandbox.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries: dict[int, LedgerEntry] = {}
        self._numbers = 0
        self._file: TextIO | None = None

    def entries(
        self, call: str | None = None, method: str | None = None, status: int | None = None, path: str | None = None
    ) -> list[LedgerEntry]:
        """Return the entries that match all that is given."""
        with self._lock:
            entries = list(self._entries.values())
        wanted = {"call": call, "method": method, "status": status, "path": path}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return [entry for entry in entries if all(getattr(entry, name) == wanted[name] for name in wanted)]

    def count(
        self, call: str | None = None, method: str | None = None, status: int | None = None, path: str | None = None
    ) -> int:
        """Return how many entries match all that is given."""
        return len(self.entries(call, method, status, path))

    def starts(self) -> dict[str, int]:
        """Return how often work was started for each medium: by the SHA-256 (hex) of its bytes, or by its URL.

        The key is "" for what was accepted before its body was whole. Where no value is above 1, nothing was paid for
        twice.
        """
        media = (entry.file_sha256 or entry.source_url or "" for entry in self.entries() if entry.started)
        return dict(Counter(media))

    def bodies(self, call: str | None = None) -> int:
        """Return how many requests' bodies arrived whole; a request without a body has none."""
        return sum(entry.body_complete and entry.bytes_in > 0 for entry in self.entries(call))

    def clear(self) -> None:
        """Remove the entries in memory (the file keeps them) and number from 1 again."""
        with self._lock:
            self._entries.clear()
            self._numbers = 0

    def open_entry(self, *, method: str, path: str, query: str, call: str, request_id: str) -> LedgerEntry:
        """Enter a request as its head arrives."""
        with self._lock:
            self._numbers += 1
            entry = LedgerEntry(self._numbers, self._now(), method, path, query, call, request_id=request_id)
            self._entries[entry.number] = entry
        return entry

    def update(self, entry: LedgerEntry, **changes: Any) -> LedgerEntry:
        """Replace an entry by itself with `changes`."""
        changed = replace(entry, **changes)
        with self._lock:
            # After clear() a late update of an old entry must not come back under a number given anew.
            current = self._entries.get(entry.number)
            if current is not None and current.request_id == entry.request_id:
                self._entries[entry.number] = changed
        return changed

    def seal(self, entry: LedgerEntry) -> None:
        """Append a final entry to the file."""
        with self._lock:
            if self._file is not None:
                self._file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
                self._file.flush()

    def open(self, file: Path) -> None:
        """Append to this file from now on."""
        with self._lock:
            self._file = file.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file; the entries in memory stay readable."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
