"""Transcription tasks: what is known of each, kept in the database."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._database import Database

ACTIVE = ("queued", "processing")
FINAL = ("completed", "failed", "cancelled")
PREVIEW_CHARACTERS = 100


def iso(seconds: float) -> str:
    """Unix seconds as the contract writes times: `2026-05-24T12:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Task:
    """One transcription; times are unix seconds, `media` is the sandbox's own name of the file, never the sender's."""

    user: str
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
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
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
        """The answer of `GET /transcriptions/{task_id}`."""
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
        """The answer of `GET /transcriptions/{task_id}/result`."""
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

    def save(self, task: Task) -> None:
        """Insert or replace a task."""
        self._database.run(
            "INSERT INTO tasks (task_id, user, status, document) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, document = excluded.document",
            (task.task_id, task.user, task.status, json.dumps(asdict(task), ensure_ascii=False)),
        )

    def get(self, task_id: str, user: str | None = None) -> Task | None:
        """A task; None if there is none or, with `user` given, if it is another user's."""
        rows = self._database.run("SELECT document FROM tasks WHERE task_id = ?", (task_id,))
        task = Task(**json.loads(rows[0][0])) if rows else None
        return None if task is None or (user is not None and task.user != user) else task

    def page(self, user: str, *, status: str | None, limit: int, offset: int) -> list[Task]:
        """Tasks of a user, newest first."""
        where, parameters = _where(user, status)
        rows = self._database.run(
            f"SELECT document FROM tasks WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?",  # noqa: S608
            (*parameters, limit, offset),
        )
        return [Task(**json.loads(document)) for (document,) in rows]

    def count(self, user: str, *, status: str | None = None) -> int:
        """How many tasks a user has."""
        where, parameters = _where(user, status)
        return int(self._database.run(f"SELECT count(*) FROM tasks WHERE {where}", parameters)[0][0])  # noqa: S608

    def active(self, user: str) -> int:
        """How many tasks of a user are queued or processing."""
        return self.count(user, status="queued") + self.count(user, status="processing")

    def unfinished(self) -> list[Task]:
        """Everybody's queued and processing tasks, oldest first: what a restart goes on with."""
        rows = self._database.run("SELECT document FROM tasks WHERE status IN ('queued', 'processing') ORDER BY number")
        return [Task(**json.loads(document)) for (document,) in rows]

    def totals(self) -> dict[str, int]:
        """How many tasks there are in each status."""
        return dict(self._database.run("SELECT status, count(*) FROM tasks GROUP BY status"))


def _where(user: str, status: str | None) -> tuple[str, tuple[str, ...]]:
    # Two statements instead of one with an optional condition: each of them can use an index.
    return ("user = ?", (user,)) if status is None else ("user = ? AND status = ?", (user, status))
