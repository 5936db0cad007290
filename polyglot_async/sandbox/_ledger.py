"""An append-only record of every request that reached the sandbox, so that a test can assert what really arrived."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One request.

    Attributes:
        number: 1 for the first since the ledger was opened or cleared.
        at: unix seconds when its head arrived.
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
        file_name: as the sender gave it.
        file_size: bytes of the file received whole.
        file_sha256: hex, of those bytes.
        task_id: the task that was started or asked for.
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
    file_name: str | None = None
    file_size: int | None = None
    file_sha256: str | None = None
    task_id: str | None = None
    fault: str | None = None
    complete: bool = False
    request_id: str | None = None


class Ledger:
    """The entries in the order in which the heads arrived; any thread may read.

    A request is in the ledger from the moment that its head arrives, and is final before the last byte of its answer
    leaves: whoever has read an answer finds its entry. Each entry is also appended to `file`, as a line of JSON, once
    final.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, LedgerEntry] = {}
        self._numbers = 0
        self._file: TextIO | None = file.open("a", encoding="utf-8")

    def entries(
        self, call: str | None = None, method: str | None = None, status: int | None = None, path: str | None = None
    ) -> list[LedgerEntry]:
        """The entries that match all that is given."""
        with self._lock:
            entries = list(self._entries.values())
        wanted = {"call": call, "method": method, "status": status, "path": path}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return [entry for entry in entries if all(getattr(entry, name) == wanted[name] for name in wanted)]

    def count(
        self, call: str | None = None, method: str | None = None, status: int | None = None, path: str | None = None
    ) -> int:
        """How many entries match all that is given."""
        return len(self.entries(call, method, status, path))

    def clear(self) -> None:
        """Forget the entries in memory (the file keeps them) and number from 1 again."""
        with self._lock:
            self._entries.clear()
            self._numbers = 0

    def open_entry(self, *, method: str, path: str, query: str, call: str, request_id: str) -> LedgerEntry:
        """Enter a request as its head arrives."""
        with self._lock:
            self._numbers += 1
            entry = LedgerEntry(self._numbers, time.time(), method, path, query, call, request_id=request_id)
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

    def close(self) -> None:
        """Close the file; the entries in memory stay readable."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
