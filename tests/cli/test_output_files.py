"""Result files appear whole or not at all, and replace nothing."""

from __future__ import annotations

import os

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._cli._output_files import check_output_path, safe_name, unused_path, write_file


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(number: int) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.txt").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            write_file(tmp_path / "a.txt", "new", overwrite=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_file_of_other_content_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="already exists"):
        write_file(path, "new", overwrite=False)
    write_file(path, "old", overwrite=False)
    write_file(path, "new", overwrite=True)
    assert path.read_text() == "new"


def test_a_link_is_followed_and_a_mode_is_kept(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    write_file(link, "new", overwrite=True)
    assert link.is_symlink()
    assert (path.read_text(), 0o600) == ("new", path.stat().st_mode & 0o777)
    assert {path, link} == set(tmp_path.iterdir())


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(path, "new", overwrite=True)
        assert os.read(reader, 100) == b"new"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_what_is_no_unicode_is_written_with_a_replacement(tmp_path):
    write_file(tmp_path / "a.txt", "new\ud800", overwrite=False)
    assert (tmp_path / "a.txt").read_text() == "new?"


def test_an_unused_path_is_free_or_holds_the_same_content(tmp_path):
    path = tmp_path / "a.srt"
    assert unused_path(path, b"x") == path
    path.write_bytes(b"other")
    (tmp_path / "a-2.srt").write_bytes(b"x")
    assert unused_path(path, b"x") == tmp_path / "a-2.srt"
    assert unused_path(path, b"y") == tmp_path / "a-3.srt"


def test_a_path_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "there").touch()
    for path, problem in [
        (tmp_path, "is a folder"),
        (tmp_path / "there", "already exists"),
        (tmp_path / "no/x", "no such folder"),
        (tmp_path / "there/x", "not a folder"),
    ]:
        with pytest.raises(click.ClickException, match=problem):
            check_output_path(path, overwrite=False)


@given(st.text())
def test_a_name_of_any_text_is_a_name_and_no_path(tmp_path_factory, text):
    name = safe_name(text)
    assert name == os.path.basename(name)  # noqa: PTH119 - a name, not a path
    assert name not in {"", ".", ".."}
    assert name.isprintable()
    assert len(name) <= 150
