"""The values that calls give back: frozen, typed, and tolerant of what the service may add (A14).

Fields that the contract does not name are kept on `extra`. Durations are seconds, sizes bytes, times aware UTC.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from . import subtitles

_NOTHING: Mapping[str, Any] = {}


class TaskStatus(StrEnum):
    """Where a task stands (contract: "A task moves through ...").

    A status that the contract does not know is kept as it came: `TaskStatus("paused")` is a member-like value that
    equals `"paused"` and is not final (A14).
    """

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @classmethod
    def _missing_(cls, value: object) -> TaskStatus | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value.upper()
        unknown._value_ = value
        return unknown

    @property
    def is_final(self) -> bool:
        """True for completed, failed and cancelled: the task will not change again."""
        return self in _FINAL


_FINAL = frozenset({"completed", "failed", "cancelled"})


@attrs.frozen(kw_only=True)
class Task:
    """One transcription task (contract: "GET task").

    Attributes:
        task_id: the service's id.
        status: see `TaskStatus`.
        model: e.g. "fast".
        input_language: what is spoken, e.g. "en".
        output_language: what it is translated to, or None.
        audio_duration_seconds: length of the audio, once known.
        confidence: 0 to 1, once known.
        transcript_preview: the first words, once known.
        failure_reason: why it failed, if it did.
        created_at: when the service took it, where the service says so (A17).
        file_name: the media's name as uploaded, where the service says so (A17).
        extra: whatever else the service sent.
    """

    task_id: str
    status: TaskStatus
    model: str | None = None
    input_language: str | None = None
    output_language: str | None = None
    audio_duration_seconds: float | None = None
    confidence: float | None = None
    transcript_preview: str | None = None
    failure_reason: str | None = None
    created_at: datetime | None = None
    file_name: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)


@attrs.frozen
class Segment:
    """A stretch of speech (contract: "GET result").

    Attributes:
        start: seconds from the start of the media.
        end: seconds from the start of the media.
        text: what is said.
        extra: whatever else the service sent.
    """

    start: float
    end: float
    text: str
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)


@attrs.frozen(kw_only=True)
class Transcript:
    """What a recording says (contract: "GET result").

    Attributes:
        task_id: the task's id.
        text: the whole transcript (the service's field `transcript`).
        translation: the text in the output language, or None.
        confidence: 0 to 1, or None.
        segments: the transcript cut in time.
        updated_at: when the service last changed it.
        extra: whatever else the service sent.
    """

    task_id: str
    text: str
    translation: str | None = None
    confidence: float | None = None
    segments: tuple[Segment, ...] = attrs.field(default=(), repr=lambda segments: f"<{len(segments)}>")
    updated_at: datetime | None = None
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)

    def render(self, format: str) -> str:  # noqa: A002 - the word that people look for
        """Render as "srt", "vtt", "txt" or "json", without a request.

        Raises:
            ValueError: the format is not one of these, or it needs times and the transcript has no segments.
        """
        renderer = _RENDERERS.get(format.lower())
        if renderer is None:
            raise ValueError(f"cannot render {format!r}: choose one of {', '.join(_RENDERERS)}")
        return renderer(self)

    def save(self, path: str | os.PathLike[str], *, format: str | None = None) -> Path:  # noqa: A002
        """Write to `path` as UTF-8, in the format of its suffix (.srt, .vtt, .txt, .json) or in `format`.

        The file appears whole or not at all: it is written beside its place and then renamed. Returns the path.

        Raises:
            ValueError: no such format, or it needs times and the transcript has no segments.
            OSError: the file cannot be written.
        """
        path = Path(path)
        text = self.render(format or path.suffix.removeprefix(".") or "txt")
        beside = path.with_name(f".{os.urandom(8).hex()}.tmp")
        try:
            # A lone surrogate can come out of JSON and cannot be encoded.
            beside.write_text(text, encoding="utf-8", errors="replace", newline="\n")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return path


def _timed(transcript: Transcript) -> tuple[Segment, ...]:
    if transcript.text.strip() and not transcript.segments:
        raise ValueError(f"transcript of task {transcript.task_id} has no segments, so there are no times to write")
    return transcript.segments


def _to_json(transcript: Transcript) -> str:
    """Write the service's own field names, so that the file reads like an answer of `/result`."""
    value = {
        "task_id": transcript.task_id,
        "transcript": transcript.text,
        "translation": transcript.translation,
        "confidence": transcript.confidence,
        "segments": [{"start": s.start, "end": s.end, "text": s.text, **s.extra} for s in transcript.segments],
        "updated_at": transcript.updated_at.isoformat() if transcript.updated_at else None,
        **transcript.extra,
    }
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _to_txt(transcript: Transcript) -> str:
    return subtitles.to_txt(transcript.segments) or f"{transcript.text.strip()}\n"


_RENDERERS = {
    "srt": lambda transcript: subtitles.to_srt(_timed(transcript)),
    "vtt": lambda transcript: subtitles.to_vtt(_timed(transcript)),
    "txt": _to_txt,
    "json": _to_json,
}


@attrs.frozen(kw_only=True)
class UrlValidation:
    """What the service thinks of a media URL (A3).

    Attributes:
        url: the URL that was asked about.
        valid: whether the service can use it.
        reason: why not, where it said so.
        extra: the answer's JSON as it came.
    """

    url: str
    valid: bool
    reason: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)


@attrs.frozen(kw_only=True)
class Limits:
    """What an account may do (contract: "Limits"; shape: A10). None means unknown or unlimited.

    Attributes:
        plan: the plan's name.
        requests_per_window: requests of any kind per `window_seconds`, per user ("burst").
        uploads_per_window: calls that start work per `window_seconds`, per user.
        window_seconds: length of the burst window.
        requests_per_day: requests made with `sk_` keys per UTC calendar day.
        requests_per_month: the same per UTC calendar month.
        max_concurrent_tasks: tasks that may be unfinished at once.
        max_upload_bytes: size of one upload.
        max_audio_seconds: length of one audio.
        not_understood: the names of what the service sent and this SDK could not read.
        raw: the document as it came.
    """

    plan: str | None = None
    requests_per_window: int | None = None
    uploads_per_window: int | None = None
    window_seconds: float = 60.0
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    max_concurrent_tasks: int | None = None
    max_upload_bytes: int | None = None
    max_audio_seconds: float | None = None
    not_understood: tuple[str, ...] = ()
    raw: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, eq=False)


@attrs.frozen(kw_only=True)
class TaskPage:
    """One page of the list of tasks (A4).

    Attributes:
        items: the tasks, newest first.
        total: how many there are in all, where the service says so.
        next_cursor: what to ask for next, where the service says so: a URL or an opaque word.
    """

    items: tuple[Task, ...]
    total: int | None = None
    next_cursor: str | None = None


@attrs.frozen(kw_only=True)
class WebhookEvent:
    """What the service sends when a task reaches a final status (contract: "Webhook").

    Attributes:
        event: e.g. "transcription.completed".
        task_id: the task's id.
        status: the final status.
        model: e.g. "fast".
        failure_reason: why it failed, if it did.
        has_transcript: whether `/result` has a transcript.
        has_translation: whether `/result` has a translation.
        transcript_preview: the first words.
        extra: whatever else the service sent.
    """

    event: str
    task_id: str
    status: TaskStatus
    model: str | None = None
    failure_reason: str | None = None
    has_transcript: bool = False
    has_translation: bool = False
    transcript_preview: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)
