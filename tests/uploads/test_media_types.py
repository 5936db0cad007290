"""What kind of media something is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._uploads.media_types import (
    MEDIA_SUFFIXES,
    base_name,
    is_mime_type,
    is_page_type,
    media_type_of,
    name_in_disposition,
    starts_like_page,
    type_of_response,
    with_suffix,
)

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
    assert "audio/mp4" == media_type_of("talk.m4a", kind="video/mp4")
    assert "audio/mpeg" == media_type_of("talk.mp3", kind="application/octet-stream")
    assert "audio/wav" == media_type_of("talk.mp3", kind="audio/wav")
    assert "audio/wav" == media_type_of("talk", kind="audio/wav")


@pytest.mark.parametrize("suffix", sorted(MEDIA_SUFFIXES))
def test_the_suffix_of_a_type_leads_back_to_the_type(suffix):
    kind = media_type_of(f"a.{suffix}", b"")

    assert kind == media_type_of(with_suffix("a", kind), b"")


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("upload.bin", "audio/wav", "upload.wav"),
        ("upload.bin", "Audio/X-WAV; codecs=1", "upload.wav"),
        ("upload.bin", "application/octet-stream", "upload.bin"),
        ("upload.bin", "text/plain", "upload.bin"),
        ("talk", "audio/mpeg", "talk.mp3"),
        ("talk.wav.gz", "audio/wav", "talk.wav"),
        ("calls.tar.gz", "audio/wav", "calls.wav"),
        ("talk.2024-05-01", "audio/wav", "talk.2024-05-01.wav"),
        ("talk.mka", "video/webm", "talk.mka"),
        (".bin", "audio/wav", ".bin"),
        ("talk.", "audio/wav", "talk..wav"),
        ("№ 5", "audio/ogg", "№ 5.ogg"),
    ],
)
def test_a_name_gets_the_suffix_of_the_type_where_it_has_none_that_says_anything(name, kind, expected):
    assert expected == with_suffix(name, kind) == with_suffix(expected, kind)


@given(st.text(), st.sampled_from(["audio/wav", "video/mp4", "text/html", ""]))
def test_a_name_with_its_suffix_stays_as_it_is(name, kind):
    assert with_suffix(name, kind) == with_suffix(with_suffix(name, kind), kind)


@given(st.text())
def test_a_base_name_is_never_a_path(name):
    assert not {"/", "\\"} & set(base_name(name))
    assert base_name(name) not in {"", ".", ".."}


@pytest.mark.parametrize("kind", ["audio/wav", "audio/x-wav", "video/mp4; codecs=avc1", 'a/b; c="d"', "a/b;"])
def test_a_mime_type_may_have_parameters(kind):
    assert is_mime_type(kind)


@pytest.mark.parametrize(
    "kind", ["", "wav", "audio/", "/wav", "a/b/c", "a b/c", "a/b\r\nX: 1", "a/b\n", "аудио/wav", "a/b,c/d"]
)
def test_what_cannot_stand_in_a_header_is_no_mime_type(kind):
    assert not is_mime_type(kind)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("attachment; filename=talk.mp3", "talk.mp3"),
        ('attachment; filename="a talk.mp3"', "a talk.mp3"),
        ('attachment; filename="say \\"hi\\".mp3"; size=5', 'say "hi".mp3'),
        ("attachment; filename=\"x.mp3\"; filename*=UTF-8''%D1%8F.mp3", "я.mp3"),
        ("attachment; FILENAME*=iso-8859-1'en'caf%E9.mp3", "café.mp3"),
        ("inline", None),
        ("", None),
        ("attachment; filename=", None),
        ('attachment; filename=""', ""),
        ('attachment; filename="open', None),
    ],
)
def test_the_file_name_of_a_content_disposition(header, expected):
    assert expected == name_in_disposition(header)


@given(st.text() | st.text(alphabet="filename*=\"';\\ utf-8%"))
def test_any_content_disposition_is_read(header):
    assert isinstance(name_in_disposition(f"attachment; filename{header}"), str | None)


@pytest.mark.parametrize(
    "kind",
    ["text/html", "TEXT/HTML; charset=utf-8", " text/html", "application/xhtml+xml", "application/json", "text/json",
     "application/problem+json", "application/xml", "text/xml", "image/svg+xml"],
)  # fmt: skip
def test_html_json_and_xml_are_types_of_pages(kind):
    assert is_page_type(kind)


@pytest.mark.parametrize("kind", ["", "audio/wav", "video/mp4", "application/octet-stream", "text/plain", "nonsense"])
def test_other_types_are_none_of_pages(kind):
    assert not is_page_type(kind)


@pytest.mark.parametrize(
    "start", [b"<!DOCTYPE html><html>", b"\n <HTML>", b"\xef\xbb\xbf<html>", b"<?xml v", b'{"detail": 1}']
)
def test_a_page_is_known_by_its_beginning(start):
    assert starts_like_page(start)


@pytest.mark.parametrize("start", [WAV, MP4, WEBM, b"ID3\x04", b"\xff\xfb", bytes(300), b"{x", b""])
def test_media_does_not_begin_like_a_page(start):
    assert not starts_like_page(start)


@pytest.mark.parametrize(
    ("stated", "name", "expected"),
    [
        ("audio/x-wav", "talk.mp3", "audio/x-wav"),
        ("audio/mpeg; x=y", "talk", "audio/mpeg; x=y"),
        ("application/octet-stream", "talk.mp3", "audio/mpeg"),
        ("binary/octet-stream", "talk.mp3", "audio/mpeg"),
        ("", "talk.mp3", "audio/mpeg"),
        ("nonsense", "talk.mp3", "audio/mpeg"),
        ("", "talk", "application/octet-stream"),
    ],
)
def test_a_servers_type_counts_unless_it_says_nothing(stated, name, expected):
    assert expected == type_of_response(stated, name)
