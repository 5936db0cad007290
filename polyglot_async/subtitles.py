"""Segments to SubRip (SRT), WebVTT and plain text. Pure functions, without I/O.

Times are seconds. What is no segment is a TypeError. SRT has no standard; this module writes what players agree on: a
counter, `HH:MM:SS,mmm`, the text, a blank line. WebVTT follows the W3C's "WebVTT: The Web Video Text Tracks Format",
sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cue", "to_srt", "to_txt", "to_vtt"]

_LONGEST_SECONDS = 1e9
"""Thirty years: a time beyond that is an error of the recogniser, and its words are still rendered."""


class Cue(Protocol):
    """Anything with a start, an end (seconds) and a text; `Segment` is one."""

    @property
    def start(self) -> float:
        """Seconds from the start of the media."""
        ...

    @property
    def end(self) -> float:
        """Seconds from the start of the media, not before `start`."""
        ...

    @property
    def text(self) -> str:
        """The words."""
        ...


def to_srt(segments: Iterable[Cue]) -> str:
    """Render SubRip subtitles: `segments` in their order, numbered from 1. Empty texts are left out."""
    blocks = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(segments), 1)
    )
    return "\n".join(blocks)


def to_vtt(segments: Iterable[Cue]) -> str:
    """Render WebVTT subtitles. `&`, `<` and `>` are escaped, as the format asks. Empty texts are left out."""
    blocks = (f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escape(text)}\n" for start, end, text in _cues(segments))
    return "\n".join(["WEBVTT\n", *blocks])


def to_txt(segments: Iterable[Cue]) -> str:
    """Render one line a segment, without times. Empty texts are left out."""
    return "".join(f"{text}\n" for _, _, text in _cues(segments))


def _cues(segments: Iterable[Cue]) -> Iterator[tuple[int, int, str]]:
    if isinstance(segments, str | bytes | Mapping) or not isinstance(segments, Iterable):
        raise TypeError(f"segments is {segments!r:.60}: pass segments, such as those of a Transcript (its .segments)")
    for number, segment in enumerate(segments):
        try:
            start, end = _milliseconds(segment.start), _milliseconds(segment.end)
            # A blank line ends a cue in both formats, so none may stand inside one.
            text = "\n".join(line for line in map(str.strip, segment.text.splitlines()) if line)
        except (AttributeError, TypeError) as error:
            raise TypeError(
                f"segments[{number}] is {segment!r:.60}: pass objects with start and end (seconds) and text, such as "
                "Segment(0.0, 2.4, 'Hello')"
            ) from error
        if text:
            # A cue has to end after its start (WebVTT, section 4.1), so it lasts at least a millisecond.
            yield start, max(start + 1, end), text


def _milliseconds(seconds: float) -> int:
    # In this order of arguments a NaN becomes 0.
    return round(max(0.0, min(seconds, _LONGEST_SECONDS)) * 1000)


def _clock(milliseconds: int, mark: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{milliseconds:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
