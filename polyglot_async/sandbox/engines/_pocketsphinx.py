"""The embedded recogniser: pocketsphinx with the US-English model that its wheel carries."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING, Any

try:
    from pocketsphinx import Decoder, Endpointer
except ModuleNotFoundError as problem:
    raise ModuleNotFoundError(
        "speech recognition needs pocketsphinx: pip install 'polyglot_async[sandbox]' (no wheel for Python 3.14: "
        "use 3.11 to 3.13, or the scripted engine)",
        name="pocketsphinx",
    ) from problem

from ._engine import Recognition, RecognitionError, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST_UTTERANCE = 30.0
"""Seconds after which speech without a pause is cut: the decoder's memory and time grow with the utterance."""
_ENGLISH = {"en", "en-us", "en_us", "english", "auto"}


class PocketsphinxEngine:
    """Cuts speech at pauses, decodes each stretch; confidence is the mean posterior of the words."""

    def __init__(self) -> None:
        self._decoder = Decoder(samprate=16000, loglevel="FATAL")

    def recognise(self, audio: Path, *, language: str | None) -> Recognition:
        """Transcribe US English; RecognitionError for any other language."""
        if language is not None and language.lower() not in _ENGLISH:
            raise RecognitionError(f"The sandbox's recogniser knows US English only, not {language!r}.")
        with wave.open(str(audio), "rb") as wav:
            seconds = wav.getnframes() / wav.getframerate()
            decoded = [self._decode(start, end, pcm) for start, end, pcm in stretches(wav)]
        utterances = tuple(utterance for utterance in decoded if utterance is not None)
        return Recognition(utterances, _mean([part.confidence or 0.0 for part in utterances]), seconds)

    def _decode(self, start: float, end: float, pcm: bytes) -> Utterance | None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return None
        posteriors = [min(1.0, word.prob) for word in self._decoder.seg() if _is_word(word.word)]
        confidence = _mean(posteriors)
        return Utterance(round(start, 2), round(end, 2), hypothesis.hypstr, confidence)


def _is_word(token: str) -> bool:
    return not token.startswith(("<", "[", "+"))


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def stretches(wav: wave.Wave_read, *, longest: float = LONGEST_UTTERANCE) -> Iterator[tuple[float, float, bytes]]:
    """Yield the stretches of speech, none of many more seconds than `longest`: start, end, PCM; times in seconds."""
    endpointer: Any = Endpointer(sample_rate=wav.getframerate())
    speech, start = bytearray(), 0.0

    def length() -> float:
        return len(speech) / (2 * wav.getframerate())

    while frame := wav.readframes(endpointer.frame_bytes // 2):
        whole = len(frame) == endpointer.frame_bytes
        heard = endpointer.process(frame) if whole else endpointer.end_stream(frame)
        if heard is None:
            continue
        start = start if speech else max(start, endpointer.speech_start)
        speech += heard
        if not endpointer.in_speech:
            yield start, endpointer.speech_end, bytes(speech)
            speech.clear()
        elif length() >= longest:
            yield start, start + length(), bytes(speech)
            start += length()
            speech.clear()
    if speech:
        # Audio that ends on a whole frame in the middle of speech never made the endpointer end it.
        yield start, start + length(), bytes(speech)
