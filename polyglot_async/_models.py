"""The values that calls return: frozen, typed, and tolerant of what the service may add or change.

What the service sent beside the fields of a value, or in another type than theirs, is in its `extra`. Durations are
seconds, sizes bytes, times aware UTC.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs

from . import subtitles
from ._arguments import check_choice, check_path
from ._files import write_durably

_NOTHING: Mapping[str, Any] = {}


class TaskStatus(StrEnum):
    """Where a task stands (contract: "A task moves through ...").

    Known statuses are understood in any case and in other usual spellings: "COMPLETED", "done" and "success" are
    completed, "error" is failed, "canceled" is cancelled. Any other is kept as it came: `TaskStatus("paused")` behaves
    like a member, equals `"paused"` and is not final. So does "unknown", which is the status of a task without one.
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
        word = value.strip().lower()
        known = cls._value2member_map_.get(_SPELLINGS.get(word, word))
        if isinstance(known, cls):
            return known
        unknown = str.__new__(cls, value)
        unknown._name_ = value.upper()
        unknown._value_ = value
        return unknown

    @property
    def is_final(self) -> bool:
        """True for completed, failed and cancelled: the task will not change again."""
        return self in _FINAL

    @property
    def is_known(self) -> bool:
        """True for the five statuses that the service documents."""
        return self._value_ in type(self)._value2member_map_


_FINAL = frozenset({"completed", "failed", "cancelled"})
_SPELLINGS = {
    **dict.fromkeys(("complete", "done", "finished", "success", "succeeded", "successful"), "completed"),
    **dict.fromkeys(("error", "errored", "failure"), "failed"),
    "canceled": "cancelled",
}


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
        created_at: when the service accepted it, where it is in the answer.
        file_name: the media's name as uploaded, where it is in the answer.
        extra: whatever else the service sent, and what it sent in an unexpected type.
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
        text: the words.
        extra: whatever else the service sent, and what it sent in an unexpected type.
    """

    start: float
    end: float
    text: str
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)


@attrs.frozen(kw_only=True)
class Transcript:
    """The words of a recording (contract: "GET result").

    Attributes:
        task_id: the task's id.
        text: the whole transcript (the service's field `transcript`); empty for silence.
        translation: the text in the output language, or None.
        confidence: 0 to 1, or None.
        segments: the transcript cut in time, in order of their start. Segments without a text are left out, and are in
            `extra["segments"]`; a missing end is the start of the next segment.
        updated_at: when the service last changed it.
        extra: whatever else the service sent, and what it sent in an unexpected type.
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
        given: object = format
        known = given.lower() if isinstance(given, str) else given
        check_choice("format", known, _RENDERERS)
        return _RENDERERS[str(known)](self)

    def save(self, path: str | os.PathLike[str], *, format: str | None = None) -> Path:  # noqa: A002
        """Write to `path` as UTF-8, in the format of its suffix (.srt, .vtt, .txt, .json) or in `format`.

        The file appears whole or not at all: it is written beside its place and then renamed, and is on the disk when
        this returns. A link is followed, and a file that is replaced keeps its mode. Returns the path.

        Raises:
            ValueError: no such format, or it needs times and the transcript has no segments.
            OSError: the file cannot be written.
        """
        check_path("path", path)
        path = Path(path)
        text = self.render(format or path.suffix.removeprefix(".") or "txt")
        # A lone surrogate can come out of JSON and cannot be encoded.
        write_durably(path, text.encode("utf-8", "replace"))
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
        "segments": [
            _with_extra({"start": s.start, "end": s.end, "text": s.text}, s.extra) for s in transcript.segments
        ],
        "updated_at": transcript.updated_at.isoformat() if transcript.updated_at else None,
    }
    value = _with_extra(value, transcript.extra)
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    except (ValueError, RecursionError):
        return json.dumps(_as_json(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _with_extra(value: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Add what else the service sent; what it sent in an odd type must not replace what was read of it."""
    return {**value, **extra, **value} if extra else value


def _as_json(value: Any, depth: int = 0) -> Any:
    """Replace what JSON cannot hold, or not in any reader's depth, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (Mapping, list, tuple)) and depth == _MOST_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {name: _as_json(item, depth + 1) for name, item in value.items()}
    return [_as_json(item, depth + 1) for item in value] if isinstance(value, (list, tuple)) else value


_MOST_DEPTH = 64


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
    """What the service answered about a media URL.

    Attributes:
        url: the URL that was checked.
        valid: whether the service can use it.
        reason: why not, where the service names a reason.
        extra: the answer's JSON as it came.
    """

    url: str
    valid: bool
    reason: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=_NOTHING, repr=False, hash=False)


def _positive(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (_is_number(value) and value > 0 and math.isfinite(value)):
        raise ValueError(f"{attribute.name}={value!r} is not a number above 0 (None: unknown or unlimited)")


def _positive_whole(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (_is_number(value) and value >= 1 and value == value // 1):
        raise ValueError(f"{attribute.name}={value!r} is not a whole number of at least 1 (None: unknown or unlimited)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count() -> Any:
    return attrs.field(default=None, validator=_positive_whole)


@attrs.frozen(kw_only=True)
class Limits:
    """What an account may do (contract: "Limits"). None means unknown or unlimited.

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
        raw: the limits as the service sent them.

    Raises:
        ValueError: a limit is not a number above 0.
    """

    plan: str | None = None
    requests_per_window: int | None = _count()
    uploads_per_window: int | None = _count()
    window_seconds: float = attrs.field(default=60.0, validator=_positive)
    requests_per_day: int | None = _count()
    requests_per_month: int | None = _count()
    max_concurrent_tasks: int | None = _count()
    max_upload_bytes: int | None = _count()
    max_audio_seconds: float | None = attrs.field(default=None, validator=_positive)
    not_understood: tuple[str, ...] = ()
    raw: Mapping[str, Any] | list[Any] = attrs.field(default=_NOTHING, repr=False, eq=False)


@attrs.frozen(kw_only=True)
class TaskPage:
    """One page of the list of tasks.

    Attributes:
        items: the tasks, newest first.
        total: how many there are in all, where the answer has it.
        next_cursor: the page that comes next, where the answer has it: a URL or an opaque word.
        received: entries on the page as the service sent it. More than `items` if some of them are no tasks.
    """

    items: tuple[Task, ...]
    total: int | None = None
    next_cursor: str | None = None
    received: int = attrs.field(default=attrs.Factory(lambda page: len(page.items), takes_self=True), repr=False)


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
        extra: whatever else the service sent, and what it sent in an unexpected type.
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
