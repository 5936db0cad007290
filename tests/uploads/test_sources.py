"""Anything that can be uploaded: what it is told to be, and what its stream gives, each time from its beginning."""

import array
import contextlib
import gzip
import io
import itertools
import os
import sys
import tempfile
import threading
import time
from collections import UserString
from pathlib import Path
from types import SimpleNamespace

import anyio
import httpx
import pytest
from blockbuster import BlockBuster, BlockingError
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import MediaError
from polyglot_async._uploads import chunks as media_streams
from polyglot_async._uploads.file_reader import CHUNK_BYTES
from polyglot_async._uploads.sources import media_from

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(range(256)) * 20
BIG = os.urandom(1 << 10) * 3333


async def read(media):
    async with media.open() as chunks:
        return b"".join([bytes(chunk) async for chunk in chunks])


async def read_twice(media):
    return await read(media), await read(media)


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "talk.wav"
    found.write_bytes(WAV)
    return found


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(media_streams, "CHUNK_BYTES", 100)


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

    assert [CHUNK_BYTES] * 3 + [len(BIG) - 3 * CHUNK_BYTES] == sizes


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
        ("https://host/talk.mp3", "there is no such file"),
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


@pytest.mark.parametrize("source", [b"", bytearray(), io.BytesIO(), []])
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


async def test_of_a_file_that_grew_meanwhile_no_more_is_read_than_was_measured(path, small_chunks):
    media = media_from(path)
    path.write_bytes(WAV + b"more")

    assert WAV == await read(media)


async def test_of_a_file_that_shrank_meanwhile_what_is_there_is_read(path):
    """The form's body then sees that it is less than promised."""
    media = media_from(path)
    path.write_bytes(WAV[:100])

    assert WAV[:100] == await read(media)


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
        ([WAV[:7], bytearray(WAV[7:9]), b"", memoryview(WAV[9:])], WAV),
        (BIG, BIG),
    ],
)
async def test_bytes_of_any_kind_are_the_media_itself(source, expected):
    media = media_from(source)

    assert ("upload.bin", len(expected), True) == (media.name, media.size, media.replayable)
    assert (expected, expected) == await read_twice(media)


async def test_bytes_that_change_later_are_sent_as_they_were():
    source = bytearray(WAV)
    media = media_from(source)
    source[:] = b"x"

    assert WAV == await read(media)


def test_bytes_tell_their_type():
    assert "audio/wav" == media_from(WAV).content_type


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


async def test_any_other_async_file_is_read_once():
    """Such as a file of aiofiles, or the UploadFile of Starlette and FastAPI."""
    source = io.BytesIO(WAV)

    class Upload:
        filename = "folder/talk.wav"

        async def read(self, size):
            await anyio.lowlevel.checkpoint()
            return source.read(min(size, 100))

    media = media_from(Upload())

    assert ("talk.wav", "audio/wav", None, False) == (media.name, media.content_type, media.size, media.replayable)
    assert WAV == await read(media)


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


@pytest.mark.parametrize("after", [0, 2])
async def test_a_disk_that_fails_is_a_media_error(path, small_chunks, after):
    class Failing(io.BytesIO):
        name = "/media/usb/talk.wav"

        def read(self, size=-1):
            if size > 16 and self.tell() >= after * 100:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(MediaError, match=r"^talk.wav: cannot be read: Input/output error$") as caught:
        await read(media_from(Failing(WAV)))
    assert isinstance(caught.value.__cause__, OSError)


def test_standard_input_and_numbered_files_have_a_name_for_the_form(path):
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as numbered:
        assert "upload.bin" == media_from(numbered).name
    assert "upload.bin" == media_from(SimpleNamespace(read=Unseekable(WAV).read, name="<stdin>")).name


# Iterators


def generator(chunks=(WAV[:10], b"", WAV[10:])):
    yield from chunks


async def async_generator(chunks=(WAV[:10], b"", WAV[10:])):
    for chunk in chunks:
        await anyio.lowlevel.checkpoint()
        yield chunk


@pytest.mark.parametrize("size", [None, len(WAV)])
@pytest.mark.parametrize("make", [generator, async_generator, lambda: iter([WAV]), lambda: {WAV}])
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


# Responses


class Stream(httpx.AsyncByteStream):
    def __init__(self, chunks):
        self.chunks = chunks
        self.closed = False

    async def __aiter__(self):
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def aclose(self):
        self.closed = True


def response(*chunks, url="https://host/media/talk.wav?token=1", **headers):
    return httpx.Response(
        200,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        stream=Stream(chunks),
        request=httpx.Request("GET", url),
    )


async def test_a_response_is_passed_on_as_it_arrives():
    source = response(WAV[:9], WAV[9:], content_length=str(len(WAV)), content_type="audio/x-wav")

    media = media_from(source)

    assert ("talk.wav", "audio/x-wav", len(WAV), False) == (
        media.name,
        media.content_type,
        media.size,
        media.replayable,
    )
    assert WAV == await read(media)
    with pytest.raises(MediaError, match="was read before"):
        media.open()


async def test_of_a_compressed_response_the_length_is_not_believed():
    media = media_from(response(gzip.compress(WAV), content_length="9", content_encoding="gzip"))

    assert (None, WAV) == (media.size, await read(media))


@pytest.mark.parametrize(
    ("url", "headers", "expected"),
    [
        ("https://host/", {}, ("upload.bin", "application/octet-stream", None)),
        ("https://host/a/..", {}, ("upload.bin", "application/octet-stream", None)),
        ("https://host/a%2Ftalk.mp3", {"content_length": "-5"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/talk.mp3", {"content_type": "", "content_length": "x"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/talk.mp3", {"content_type": b"caf\xe9/wav"}, ("talk.mp3", "audio/mpeg", None)),
    ],
)
def test_a_response_that_tells_little_or_nonsense_is_taken_all_the_same(url, headers, expected):
    media = media_from(response(url=url, **headers))

    assert expected == (media.name, media.content_type, media.size)


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), httpx.ReadTimeout(""), RuntimeError("broken")])
async def test_a_response_that_breaks_off_is_a_media_error_and_no_error_of_the_service(error):
    with pytest.raises(MediaError, match=r"^talk.wav: cannot be read: (reset|ReadTimeout|broken)$") as caught:
        await read(media_from(response(WAV, error)))

    assert error is caught.value.__cause__


async def test_a_response_that_was_read_already_is_a_media_error_and_not_empty():
    source = response(WAV)
    _ = [chunk async for chunk in source.aiter_raw()]

    with pytest.raises(MediaError, match="cannot be read"):
        await read(media_from(source))


# What overrules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("talk.mp3", "talk.mp3"), ("folder/talk.mp3", "talk.mp3"), ("C:\\talks\\talk.mp3", "talk.mp3"),
        ("../../etc/passwd", "passwd"), ("..", "upload.bin"), (".", "upload.bin"), ("/", "upload.bin"),
        ("a/..", "upload.bin"), ("", "upload.bin"), ('say "hi"\r\n.mp3', 'say "hi"\r\n.mp3'),
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


def test_the_size_of_a_path_is_its_own(path):
    assert len(WAV) == media_from(path, size=5).size


def test_a_negative_size_is_a_value_error():
    with pytest.raises(ValueError, match="-1 bytes"):
        media_from(generator(), size=-1)


@pytest.mark.parametrize(
    "source",
    [None, 5, 5.0, True, object(), {}, {"file": b"x"}, (), ("a", b"x", "audio/wav"), (b"a", b"x"), ("a", ("b", b"x")),
     [1, 2], ["a"], [None], len, UserString, SimpleNamespace(read=5), ("a", None)],
)  # fmt: skip
def test_what_is_no_media_is_a_type_error_at_once(source):
    with pytest.raises(TypeError):
        media_from(source)


# The loop, the thread, the file


class SlowDisk:
    """A file whose every read takes 5 ms, and which knows who reads it and whether it was closed."""

    def __init__(self, file):
        self.file, self.reads, self.threads, self.closed = file, 0, set(), False

    def read(self, size):
        self.reads += 1
        self.threads.add(threading.get_ident())
        time.sleep(0.005)
        return self.file.read(size)

    def close(self):
        self.closed = True
        self.file.close()


@pytest.fixture
def slow_disk(path, monkeypatch):
    files = []
    original = Path.open

    def slow(self, mode="r", buffering=-1, **options):
        file = original(self, mode, buffering, **options)
        if self != path or buffering != 0:
            return file
        files.append(SlowDisk(file))
        return files[-1]

    monkeypatch.setattr(Path, "open", slow)
    return files


async def test_reading_a_path_never_blocks_the_loop(path, slow_disk, small_chunks, anyio_backend_name):
    path.write_bytes(WAV[:2000])
    media = media_from(path)
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
            assert WAV[:2000] == await read(media)
            tasks.cancel_scope.cancel()

    (disk,) = slow_disk
    assert 20 <= disk.reads <= 21
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
async def test_cancellation_closes_the_file_and_leaves_no_thread_reading(path, slow_disk, small_chunks, moment):
    media = media_from(path)
    started = time.perf_counter()
    with anyio.CancelScope() as scope:
        if moment == "before the first read":
            scope.cancel()
        async with media.open() as chunks:
            if moment == "slow read":
                await anext(chunks)
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(5):
                while not slow_disk or slow_disk[0].reads < 4:
                    await anyio.sleep(0.002)
            scope.cancel()
            await anyio.sleep(5)

    assert scope.cancelled_caught
    assert time.perf_counter() - started < 1
    reads = [disk.reads for disk in slow_disk]
    await anyio.sleep(0.02)
    assert reads == [disk.reads for disk in slow_disk]
    assert all(disk.closed for disk in slow_disk)
    assert [] == open_files(path)


async def test_leaving_early_closes_the_file(path, small_chunks):
    async with media_from(path).open() as chunks:
        await anext(chunks)
        assert 1 == len(open_files(path))

    assert [] == open_files(path)


async def test_two_attempts_at_once_do_not_disturb_each_other(path, small_chunks):
    media = media_from(path)
    found = []

    async def attempt():
        found.append(await read(media))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(attempt)

    assert [WAV] * 5 == found


async def test_an_attempt_that_was_broken_off_does_not_shorten_the_next(tmp_path, small_chunks):
    with opened("buffered", tmp_path, WAV) as file:
        file.seek(3)
        media = media_from(file)
        async with media.open() as chunks:
            await anext(chunks)

        assert WAV[3:] == await read(media)


@pytest.mark.skipif(sys.platform == "win32", reason="/proc")
@given(data=st.binary(min_size=1, max_size=2000), offset=st.integers(0, 1999))
def test_whatever_a_file_holds_and_wherever_it_stands(data, offset):
    offset = min(offset, len(data) - 1)
    file = io.BytesIO(data)
    file.seek(offset)

    assert (data[offset:],) * 2 == anyio.run(read_twice, media_from(file))
