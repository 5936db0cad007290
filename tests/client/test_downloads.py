"""The source to disk: whole or not at all, whatever the network, the server and the disk do."""

import contextlib
import hashlib
import random
import threading

import anyio
import pytest
from raw_server import ScriptedServer

from polyglot_async import (
    ApiConnectionError,
    ApiTimeoutError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    Polyglot,
    PolyglotError,
    ResponseDecodeError,
    SourceChangedError,
    TransferError,
)

pytestmark = pytest.mark.anyio

DATA = random.Random(7).randbytes(18_000_001)  # 8 MiB come with the first request, the rest in parts of 1 MiB and more
OTHER = random.Random(8).randbytes(18_000_001)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def target(tmp_path):
    (tmp_path / "got").mkdir()
    return tmp_path / "got" / "film.mp4"


@pytest.fixture
def whole(target):
    """Checks that the file is there as it should be, and nothing beside it."""

    def whole(data=DATA):
        assert hashlib.sha256(data).hexdigest() == digest(target)
        assert [target] == list(target.parent.iterdir())

    return whole


@pytest.mark.parametrize("connections", [1, 2, 4, 8])
async def test_the_file_arrives_whole_over_any_number_of_connections(sandbox, client, target, whole, connections):
    assert target == await client.transcriptions.download_source(
        sandbox.put_source(DATA), target, connections=connections
    )
    whole()
    entries = sandbox.ledger.entries("source")
    assert len(DATA) == sum(entry.bytes_out for entry in entries)
    assert (1 == len(entries)) if connections == 1 else (connections <= len(entries))


@pytest.mark.parametrize(("anyio_backend", "connections"), [("asyncio", 1), ("asyncio", 4), ("trio", 4)])
@pytest.mark.parametrize(
    "kind",
    [
        "truncate times=3",
        "truncate times=3 at_bytes=100",
        "reset_response times=3",
        "reset_after_body times=2",
        "reset_before_body times=2",
        "stall times=2 at_bytes=50000",
        "stall times=2",
        "wrong_length times=2",
        "wrong_length times=1 at_bytes=90000000",
        "status status=503 times=2",
        "slow bytes_per_second=50000000",
    ],
)
async def test_every_fault_is_overcome(sandbox, connect, target, whole, kind, connections):
    task = sandbox.put_source(DATA)
    sandbox.faults.add(f"{kind} call=source")
    async with connect(timeout=0.2) as client:
        await client.transcriptions.download_source(task, target, connections=connections)
    whole()


@pytest.mark.parametrize("connections", [1, 4])
async def test_faults_that_do_not_end_end_the_download_and_leave_nothing_in_place(sandbox, client, target, connections):
    task = sandbox.put_source(DATA)
    sandbox.faults.add("truncate call=source times=forever at_bytes=0")
    with pytest.raises(ApiConnectionError):
        await client.transcriptions.download_source(task, target, connections=connections)
    assert not target.exists()
    assert sandbox.ledger.count("source") <= 3 * connections


async def test_a_file_that_changes_on_the_server_is_never_spliced(client, sandbox, target, whole):
    """Later parts are asked for with If-Range, so they are of the first version or there is an error."""
    task = sandbox.put_source(DATA)

    def change(done, _):
        if done:
            sandbox.put_source(OTHER, task)

    with pytest.raises(SourceChangedError, match="changed on the server"):
        await client.transcriptions.download_source(task, target, connections=4, on_progress=change)
    assert not target.exists()
    await client.transcriptions.download_source(task, target, connections=4)
    whole(OTHER)


async def test_a_file_that_changes_before_a_resumed_answer_is_never_spliced(sandbox, client, target):
    task = sandbox.put_source(DATA)
    sandbox.faults.add("truncate call=source")
    with pytest.raises(SourceChangedError):
        await client.transcriptions.download_source(
            task, target, connections=1, on_progress=lambda done, _: sandbox.put_source(OTHER, task) if done else None
        )
    assert not target.exists()


async def test_progress_rises_to_the_size_which_is_known_all_along(client, sandbox, target):
    seen = []

    async def note(done, total):
        seen.append((done, total))
        await anyio.lowlevel.checkpoint()

    await client.transcriptions.download_source(sandbox.put_source(DATA), target, on_progress=note)
    assert {len(DATA)} == {total for _, total in seen}
    assert sorted(seen) == seen
    assert len(DATA) == seen[-1][0]


@pytest.mark.parametrize("place", ["folder", "missing/film.mp4", ".", "nul\0byte"])
@pytest.mark.parametrize("call", ["download_source", "download", "convert_audio"])
async def test_a_place_that_cannot_be_written_is_an_error_before_any_request(sandbox, client, tmp_path, place, call):
    (tmp_path / "folder").mkdir()
    task, path = sandbox.put_source(DATA), f"{tmp_path}/{place}"
    calls = {
        "download_source": lambda: client.transcriptions.download_source(task, path),
        "download": lambda: client.transcriptions.download(task, "txt", path),
        "convert_audio": lambda: client.transcriptions.convert_audio(b"audio", path, format="mp3"),
    }
    with pytest.raises(TransferError, match=r"cannot be written|is a directory"):
        await calls[call]()
    assert 0 == sandbox.ledger.count()


async def test_a_file_that_is_there_already_is_replaced_only_by_a_whole_one(sandbox, client, target, whole):
    target.write_bytes(b"an older version")
    sandbox.faults.add("status call=source status=403")
    with pytest.raises(Exception, match="403"):
        await client.transcriptions.download_source(sandbox.put_source(DATA), target)
    assert b"an older version" == target.read_bytes()
    await client.transcriptions.download_source(sandbox.put_source(DATA), target)
    whole()


async def test_a_second_download_to_the_same_place_is_refused_and_does_not_disturb_the_first(
    sandbox, client, target, whole
):
    task = sandbox.put_source(DATA)
    refusals = []

    async def meddle(done, _):
        if done and not refusals:
            refusals.append(0)
            with pytest.raises(TransferError, match="another download is writing here"):
                await client.transcriptions.download_source(task, target)

    await client.transcriptions.download_source(task, target, on_progress=meddle)
    assert [0] == refusals
    whole()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_download_leaves_no_work_behind_and_keeps_its_part(sandbox, connect, target, backend):
    task = sandbox.put_source(DATA)
    sandbox.faults.add("slow call=source bytes_per_second=4000000")
    before = set(threading.enumerate())

    async def main():
        async with connect() as client:
            with anyio.CancelScope() as scope:
                await client.transcriptions.download_source(
                    task, target, on_progress=lambda done, _: scope.cancel() if done > 1_000_000 else None
                )
            assert scope.cancelled_caught
            assert not target.exists()
            sandbox.ledger.clear()
            await client.transcriptions.download_source(task, target)  # the lock is free again
            assert sum(entry.bytes_out for entry in sandbox.ledger.entries("source")) < len(DATA) - 1_000_000

    anyio.run(main, backend=backend)
    # Trio keeps idle threads for ten seconds and names them otherwise.
    assert not [thread for thread in set(threading.enumerate()) - before if "AnyIO worker" in thread.name]
    assert DATA == target.read_bytes()


async def test_result_files_go_to_disk_whole_too(sandbox, client, start, target, whole):
    task = start()
    sandbox.faults.add("truncate call=download times=2 at_bytes=7")
    assert target == await client.transcriptions.download(task, "txt", target)
    whole(b"This is a scripted transcript of talk.mp3.\n")
    with pytest.raises(NotFoundError):
        await client.transcriptions.download(task, "docx", target)
    with pytest.raises(ValueError, match="kind"):
        await client.transcriptions.download(task, "..", target)
    async with client.transcriptions.stream_download(task, "txt") as response:
        words = b"".join([chunk async for chunk in response.chunks()])
    whole(words)


async def test_a_conversion_that_fails_or_breaks_off_leaves_nothing(sandbox, client, target):
    with pytest.raises(BadRequestError):
        await client.transcriptions.convert_audio(b"no audio at all", target, format="mp3")
    with pytest.raises(BadRequestError, match="format"):  # of a format that the service alone might know
        await client.transcriptions.convert_audio(b"no audio at all", target, extra={"format": "mp4"})
    sandbox.faults.add("truncate call=convert_audio")
    with pytest.raises((ApiConnectionError, BadRequestError)):
        await client.transcriptions.convert_audio(b"no audio at all", target, format="mp3")
    assert [] == list(target.parent.iterdir())


async def test_a_conversion_to_a_name_without_a_suffix_needs_a_format(sandbox, client, tmp_path):
    (tmp_path / "x.mp3").mkdir()
    with pytest.raises(ValueError, match="pass format="):
        await client.transcriptions.convert_audio(b"audio", tmp_path / "x.mp3" / "converted")
    assert 0 == sandbox.ledger.count()


async def test_a_conversion_to_an_unknown_format_is_not_sent(sandbox, client, target):
    for options in ({}, {"format": "exe"}, {"format": b"mp3"}):  # the target is an mp4
        with pytest.raises(ValueError, match=r"format is .*: pass 'mp3', 'wav', 'ogg', 'm4a' or 'flac'"):
            await client.transcriptions.convert_audio(b"audio", target, **options)
    assert 0 == sandbox.ledger.count()


async def test_a_conversion_is_not_sent_again_when_its_answer_is_late(sandbox, connect, target):
    """A conversion is free, but each attempt sends a whole file."""
    sandbox.faults.add("latency call=convert_audio seconds=2 times=forever")
    async with connect(timeout=0.3, max_retries=2) as client:
        with pytest.raises(ApiTimeoutError):
            await client.transcriptions.convert_audio(b"audio", target, format="mp3")
    assert 1 == sandbox.ledger.count("convert_audio")
    assert [] == list(target.parent.iterdir())


PAGE = "status status=200 body=html detail=Maintenance"


@pytest.mark.parametrize("call", ["source", "download"])
async def test_a_web_page_in_place_of_a_file_is_an_error_and_nothing_is_written(sandbox, client, start, target, call):
    """As a proxy answers that is down for maintenance, or wants a login."""
    task = start()
    sandbox.faults.add(f"{PAGE} call={call} times=forever")
    save = {
        "source": lambda: client.transcriptions.download_source(task, target),
        "download": lambda: client.transcriptions.download(task, "srt", target),
    }[call]
    with pytest.raises(ResponseDecodeError, match=r"Maintenance.*text/html"):
        await save()
    assert [] == list(target.parent.iterdir())
    assert 2 == sandbox.ledger.count(call), "once may be a garbled transfer, twice is how it is"


async def test_a_web_page_in_place_of_a_files_bytes_or_stream_is_an_error(sandbox, client, start):
    task = start()
    sandbox.faults.add(f"{PAGE} call=download times=forever")
    with pytest.raises(ResponseDecodeError, match="Maintenance"):
        await client.transcriptions.download(task, "srt")
    with pytest.raises(ResponseDecodeError, match="Maintenance"):
        await client.transcriptions.stream_download(task, "srt").__aenter__()


NO_FILES = {
    "page": (200, {}, b"<html><title>Sign in</title>"),
    "message": (200, {"Content-Type": "application/json"}, b'{"detail": "Not ready"}'),
    "nothing": (200, {}, b""),
    "no content": (204, {}, b""),
}


@pytest.mark.parametrize("answer", NO_FILES)
async def test_a_stream_of_what_is_no_result_file_is_an_error(connect, answer):
    with contextlib.closing(ScriptedServer(lambda _: NO_FILES[answer])) as server:
        async with connect(base_url=server.url) as client:
            with pytest.raises(ResponseDecodeError, match="the answer is"):
                await client.transcriptions.stream_download("t", "srt").__aenter__()


BEGINNINGS = [b"{0}{25}Hello" + b" " * 90_000, b"<b>Hello</b>", b"1\n00:00", b"\n", b"x"]


@pytest.mark.parametrize("data", BEGINNINGS, ids=lambda data: repr(data[:9]))
async def test_the_stream_of_a_result_file_has_all_of_it_once(connect, data):
    with contextlib.closing(ScriptedServer(lambda _: (200, {}, data))) as server:
        async with connect(base_url=server.url) as client:
            async with client.transcriptions.stream_download("t", "sub") as response:
                assert data == b"".join([chunk async for chunk in response.chunks()])
                with pytest.raises(ConfigurationError, match="read it once"):
                    await anext(response.chunks())
            async with client.transcriptions.stream_download("t", "sub") as response:
                pass
            with pytest.raises(ConfigurationError, match="inside its `with`"):
                await anext(response.chunks())


def test_the_sync_stream_of_a_result_file_is_looked_at_too():
    answers = [(200, {}, BEGINNINGS[0]), NO_FILES["message"]]
    with (
        contextlib.closing(ScriptedServer(lambda _: answers.pop(0))) as server,
        Polyglot("sk_test", base_url=server.url) as client,
    ):
        with client.transcriptions.stream_download("t", "sub") as response:
            assert BEGINNINGS[0] == b"".join(response.chunks())
        with pytest.raises(ResponseDecodeError, match=r"a message, .Not ready"):
            client.transcriptions.stream_download("t", "srt").__enter__()


async def test_a_web_page_in_place_of_a_conversion_is_an_error_and_nothing_is_written(sandbox, client, target):
    sandbox.faults.add(f"{PAGE} call=convert_audio times=forever")
    with pytest.raises(ResponseDecodeError, match="Maintenance"):
        await client.transcriptions.convert_audio(b"audio", target, format="mp3")
    assert [] == list(target.parent.iterdir())


async def test_a_transcript_as_html_is_no_error(connect, target):
    page = b"<!doctype html><html><p>Hello</p></html>"
    with contextlib.closing(ScriptedServer(lambda _: (200, {"Content-Type": "text/html"}, page))) as server:
        async with connect(base_url=server.url) as client:
            assert page == await client.transcriptions.download("t", "html")
            await client.transcriptions.download("t", "html", target)
            assert page == target.read_bytes()
            async with client.transcriptions.stream_download("t", "html") as response:
                assert page == b"".join([chunk async for chunk in response.chunks()])


@pytest.mark.parametrize("status", [408, 500, 501, 507, 520, 599])
@pytest.mark.parametrize("max_retries", [0, 3])
async def test_failing_answers_are_repeated_so_often_and_no_more(sandbox, connect, target, status, max_retries):
    task = sandbox.put_source(DATA)
    sandbox.faults.add(f"status call=source status={status} times=forever")
    async with connect(max_retries=max_retries) as client:
        with pytest.raises(PolyglotError, match=str(status)):
            await client.transcriptions.download_source(task, target, connections=1)
    assert max_retries + 1 == sandbox.ledger.count()


async def test_a_closed_client_is_an_error_that_says_so(sandbox, connect, target):
    task = sandbox.put_source(DATA)
    async with connect() as client:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await client.transcriptions.download_source(task, target)
    assert 0 == sandbox.ledger.count()


async def test_connections_are_at_least_one(sandbox, client, target):
    with pytest.raises(ValueError, match="connections"):
        await client.transcriptions.download_source(sandbox.put_source(DATA), target, connections=0)
    assert 0 == sandbox.ledger.count()
