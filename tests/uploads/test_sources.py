"""Anything that can be uploaded: its name, type and size, and what its stream gives, each time from its beginning."""

import array
import codecs
import contextlib
import gzip
import io
import itertools
import os
import re
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections import UserList, UserString, deque
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from blockbuster import BlockBuster, BlockingError
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile

from polyglot_async import MediaError
from polyglot_async._uploads.sources import media_from

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256)) * 20
BIG = os.urandom(1 << 10) * 3333
WHOLE = 1 << 20  # a chunk in which the small files here are read whole


async def read(media, chunk_bytes=1 << 20):
    async with media.open(chunk_bytes) as chunks:
        return b"".join([bytes(chunk) async for chunk in chunks])


async def read_twice(media):
    return await read(media), await read(media)


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "talk.wav"
    found.write_bytes(WAV)
    return found


def open_files(path):
    return [link for link in Path("/proc/self/fd").iterdir() if link.resolve() == path]


# Paths


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("kind", [str, Path, Text, anyio.Path])
async def test_a_path_is_named_measured_and_read_again_from_its_beginning(path, kind):
    media = media_from(kind(path))

    assert ("talk.wav", "audio/wav", len(WAV), True, path) == (
        media.name, media.content_type, media.size, media.replayable, media.path,
    )  # fmt: skip
    assert (WAV, WAV) == await read_twice(media)
    assert [] == open_files(path)


async def test_a_path_larger_than_a_chunk_is_read_in_chunks(path):
    path.write_bytes(BIG)

    async with media_from(path).open() as chunks:
        sizes = [len(chunk) async for chunk in chunks]

    assert [1 << 20] * 3 + [len(BIG) - (3 << 20)] == sizes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "there is no such file"),
        ("folder", "is a directory, not a file"),
        ("", "is a directory, not a file"),
        ("talk.wav/inside", "Not a directory"),
        ("nul\x00.wav", "cannot be read"),
        ("n" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("socket", "is not a regular file"),
        ("ftp://host/talk.mp3", "no such file, and only http and https URLs"),
    ],
)
def test_a_path_that_cannot_be_read_is_a_media_error_at_once(tmp_path, path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mknod(tmp_path / "socket", 0o140644)

    for place in (name, Path(name)):
        with pytest.raises(MediaError, match=message) as caught:
            media_from(place)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_fifo_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(MediaError, match="is not a regular file"):
        media_from(tmp_path / "fifo")


def test_an_unreadable_file_is_a_media_error_at_once(path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)

    with pytest.raises(MediaError, match="cannot be read: Permission denied") as caught:
        media_from(path)
    assert 1 == str(caught.value).count(str(path))


@pytest.mark.parametrize("source", [b"", bytearray(), io.BytesIO()])
def test_what_is_empty_is_a_media_error_at_once(source):
    with pytest.raises(MediaError, match="is empty"):
        media_from(source)


def test_an_empty_file_is_a_media_error_at_once(path):
    path.write_bytes(b"")

    with pytest.raises(MediaError, match=r"talk.wav: is empty"):
        media_from(path)


async def test_a_file_that_vanished_meanwhile_is_a_media_error(path):
    media = media_from(path)
    path.unlink()

    with pytest.raises(MediaError, match=r"talk.wav: cannot be read: No such file"):
        await read(media)


def rewrite(path, content):
    path.write_bytes(content)


def append(path, _):
    with path.open("ab") as file:
        file.write(b"more")


def cut(path, _):
    os.truncate(path, 100)


def replace(path, content):
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def touch(path, _):
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))


CHANGES = [rewrite, append, cut, replace, touch]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_path_that_changed_before_it_is_opened_is_a_media_error(path, change):
    os.utime(path, ns=(1, 1))
    media = media_from(path)
    change(path, WAV[::-1])

    with pytest.raises(MediaError, match=r"talk.wav: changed after it was first looked at.*no task was started"):
        await read(media)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("chunk_bytes", "after"), [(1000, "the first chunk"), (1000, "the last chunk"), (WHOLE, "the last chunk")]
)
async def test_a_path_that_changes_while_it_is_read_has_no_end(path, change, chunk_bytes, after):
    os.utime(path, ns=(1, 1))
    media = media_from(path)
    found = b""

    with pytest.raises(MediaError, match="changed after it was first looked at"):
        async with media.open(chunk_bytes) as chunks:
            async for chunk in chunks:
                found += chunk
                if after == "the first chunk" or found == WAV:
                    change(path, WAV[::-1])


@pytest.mark.parametrize("change", CHANGES[:3] + CHANGES[4:])
@pytest.mark.parametrize("after", ["the first look", "the last chunk"])
@pytest.mark.parametrize("buffering", [0, -1])
async def test_an_open_file_whose_content_changes_has_no_end(path, change, after, buffering):
    os.utime(path, ns=(1, 1))
    with path.open("rb", buffering) as file:
        media = media_from(file)
        if after == "the first look":
            change(path, WAV[::-1])
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            async with media.open(1000) as chunks:
                read = 0
                async for chunk in chunks:
                    read += len(chunk)
                    if read == len(WAV):
                        change(path, WAV[::-1])


@pytest.mark.parametrize("spooled", [True, False])
async def test_a_file_object_that_grows_has_no_end(spooled):
    file = tempfile.SpooledTemporaryFile() if spooled else io.BytesIO()  # noqa: SIM115
    with file:
        file.write(WAV)
        file.seek(0)
        media = media_from(file)
        file.seek(0, os.SEEK_END)
        file.write(b"more")

        with pytest.raises(MediaError, match="changed after it was first looked at"):
            await read(media)


async def test_a_file_object_that_shrinks_ends_early_so_that_the_form_can_refuse_it():
    file = io.BytesIO(WAV)
    media = media_from(file)
    file.truncate(100)

    assert (WAV[:100], len(WAV)) == (await read(media), media.size)


@pytest.mark.parametrize("chunk_bytes", [100, WHOLE])
async def test_a_path_that_is_deleted_while_it_is_read_is_read_to_its_end(path, chunk_bytes):
    media = media_from(path)
    async with media.open(chunk_bytes) as chunks:
        first = await anext(chunks)
        path.unlink()

        assert WAV == first + b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("chunk_bytes", [100, WHOLE])
async def test_a_path_that_cannot_be_looked_at_again_has_no_end(tmp_path, chunk_bytes):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "talk.wav").write_bytes(WAV)
    media = media_from(folder / "talk.wav")

    with pytest.raises(MediaError, match=r"talk.wav: cannot be read: Not a directory"):
        async with media.open(chunk_bytes) as chunks:
            await anext(chunks)
            folder.rename(tmp_path / "other")
            folder.write_bytes(b"no folder")
            async for _ in chunks:
                pass


@pytest.mark.parametrize(("missing", "sizes"), [(0, [5136]), (1, [5135, 1])])
async def test_a_path_of_no_more_than_a_chunk_is_one_chunk(path, missing, sizes):
    async with media_from(path).open(len(WAV) - missing) as chunks:
        assert sizes == [len(chunk) async for chunk in chunks]


@pytest.mark.parametrize(
    ("moment", "change"), [("before", change) for change in CHANGES] + [("during", rewrite), ("during", cut)]
)
async def test_a_small_path_that_changes_before_or_during_its_read_has_no_chunk(path, slow_disk, moment, change):
    os.utime(path, ns=(1, 1))
    media = media_from(path)
    if moment == "before":
        change(path, WAV[::-1])
    slow_disk.start(on_read=partial(change, path, WAV[::-1]) if moment == "during" else None)

    async with media.open() as chunks:
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            await anext(chunks)


async def test_a_small_path_whose_time_is_set_back_during_its_read_has_no_chunk(path, slow_disk):
    os.utime(path, ns=(1, 1))
    media = media_from(path)
    path.write_bytes(WAV[::-1])
    slow_disk.start(on_read=lambda: os.utime(path, ns=(1, 1)))

    async with media.open() as chunks:
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            await anext(chunks)


async def test_a_small_path_with_more_bytes_than_its_size_has_no_chunk(path, slow_disk):
    media = media_from(path)
    slow_disk.start(on_read=lambda: b"more than the file system knows of" * 1000)

    async with media.open() as chunks:
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            await anext(chunks)


async def test_a_small_path_that_grew_is_not_read_to_its_end(path, slow_disk):
    media = media_from(path)
    path.write_bytes(BIG)
    slow_disk.start()

    with pytest.raises(MediaError, match="changed after it was first looked at"):
        await read(media)

    (disk,) = slow_disk.files
    assert len(WAV) + 1 == disk.bytes


async def test_a_small_path_is_read_though_all_shared_threads_are_busy(path):
    busy = threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()
    media = media_from(path)

    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(anyio.to_thread.run_sync, busy.wait, 5)
        try:
            with anyio.fail_after(4):
                while limiter.available_tokens:
                    await anyio.sleep(0.001)
                assert WAV == await read(media)
        finally:
            busy.set()


async def test_looking_at_a_spooled_file_does_not_write_it_to_the_disk():
    with tempfile.SpooledTemporaryFile() as file:
        file.write(WAV)
        file.seek(0)

        assert WAV == await read(media_from(file))
        assert isinstance(file._file, io.BytesIO)


async def test_a_name_that_is_not_utf_8_is_no_obstacle(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(path, "wb") as file:  # noqa: ASYNC230, PTH123 - the name is bytes
        file.write(WAV)

    media = media_from(os.fsdecode(path))

    assert ("caf\udce9.wav", WAV) == (media.name, await read(media))


# Bytes


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (WAV, WAV),
        (bytearray(WAV), WAV),
        (memoryview(WAV), WAV),
        (memoryview(WAV)[::2], WAV[::2]),
        (memoryview(WAV)[::-1], WAV[::-1]),
        (memoryview(array.array("H", [1, 2, 65535])), array.array("H", [1, 2, 65535]).tobytes()),
        (memoryview(WAV[:6]).cast("B", (2, 3)), WAV[:6]),
        (BIG, BIG),
    ],
)
async def test_bytes_of_any_kind_are_the_media_itself(source, expected):
    media = media_from(source)

    assert (len(expected), True) == (media.size, media.replayable)
    assert (expected, expected) == await read_twice(media)


async def test_bytes_that_change_later_are_sent_as_they_were():
    source = bytearray(WAV)
    media = media_from(source)
    source[:] = b"x"

    assert WAV == await read(media)


# Names without a suffix


@pytest.mark.parametrize("source", [WAV, bytearray(WAV), io.BytesIO(WAV), SimpleNamespace(read=io.BytesIO(WAV).read)])
def test_what_has_no_name_gets_one_with_the_suffix_of_its_type(source):
    media = media_from(source)

    expected = ("audio/wav", "upload.wav") if not isinstance(source, SimpleNamespace) else (
        "application/octet-stream", "upload.bin")  # fmt: skip
    assert expected == (media.content_type, media.name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("talk", "talk.wav"), ("talk.2024", "talk.2024.wav"), ("Mr. Smith", "Mr. Smith.wav"), ("talk.tmp", "talk.wav"),
     ("talk.mp3.part", "talk.mp3"), ("talk.txt", "talk.txt"), ("talk.mp3", "talk.mp3")],
)  # fmt: skip
def test_a_file_without_a_suffix_gets_that_of_its_type(tmp_path, name, expected):
    (tmp_path / name).write_bytes(WAV)

    assert expected == media_from(tmp_path / name).name
    with (tmp_path / name).open("rb") as file:
        assert expected == media_from(file).name


def test_a_file_of_an_unknown_type_keeps_its_name(tmp_path):
    (tmp_path / "talk").write_bytes(b"no magic")

    assert "talk" == media_from(tmp_path / "talk").name


def test_a_name_that_was_given_is_sent_as_it_is():
    assert "call 17" == media_from(("call 17", WAV)).name == media_from(WAV, name="call 17").name


@pytest.mark.parametrize("archive", ["calls.tar", "calls.tar.gz", None])
async def test_a_member_of_a_tar_file_has_the_suffix_of_its_type(tmp_path, archive):
    target = io.BytesIO() if archive is None else tmp_path / archive
    mode = "w:gz" if archive == "calls.tar.gz" else "w"
    with tarfile.open(target if archive else None, mode, fileobj=None if archive else target) as tar:
        member = tarfile.TarInfo("talk")
        member.size = len(WAV)
        tar.addfile(member, io.BytesIO(WAV))
    if archive is None:
        target.seek(0)
    with tarfile.open(target if archive else None, fileobj=None if archive else target) as tar:
        media = media_from(tar.extractfile("talk"))

        assert ("audio/wav", ".wav") == (media.content_type, Path(media.name).suffix)
        assert (WAV, WAV) == await read_twice(media)


def test_a_compressed_file_is_named_as_what_comes_out(tmp_path):
    with opened("gzip", tmp_path, WAV) as file:
        assert "talk.wav" == media_from(file).name


def test_a_member_of_a_zip_file_keeps_its_own_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "calls.zip", "w") as out:
        out.writestr("folder/talk.wav", WAV)
    with zipfile.ZipFile(tmp_path / "calls.zip") as archive, archive.open("folder/talk.wav") as member:
        assert ("talk.wav", len(WAV)) == (media_from(member).name, media_from(member).size)


# Open files


class Unseekable(io.RawIOBase):
    """A raw stream that gives little at a time, as a socket's file does."""

    def __init__(self, data, most=7):
        self.left, self.most = data, most

    def readable(self):
        return True

    def readinto(self, buffer):
        taken, self.left = self.left[: min(self.most, len(buffer))], self.left[min(self.most, len(buffer)) :]
        buffer[: len(taken)] = taken
        return len(taken)


@contextlib.contextmanager
def opened(kind, folder, data):
    path = folder / "talk.wav"
    path.write_bytes(data)
    if kind == "buffered":
        file = path.open("rb")
    elif kind == "unbuffered":
        file = path.open("rb", buffering=0)
    elif kind == "read and write":
        file = path.open("r+b")
    elif kind == "BytesIO":
        file = io.BytesIO(data)
    elif kind == "NamedTemporaryFile":
        file = tempfile.NamedTemporaryFile(suffix=".wav", dir=folder)  # noqa: SIM115 - closed below
        file.write(data)
    elif kind.startswith("Spooled"):
        file = tempfile.SpooledTemporaryFile(max_size=10 if "on disk" in kind else 1 << 30)  # noqa: SIM115
        file.write(data)
    elif kind == "gzip":
        (folder / "talk.wav.gz").write_bytes(gzip.compress(data))
        file = gzip.open(folder / "talk.wav.gz")  # noqa: SIM115
    with file:
        file.seek(0)
        yield file


FILES = ["buffered", "unbuffered", "read and write", "BytesIO", "NamedTemporaryFile", "Spooled in memory",
         "Spooled on disk", "gzip"]  # fmt: skip


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("kind", FILES)
async def test_an_open_file_is_sent_from_where_it_stands_each_time_and_stays_open(tmp_path, kind, offset):
    with opened(kind, tmp_path, WAV) as file:
        file.seek(offset)

        media = media_from(file)

        assert offset == file.tell()
        assert (len(WAV) - offset, True, None) == (media.size, media.replayable, media.path)
        assert (WAV[offset:], WAV[offset:]) == await read_twice(media)
        assert not file.closed


@pytest.mark.parametrize(
    "wrap", [anyio.wrap_file, lambda file: SimpleNamespace(read=anyio.wrap_file(file).read, wrapped=file)]
)
async def test_a_file_of_anyio_is_read_from_where_it_stands(path, wrap):
    with path.open("rb") as file:
        file.seek(5)

        assert (WAV[5:], WAV[5:]) == await read_twice(media_from(wrap(file)))


async def test_a_file_opened_with_anyio_is_named_and_read(path):
    async with await anyio.open_file(path, "rb") as file:
        media = media_from(file)

        assert ("talk.wav", "audio/wav", len(WAV), WAV) == (
            media.name,
            media.content_type,
            media.size,
            await read(media),
        )


@pytest.mark.parametrize("offset", [0, 5])
async def test_the_upload_of_a_web_framework_is_measured_and_read_again(offset):
    upload = UploadFile(io.BytesIO(WAV), filename="folder/talk.wav", headers=Headers({"content-type": "x/y"}))
    upload.file.seek(offset)

    media = media_from(upload)

    assert ("talk.wav", len(WAV) - offset, True) == (media.name, media.size, media.replayable)
    assert (WAV[offset:],) * 2 == await read_twice(media)


async def test_any_other_async_file_is_read_once():
    """Such as a file of aiofiles."""
    source = io.BytesIO(WAV)

    class Upload:
        filename = "folder/talk.wav"

        async def read(self, size):
            await anyio.lowlevel.checkpoint()
            return source.read(min(size, 100))

    media = media_from(Upload())
    assert WAV == await read(media)

    assert ("talk.wav", "audio/wav", None, False) == (media.name, media.content_type, media.size, media.replayable)


@pytest.mark.parametrize("give", ["text", OSError(5, "Input/output error")])
async def test_an_async_file_that_gives_text_or_fails_is_a_media_error(give):
    class Odd:
        name = "talk.wav"

        async def read(self, size):
            if isinstance(give, OSError):
                raise give
            return give

    with pytest.raises(MediaError, match=r"talk.wav: (gives str where bytes are expected|cannot be read: Input)"):
        await read(media_from(Odd()))


async def test_a_file_with_nothing_but_read_is_read_once():
    media = media_from(SimpleNamespace(read=io.BytesIO(WAV).read))

    assert (None, False, WAV) == (media.size, media.replayable, await read(media))


@pytest.mark.parametrize("buffered", [True, False])
async def test_a_file_that_cannot_seek_is_read_once_to_its_end(buffered):
    raw = Unseekable(WAV)
    media = media_from(io.BufferedReader(raw) if buffered else raw)

    assert (None, False, WAV) == (media.size, media.replayable, await read(media))
    with pytest.raises(MediaError, match="was read before and cannot be read again"):
        media.open()


async def test_a_pipe_is_read_to_its_end():
    out, into = os.pipe()
    with os.fdopen(out, "rb") as reader:
        with os.fdopen(into, "wb") as writer:
            writer.write(WAV)
        media = media_from(reader)

        assert (None, False, WAV) == (media.size, media.replayable, await read(media))


async def test_a_non_blocking_pipe_is_not_silently_cut_where_it_has_nothing_yet():
    out, into = os.pipe()
    os.set_blocking(out, False)
    with os.fdopen(out, "rb", buffering=0) as reader, os.fdopen(into, "wb", buffering=0) as writer:
        writer.write(WAV)

        with pytest.raises(MediaError, match="non-blocking"):
            await read(media_from(reader))


def test_a_file_in_text_mode_is_a_media_error_at_once(path):
    path.write_text("text", "utf-8")
    with path.open(encoding="utf-8") as text, tempfile.SpooledTemporaryFile(mode="w+") as spooled:
        for source in (text, io.StringIO("text"), anyio.wrap_file(text), spooled, ("talk.wav", text)):
            with pytest.raises(MediaError, match="text mode"):
                media_from(source)


def test_a_file_of_codecs_is_a_media_error_at_once(path):
    path.write_text("text", "utf-8")
    with codecs.open(os.fspath(path), encoding="utf-8") as file, pytest.raises(MediaError, match="text mode"):
        media_from(file)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_at_its_end_is_a_media_error_at_once_that_says_so(tmp_path, kind):
    with opened(kind, tmp_path, WAV) as file:
        file.read()

        with pytest.raises(MediaError, match=r"is at its end: nothing left to read; seek\(0\) first"):
            media_from(file)


def test_a_file_that_cannot_be_read_from_is_a_media_error_at_once(tmp_path, path):
    with path.open("rb") as closed:
        pass
    with (tmp_path / "new").open("wb") as writing:
        for source in (closed, writing):
            with pytest.raises(MediaError, match=r"not open for reading|closed file"):
                media_from(source)


async def test_a_file_that_the_caller_closes_meanwhile_is_a_media_error(path):
    with path.open("rb") as file:
        media = media_from(file)

    with pytest.raises(MediaError, match=r"talk.wav: cannot be read: .*closed"):
        await read(media)


@pytest.mark.parametrize("chunk_bytes", [100, WHOLE])
async def test_a_disk_that_fails_under_a_path_is_a_media_error(path, slow_disk, chunk_bytes):
    media = media_from(path)
    error = OSError(5, "Input/output error")

    def fail():
        raise error

    slow_disk.start(on_read=fail)
    with pytest.raises(MediaError, match=r"talk.wav: cannot be read: Input/output error$") as caught:
        await read(media, chunk_bytes)

    (disk,) = slow_disk.files
    assert disk.closed
    assert error is caught.value.__cause__


@pytest.mark.parametrize("after", [0, 2])
async def test_a_disk_that_fails_is_a_media_error(after):
    class Failing(io.BytesIO):
        name = "/media/usb/talk.wav"

        def read(self, size=-1):
            if size > 16 and self.tell() >= after * 100:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(MediaError, match=r"^talk.wav: cannot be read: Input/output error$") as caught:
        await read(media_from(Failing(WAV)), chunk_bytes=100)
    assert isinstance(caught.value.__cause__, OSError)


def test_standard_input_and_numbered_files_have_a_name_for_the_form(path):
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as numbered:
        assert "upload.wav" == media_from(numbered).name
    assert "upload.bin" == media_from(SimpleNamespace(read=Unseekable(WAV).read, name="<stdin>")).name


# Iterators


class Chunked:
    """Iterable, and no collection."""

    def __init__(self, chunks):
        self.chunks = chunks

    def __iter__(self):
        return iter(self.chunks)


def generator(chunks=(WAV[:10], b"", WAV[10:])):
    yield from chunks


async def async_generator(chunks=(WAV[:10], b"", WAV[10:])):
    for chunk in chunks:
        await anyio.lowlevel.checkpoint()
        yield chunk


@pytest.mark.parametrize("size", [None, len(WAV)])
@pytest.mark.parametrize("make", [generator, async_generator, lambda: iter([WAV]), lambda: Chunked([WAV])])
async def test_an_iterator_is_read_once_and_never_sent_empty_again(make, size):
    media = media_from(make(), size=size)

    assert ("upload.bin", size, False) == (media.name, media.size, media.replayable)
    assert WAV == await read(media)
    with pytest.raises(MediaError, match="was read before and cannot be read again"):
        media.open()


@pytest.mark.parametrize("make", [generator, async_generator])
async def test_an_iterator_that_was_opened_and_not_read_is_not_opened_again_either(make):
    media = media_from(make())
    async with media.open():
        pass

    with pytest.raises(MediaError, match="was read before"):
        media.open()


@given(st.lists(st.binary(max_size=9), max_size=20))
async def test_empty_chunks_are_no_end(chunks):
    assert b"".join(chunks) == await read(media_from(generator(chunks)))


async def test_an_iterator_may_use_one_buffer_again_and_again():
    def reusing():
        buffer = bytearray(2)
        for number in range(50):
            buffer[:] = bytes([number, number])
            yield memoryview(buffer) if number % 2 else buffer

    assert bytes(number for number in range(50) for _ in "ab") == await read(media_from(reusing()))


class MineError(Exception):
    """An error of the caller's own."""


@pytest.mark.parametrize("error", [MineError("mine"), OSError("mine"), KeyError("mine"), TimeoutError("mine")])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_an_iterator_raises_comes_out_as_it_is(error, is_async):
    def failing():
        yield WAV
        raise error

    async def failing_later():
        yield WAV
        raise error

    with pytest.raises(type(error)) as caught:
        await read(media_from(failing_later() if is_async else failing()))

    assert error is caught.value


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("leave", ["early", "raising", "cancelled", "at the end"])
async def test_a_generator_is_closed_when_the_stream_is(is_async, leave):
    closed = threading.Event()

    def endless():
        try:
            yield from itertools.repeat(WAV, 50)
        finally:
            closed.set()

    async def endless_later():
        try:
            for chunk in itertools.repeat(WAV, 50):
                yield chunk
        finally:
            closed.set()

    media = media_from(endless_later() if is_async else endless())
    with contextlib.suppress(MineError), anyio.CancelScope() as scope:
        async with media.open() as chunks:
            await anext(chunks)
            if leave == "raising":
                raise MineError
            if leave == "cancelled":
                scope.cancel()
                await anyio.sleep(5)
            if leave == "at the end":
                assert 49 == len([chunk async for chunk in chunks])

    assert closed.is_set()


# What overrules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("talk.mp3", "talk.mp3"), ("folder/talk.mp3", "talk.mp3"), ("C:\\talks\\talk.mp3", "talk.mp3"),
        ("../../etc/passwd", "passwd"), ("..", "upload.bin"), (".", "upload.bin"), ("/", "upload.bin"),
        ("a/..", "upload.bin"), ("", "upload.bin"), ("talk", "talk"), ('say "hi"\r\n.mp3', 'say "hi"\r\n.mp3'),
    ],
)  # fmt: skip
async def test_a_name_may_be_given_and_is_never_a_path(name, expected):
    assert expected == media_from(b"x", name=name).name == media_from((name, b"x")).name


def test_a_pair_names_its_source(path):
    media = media_from(("call.m4a", path))

    assert ("call.m4a", path) == (media.name, media.path)
    assert "other.mp3" == media_from(("call.m4a", path), name="other.mp3").name
    assert "talk.wav" == media_from((None, path)).name


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        (b"no magic", "talk.mp3", "audio/mpeg"),
        (b"no magic", "talk", "application/octet-stream"),
        (WAV, "talk.mp3", "audio/wav"),
        (b"\x00\x00\x00\x20ftypisom", "talk.m4a", "audio/mp4"),
        (b"\x00\x00\x00\x20ftypisom", "talk.mp4", "video/mp4"),
        (iter([b"x"]), "talk.mp3", "audio/mpeg"),
    ],
)
def test_the_name_that_is_given_tells_the_type_as_a_files_own_does(source, name, expected):
    assert expected == media_from(source, name=name).content_type


def test_a_type_that_is_given_wins():
    assert "audio/x-special" == media_from(WAV, name="a.mp3", content_type="audio/x-special").content_type


@pytest.mark.parametrize("content_type", ["", "wav", "audio/wav\r\nX-Evil: 1", "audio/вав", "audio/wav\x00"])
def test_what_is_no_mime_type_is_a_value_error(content_type):
    with pytest.raises(ValueError, match="is not a MIME type"):
        media_from(WAV, content_type=content_type)


@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
def test_a_size_that_is_not_the_real_one_is_a_media_error_at_once(path, kind):
    source = {"path": path, "bytes": WAV, "file": io.BytesIO(WAV)}[kind]
    assert len(WAV) == media_from(source, size=len(WAV)).size

    with pytest.raises(MediaError, match=rf"has {len(WAV)} bytes, but size=5 was given"):
        media_from(source, size=5)


def test_a_negative_size_is_a_value_error():
    with pytest.raises(ValueError, match="must not be negative"):
        media_from(generator(), size=-1)


@pytest.mark.parametrize("size", ["5", 5.0, True, b"5", float("nan"), (5,)])
def test_a_size_that_is_no_whole_number_is_a_type_error(size):
    with pytest.raises(TypeError, match="size must be a whole number of bytes"):
        media_from(generator(), size=size)


@pytest.mark.parametrize(
    "options", [{"name": b"a"}, {"name": Path("a")}, {"content_type": b"a/b"}, {"content_type": 5}]
)
def test_a_name_or_type_that_is_no_text_is_a_type_error(options):
    with pytest.raises(TypeError, match="must be a str"):
        media_from(WAV, **options)


@pytest.mark.parametrize(
    "source",
    [None, 5, 5.0, True, object(), {}, {"file": b"x"}, (), ("a", b"x", "audio/wav"), (b"a", b"x"), ("a", ("b", b"x")),
     [1, 2], ["a"], [None], [b"x"], [], {b"x"}, len, UserString, UserString("a"), SimpleNamespace(read=5), ("a", None),
     range(3), array.array("h", [1, 2]), deque([b"x"]), io.BytesIO, datetime.now, Ellipsis],
)  # fmt: skip
def test_what_is_no_media_is_a_type_error_at_once(source):
    with pytest.raises(TypeError, match=r"cannot upload a|must be a pair"):
        media_from(source)


def test_a_list_is_refused_with_a_hint():
    with pytest.raises(TypeError, match=r"cannot upload a list: .*use `batch` for many sources"):
        media_from(["a.mp3", "b.mp3"])


def test_an_array_of_samples_is_refused_with_a_hint():
    class Samples(UserList):
        """Like numpy's: a collection with `__array__`."""

        def __array__(self):
            return self

    with pytest.raises(TypeError, match="write the samples to a WAV file first"):
        media_from(Samples([0.5]))


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_iterator_of_text_or_numbers_is_a_media_error_at_its_first_chunk(is_async):
    for chunk in ("text", "", 5, 0, None, ["x"]):
        make = async_generator if is_async else generator
        with pytest.raises(MediaError, match=f"gives {type(chunk).__name__} where bytes are expected"):
            await read(media_from(make([chunk])))


# URLs


@pytest.mark.parametrize("url", ["https://host/a.mp3", "HTTPS://host/a.mp3", "  hTTp://host/a \n"])
def test_a_url_is_no_file(url):
    with pytest.raises(MediaError, match="is a URL, not a file: use from_url"):
        media_from(url)


@pytest.mark.parametrize("url", ["https://user:password@host/a.mp3?sig=secret", "ftp://user:password@host/a?secret"])
def test_no_error_holds_the_password_or_the_query_of_a_url(url):
    for source in (url, Path(url), ("a.mp3", url)):
        with pytest.raises(MediaError) as caught:
            media_from(source)
        assert "password" not in str(caught.value)
        assert "secret" not in str(caught.value)


# The loop, the thread, the file


class SlowDisk:
    """A file whose every read takes 5 ms, and which knows who reads it and whether it was closed.

    `on_read` is called in each read; what it returns, if anything, stands in the place of the file's bytes.
    """

    def __init__(self, file, on_read):
        self.file, self.on_read = file, on_read
        self.reads, self.bytes, self.threads, self.closed = 0, 0, set(), False

    def read(self, size):
        self.reads += 1
        self.threads.add(threading.get_ident())
        time.sleep(0.005)
        found = self.on_read and self.on_read()
        found = self.file.read(size) if found is None else found[:size]
        self.bytes += len(found)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed = True
        self.file.close()

    def fileno(self):
        return self.file.fileno()


@pytest.fixture
def slow_disk(path, monkeypatch):
    files = []
    original = Path.open

    def start(on_read=None):
        def slow(self, mode="r", buffering=-1, **options):
            file = original(self, mode, buffering, **options)
            if self != path or mode != "rb":
                return file
            files.append(SlowDisk(file, on_read))
            return files[-1]

        monkeypatch.setattr(Path, "open", slow)

    return SimpleNamespace(start=start, files=files)


@pytest.mark.parametrize(("chunk_bytes", "reads"), [(100, 20), (WHOLE, 1)])
async def test_reading_a_path_never_blocks_the_loop(path, slow_disk, anyio_backend_name, chunk_bytes, reads):
    path.write_bytes(WAV[:2000])
    media = media_from(path)
    slow_disk.start()
    longest = 0.0

    async def watch():
        nonlocal longest
        while True:
            before = time.perf_counter()
            await anyio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    with blocking_forbidden(anyio_backend_name):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            assert WAV[:2000] == await read(media, chunk_bytes)
            tasks.cancel_scope.cancel()

    (disk,) = slow_disk.files
    assert reads <= disk.reads <= reads + 1
    assert threading.get_ident() not in disk.threads
    assert disk.closed
    # Twenty reads of 5 ms are 100 ms; one on the loop would show as 6 ms or more, the machine's own hiccups aside.
    assert longest < 0.1


@contextlib.contextmanager
def blocking_forbidden(backend):
    if backend != "asyncio":  # BlockBuster knows asyncio's loop alone
        yield
        return
    guard = BlockBuster()
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_guard_would_notice_a_read_on_the_loop(path):
    with blocking_forbidden("asyncio"), path.open("rb") as file, pytest.raises(BlockingError):
        file.read(1)


@pytest.mark.parametrize("moment", ["full queue", "slow read", "before the first read"])
async def test_cancellation_closes_the_file_and_leaves_no_thread_reading(path, slow_disk, moment):
    media = media_from(path)
    slow_disk.start()
    started = time.perf_counter()
    with anyio.CancelScope() as scope:
        if moment == "before the first read":
            scope.cancel()
        async with media.open(100) as chunks:
            if moment == "slow read":
                await anext(chunks)
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(5):
                while not slow_disk.files or slow_disk.files[0].reads < 4:
                    await anyio.sleep(0.002)
            scope.cancel()
            await anyio.sleep(5)

    assert scope.cancelled_caught
    assert time.perf_counter() - started < 1
    reads = [disk.reads for disk in slow_disk.files]
    await anyio.sleep(0.02)
    assert reads == [disk.reads for disk in slow_disk.files]
    assert all(disk.closed for disk in slow_disk.files)
    assert [] == open_files(path)


@pytest.mark.parametrize("moment", ["before the read", "during the read", "after the read"])
async def test_cancellation_closes_a_small_file_that_is_read_whole(path, slow_disk, moment):
    media = media_from(path)
    slow_disk.start()
    reading = anyio.Event()

    async def cancel_meanwhile(scope):
        await reading.wait()
        with anyio.fail_after(5):
            while not (slow_disk.files and slow_disk.files[0].reads):
                await anyio.sleep(0.0005)
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_meanwhile, scope)
            if moment == "before the read":
                scope.cancel()
            if moment == "during the read":
                reading.set()
            async with media.open() as chunks:
                assert WAV == await anext(chunks)
                reading.set()
                async for _ in chunks:
                    await anyio.sleep(5)
                await anyio.sleep(5)
        tasks.cancel_scope.cancel()

    assert scope.cancelled_caught
    assert all(disk.closed for disk in slow_disk.files)
    assert len(slow_disk.files) == (0 if moment == "before the read" else 1)
    assert [] == open_files(path)


async def test_leaving_early_closes_the_file(path):
    async with media_from(path).open(100) as chunks:
        await anext(chunks)
        assert 1 == len(open_files(path))

    assert [] == open_files(path)


@pytest.mark.parametrize("chunk_bytes", [100, WHOLE])
async def test_two_attempts_at_once_do_not_disturb_each_other(path, chunk_bytes):
    media = media_from(path)
    found = []

    async def attempt():
        found.append(await read(media, chunk_bytes))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(attempt)

    assert [WAV] * 5 == found


async def test_an_attempt_that_was_broken_off_does_not_shorten_the_next(tmp_path):
    with opened("buffered", tmp_path, WAV) as file:
        file.seek(3)
        media = media_from(file)
        async with media.open(100) as chunks:
            await anext(chunks)

        assert WAV[3:] == await read(media)


@pytest.mark.skipif(sys.platform == "win32", reason="/proc")
@given(data=st.binary(min_size=1, max_size=2000), offset=st.integers(0, 1999))
def test_whatever_a_file_holds_and_wherever_it_stands(data, offset):
    offset = min(offset, len(data) - 1)
    file = io.BytesIO(data)
    file.seek(offset)

    assert (data[offset:],) * 2 == anyio.run(read_twice, media_from(file))


# Responses


async def test_a_response_is_named_measured_and_read_once(fetch, served):
    async with fetch("/media/a%20talk.wav?token=1") as response:
        media = media_from(response)

        assert ("a talk.wav", "audio/wav", len(served), False) == (
            media.name, media.content_type, media.size, media.replayable)  # fmt: skip
        assert served == await read(media)
        with pytest.raises(MediaError, match="was read before"):
            media.open()


@pytest.mark.parametrize(
    ("path", "status"), [("/missing.wav", 404), ("/forbidden.wav", 403), ("/broken.wav", 502), ("/moved.wav", 302)]
)
async def test_a_response_that_is_no_success_is_refused_with_its_status_and_bare_url(fetch, path, status):
    for options in ({}, {"content_type": "audio/wav"}, {"name": "talk.wav"}):
        async with fetch(f"{path}?sig=secret") as response:
            with pytest.raises(MediaError, match=rf"{path}: was answered with status {status}") as caught:
                media_from(response, **options)
        assert not {"secret", "password"} & set(re.findall("[a-z]+", str(caught.value)))


@pytest.mark.parametrize("path", ["/sign-in.wav", "/error.wav", "/problem.wav"])
async def test_a_page_is_refused_unless_the_type_is_given(fetch, path):
    async with fetch(f"{path}?sig=secret") as response:
        for source in (response, ("talk.wav", response)):
            with pytest.raises(MediaError, match=rf"{path}: was answered with .*pass content_type=") as caught:
                media_from(source)
            assert "secret" not in str(caught.value)

        assert await read(media_from(response, content_type="audio/wav"))


async def test_a_response_without_a_type_has_still_to_show_that_it_is_no_page(fetch):
    async with fetch("/untyped-page.wav") as response:
        assert media_from(response).may_be_page
        assert not media_from(response, content_type="audio/wav").may_be_page
    async with fetch("/media/a%20talk.wav") as response:
        assert not media_from(response).may_be_page


async def test_an_empty_response_is_a_media_error_at_once(fetch):
    async with fetch("/empty.wav") as response:
        with pytest.raises(MediaError, match=r"empty.wav: is empty"):
            media_from(response)


async def test_a_name_without_a_suffix_gets_that_of_the_stated_type():
    response = SimpleNamespace(status=200, headers={"Content-Type": "audio/mpeg"}, url="https://host/v/17", read=None)

    assert "17.mp3" == media_from(response).name


def test_an_encoding_that_nobody_undoes_is_refused():
    headers = {"Content-Encoding": "gzip", "content-type": "audio/wav"}
    response = SimpleNamespace(status=200, headers=headers, url="https://host/a.wav", read=io.BytesIO(WAV).read)

    with pytest.raises(MediaError, match=r"is encoded .gzip.; request it with 'Accept-Encoding: identity'"):
        media_from(response)
