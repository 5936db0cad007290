"""Text for people and scripts: values of the SDK as fields, and text that is safe to show.

Nothing reaches a screen or a log with a credential, with the secret parts of a URL, or with control characters.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from .._api.urls import bare_url
from .._models import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import Limits, Task

_KEY = re.compile(r"\bsk_[\w-]{4,}")
_URL = re.compile(r"\bhttps?://[^\s'\"<>]+", re.IGNORECASE)
# Terminal escapes, C1 codes, and the bidirectional overrides that make a name look like another one. Line feeds and
# tabs may stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def strip_control(text: str) -> str:
    """Replace the characters that could change a terminal or the order of its text."""
    return _CONTROL.sub(_REPLACEMENT, text)


def single_line(text: str) -> str:
    """Return the text on one line, without tabs and control characters."""
    return strip_control(" ".join(text.split()))


def redact_urls(text: str) -> str:
    """Remove user, password, query and fragment of each http(s) URL in a text: any of them may hold a secret."""
    return _URL.sub(_redact_match, text)


def scrub(text: str, secret: str | None = None) -> str:
    """Return the text on one line, without control characters, secrets of URLs and whatever looks like a credential."""
    for value in (secret, os.environ.get("POLYGLOT_API_KEY")):
        if value and value.strip():
            text = text.replace(value, "***").replace(value.strip(), "***")
    return single_line(_KEY.sub("sk_***", redact_urls(text)))


def format_duration(seconds: float | None) -> str:
    """Return "1:02:03", "2:03" or "2.9 s"; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_languages(task: Task) -> str:
    """Return "en" or "en -> ru"."""
    spoken = task.input_language or ""
    return f"{spoken} -> {task.output_language}" if task.output_language else spoken


def to_json(value: Any) -> dict[str, Any]:
    """Return a value of the SDK under the service's own field names, unknown fields included."""
    if isinstance(value, Transcript):
        document: dict[str, Any] = json.loads(value.render("json"))
        return document
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    extra = fields.pop("extra", {})
    # What was kept as it came must not replace what was decoded.
    unknown = {name: value for name, value in extra.items() if name not in fields}
    return {name: _plain(field) for name, field in fields.items()} | unknown


def task_fields(task: Task) -> Iterator[tuple[str, str]]:
    """Yield names and values of a task, leaving out what is unknown."""
    for name, value in to_json(task).items():
        if value is None:
            continue
        if name == "audio_duration_seconds" and isinstance(value, int | float):
            yield "audio", format_duration(value)
        else:
            yield name.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def limits_fields(limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield names and values of an account's limits."""
    window = "minute" if limits.window_seconds == 60 else f"{limits.window_seconds:g} s"  # noqa: PLR2004 - a minute
    size = limits.max_upload_bytes
    yield "plan", limits.plan or "unknown"
    yield f"requests per {window}", _number(limits.requests_per_window)
    yield f"uploads per {window}", _number(limits.uploads_per_window)
    yield "requests per day (UTC)", _number(limits.requests_per_day)
    yield "requests per month (UTC)", _number(limits.requests_per_month)
    yield "concurrent tasks", _number(limits.max_concurrent_tasks)
    yield "largest upload", "not stated" if size is None else f"{size / 2**20:,.0f} MiB"
    yield "longest audio", format_duration(limits.max_audio_seconds) or "not stated"
    if limits.not_understood:
        yield "not understood", ", ".join(limits.not_understood)


def timed_lines(transcript: Transcript) -> Iterator[str]:
    """Yield a line a segment, "  0.2 -   3.0  he was not ..."; the text alone where there are no times."""
    if not transcript.segments:
        yield transcript.text.strip()
        return
    width = len(f"{transcript.segments[-1].end:.1f}")
    for part in transcript.segments:
        yield f"{part.start:>{width}.1f} - {part.end:>{width}.1f}  {' '.join(part.text.split())}"


def _redact_match(match: re.Match[str]) -> str:
    url = match[0]
    bare = url.rstrip(":,.;)")  # punctuation of the sentence around it
    return bare_url(bare) + url[len(bare) :]


def _number(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
