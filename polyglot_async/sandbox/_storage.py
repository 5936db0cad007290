"""The sandbox's state in one SQLite file, so that it survives a restart: tasks, keys, counters.

Writes are single small statements in WAL mode without fsync: microseconds each, safe against the death of the process
(not of the machine, which a sandbox need not survive). They therefore run where they are called, on the server's loop
or on the caller's thread, under one lock.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
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


ACTIVE = ("queued", "processing")
FINAL = ("completed", "failed", "cancelled")
PREVIEW_CHARACTERS = 100


def iso(seconds: float) -> str:
    """Return Unix seconds as the contract writes times: `2026-05-24T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class StoredTask:
    """One transcription; times are unix seconds, `media` is the sandbox's own name of the file, never the sender's."""

    user: str
    created_at: float
    updated_at: float
    task_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    key_id: str | None = None
    status: str = "queued"
    model: str = "fast"
    input_language: str | None = "en"
    output_language: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    file_name: str = "file"
    content_type: str = "application/octet-stream"
    source_url: str | None = None
    media: str | None = None
    media_size: int = 0
    media_sha256: str | None = None
    audio_seconds: float | None = None
    confidence: float | None = None
    transcript: str | None = None
    translation: str | None = None
    segments: list[dict[str, Any]] = field(default_factory=list)
    failure_reason: str | None = None

    @property
    def preview(self) -> str | None:
        """The beginning of the transcript."""
        if self.transcript is None or len(self.transcript) <= PREVIEW_CHARACTERS:
            return self.transcript
        return self.transcript[: PREVIEW_CHARACTERS - 3] + "..."

    def public(self) -> dict[str, Any]:
        """Return the answer of `GET /transcriptions/{task_id}`."""
        document: dict[str, Any] = {
            "task_id": self.task_id,
            "status": self.status,
            "model": self.model,
            "input_language": self.input_language,
            "output_language": self.output_language,
            "audio_duration_seconds": self.audio_seconds,
            "confidence": self.confidence,
            "transcript_preview": self.preview,
            "failure_reason": self.failure_reason,
            "file_name": self.file_name,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }
        if self.extra:
            document["extra"] = self.extra
        return document

    def result(self) -> dict[str, Any]:
        """Return the answer of `GET /transcriptions/{task_id}/result`."""
        return {
            "task_id": self.task_id,
            "transcript": self.transcript,
            "translation": self.translation,
            "confidence": self.confidence,
            "segments": self.segments,
            "updated_at": iso(self.updated_at),
        }


class TaskStore:
    """The tasks in the database; any thread may call it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, task: StoredTask) -> None:
        """Insert or replace a task."""
        self._database.run(
            "INSERT INTO tasks (task_id, user, status, document) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, document = excluded.document",
            (task.task_id, task.user, task.status, json.dumps(asdict(task), ensure_ascii=False)),
        )

    def get(self, task_id: str, user: str | None = None) -> StoredTask | None:
        """Return a task; None if there is none or, with `user` given, if it is another user's."""
        rows = self._database.run("SELECT document FROM tasks WHERE task_id = ?", (task_id,))
        task = StoredTask(**json.loads(rows[0][0])) if rows else None
        return None if task is None or (user is not None and task.user != user) else task

    def page(
        self, user: str, *, status: str | None, limit: int, offset: int, created_before: float | None = None
    ) -> list[StoredTask]:
        """Return tasks of a user, newest first."""
        where, parameters = _where(user, status, created_before)
        rows = self._database.run(
            f"SELECT document FROM tasks WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*parameters, limit, offset),
        )
        return [StoredTask(**json.loads(document)) for (document,) in rows]

    def count(self, user: str, *, status: str | None = None, created_before: float | None = None) -> int:
        """Return how many tasks a user has."""
        where, parameters = _where(user, status, created_before)
        return int(self._database.run(f"SELECT count(*) FROM tasks WHERE {where}", parameters)[0][0])  # noqa: S608

    def active(self, user: str) -> int:
        """Return how many tasks of a user are queued or processing."""
        return self.count(user, status="queued") + self.count(user, status="processing")

    def unfinished(self) -> list[StoredTask]:
        """Return everybody's queued and processing tasks, oldest first: what a restart goes on with."""
        rows = self._database.run("SELECT document FROM tasks WHERE status IN ('queued', 'processing') ORDER BY number")
        return [StoredTask(**json.loads(document)) for (document,) in rows]

    def totals(self) -> dict[str, int]:
        """Return how many tasks there are in each status."""
        return dict(self._database.run("SELECT status, count(*) FROM tasks GROUP BY status"))


def _where(user: str, status: str | None, created_before: float | None) -> tuple[str, tuple[str | float, ...]]:
    # Statements that differ instead of one with optional conditions: each of them can use an index.
    conditions: dict[str, str | float | None] = {
        "user = ?": user,
        "status = ?": status,
        "json_extract(document, '$.created_at') <= ?": created_before,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    return " AND ".join(given), tuple(given.values())
