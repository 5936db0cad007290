"""convert-audio: every format out, and the files that it needs are gone afterwards (A6)."""

from __future__ import annotations

import io

import av
import pytest


@pytest.fixture
def convert(sandbox, api, until):
    def send(data: bytes, name: str = "talk.wav", **fields: str):
        return api.post("/transcriptions/convert-audio", files={"file": (name, data)}, data=fields)

    yield send
    until(lambda: not list((sandbox.folder / "incoming").iterdir()))


@pytest.mark.parametrize(
    ("kind", "container", "content_type"),
    [
        ("mp3", "mp3", "audio/mpeg"),
        ("wav", "wav", "audio/wav"),
        ("ogg", "ogg", "audio/ogg"),
        ("m4a", "mov,mp4,m4a,3gp,3g2,mj2", "audio/mp4"),
        ("flac", "flac", "audio/flac"),
    ],
)
def test_each_format(convert, recording, kind, container, content_type):
    answer = convert(recording("0890").read_bytes(), "П.wav", format=kind)
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.headers["content-disposition"].endswith(f"UTF-8''%D0%9F.{kind}")
    with av.open(io.BytesIO(answer.content)) as media:
        assert media.format.name == container
        seconds = sum(frame.samples for frame in media.decode(audio=0)) / media.streams.audio[0].rate
    assert seconds == pytest.approx(5.3, abs=0.15)


def test_the_sound_of_a_film(convert, make_media):
    film = make_media("mp4", "aac", video="mpeg4", rate=48_000)
    with av.open(io.BytesIO(convert(film.read_bytes(), format="ogg").content)) as media:
        assert [stream.type for stream in media.streams] == ["audio"]


@pytest.mark.parametrize(("data", "kind"), [(b"no media", "mp3"), (b"", "mp3"), (None, "exe")])
def test_what_cannot_be_converted_is_400(convert, recording, data, kind):
    answer = convert(recording("0880").read_bytes() if data is None else data, format=kind)
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_a_converted_file_is_no_task(convert, api, recording):
    convert(recording("0880").read_bytes(), format="flac")
    assert api.get("/transcriptions").json()["total"] == 0
