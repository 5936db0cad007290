"""The SDK's values for people and for scripts."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from .._models import Transcript
from ._screen import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import Limits, Task


def as_json(value: Any) -> dict[str, Any]:
    """Give the service's own field names, those that the SDK does not know included."""
    if isinstance(value, Transcript):
        document: dict[str, Any] = json.loads(value.render("json"))
        return document
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    extra = fields.pop("extra", {})
    return {**{name: _plain(field) for name, field in fields.items()}, **extra}


def languages(task: Task) -> str:
    """Render "en" or "en -> ru"."""
    spoken = task.input_language or ""
    return f"{spoken} -> {task.output_language}" if task.output_language else spoken


def task_facts(task: Task) -> Iterator[tuple[str, str]]:
    """Give a task's known fields as names and words, then what the service sent beside them."""
    for name, value in as_json(task).items():
        if value is None:
            continue
        if name == "audio_duration_seconds" and isinstance(value, int | float):
            yield "audio", seconds(value)
        else:
            yield name.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def limit_facts(limits: Limits) -> Iterator[tuple[str, str]]:
    """Give the limits as names and words."""
    window = "minute" if limits.window_seconds == 60 else f"{limits.window_seconds:g} s"  # noqa: PLR2004 - a minute
    size = limits.max_upload_bytes
    yield "plan", limits.plan or "unknown"
    yield f"requests per {window}", _number(limits.requests_per_window)
    yield f"uploads per {window}", _number(limits.uploads_per_window)
    yield "requests per day (UTC)", _number(limits.requests_per_day)
    yield "requests per month (UTC)", _number(limits.requests_per_month)
    yield "tasks at once", _number(limits.max_concurrent_tasks)
    yield "largest upload", "not stated" if size is None else f"{size / 2**20:,.0f} MiB"
    yield "longest audio", seconds(limits.max_audio_seconds) or "not stated"
    if limits.not_understood:
        yield "not understood", ", ".join(limits.not_understood)


def timed_lines(transcript: Transcript) -> Iterator[str]:
    """Render "  0.2 -   3.0  he was not ...", a line a segment; the text alone where there are no times."""
    if not transcript.segments:
        yield transcript.text.strip()
        return
    width = len(f"{transcript.segments[-1].end:.1f}")
    for part in transcript.segments:
        yield f"{part.start:>{width}.1f} - {part.end:>{width}.1f}  {' '.join(part.text.split())}"


def _number(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
