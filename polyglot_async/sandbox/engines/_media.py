"""Decoding and encoding with PyAV: any container that FFmpeg reads, video too. Blocking: for the worker process."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import av
import av.error
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from ._engine import RecognitionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.audio.frame import AudioFrame
    from av.container import InputContainer

SPEECH_RATE = 16_000
MAX_CHANNELS = 2
FALLBACK_RATE = 48_000
# What `convert-audio` can make (A6): the container's name for FFmpeg, the codec, the rates that the codec takes.
_USUAL_RATES = frozenset({8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
FORMATS = {
    "mp3": ("mp3", "libmp3lame", _USUAL_RATES),
    "wav": ("wav", "pcm_s16le", _USUAL_RATES | {96_000, 192_000}),
    # Opus in Ogg: the wheels of PyAV carry no good Vorbis encoder.
    "ogg": ("ogg", "libopus", frozenset({8_000, 12_000, 16_000, 24_000, 48_000})),
    "m4a": ("ipod", "aac", _USUAL_RATES),
    "flac": ("flac", "flac", _USUAL_RATES | {96_000, 192_000}),
}


def duration(source: Path) -> float | None:
    """Return the seconds of media according to its container; None if it does not say or is no media."""
    try:
        with av.open(str(source)) as container:
            return container.duration / av.time_base if container.duration else None
    except (av.error.FFmpegError, ValueError):
        return None


def decode_speech(source: Path, target: Path, *, max_seconds: float | None = None) -> float:
    """Write the first audio stream of `source` to `target`, 16 kHz mono 16-bit WAV; return its length in seconds.

    Raises:
        RecognitionError: it is no media, holds no audio, or is longer than `max_seconds`.
    """
    samples = 0
    resampler = AudioResampler(format="s16", layout="mono", rate=SPEECH_RATE)
    with wave.open(str(target), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SPEECH_RATE)
        for frame in _resampled(source, resampler):
            wav.writeframesraw(bytes(frame.planes[0])[: frame.samples * 2])
            samples += frame.samples
            if max_seconds is not None and samples > max_seconds * SPEECH_RATE:
                raise RecognitionError(f"The audio is longer than {max_seconds:g} seconds (max_audio_seconds).")
    if not samples:
        raise RecognitionError("The media holds no audio.")
    return samples / SPEECH_RATE


def convert(source: Path, target: Path, kind: str) -> None:
    """Write the first audio stream of `source` to `target` as one of FORMATS; RecognitionError if it is no audio."""
    container_format, codec, rates = FORMATS[kind]
    with _open(source) as container, av.open(str(target), "w", format=container_format) as output:
        stream = _audio(container)
        rate = stream.rate if stream.rate in rates else FALLBACK_RATE
        layout = "mono" if stream.codec_context.channels < MAX_CHANNELS else "stereo"
        encoder = output.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(encoder, AudioStream)  # noqa: S101  (the codecs of FORMATS are)
        frames = 0
        for frame in _frames(container, stream):
            frame.pts = None  # the encoder numbers them anew: a gap in the source is no reason to fail
            output.mux(encoder.encode(frame))
            frames += 1
        if not frames:
            raise RecognitionError("The media holds no audio.")
        output.mux(encoder.encode(None))


def _open(source: Path) -> InputContainer:
    try:
        return av.open(str(source))
    except (av.error.FFmpegError, ValueError) as problem:
        raise RecognitionError("The file is no audio or video that can be decoded.") from problem


def _audio(container: InputContainer) -> AudioStream:
    if not container.streams.audio:
        raise RecognitionError("The media holds no audio.")
    return container.streams.audio[0]


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    decoded = False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError as problem:
            if packet.size and decoded:
                continue  # players skip a damaged packet, so do we
            if not packet.size:
                return
            raise RecognitionError("The audio cannot be decoded.") from problem
        for frame in frames:
            decoded = True
            yield frame


def _resampled(source: Path, resampler: AudioResampler) -> Iterator[AudioFrame]:
    with _open(source) as container:
        for frame in _frames(container, _audio(container)):
            frame.pts = None
            yield from resampler.resample(frame)
        yield from resampler.resample(None)
