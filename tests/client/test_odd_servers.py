"""Servers that know no ranges, or answer them wrongly: the right bytes or an error, never a spliced file."""

import random

import pytest

from polyglot_async import ApiConnectionError, PolyglotError, RangeError, SourceChangedError

pytestmark = pytest.mark.anyio

DATA = random.Random(11).randbytes(9_500_001)  # 8 MiB come with the first request, the rest with another
SIZE = len(DATA)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "got").mkdir()
    return tmp_path / "got" / "film.mp4"


def partial(start, stop, total=SIZE, **headers):
    return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers}, DATA[start:stop]


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("headers", [{}, {"ETag": '"v1"'}, {"Last-Modified": "Sun, 24 May 2026 12:00:00 GMT"}], ids=str)
async def test_a_server_without_ranges_sends_the_whole_over_one_connection(
    serve, connect, target, connections, headers
):
    server = serve(lambda _: (200, headers, DATA))
    async with connect(base_url=server.url) as client:
        await client.transcriptions.download_source("t", target, connections=connections)
    assert DATA == target.read_bytes()
    assert 1 == len(server.asked)


async def test_a_server_that_does_not_say_the_size_sends_the_whole(serve, connect, target):
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (DATA[:4_000_000], DATA[4_000_000:], b""))
    server = serve(lambda _: (200, {"Transfer-Encoding": "chunked"}, chunked))
    async with connect(base_url=server.url) as client:
        await client.transcriptions.download_source("t", target)
        assert DATA == target.read_bytes()
        async with client.transcriptions.source("t") as stream:
            assert stream.size is None
            assert DATA == b"".join([chunk async for chunk in stream])
        async with client.transcriptions.open_source("t") as media:
            assert DATA[-10:] == await media.read_at(SIZE - 10, 10)


@pytest.mark.parametrize("connections", [1, 4])
async def test_a_server_without_ranges_that_breaks_off_is_read_from_the_start_again(
    serve, connect, target, connections
):
    """The bytes that are there already are read once more and dropped."""
    cuts = [400_000, 8_900_000]

    def answer(_):
        return 200, {"ETag": '"v1"', "Content-Length": str(SIZE)}, DATA[: cuts.pop(0)] if cuts else DATA

    async with connect(base_url=serve(answer).url) as client:
        await client.transcriptions.download_source("t", target, connections=connections)
    assert DATA == target.read_bytes()


async def test_ranges_shorter_than_asked_for_are_followed_by_the_rest(serve, connect, span_of, target):
    """RFC 9110, section 15.3.7: a server may answer with less."""

    def answer(asked):
        start, stop = span_of(asked, DATA)
        return partial(start, min(stop, start + 1_000_000), ETag='"v1"')

    async with connect(base_url=serve(answer).url) as client:
        await client.transcriptions.download_source("t", target)
    assert DATA == target.read_bytes()


WRONG = {
    "begins later": lambda start, stop: partial(start + 1, stop),
    "begins earlier": lambda start, stop: partial(max(0, start - 1), stop) if start else partial(start, stop),
    "goes on too long": lambda start, stop: partial(start, min(SIZE, stop + 1)) if stop < SIZE else partial(1, SIZE),
    "no Content-Range": lambda start, stop: (206, {}, DATA[start:stop]),
    "nonsense": lambda start, stop: (206, {"Content-Range": "bytes all"}, DATA[start:stop]),
    "several parts": lambda start, stop: (206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x--"),
    "size unknown": lambda start, stop: partial(start, stop, "*"),
    "contradiction": lambda start, stop: partial(start, stop, stop - 1),
    "more bytes than said": lambda start, stop: (*partial(start, stop)[:2], DATA[start:stop] + b"more"),
    "compressed": lambda start, stop: partial(start, stop, **{"Content-Encoding": "gzip"}),
    "refused": lambda start, stop: (416, {}, b""),
    "refused within": lambda start, stop: (416, {"Content-Range": f"bytes */{SIZE}"}, b""),
}


@pytest.mark.parametrize(
    ("wrong", "connections"),
    [
        (wrong, connections)
        for wrong in WRONG
        for connections in (1, 4)
        if connections == 4 or wrong not in {"begins earlier", "goes on too long"}  # one range of all can do neither
    ],
)
async def test_an_answer_that_does_not_fit_the_range_is_an_error(serve, connect, span_of, target, wrong, connections):
    server = serve(lambda asked: WRONG[wrong](*span_of(asked, DATA)))
    async with connect(base_url=server.url) as client:
        with pytest.raises(RangeError):
            await client.transcriptions.download_source("t", target, connections=connections)
    assert [] == list(target.parent.iterdir())


CHANGES = {
    "etag": lambda start, stop, n: partial(start, stop, ETag=f'"v{n}"'),
    "last-modified": lambda start, stop, n: partial(
        start, stop, **{"Last-Modified": f"Sun, 24 May 2026 12:00:0{n} GMT"}
    ),
    "size": lambda start, stop, n: partial(start, stop, SIZE + n),
    "whole without proof": lambda start, stop, n: partial(start, stop, ETag='"v"') if n == 0 else (200, {}, DATA),
    "whole of another": lambda start, stop, n: partial(start, stop) if n == 0 else (200, {}, DATA[1:]),
}


async def read_all(client, _):
    async with client.transcriptions.source("t") as stream:
        assert [chunk async for chunk in stream]


async def read_the_end(client, _):
    async with client.transcriptions.open_source("t") as media:
        await media.read_at(SIZE - 1, 1)


READERS = {
    "download_source": lambda client, target: client.transcriptions.download_source("t", target),
    "source": read_all,
    "read_at": read_the_end,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("call", READERS)
async def test_an_answer_of_another_version_is_an_error(serve, connect, span_of, target, change, call):
    count = iter(range(10))

    def answer(asked):
        start, stop = span_of(asked, DATA)
        return CHANGES[change](start, min(stop, start + 5_000_000), min(next(count), 9))

    async with connect(base_url=serve(answer).url) as client:
        with pytest.raises(SourceChangedError):
            await READERS[call](client, target)
    assert not target.exists()


EMPTY = {
    "416": (416, {"Content-Range": "bytes */0"}, b""),
    "200": (200, {}, b""),
    "chunked": (200, {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n"),
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("connections", [1, 4])
async def test_an_empty_file_is_an_empty_file(serve, connect, target, kind, connections):
    server = serve(lambda _: EMPTY[kind])
    async with connect(base_url=server.url) as client:
        await client.transcriptions.download_source("t", target, connections=connections)
        assert b"" == target.read_bytes()
        assert 1 == len(server.asked)
        async with client.transcriptions.source("t") as stream:
            assert [] == [chunk async for chunk in stream]
        async with client.transcriptions.open_source("t") as media:
            assert (b"", b"") == (await media.read(), await media.read_at(5, 5))


async def test_answers_that_hold_nothing_do_not_go_on_for_ever(serve, connect, target):
    server = serve(lambda _: (206, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}, b""))
    async with connect(base_url=server.url, max_retries=2) as client:
        with pytest.raises(ApiConnectionError, match="empty"):
            await client.transcriptions.download_source("t", target, connections=1)
    assert 3 == len(server.asked)


async def test_a_weak_etag_is_not_taken_for_a_proof(serve, connect, span_of, target):
    def answer(asked):
        return partial(*span_of(asked, DATA), ETag='W/"v1"')

    server = serve(answer)
    async with connect(base_url=server.url) as client:
        await client.transcriptions.download_source("t", target)
    assert DATA == target.read_bytes()
    assert all("if-range" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("status", [200, 206, 416, 204, 304, 301])
@pytest.mark.parametrize("body", [b"", b"\0" * 10])
async def test_no_answer_makes_anything_but_our_own_errors(serve, connect, target, status, body):
    headers = {"Content-Range": "bytes 0-9/10"} if status == 206 else {}
    async with connect(base_url=serve(lambda _: (status, headers, body)).url) as client:
        try:
            await client.transcriptions.download_source("t", target)
        except PolyglotError:
            assert not target.exists()
        else:
            assert body == target.read_bytes()
