"""Reading ahead in a thread: the same bytes in the same order, errors as they were, and no thread left behind."""

import io
import itertools
import os
import threading
import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import MediaError
from polyglot_async._uploads.file_reader import FileOnce, FileVersion, read_ahead, version_of


class Source:
    """What gives its chunks one by one, and knows who reads it."""

    def __init__(self, chunks, *, gate=None):
        self.chunks = iter(chunks)
        self.gate = gate
        self.reads = 0
        self.threads = set()

    def __call__(self):
        self.threads.add(threading.current_thread())
        self.reads += 1
        if self.gate is not None:
            self.gate.wait(5)
        return next(self.chunks, b"")


class Odd(BaseException):
    """Not an Exception, like SystemExit."""


async def all_of(chunks):
    return [chunk async for chunk in chunks]


async def until(condition):
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)


@given(st.lists(st.binary(min_size=1, max_size=9)), st.integers(1, 5))
async def test_the_chunks_come_out_as_they_went_in(chunks, queue_size):
    source = Source(chunks)

    async with read_ahead(source, queue_size=queue_size) as stream:
        assert chunks == await all_of(stream)

    assert len(chunks) + 1 == source.reads
    assert 1 == len(source.threads)


@pytest.mark.parametrize("slow", ["reader", "consumer"])
async def test_whoever_is_slow_nothing_is_lost_or_swapped(slow):
    expected = [bytes([number]) for number in range(60)]

    def read():
        if slow == "reader":
            time.sleep(0.0005)
        return next(chunks, b"")

    chunks = iter(expected)
    found = []
    async with read_ahead(read) as stream:
        async for chunk in stream:
            if slow == "consumer":
                await anyio.sleep(0.0005)
            found.append(chunk)

    assert expected == found


async def test_reading_happens_in_another_thread():
    source = Source([b"a"])

    async with read_ahead(source) as stream:
        await all_of(stream)

    assert threading.current_thread() not in source.threads


async def test_no_more_is_read_ahead_than_was_agreed():
    source = Source(itertools.repeat(b"x"))

    async with read_ahead(source, queue_size=3) as stream:
        await until(lambda: source.reads == 3)
        await anyio.sleep(0.02)
        assert 3 == source.reads
        await anext(stream)
        await until(lambda: source.reads == 4)


async def test_the_end_stays_the_end():
    async with read_ahead(Source([b"a"])) as stream:
        assert [b"a"] == await all_of(stream)
        assert [] == await all_of(stream)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("closed"), Odd("odd"), SystemExit(3)])
async def test_what_read_raises_comes_out_as_it_is_after_what_was_read(error):
    def read():
        chunk = next(chunks, None)
        if chunk is None:
            raise error
        return chunk

    chunks = iter([b"a", b"b"])
    found = []
    with pytest.raises(type(error)) as caught:
        async with read_ahead(read) as stream:
            async for chunk in stream:
                found.append(chunk)  # noqa: PERF401 - what came before the error counts

    assert error is caught.value
    assert [b"a", b"b"] == found


@pytest.mark.parametrize("cls", [StopIteration, StopAsyncIteration])
async def test_a_reader_that_raises_what_ends_loops_does_not_look_like_the_end(cls):
    def read():
        raise cls

    with pytest.raises(RuntimeError):
        async with read_ahead(read) as stream:
            await all_of(stream)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), Odd("mine"), KeyboardInterrupt(), ExceptionGroup("g", [OSError()])]
)
async def test_what_the_caller_raises_comes_out_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        async with read_ahead(Source(itertools.repeat(b"x"))) as stream:
            await anext(stream)
            raise error

    assert error is caught.value
    assert error.__cause__ is None


async def test_an_error_that_nobody_came_to_read_is_not_raised():
    def read():
        raise OSError(5, "Input/output error")

    async with read_ahead(read):
        await anyio.sleep(0.01)


async def test_the_callers_error_wins_over_the_readers():
    def read():
        raise OSError(5, "Input/output error")

    with pytest.raises(ValueError, match="mine"):
        async with read_ahead(read):
            await anyio.sleep(0.01)
            raise ValueError("mine")


async def test_leaving_early_stops_a_reader_whose_queue_is_full():
    source = Source(itertools.repeat(b"x"))

    async with read_ahead(source) as stream:
        await anext(stream)
        await until(lambda: source.reads == 5)
    reads = source.reads
    await anyio.sleep(0.02)

    assert reads == source.reads


async def test_leaving_waits_for_the_read_under_way_and_no_further():
    gate = threading.Event()
    source = Source(itertools.repeat(b"x"), gate=gate)

    async with anyio.create_task_group() as tasks, read_ahead(source):
        await until(lambda: source.reads == 1)
        tasks.start_soon(anyio.to_thread.run_sync, gate.set)

    assert 1 == source.reads


@pytest.mark.parametrize("where", ["full queue", "slow read"])
async def test_cancellation_ends_reader_and_context_promptly(where):
    source = Source(itertools.repeat(b"x"))
    slow = Source(itertools.repeat(b"x"))
    reading = threading.Event()

    def read():
        if where == "full queue":
            return source()
        reading.set()
        time.sleep(0.05)
        return slow()

    started = time.perf_counter()
    with anyio.CancelScope() as scope:
        async with read_ahead(read) as stream:
            if where == "full queue":
                await until(lambda: source.reads == 4)
                scope.cancel()
                await anyio.sleep(5)
            scope.cancel()
            await all_of(stream)

    assert scope.cancelled_caught
    assert time.perf_counter() - started < 1
    reads = source.reads + slow.reads
    await anyio.sleep(0.06)
    assert reads == source.reads + slow.reads


async def test_cancelled_before_it_began_nothing_hangs():
    source = Source(itertools.repeat(b"x"))

    with anyio.fail_after(5), anyio.CancelScope() as scope:
        scope.cancel()
        async with read_ahead(source) as stream:
            await all_of(stream)

    assert scope.cancelled_caught
    assert source.reads <= 5


async def test_a_shielded_caller_within_a_cancelled_scope_gets_its_bytes():
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        scope.cancel()
        async with read_ahead(Source([b"a", b"b"])) as stream:
            with anyio.CancelScope(shield=True):
                assert [b"a", b"b"] == await all_of(stream)
            await anyio.lowlevel.checkpoint()

    assert scope.cancelled_caught


async def test_a_timeout_around_it_is_a_timeout_error():
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            async with read_ahead(Source(itertools.repeat(b"x"))):
                await anyio.sleep(5)


async def test_many_at_once_do_not_wait_for_the_shared_threads():
    busy = threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()

    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(anyio.to_thread.run_sync, busy.wait, 5)
        await until(lambda: limiter.available_tokens == 0)
        try:
            with anyio.fail_after(4):
                async with read_ahead(Source([b"a"])) as stream:
                    assert [b"a"] == await all_of(stream)
        finally:
            busy.set()


async def test_two_streams_at_once_do_not_mix():
    async with read_ahead(Source([b"a"] * 50)) as one, read_ahead(Source([b"b"] * 50)) as other:
        found = [await anext(stream) for _ in range(50) for stream in (one, other)]

    assert [b"a", b"b"] * 50 == found


# What is checked at the end


async def test_the_end_is_checked_in_a_thread_when_the_last_chunk_was_used_and_not_before():
    checks = []

    def check():
        checks.append(threading.current_thread())

    async with read_ahead(Source([b"a", b"b"]), at_end=check) as stream:
        assert [b"a", b"b"] == [await anext(stream), await anext(stream)]
        await anyio.sleep(0.02)
        assert [] == checks
        assert [] == await all_of(stream)

    assert 1 == len(checks)
    assert threading.current_thread() not in checks


async def test_what_the_check_raises_stands_in_the_place_of_the_end_each_time_it_is_asked_for():
    error = ValueError("changed")

    def check():
        raise error

    async with read_ahead(Source([b"a"]), at_end=check) as stream:
        assert b"a" == await anext(stream)
        for _ in range(2):
            with pytest.raises(ValueError, match="changed") as caught:
                await anext(stream)
            assert error is caught.value


async def test_after_an_error_and_when_left_early_nothing_is_checked():
    checks = []

    def failing():
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input"):
        async with read_ahead(failing, at_end=lambda: checks.append(1)) as stream:
            await all_of(stream)
    async with read_ahead(Source([b"a"]), at_end=lambda: checks.append(1)) as stream:
        await anext(stream)

    assert [] == checks


def test_a_version_is_that_of_a_regular_file_alone(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"media")
    out, into = os.pipe()
    with path.open("rb") as file, os.fdopen(out, "rb") as pipe, os.fdopen(into, "wb"):
        assert FileVersion.of(path.stat()) == version_of(file)
        assert version_of(pipe) is None
    assert version_of(file) is version_of(io.BytesIO()) is version_of(object()) is None


@pytest.mark.parametrize("given", ["text", 5, ["x"]])
def test_a_file_that_gives_no_bytes_is_a_media_error(given):
    class Odd(io.BytesIO):
        def read(self, size=-1):
            return given

    with pytest.raises(MediaError, match=f"talk.wav: gives {type(given).__name__} where bytes are expected"):
        FileOnce(Odd, "talk.wav", None).read()


def test_a_file_is_checked_at_its_opening_with_each_chunk_and_at_its_end(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"media")
    version = FileVersion.of(path.stat())
    opened = []

    def reading():
        once = FileOnce(
            lambda: opened.append(path.open("rb", buffering=0)) or opened[-1], "talk.wav", 5, version, path, 1
        )
        assert b"m" == once.read()
        return once

    middle, end, late = reading(), reading(), FileOnce(lambda: path.open("rb"), "talk.wav", 5, version, path, 1)
    os.utime(path, ns=(1, 1))
    for once in (middle, late):
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            once.read()
    with pytest.raises(MediaError, match="changed after it was first looked at"):
        end.check_end()
    for once in (middle, end, late):
        once.close()

    assert all(file.closed for file in opened)
