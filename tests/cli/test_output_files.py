"""Result files appear whole or not at all, and replace nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._cli._output_files import check_output_path, safe_name, write_beside_others, write_file


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


def test_what_has_other_content_is_kept_and_the_file_gets_the_next_name(tmp_path):
    path = tmp_path / "a.srt"
    assert write_beside_others(path, "other") == path
    assert write_beside_others(path, "x") == tmp_path / "a-2.srt"
    assert write_beside_others(path, "x") == tmp_path / "a-2.srt"
    assert write_beside_others(path, "y") == tmp_path / "a-3.srt"
    assert ["other", "x", "y"] == [file.read_text() for file in (path, tmp_path / "a-2.srt", tmp_path / "a-3.srt")]


WRITER = """
import sys
from pathlib import Path
from polyglot_async._cli._output_files import write_beside_others, write_file
print("ready", flush=True)
sys.stdin.readline()
for number in range(200):
    try:
        write_file(Path(f"{number}.txt"), sys.argv[1] * 9, overwrite=False)
        print(number, flush=True)
    except FileExistsError:
        pass
    write_beside_others(Path("same.srt"), f"{sys.argv[1]} {number}")
"""


def test_of_several_processes_that_write_one_file_one_does_and_the_others_know(tmp_path):
    """Nobody's result is replaced by another's, and everybody's stands somewhere."""
    start = partial(subprocess.Popen, cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    writers = {name: start([sys.executable, "-c", WRITER, name]) for name in "ab"}
    assert ["ready\n"] * 2 == [writer.stdout.readline() for writer in writers.values()]
    for writer in writers.values():
        writer.stdin.write("go\n")
        writer.stdin.flush()
    wrote = {name: writer.communicate(timeout=60)[0].split() for name, writer in writers.items()}
    assert [0, 0] == [writer.returncode for writer in writers.values()]
    assert sorted(map(str, range(200))) == sorted(wrote["a"] + wrote["b"])
    assert all((tmp_path / f"{number}.txt").read_text() == name * 9 for name in "ab" for number in wrote[name])
    beside = [file.read_text() for file in tmp_path.glob("same*.srt")]
    assert sorted(f"{name} {number}" for name in "ab" for number in range(200)) == sorted(beside)
    assert [] == list(tmp_path.glob(".*"))


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_while_a_file_is_being_written_is_not_replaced(tmp_path, monkeypatch, links):
    """Also on a file system without hard links."""
    path = tmp_path / "a.txt"
    fsync = os.fsync

    def other(number):
        path.write_text("another's")
        fsync(number)

    def refuse(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    write_file(tmp_path / "free.txt", "new", overwrite=False)
    monkeypatch.setattr(os, "fsync", other)
    with pytest.raises(FileExistsError, match="already exists"):
        write_file(path, "new", overwrite=False)
    assert {"a.txt": "another's", "free.txt": "new"} == {file.name: file.read_text() for file in tmp_path.iterdir()}


@pytest.mark.parametrize("target", ["missing.txt", "there.txt"])
def test_a_link_is_not_written_through_unless_asked(tmp_path, target):
    (tmp_path / "there.txt").write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with pytest.raises(FileExistsError, match="already exists"):
        write_file(link, "new", overwrite=False)
    assert {"there.txt": "old", "link.txt": None} == {
        file.name: None if file.is_symlink() else file.read_text() for file in tmp_path.iterdir()
    }


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
