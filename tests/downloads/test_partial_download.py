"""The file on the disk: its lock, its state, and what a killed process leaves."""

import errno
import json
import os
import random
import signal
import subprocess
import sys

import pytest

from polyglot_async import TransferError
from polyglot_async._downloads import partial_download
from polyglot_async._downloads.partial_download import PartialDownload, Validator

DATA = random.Random(1).randbytes(1_000_003)
VERSION = Validator(etag='"v1"')


@pytest.fixture
def state(target):
    """Reads the state that was saved; None where there is none."""
    path = target.with_name("film.mp4.part.json")
    return lambda: json.loads(path.read_text()) if path.exists() else None


def test_a_file_that_is_closed_early_is_there_for_the_next_run(target):
    first = PartialDownload(target, "x")
    first.begin(len(DATA), VERSION)
    first.write_at(0, DATA[:1000])
    first.write_at(5000, DATA[5000:])
    first.close()
    second = PartialDownload(target, "x")
    assert ((0, 1000), (5000, len(DATA))) == second.done
    assert ((1000, 5000),) == second.missing()
    second.begin(len(DATA), VERSION)
    second.write_at(1000, DATA[1000:5000])
    assert target == second.finish()
    assert DATA == target.read_bytes()
    assert [target] == list(target.parent.iterdir())


@pytest.mark.parametrize(
    ("source", "total", "validator"),
    [
        ("y", len(DATA), VERSION),
        ("x", len(DATA) + 1, VERSION),
        ("x", len(DATA), Validator(etag='"v2"')),
        ("x", len(DATA), Validator()),
    ],
    ids=["source", "size", "version", "no validator"],
)
def test_bytes_of_another_source_size_or_version_are_dropped(target, source, total, validator):
    first = PartialDownload(target, "x")
    first.begin(len(DATA), VERSION)
    first.write_at(0, DATA[:1000])
    first.close()
    second = PartialDownload(target, source)
    second.begin(total, validator)
    assert () == second.done
    second.close()


def test_without_a_validator_nothing_is_left_for_a_later_run(target):
    partial = PartialDownload(target, "x")
    partial.begin(len(DATA), Validator())
    partial.write_at(0, DATA[:1000])
    partial.close()
    assert [] == list(target.parent.iterdir())


def test_an_unfinished_file_does_not_appear(target):
    partial = PartialDownload(target, "x")
    partial.begin(len(DATA), VERSION)
    partial.write_at(0, DATA[:-1])
    with pytest.raises(TransferError, match=f"{len(DATA) - 1} of {len(DATA)} bytes"):
        partial.finish()
    partial.close()
    assert not target.exists()


def test_the_state_is_saved_every_so_many_bytes(target, state):
    partial = PartialDownload(target, "x", checkpoint_bytes=1000)
    partial.begin(len(DATA), VERSION)
    partial.write_at(0, DATA[:999])
    assert state() is None
    partial.write_at(999, DATA[999:1000])
    assert [[0, 1000]] == state()["done"]
    partial.write_at(1000, DATA[1000:1500])
    assert [[0, 1000]] == state()["done"]
    partial.close()


WRITER = """
import random, sys
from polyglot_async._downloads.partial_download import PartialDownload, Validator

data = random.Random(1).randbytes(1_000_003)
partial = PartialDownload(sys.argv[1], "x", checkpoint_bytes=50_000)
partial.begin(len(data), Validator(etag='"v1"'))
for start in range(0, len(data) - 1000, 1000):
    partial.write_at(start, data[start : start + 1000])
    print(start, flush=True)
"""


@pytest.mark.parametrize("after", [0, 49, 50, 51, 500, 999])
def test_after_sigkill_the_state_claims_only_bytes_that_are_there(target, after):
    with subprocess.Popen([sys.executable, "-c", WRITER, target], stdout=subprocess.PIPE, text=True) as process:
        for _ in range(after + 1):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    partial = PartialDownload(target, "x")
    written = target.with_name("film.mp4.part").read_bytes()
    assert (after + 1) // 50 * 50_000 <= partial.done_bytes
    assert all(DATA[start:stop] == written[start:stop] for start, stop in partial.done)
    partial.close()


def test_a_second_download_to_the_same_target_is_refused(target):
    first = PartialDownload(target, "x")
    with pytest.raises(TransferError, match="another download is writing here"):
        PartialDownload(target, "x")
    first.close()
    PartialDownload(target, "x").close()


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO], ids=errno.errorcode.get)
def test_a_file_that_cannot_be_locked_is_not_written_and_is_said_to_be_nobody_elses(target, monkeypatch, reason):
    """Of two downloads to one path each would write into the other's bytes."""
    first = PartialDownload(target, "x")
    first.begin(4, VERSION)
    first.write_at(0, b"go")
    first.close()

    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    with monkeypatch.context() as patch:
        patch.setattr(partial_download.fcntl, "flock", refuse)
        with pytest.raises(TransferError, match=f"cannot be locked .*{os.strerror(reason)}.*local disk") as caught:
            PartialDownload(target, "x")
    assert not isinstance(caught.value, partial_download.PathTakenError), "another path would be tried for ever"
    assert reason == caught.value.__cause__.errno
    second = PartialDownload(target, "x")
    assert ((0, 2),) == second.done
    second.close()


@pytest.mark.parametrize("reason", [errno.EWOULDBLOCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_lock_that_another_holds_is_told_in_either_way(target, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(partial_download.fcntl, "flock", refuse)
    with pytest.raises(partial_download.PathTakenError, match="another download is writing here"):
        PartialDownload(target, "x")


def test_whoever_gets_the_lock_late_does_not_write_into_a_finished_file(target, monkeypatch):
    """The other run ends between the opening of its file here and the lock on it."""
    first = PartialDownload(target, "x")
    first.begin(4, first.validator)
    first.write_at(0, b"good")
    flock = partial_download.fcntl.flock

    def late(file, how):
        if not target.exists():
            first.finish()
        flock(file, how)

    monkeypatch.setattr(partial_download.fcntl, "flock", late)
    second = PartialDownload(target, "x")
    second.begin(3, second.validator)
    second.write_at(0, b"bad")
    assert b"good" == target.read_bytes()
    second.finish()
    assert b"bad" == target.read_bytes()


def test_too_little_space_is_found_out_at_the_beginning(target, monkeypatch):
    statvfs = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([4096, 4096, 9, 9, 9, *list(statvfs(path))[5:]]))
    partial = PartialDownload(target, "x")
    with pytest.raises(TransferError, match="No space left"):
        partial.begin(len(DATA), VERSION)
    partial.close()
    assert [] == list(target.parent.iterdir())


@pytest.mark.parametrize("place", ["missing/film.mp4", ".", "nul\0byte"])
def test_a_place_that_cannot_be_written_is_a_transfer_error(tmp_path, place):
    with pytest.raises(TransferError, match=r"cannot be written|is a directory"):
        PartialDownload(f"{tmp_path}/{place}", "x")


def killed(partial):
    """Leave a download as a kill does."""
    partial._file.close()


@pytest.mark.parametrize("other", [("another source", "v1"), ("source", "v2")])
def test_a_state_does_not_outlive_the_bytes_that_it_tells_of(target, other):
    """Another download to the same path, killed before its first checkpoint, must not leave its bytes to the first."""
    source, version = other
    first = PartialDownload(target, "source")
    first.begin(10, Validator('"v1"'))
    first.write_at(0, b"12345678")
    first.save()
    killed(first)
    second = PartialDownload(target, source)
    second.begin(10, Validator(f'"{version}"'))
    second.write_at(0, b"????")
    killed(second)
    third = PartialDownload(target, "source")
    assert () == third.done
    third.close()


def test_a_state_that_a_kill_left_beside_the_finished_file_tells_nothing_of_the_next_one(target):
    first = PartialDownload(target, "source")
    first.begin(10, Validator('"v1"'))
    first.write_at(0, b"12345678")
    first.save()
    killed(first)
    target.with_name(f"{target.name}.part").rename(target)
    second = PartialDownload(target, "source")
    second.begin(10, Validator('"v1"'))  # reserves ten bytes
    killed(second)
    third = PartialDownload(target, "source")
    assert () == third.done
    third.close()
