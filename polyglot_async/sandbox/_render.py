"""The files of `GET /transcriptions/{task_id}/downloads/{kind}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._tasks import Task


def _clock(seconds: float, comma: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{comma}{milliseconds % 1000:03}"


def _cue(segment: dict[str, Any], comma: str) -> str:
    return f"{_clock(segment['start'], comma)} --> {_clock(segment['end'], comma)}\n{segment['text']}\n"


def _srt(task: Task) -> str:
    return "\n".join(f"{number}\n{_cue(segment, ',')}" for number, segment in enumerate(task.segments, 1))


def _vtt(task: Task) -> str:
    return "\n".join(["WEBVTT\n", *(_cue(segment, ".") for segment in task.segments)])


def _txt(task: Task) -> str:
    return f"{task.transcript}\n"


def _json(task: Task) -> str:
    return json.dumps(task.result(), ensure_ascii=False, indent=2)


KINDS: dict[str, tuple[str, Callable[[Task], str]]] = {
    "srt": ("application/x-subrip; charset=utf-8", _srt),
    "vtt": ("text/vtt; charset=utf-8", _vtt),
    "txt": ("text/plain; charset=utf-8", _txt),
    "json": ("application/json", _json),
}


def disposition(name: str) -> str:
    """A Content-Disposition that saves under `name` (RFC 6266: plain ASCII, and the true name beside it)."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%/' else "_" for char in name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
