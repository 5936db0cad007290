"""What a person may name for transcription."""

from __future__ import annotations

import os

import pytest

from polyglot_async._cli._failures import InputError
from polyglot_async._cli._sources import find_sources


def test_a_folder_is_walked_for_media_in_a_steady_order(media, tmp_path):
    for name in ("b.mp3", "a.WAV", "s/c.mp4", ".hidden.mp3", ".git/d.mp3"):
        media(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no media")
    found = find_sources([str(tmp_path)])
    assert [source.name for source in found] == ["a.WAV", "b.mp3", "c.mp4"]
    assert [source.below.as_posix() for source in found] == [".", ".", "s"]


def test_a_file_named_twice_is_sent_once(media, tmp_path):
    path = media(tmp_path / "a.mp3")
    (tmp_path / "link.mp3").symlink_to(path)
    assert len(find_sources([str(path), str(tmp_path), f"{tmp_path}/./a.mp3"])) == 1


def test_a_file_of_any_suffix_may_be_named_itself(media, tmp_path):
    assert len(find_sources([str(media(tmp_path / "recording"))])) == 1


def test_a_url_is_kept_as_it_is():
    assert [source.given for source in find_sources(["HTTPS://x.test/A.mp3?b=C"])] == ["https://x.test/A.mp3?b=C"]


def test_every_problem_is_told_at_once(media, tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(InputError, match=r"no such file.*is empty; nothing was sent"):
        find_sources([str(tmp_path / "missing.wav"), str(tmp_path / "empty.wav"), str(media(tmp_path / "good.wav"))])


def test_many_problems_are_told_in_short(tmp_path):
    with pytest.raises(InputError, match="and 7 more like this"):
        find_sources([str(tmp_path / f"{number}.wav") for number in range(10)])


def test_a_folder_without_media_is_told(tmp_path):
    with pytest.raises(InputError, match="no audio or video files"):
        find_sources([str(tmp_path)])


@pytest.mark.parametrize("word", ["ftp://x.test/a.mp3", "http://", "https:///a.mp3", "http://[", "a\0b", ""])
def test_what_is_neither_file_nor_url_is_refused(word):
    with pytest.raises(InputError):
        find_sources([word])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(InputError, match="not a regular file"):
        find_sources([str(tmp_path / "pipe.wav")])
