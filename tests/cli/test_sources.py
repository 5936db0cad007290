"""What can be named for transcription, and which files are written."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from polyglot_async._cli._sources import (
    Source,
    existing_outputs,
    find_sources,
    make_output_folders,
    parse_formats,
    plan_base_paths,
    refuse_existing,
)

SUFFIXES = ("srt", "txt")


def test_a_folder_is_walked_for_media_in_a_steady_order(media, tmp_path):
    for name in ("b.mp3", "a.WAV", "s/c.mp4", ".hidden.mp3", ".git/d.mp3"):
        media(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no media")
    found = find_sources([str(tmp_path)])
    assert [source.name for source in found] == ["a.WAV", "b.mp3", "c.mp4"]
    assert [source.subfolder.as_posix() for source in found] == [".", ".", "s"]


def test_a_file_named_twice_is_sent_once(media, tmp_path):
    path = media(tmp_path / "a.mp3")
    (tmp_path / "link.mp3").symlink_to(path)
    assert len(find_sources([str(path), str(tmp_path), f"{tmp_path}/./a.mp3"])) == 1


def test_a_file_of_any_suffix_may_be_named_itself(media, tmp_path):
    assert len(find_sources([str(media(tmp_path / "recording"))])) == 1


@pytest.mark.parametrize("url", ["https://x.test/A.mp3?b=C", "HTTPS://x.test/A.mp3?b=C", " https://x.test/A.mp3?b=C\n"])
def test_a_url_in_any_writing_is_one_url(url):
    found = find_sources([url, "https://x.test/A.mp3?b=C"])
    assert [source.given for source in found] == ["https://x.test/A.mp3?b=C"]


@pytest.mark.parametrize("url", ["https://u:p@x.test/a.mp3?sig=1#f", "https://x.test/a.mp3"])
def test_a_url_is_shown_without_its_secrets(url):
    assert [source.label for source in find_sources([url])] == ["https://x.test/a.mp3"]


@pytest.mark.parametrize(
    "url", ["https://u:s3/cret@x.test/a.mp3", "ftp://u:s3cret@x.test/a?k=s3cret", "http://?s3cret"]
)
def test_a_url_that_is_refused_is_shown_without_its_secrets(url):
    with pytest.raises(click.ClickException, match="is not an http or https URL") as caught:
        find_sources([url])
    assert "s3" not in str(caught.value)


def test_every_problem_is_named_at_once(media, tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(click.ClickException, match=r"no such file.*is empty; nothing was sent"):
        find_sources([str(tmp_path / "missing.wav"), str(tmp_path / "empty.wav"), str(media(tmp_path / "good.wav"))])


def test_of_many_problems_the_first_are_named(tmp_path):
    with pytest.raises(click.ClickException, match="and 7 more problems"):
        find_sources([str(tmp_path / f"{number}.wav") for number in range(10)])


def test_a_folder_without_media_is_refused(tmp_path):
    with pytest.raises(click.ClickException, match="no audio or video files"):
        find_sources([str(tmp_path)])


@pytest.mark.parametrize("word", ["ftp://x.test/a.mp3", "http://", "https:///a.mp3", "http://[", "a\0b", ""])
def test_what_is_neither_file_nor_url_is_refused(word):
    with pytest.raises(click.ClickException):
        find_sources([word])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(click.ClickException, match="not a regular file"):
        find_sources([str(tmp_path / "pipe.wav")])


def planned(sources, out=None, suffixes=SUFFIXES):
    base_paths = plan_base_paths(sources, out, suffixes)
    return [base_paths[source].as_posix() for source in sources]


def file(path, below="."):
    return Source(path, Path(path), Path(below))


def test_a_result_is_beside_its_source():
    assert planned([file("a/talk.mp3"), file("b/talk.mp3")]) == ["a/talk", "b/talk"]


def test_a_folder_that_was_walked_keeps_its_shape_below_out():
    assert planned([file("a/x.mp3"), file("a/s/x.mp3", "s")], Path("o")) == ["o/x", "o/s/x"]


def test_sources_of_one_stem_keep_their_suffix():
    assert planned([file("talk.mp3"), file("talk.wav")]) == ["talk.mp3", "talk.wav"]


def test_two_of_one_name_in_one_folder_get_numbers():
    assert planned([file("a/x.mp3"), file("b/x.mp3")], Path("o")) == ["o/x.mp3", "o/x.mp3-2"]


def test_names_that_differ_in_case_alone_are_one_name_on_many_disks():
    assert planned([file("Talk.mp3"), file("talk.wav")]) == ["Talk.mp3", "talk.wav"]


def test_a_source_is_never_written_over():
    assert planned([file("notes.txt")]) == ["notes.txt"]


def test_a_translation_of_one_is_not_the_text_of_another():
    assert planned([file("a.mp3"), file("a.ru.mp3")], suffixes=("txt", "ru.txt")) == ["a", "a.ru.mp3"]


def test_a_url_is_named_by_the_last_part_of_its_path():
    sources = [
        Source("https://x.test/a/b%20c.mp3?t=1"),
        Source("https://x.test/"),
        Source("https://x.test/..%2f..%2fe"),
    ]
    assert planned(sources, Path("o")) == ["o/b c", "o/audio", "o/e"]


def test_files_that_are_there_are_not_replaced_unasked(tmp_path):
    (tmp_path / "talk.srt").write_text("corrected by hand")
    talk = file(str(tmp_path / "talk.mp3"))
    there = existing_outputs(plan_base_paths([talk, file(str(tmp_path / "b.mp3"))], None, SUFFIXES), SUFFIXES)
    assert there == {talk: [tmp_path / "talk.srt"]}
    with pytest.raises(click.ClickException, match=r"talk\.srt: already exists"):
        refuse_existing(there[talk])
    with pytest.raises(click.ClickException, match="a and 1 more: already exists"):
        refuse_existing([Path("a"), Path("b")])
    refuse_existing([])


def test_an_out_folder_is_made_and_a_file_in_its_place_refused(tmp_path):
    make_output_folders(plan_base_paths([file("x.mp3")], tmp_path / "a/b", SUFFIXES))
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "f").touch()
    with pytest.raises(click.ClickException, match="cannot make this folder"):
        make_output_folders(plan_base_paths([file("x.mp3")], tmp_path / "f", SUFFIXES))


def test_formats_are_read_tolerantly_and_each_once():
    assert parse_formats(" SRT, .txt,srt ") == ("srt", "txt")


@pytest.mark.parametrize("text", ["", ",", "doc", "srt,doc"])
def test_unknown_formats_are_refused(text):
    with pytest.raises(click.ClickException, match="invalid --format"):
        parse_formats(text)
