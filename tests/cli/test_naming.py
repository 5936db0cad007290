"""Which files a transcription writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyglot_async._cli._failures import InputError
from polyglot_async._cli._naming import files_there, make_folders, parse_formats, plan_bases, refuse_files
from polyglot_async._cli._sources import Source

SUFFIXES = ("srt", "txt")


def planned(sources, out=None, suffixes=SUFFIXES):
    bases = plan_bases(sources, out, suffixes)
    return [bases[source].as_posix() for source in sources]


def file(path, below="."):
    return Source(path, Path(path), Path(below))


def test_a_result_stands_beside_its_source():
    assert planned([file("a/talk.mp3"), file("b/talk.mp3")]) == ["a/talk", "b/talk"]


def test_a_folder_that_was_walked_keeps_its_shape_below_out():
    assert planned([file("a/x.mp3"), file("a/s/x.mp3", "s")], Path("o")) == ["o/x", "o/s/x"]


def test_the_whole_name_tells_two_of_one_stem_apart():
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
    there = files_there(plan_bases([talk, file(str(tmp_path / "b.mp3"))], None, SUFFIXES), SUFFIXES)
    assert there == {talk: [tmp_path / "talk.srt"]}
    with pytest.raises(InputError, match=r"talk\.srt: exists already"):
        refuse_files(there[talk])
    with pytest.raises(InputError, match="a and 1 more: exists already"):
        refuse_files([Path("a"), Path("b")])
    refuse_files([])


def test_an_out_folder_is_made_and_a_file_in_its_place_refused(tmp_path):
    make_folders(plan_bases([file("x.mp3")], tmp_path / "a/b", SUFFIXES))
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "f").touch()
    with pytest.raises(InputError, match="cannot be made a folder"):
        make_folders(plan_bases([file("x.mp3")], tmp_path / "f", SUFFIXES))


def test_formats_are_read_tolerantly_and_each_once():
    assert parse_formats(" SRT, .txt,srt ") == ("srt", "txt")


@pytest.mark.parametrize("text", ["", ",", "doc", "srt,doc"])
def test_unknown_formats_are_refused(text):
    with pytest.raises(InputError, match="--format takes"):
        parse_formats(text)
