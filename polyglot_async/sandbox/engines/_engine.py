"""What turns audio into text, and how to plug in another.

An engine is one blocking function. The sandbox decodes whatever was uploaded to 16 kHz mono 16-bit PCM in a WAV file
and hands over its path:

    class Shouting:
        def recognise(self, audio: Path, *, language: str | None) -> Recognition:
            with wave.open(str(audio)) as wav: ...
            return Recognition((Utterance(0.0, 2.4, "HELLO", 0.9),), audio_seconds=2.4)

    Sandbox(engine=Shouting())             # called in a worker thread
    Sandbox(engine="my_package:Shouting")  # made (without arguments) and called in the sandbox's worker process

Raise RecognitionError to fail the task with a reason for the user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class RecognitionError(Exception):
    """The media cannot be transcribed; the text becomes the task's `failure_reason`."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of speech: seconds from the start of the media, its text, and how sure the engine is (0 to 1)."""

    start: float
    end: float
    text: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Recognition:
    """What an engine recognised; the transcript is the texts of the utterances, joined by spaces unless `text` says it.

    `audio_seconds` is the length of the media, None to have the sandbox measure it.
    """

    utterances: tuple[Utterance, ...] = ()
    confidence: float | None = None
    audio_seconds: float | None = None
    text: str | None = None

    @property
    def transcript(self) -> str:
        """The whole text."""
        return " ".join(utterance.text for utterance in self.utterances) if self.text is None else self.text


@runtime_checkable
class Engine(Protocol):
    """A recogniser of speech."""

    def recognise(self, audio: Path, *, language: str | None) -> Recognition:
        """Transcribe the PCM WAV at `audio` (16 kHz, mono, 16 bit); blocking; called off the server's loop."""
        ...


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """No recogniser: answers with a fixed text after a set time, whatever the bytes are. For tests.

    It runs on the timers of the server's loop, so that thousands of its tasks cost next to nothing.

    Attributes:
        text: the transcript; `{file_name}` in it becomes the file's name.
        utterances: None makes one of the whole text.
        seconds: how long a task takes, or a function of the file's name and size.
        fail: a function of the file's name and size; what it returns (unless None) is the task's failure_reason.
        audio_seconds: the length of the media, or a function of its name and size; None: as the utterances.
        confidence: of the whole.
    """

    text: str = "This is a scripted transcript of {file_name}."
    utterances: Sequence[Utterance] | None = None
    seconds: float | Callable[[str, int], float] = 0.0
    fail: Callable[[str, int], str | None] | None = field(default=None, kw_only=True)
    audio_seconds: float | Callable[[str, int], float] | None = field(default=None, kw_only=True)
    confidence: float | None = field(default=0.94, kw_only=True)

    def delay(self, file_name: str, size: int) -> float:
        """Return the seconds that the task of this file takes."""
        return self.seconds(file_name, size) if callable(self.seconds) else self.seconds

    def length(self, file_name: str, size: int) -> float:
        """Return the seconds of audio that this file is said to hold."""
        if callable(self.audio_seconds):
            return self.audio_seconds(file_name, size)
        if self.audio_seconds is not None:
            return self.audio_seconds
        return max((utterance.end for utterance in self.utterances or ()), default=2.4)

    def answer(self, file_name: str, size: int) -> Recognition:
        """Return the transcript of this file; RecognitionError if it is to fail."""
        reason = self.fail(file_name, size) if self.fail is not None else None
        if reason is not None:
            raise RecognitionError(reason)
        text, length = self.text.replace("{file_name}", file_name), self.length(file_name, size)
        if self.utterances is None:
            utterances: tuple[Utterance, ...] = (Utterance(0.0, length, text, self.confidence),)
            return Recognition(utterances, self.confidence, length)
        return Recognition(tuple(self.utterances), self.confidence, length)


POCKETSPHINX = "polyglot_async.sandbox.engines._pocketsphinx:PocketsphinxEngine"


def choose_engine(engine: str | Engine | ScriptedEngine) -> str | Engine | ScriptedEngine:
    """Return an engine, or the "module:Class" of one for the worker process; ValueError if it is neither."""
    if engine == "pocketsphinx":
        return POCKETSPHINX
    if engine == "scripted":
        return ScriptedEngine()
    if isinstance(engine, str) and ":" not in engine:
        raise ValueError(f"engine is pocketsphinx, scripted, module:Class or an Engine, not {engine!r}")
    if not isinstance(engine, str | ScriptedEngine) and not callable(getattr(engine, "recognise", None)):
        raise ValueError(f"an engine has a recognise method, {engine!r} has none")
    return engine


def to_json(recognition: Recognition) -> dict[str, Any]:
    """Return a recognition as the worker process writes it."""
    utterances = [[part.start, part.end, part.text, part.confidence] for part in recognition.utterances]
    return {
        "utterances": utterances,
        "confidence": recognition.confidence,
        "audio_seconds": recognition.audio_seconds,
        "text": recognition.text,
    }


def from_json(document: dict[str, Any]) -> Recognition:
    """Parse what `to_json` wrote."""
    return Recognition(**{**document, "utterances": tuple(Utterance(*part) for part in document["utterances"])})
