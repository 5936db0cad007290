"""The source as a stream that resumes, and as a seekable file, against the true bytes."""

import contextlib
import io
import os
import random

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_server import ScriptedServer

from polyglot_async import ApiConnectionError, NotFoundError, ResponseDecodeError, SourceChangedError

pytestmark = pytest.mark.anyio

BLOCK_BYTES = 256 << 10  # what is fetched at once
KEPT_BYTES = 8 << 20
SIZE = 3 * BLOCK_BYTES + 12_345
DATA = random.Random(12).randbytes(SIZE)

OFFSETS = st.one_of(
    st.integers(0, SIZE + 1000),
    st.integers(-3, 3).flatmap(lambda by: st.integers(0, 4).map(lambda block: max(0, block * BLOCK_BYTES + by))),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(st.tuples(OFFSETS, st.one_of(st.integers(0, 100), OFFSETS)), min_size=1, max_size=8))
async def test_any_read_returns_the_true_bytes(reads, sandbox, client):
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media:
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
async def test_seek_tell_and_read_act_as_those_of_a_file(steps, sandbox, client):
    truth = io.BytesIO(DATA)
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media:
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


async def test_opening_and_reading_the_head_is_one_request_and_only_its_block_travels(sandbox, client):
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media:
        assert DATA[:4096] == await media.read_at(0, 4096)
        assert DATA[100:200] == await media.read_at(100, 100)
        assert "video/mp4" == media.content_type or media.content_type
    assert [BLOCK_BYTES] == [entry.bytes_out for entry in sandbox.ledger.entries()]


async def test_what_was_read_is_kept_and_neighbouring_blocks_come_in_one_request(sandbox, client):
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media:
        assert DATA == await media.read()
        assert [BLOCK_BYTES, SIZE - BLOCK_BYTES] == [entry.bytes_out for entry in sandbox.ledger.entries()]
        media.seek(0)
        assert DATA == await media.read()
        assert b"" == await media.read()
        assert b"" == await media.read_at(SIZE, 100)
    assert 2 == sandbox.ledger.count()


async def test_the_last_8_mib_are_kept(sandbox, client):
    size = KEPT_BYTES + 4 * BLOCK_BYTES
    async with client.transcriptions.open_source(sandbox.put_source(bytes(size))) as media:
        assert bytes(size) == await media.read()
        sandbox.ledger.clear()
        assert bytes(KEPT_BYTES) == await media.read_at(size - KEPT_BYTES, KEPT_BYTES)
        assert 0 == sandbox.ledger.count()
        await media.read_at(0, 10)
        assert 1 == sandbox.ledger.count()


async def test_reads_at_once_of_one_block_are_one_request(sandbox, client):
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media, anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(media.read_at, 2 * BLOCK_BYTES, 10)
    assert 2 == sandbox.ledger.count()


@pytest.mark.parametrize("kind", ["truncate", "reset_response", "stall at_bytes=1000", "status status=502"])
async def test_reads_overcome_drops(sandbox, connect, kind):
    task = sandbox.put_source(DATA)
    sandbox.faults.add(f"{kind} call=source times=2")
    async with connect(timeout=0.2) as client, client.transcriptions.open_source(task) as media:
        assert DATA == await media.read()


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1)])
async def test_senseless_reads_are_refused(client, sandbox, offset, size):
    async with client.transcriptions.open_source(sandbox.put_source(DATA)) as media:
        with pytest.raises(ValueError, match=r"(offset|size) is -1: pass 0 or more"):
            await media.read_at(offset, size)


async def test_the_stream_has_all_bytes_size_and_type(sandbox, client):
    async with client.transcriptions.source(sandbox.put_source(DATA)) as stream:
        assert SIZE == stream.size
        assert stream.content_type
        assert DATA == b"".join([chunk async for chunk in stream])
        assert [] == [chunk async for chunk in stream], "it can be read once"
    assert 1 == sandbox.ledger.count()


@pytest.mark.parametrize("kind", ["truncate", "reset_response", "truncate at_bytes=1", "stall at_bytes=70000"])
async def test_the_stream_goes_on_after_drops_from_the_last_good_byte(sandbox, connect, kind):
    task = sandbox.put_source(DATA)
    sandbox.faults.add(f"{kind} call=source times=3")
    async with connect(timeout=0.2) as client, client.transcriptions.source(task) as stream:
        assert DATA == b"".join([chunk async for chunk in stream])
    assert 4 == sandbox.ledger.count()
    if "stall" not in kind:  # it sends bytes that nobody takes
        assert SIZE == sum(entry.bytes_out for entry in sandbox.ledger.entries())


async def test_the_stream_goes_on_after_answers_that_end_early_under_a_wrong_length(sandbox, connect):
    task = sandbox.put_source(DATA)
    sandbox.faults.add("wrong_length call=source times=2")
    async with connect(max_retries=4) as client, client.transcriptions.source(task) as stream:
        assert DATA == b"".join([chunk async for chunk in stream])


async def test_a_stream_may_be_left_early(sandbox, client, until):
    sandbox.faults.add("slow call=source bytes_per_second=100000")
    async with client.transcriptions.source(sandbox.put_source(DATA)) as stream:
        async for chunk in stream:
            assert DATA.startswith(chunk)
            break
    assert sandbox.ledger.entries()[0].bytes_out < SIZE


async def test_a_stream_that_keeps_breaking_off_gives_up(sandbox, client):
    task = sandbox.put_source(DATA)
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


@pytest.mark.parametrize("times", ["1", "2", "forever"])
async def test_a_web_page_in_place_of_the_source_is_repeated_once_and_then_an_error(sandbox, client, times):
    task = sandbox.put_source(DATA)
    sandbox.faults.add(f"status call=source status=200 body=html detail=Maintenance times={times}")
    if times == "1":
        async with client.transcriptions.source(task) as stream:
            assert DATA == b"".join([chunk async for chunk in stream])
    else:
        with pytest.raises(ResponseDecodeError, match="Maintenance"):
            await client.transcriptions.source(task).__aenter__()
        assert 2 == sandbox.ledger.count()


@pytest.fixture
def scripted():
    """Starts scripted servers."""
    with contextlib.ExitStack() as servers:
        yield lambda answer: servers.enter_context(contextlib.closing(ScriptedServer(answer)))


def partial(start, stop, total=SIZE, **headers):
    return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers}, DATA[start:stop]


async def read_stream(client):
    async with client.transcriptions.source("t") as stream:
        return b"".join([chunk async for chunk in stream])


async def read_media(client):
    async with client.transcriptions.open_source("t") as media:
        return await media.read()


READERS = {"source": read_stream, "open_source": read_media}
CHANGES = {
    "etag": lambda start, stop, n: partial(start, stop, ETag=f'"v{n}"'),
    "last-modified": lambda start, stop, n: partial(
        start, stop, **{"Last-Modified": f"Sun, 24 May 2026 12:00:0{n} GMT"}
    ),
    "size": lambda start, stop, n: partial(start, stop, SIZE + n),
    "whole without proof": lambda start, stop, n: partial(start, stop, ETag='"v"') if n == 0 else (200, {}, DATA),
    "whole of another": lambda start, stop, n: partial(start, stop) if n == 0 else (200, {}, DATA[1:]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reader", READERS)
async def test_an_answer_of_another_version_is_an_error(scripted, connect, change, reader):
    count = iter(range(10))

    def answer(received):
        start, _, last = received.headers["range"].removeprefix("bytes=").partition("-")
        start, stop = int(start), min(int(last) + 1, SIZE) if last else SIZE
        return CHANGES[change](start, min(stop, start + 500_000), min(next(count), 9))

    async with connect(base_url=scripted(answer).url) as client:
        with pytest.raises(SourceChangedError):
            await READERS[reader](client)


EMPTY = {
    "416": (416, {"Content-Range": "bytes */0"}, b'{"detail": "no such range"}'),
    "200": (200, {}, b""),
    "chunked": (200, {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n"),
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("reader", READERS)
async def test_an_empty_file_has_no_bytes(scripted, connect, kind, reader):
    async with connect(base_url=scripted(lambda _: EMPTY[kind]).url) as client:
        assert b"" == await READERS[reader](client)


async def test_a_file_of_unknown_size_can_be_read(scripted, connect):
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (DATA[:700_000], DATA[700_000:], b""))
    async with connect(base_url=scripted(lambda _: (200, {"Transfer-Encoding": "chunked"}, chunked)).url) as client:
        async with client.transcriptions.source("t") as stream:
            assert stream.size is None
            assert DATA == b"".join([chunk async for chunk in stream])
        async with client.transcriptions.open_source("t") as media:
            assert DATA[-10:] == await media.read_at(SIZE - 10, 10)


@pytest.mark.parametrize("reader", READERS)
async def test_answers_without_a_byte_end_after_all_attempts(scripted, connect, reader):
    stop = SIZE if reader == "source" else BLOCK_BYTES
    server = scripted(lambda _: (206, {"Content-Range": f"bytes 0-{stop - 1}/{SIZE}"}, b""))
    async with connect(base_url=server.url, max_retries=2) as client:
        with pytest.raises(ApiConnectionError, match="empty"):
            await READERS[reader](client)
    assert 3 == len(server.received)
