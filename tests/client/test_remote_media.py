"""The source as a stream that resumes, and as a file one can seek in, against the true bytes."""

import io
import os
import random

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyglot_async import ApiConnectionError, NotFoundError
from polyglot_async._downloads.remote_file import BLOCK_BYTES, CACHED_BLOCKS

pytestmark = pytest.mark.anyio

SIZE = 3 * BLOCK_BYTES + 12_345
DATA = random.Random(12).randbytes(SIZE)

OFFSETS = st.one_of(
    st.integers(0, SIZE + 1000),
    st.integers(-3, 3).flatmap(lambda by: st.integers(0, 4).map(lambda block: max(0, block * BLOCK_BYTES + by))),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(st.tuples(OFFSETS, st.one_of(st.integers(0, 100), OFFSETS)), min_size=1, max_size=8))
async def test_any_read_gives_the_true_bytes(reads, client, put):
    async with client.transcriptions.open_source(put(DATA)) as media:
        assert SIZE == media.size
        for offset, size in reads:
            assert DATA[offset : offset + size] == await media.read_at(offset, size)


STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, SIZE)),
    st.tuples(st.just("seek"), st.integers(-SIZE, 2 * SIZE), st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
    st.tuples(st.just("tell")),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=10))
async def test_seek_tell_and_read_act_as_those_of_a_file(steps, client, put):
    truth = io.BytesIO(DATA)
    async with client.transcriptions.open_source(put(DATA)) as media:
        for name, *arguments in steps:
            if name == "seek" and landing(truth, *arguments) < 0:
                with pytest.raises(ValueError, match="cannot seek"):
                    media.seek(*arguments)
                continue
            expected = getattr(truth, name)(*arguments)
            given = getattr(media, name)(*arguments)
            assert expected == (await given if name == "read" else given)


def landing(file, offset, whence):
    return {os.SEEK_SET: 0, os.SEEK_CUR: file.tell(), os.SEEK_END: SIZE}[whence] + offset


async def test_opening_and_reading_the_head_is_one_request_and_only_its_block_travels(sandbox, client, put):
    async with client.transcriptions.open_source(put(DATA)) as media:
        assert DATA[:4096] == await media.read_at(0, 4096)
        assert DATA[100:200] == await media.read_at(100, 100)
        assert "video/mp4" == media.content_type or media.content_type
    assert [BLOCK_BYTES] == [entry.bytes_out for entry in sandbox.ledger.entries()]


async def test_what_was_read_is_kept_and_neighbouring_blocks_come_in_one_request(sandbox, client, put):
    async with client.transcriptions.open_source(put(DATA)) as media:
        assert DATA == await media.read()
        assert [BLOCK_BYTES, SIZE - BLOCK_BYTES] == [entry.bytes_out for entry in sandbox.ledger.entries()]
        media.seek(0)
        assert DATA == await media.read()
        assert b"" == await media.read()
        assert b"" == await media.read_at(SIZE, 100)
    assert 2 == sandbox.ledger.count()


async def test_only_so_much_is_kept(sandbox, client, put):
    size = (CACHED_BLOCKS + 4) * BLOCK_BYTES
    async with client.transcriptions.open_source(put(bytes(size))) as media:
        assert bytes(size) == await media.read()
        before = sandbox.ledger.count()
        await media.read_at(size - 10, 10)
        assert before == sandbox.ledger.count()
        await media.read_at(0, 10)
        assert before + 1 == sandbox.ledger.count()
        assert CACHED_BLOCKS == len(media._blocks)


async def test_reads_at_once_of_one_block_are_one_request(sandbox, client, put):
    async with client.transcriptions.open_source(put(DATA)) as media, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(media.read_at, 2 * BLOCK_BYTES, 10)
    assert 2 == sandbox.ledger.count()


@pytest.mark.parametrize("kind", ["truncate", "reset_response", "stall at_bytes=1000", "status status=502"])
async def test_reads_overcome_drops(sandbox, connect, put, kind):
    task = put(DATA)
    sandbox.faults.add(f"{kind} call=source times=2")
    async with connect(timeout=0.2) as client, client.transcriptions.open_source(task) as media:
        assert DATA == await media.read()


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1)])
async def test_senseless_reads_are_refused(client, put, offset, size):
    async with client.transcriptions.open_source(put(DATA)) as media:
        with pytest.raises(ValueError, match="cannot read"):
            await media.read_at(offset, size)


async def test_the_stream_gives_all_bytes_and_tells_size_and_type(sandbox, client, put):
    async with client.transcriptions.source(put(DATA)) as stream:
        assert SIZE == stream.size
        assert stream.content_type
        assert DATA == b"".join([chunk async for chunk in stream])
        assert [] == [chunk async for chunk in stream], "it can be read once"
    assert 1 == sandbox.ledger.count()


@pytest.mark.parametrize(
    "kind", ["truncate", "reset_response", "truncate at_bytes=1", "stall at_bytes=70000", "wrong_length"]
)
async def test_the_stream_goes_on_after_drops_from_the_last_good_byte(sandbox, connect, put, kind):
    task = put(DATA)
    sandbox.faults.add(f"{kind} call=source times=3")
    async with connect(timeout=0.2) as client, client.transcriptions.source(task) as stream:
        assert DATA == b"".join([chunk async for chunk in stream])
    assert 4 == sandbox.ledger.count()
    if "stall" not in kind and "wrong" not in kind:  # those send bytes that nobody takes
        assert SIZE == sum(entry.bytes_out for entry in sandbox.ledger.entries())


async def test_a_stream_may_be_left_early(sandbox, client, put, until):
    sandbox.faults.add("slow call=source bytes_per_second=100000")
    async with client.transcriptions.source(put(DATA)) as stream:
        async for chunk in stream:
            assert DATA.startswith(chunk)
            break
    assert sandbox.ledger.entries()[0].bytes_out < SIZE


async def test_a_stream_that_keeps_breaking_off_gives_up(sandbox, client, put):
    task = put(DATA)
    sandbox.faults.add("truncate call=source times=forever at_bytes=0")
    with pytest.raises(ApiConnectionError):
        async with client.transcriptions.source(task) as stream:
            assert [chunk async for chunk in stream]
    assert 3 == sandbox.ledger.count()


async def test_a_missing_source_is_an_error_on_entering(client):
    with pytest.raises(NotFoundError):
        await client.transcriptions.source("nothing").__aenter__()
    with pytest.raises(NotFoundError):
        await client.transcriptions.open_source("nothing").__aenter__()
