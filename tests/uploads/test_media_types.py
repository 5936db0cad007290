"""What kind of media something is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._uploads.media_types import MEDIA_SUFFIXES, media_type_of, refined_by_name

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00"
WEBM = b"\x1aE\xdf\xa3" + bytes(12)


@given(st.text(), st.binary())
def test_any_name_and_any_bytes_have_a_type(name, start):
    kind, _, sub = media_type_of(name, start).partition("/")

    assert kind in {"audio", "video", "application"}
    assert sub


@given(st.text(), st.binary(min_size=16))
def test_sixteen_bytes_are_enough(name, start):
    assert media_type_of(name, start[:16]) == media_type_of(name, start)


@pytest.mark.parametrize("suffix", ["mp3", "wav", "m4a", "ogg", "mp4", "webm"])
def test_the_contracts_formats_are_known_by_their_suffix(suffix):
    assert suffix in MEDIA_SUFFIXES
    assert (
        media_type_of("a", b"") != media_type_of(f"talk.{suffix}", b"") == media_type_of(f"a.b.{suffix.upper()}", b"")
    )


@pytest.mark.parametrize("name", ["mp3", "", ".", "talk.", "talk.doc", "mp3.talk"])
def test_a_name_without_a_known_suffix_tells_nothing(name):
    assert "application/octet-stream" == media_type_of(name, b"")


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("talk.mp3", WAV, "audio/wav"),
        ("talk", WAV, "audio/wav"),
        ("talk.txt", b"ID3\x04", "audio/mpeg"),
        ("talk.wav", b"plain text here.", "audio/wav"),
        ("talk.m4a", MP4, "audio/mp4"),
        ("talk.mov", MP4, "video/quicktime"),
        ("talk.mp4", MP4, "video/mp4"),
        ("talk.mp3", MP4, "video/mp4"),
        ("talk.mkv", WEBM, "video/x-matroska"),
        ("talk.webm", WEBM, "video/webm"),
        ("talk.ogv", b"OggS", "video/ogg"),
        ("talk", b"RIFF", "application/octet-stream"),
    ],
)
def test_the_first_bytes_decide_and_the_name_tells_apart_what_shares_a_container(name, start, expected):
    assert expected == media_type_of(name, start)


def test_a_name_that_is_told_later_refines_the_type_the_same_way():
    assert "audio/mp4" == refined_by_name("video/mp4", "talk.m4a")
    assert "audio/mpeg" == refined_by_name("application/octet-stream", "talk.mp3")
    assert "audio/wav" == refined_by_name("audio/wav", "talk.mp3")
    assert "audio/wav" == refined_by_name("audio/wav", "talk")
