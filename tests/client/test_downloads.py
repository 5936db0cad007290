"""The source to disk: whole or not at all, whatever the network, the server and the disk do."""

import hashlib
import random
import threading

import anyio
import pytest

from polyglot_async import ApiConnectionError, BadRequestError, NotFoundError, SourceChangedError, TransferError
from polyglot_async._downloads.partial_download import PartFile

pytestmark = pytest.mark.anyio

DATA = random.Random(7).randbytes(3_000_001)
OTHER = random.Random(8).randbytes(3_000_001)


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
@pytest.mark.usefixtures("small_parts")
async def test_the_file_arrives_whole_over_any_number_of_connections(sandbox, client, put, target, whole, connections):
    assert target == await client.transcriptions.download_source(put(DATA), target, connections=connections)
    whole()
    entries = sandbox.ledger.entries("source")
    assert len(DATA) == sum(entry.bytes_out for entry in entries)
    assert (1 == len(entries)) if connections == 1 else (connections <= len(entries))


@pytest.mark.parametrize(
    ("anyio_backend", "connections"), [("asyncio", 1), ("asyncio", 2), ("asyncio", 4), ("asyncio", 8), ("trio", 4)]
)
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
        "wrong_length times=3",
        "wrong_length times=1 at_bytes=90000000",
        "status status=503 times=2",
        "slow bytes_per_second=5000000",
    ],
)
@pytest.mark.usefixtures("small_parts")
async def test_every_fault_is_overcome(sandbox, connect, put, target, whole, kind, connections):
    task = put(DATA)
    sandbox.faults.add(f"{kind} call=source")
    async with connect(timeout=0.2) as client:
        await client.transcriptions.download_source(task, target, connections=connections)
    whole()


@pytest.mark.parametrize("connections", [1, 4])
async def test_faults_that_do_not_end_end_the_download_and_leave_nothing_in_place(
    sandbox, client, put, target, connections
):
    task = put(DATA)
    sandbox.faults.add("truncate call=source times=forever at_bytes=0")
    with pytest.raises(ApiConnectionError):
        await client.transcriptions.download_source(task, target, connections=connections)
    assert not target.exists()
    assert sandbox.ledger.count("source") <= 3 * connections


@pytest.mark.usefixtures("small_parts")
async def test_a_file_that_changes_on_the_server_is_never_spliced(client, put, target, whole):
    """Later parts are asked for with If-Range, so they are of the first version or there is an error."""
    task = put(DATA)

    def change(done, _):
        if done:
            put(OTHER, task)

    with pytest.raises(SourceChangedError, match="changed on the server"):
        await client.transcriptions.download_source(task, target, connections=4, on_progress=change)
    assert not target.exists()
    await client.transcriptions.download_source(task, target, connections=4)
    whole(OTHER)


async def test_a_file_that_changes_before_a_resumed_answer_is_never_spliced(sandbox, client, put, target):
    task = put(DATA)
    sandbox.faults.add("truncate call=source")
    with pytest.raises(SourceChangedError):
        await client.transcriptions.download_source(
            task, target, connections=1, on_progress=lambda done, _: put(OTHER, task) if done else None
        )
    assert not target.exists()


async def test_progress_rises_to_the_size_and_tells_it_all_along(client, put, target):
    seen = []

    async def note(done, total):
        await anyio.lowlevel.checkpoint()
        seen.append((done, total))

    await client.transcriptions.download_source(put(DATA), target, on_progress=note)
    assert {len(DATA)} == {total for _, total in seen}
    assert sorted(seen) == seen
    assert len(DATA) == seen[-1][0]


@pytest.mark.parametrize("place", ["folder", "missing/film.mp4", ".", "nul\0byte"])
@pytest.mark.parametrize("call", ["download_source", "download", "convert_audio"])
async def test_a_place_that_cannot_be_written_is_an_error_before_any_request(
    sandbox, client, put, tmp_path, place, call
):
    (tmp_path / "folder").mkdir()
    task, path = put(DATA), f"{tmp_path}/{place}"
    calls = {
        "download_source": lambda: client.transcriptions.download_source(task, path),
        "download": lambda: client.transcriptions.download(task, "txt", path),
        "convert_audio": lambda: client.transcriptions.convert_audio(b"audio", path, format="mp3"),
    }
    with pytest.raises(TransferError, match=r"cannot be written|is a directory"):
        await calls[call]()
    assert 0 == sandbox.ledger.count()


async def test_a_file_that_is_there_already_is_replaced_only_by_a_whole_one(sandbox, client, put, target, whole):
    target.write_bytes(b"an older version")
    sandbox.faults.add("status call=source status=403")
    with pytest.raises(Exception, match="403"):
        await client.transcriptions.download_source(put(DATA), target)
    assert b"an older version" == target.read_bytes()
    await client.transcriptions.download_source(put(DATA), target)
    whole()


async def test_a_second_download_to_the_same_place_is_refused_and_does_not_disturb_the_first(
    sandbox, client, put, target, whole
):
    task = put(DATA)
    refusals = []

    async def meddle(done, _):
        if done and not refusals:
            refusals.append(0)
            with pytest.raises(TransferError, match="another download is writing here"):
                await client.transcriptions.download_source(task, target)

    await client.transcriptions.download_source(task, target, on_progress=meddle)
    assert [0] == refusals
    whole()


def test_who_gets_the_lock_late_does_not_write_into_a_finished_file(target, monkeypatch):
    """The other run ends between our opening of its part file and our lock on it."""
    from polyglot_async._downloads import partial_download as part_file

    first = PartFile(target, "x")
    first.begin(4, first.validator)
    first.write_at(0, b"good")
    flock = part_file.fcntl.flock

    def late(file, how):
        if not target.exists():
            first.finish()
        flock(file, how)

    monkeypatch.setattr(part_file.fcntl, "flock", late)
    second = PartFile(target, "x")
    second.begin(3, second.validator)
    second.write_at(0, b"bad")
    assert b"good" == target.read_bytes()
    second.finish()
    assert b"bad" == target.read_bytes()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_download_leaves_no_work_behind_and_keeps_its_part(sandbox, connect, put, target, backend):
    task = put(DATA)
    sandbox.faults.add("slow call=source bytes_per_second=500000 times=forever")
    before = set(threading.enumerate())

    async def main():
        async with connect() as client:
            with anyio.CancelScope() as scope:
                await client.transcriptions.download_source(
                    task, target, on_progress=lambda done, _: scope.cancel() if done > 100_000 else None
                )
            assert scope.cancelled_caught
            part = PartFile(target, "/transcriptions/" + task + "/source")  # its lock is free again
            assert 100_000 < part.done_bytes < len(DATA)
            part.close()

    anyio.run(main, backend=backend)
    # Trio keeps idle threads for ten seconds and names them otherwise.
    assert not [thread for thread in set(threading.enumerate()) - before if "AnyIO worker" in thread.name]
    assert not target.exists()


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
    with pytest.raises(BadRequestError, match="format"):
        await client.transcriptions.convert_audio(b"no audio at all", target)  # mp4 is none of the formats
    sandbox.faults.add("truncate call=convert_audio")
    with pytest.raises((ApiConnectionError, BadRequestError)):
        await client.transcriptions.convert_audio(b"no audio at all", target, format="mp3")
    assert [] == list(target.parent.iterdir())


async def test_connections_are_at_least_one(sandbox, client, put, target):
    with pytest.raises(ValueError, match="connections"):
        await client.transcriptions.download_source(put(DATA), target, connections=0)
    assert 0 == sandbox.ledger.count()
