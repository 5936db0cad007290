"""How the embedded recogniser cuts speech into utterances."""

from __future__ import annotations

import io
import itertools
import wave

import pytest

from polyglot_async.sandbox.engines._pocketsphinx import stretches


@pytest.fixture
def three_seconds(recording):
    """A WAV that ends on a whole frame, in mid-word."""
    buffer = io.BytesIO()
    with wave.open(str(recording("0890"))) as source, wave.open(buffer, "wb") as wav:
        wav.setparams(source.getparams())
        wav.writeframes(source.readframes(16_000 * 3 // 480 * 480))
    buffer.seek(0)
    with wave.open(buffer) as wav:
        yield wav


def test_speech_without_a_pause_is_cut_into_contiguous_stretches_that_hold_all_of_it(three_seconds):
    ((_, _, uncut),) = stretches(three_seconds)
    three_seconds.rewind()
    cuts = list(stretches(three_seconds, longest=1.0))
    assert b"".join(data for _, _, data in cuts) == uncut
    assert [round(end - start, 1) for start, end, _ in cuts[:2]] == [1.0, 1.0]
    assert all(first[1] == pytest.approx(second[0]) for first, second in itertools.pairwise(cuts))
