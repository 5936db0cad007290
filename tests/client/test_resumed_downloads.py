"""What a broken run left behind is gone on from, if the server proves that it has the same version, and only then."""

import hashlib
import json
import os
import random
import signal

import anyio
import pytest

from polyglot_async import RangeError, TransferError
from polyglot_async._downloads.ranges import covered_bytes

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_parts")]

DATA = random.Random(9).randbytes(3_000_001)
OTHER = random.Random(10).randbytes(2_000_003)

DOWNLOADER = """
import sys, anyio
from polyglot_async import AsyncPolyglot
from polyglot_async._downloads import partial_download as part_file

async def main(url, key, task, path, connections):
    part_file.CHECKPOINT_BYTES = 100_000
    async with AsyncPolyglot(key, base_url=url) as client:
        await client.transcriptions.download_source(task, path, connections=int(connections))

anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture
def target(tmp_path):
    (tmp_path / "got").mkdir()
    return tmp_path / "got" / "film.mp4"


@pytest.fixture
def state(target):
    """Reads what the part file's own note says; its `done` in bytes."""

    def state():
        try:
            noted = json.loads((target.parent / "film.mp4.part.json").read_text())
        except FileNotFoundError:
            return None
        return {**noted, "done": covered_bytes(tuple(map(tuple, noted["done"])))}

    return state


@pytest.fixture
def break_off(client):
    """Downloads a third and is cancelled then."""

    async def break_off(task, target, connections=4):
        with anyio.CancelScope() as scope:
            await client.transcriptions.download_source(
                task,
                target,
                connections=connections,
                on_progress=lambda done, total: scope.cancel() if done > total / 3 else None,
            )
        assert scope.cancelled_caught

    return break_off


def check(target, data):
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(target.read_bytes()).hexdigest()
    assert [target] == list(target.parent.iterdir())


@pytest.mark.parametrize("connections", [1, 4])
async def test_after_a_cancellation_only_what_is_missing_is_asked_for(
    sandbox, client, put, target, state, break_off, connections
):
    task = put(DATA)
    await break_off(task, target, connections)
    there = state()["done"]
    assert len(DATA) / 3 < there < len(DATA)
    sandbox.ledger.clear()
    seen = []
    await client.transcriptions.download_source(
        task, target, connections=connections, on_progress=lambda *numbers: seen.append(numbers)
    )
    check(target, DATA)
    assert len(DATA) - there == sum(entry.bytes_out for entry in sandbox.ledger.entries("source"))
    assert seen[0][0] > there
    assert (len(DATA), len(DATA)) == seen[-1]


@pytest.mark.parametrize("connections", [1, 4])
async def test_after_sigkill_only_what_was_not_safely_there_is_asked_for(
    polyglot_sandbox_factory, connect, script, until, target, state, connections
):
    slow = polyglot_sandbox_factory(source_bytes_per_second=3_000_000 / connections)
    task = upload(slow, DATA)
    process = script(DOWNLOADER, slow.url, slow.api_key, task, target, connections)
    until(lambda: (state() or {"done": 0})["done"] > 500_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = state()["done"]
    slow.ledger.clear()
    async with connect(slow.api_key, base_url=slow.url) as client:
        await client.transcriptions.download_source(task, target, connections=connections)
    check(target, DATA)
    assert len(DATA) - there == sum(entry.bytes_out for entry in slow.ledger.entries("source"))


def upload(sandbox, data):
    from polyglot_async.sandbox._tasks import Task

    task = Task(user="demo", status="completed", media="film", media_size=len(data), media_sha256="0" * 64)
    (sandbox.folder / "media" / "film").write_bytes(data)
    sandbox._store.save(task)
    return task.task_id


async def test_a_run_killed_after_its_last_byte_is_finished_without_a_request(
    sandbox, client, put, target, state, break_off
):
    task = put(DATA)
    await break_off(task, target)
    part, note = (target.parent / name for name in ("film.mp4.part", "film.mp4.part.json"))
    part.write_bytes(DATA)
    note.write_text(json.dumps({**json.loads(note.read_text()), "done": [[0, len(DATA)]]}))
    sandbox.ledger.clear()
    await client.transcriptions.download_source(task, target)
    check(target, DATA)
    assert 0 == sandbox.ledger.count()


@pytest.mark.parametrize("connections", [1, 4])
async def test_another_version_on_the_server_is_begun_anew(sandbox, client, put, target, break_off, connections):
    task = put(DATA)
    await break_off(task, target)
    put(OTHER, task)
    sandbox.ledger.clear()
    await client.transcriptions.download_source(task, target, connections=connections)
    check(target, OTHER)


async def test_a_server_that_shows_another_version_and_then_the_old_one_gives_the_old_one_whole(
    client, put, target, break_off, monkeypatch
):
    """As mirrors do that are updated one after the other."""
    task = put(DATA)
    await break_off(task, target)
    put(OTHER, task)
    from polyglot_async._downloads.partial_download import PartFile

    forget = PartFile.forget

    def back_again(part):
        put(DATA, task)
        forget(part)

    monkeypatch.setattr(PartFile, "forget", back_again)
    await client.transcriptions.download_source(task, target)
    check(target, DATA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: "{",
        lambda note: json.dumps({**note, "version": 99}),
        lambda note: json.dumps({**note, "source": "/transcriptions/another/source"}),
        lambda note: json.dumps({**note, "done": [[0, 10**9]]}),
        lambda note: json.dumps({**note, "done": [[-5, 10]]}),
        lambda note: json.dumps({**note, "done": "all"}),
        lambda note: json.dumps({**note, "total": None}),
        lambda note: json.dumps({**note, "etag": None, "last_modified": None}),
        lambda note: json.dumps({**note, "etag": '"other"'}),
        lambda note: json.dumps([note]),
        lambda note: json.dumps(None),
    ],
)
async def test_a_note_that_cannot_be_trusted_is_not(sandbox, client, put, target, break_off, spoil):
    task = put(DATA)
    await break_off(task, target)
    note = target.parent / "film.mp4.part.json"
    note.write_text(spoil(json.loads(note.read_text())))
    (target.parent / "film.mp4.part").write_bytes(bytes(len(DATA)))
    await client.transcriptions.download_source(task, target)
    check(target, DATA)


async def test_without_validators_a_later_run_begins_anew(serve, connect, span_of, target, break_off_at):
    """Nobody could tell whether the bytes are of the same version (A7)."""

    def answer(asked):
        start, stop = span_of(asked, DATA)
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}, DATA[start:stop]

    server = serve(answer)
    async with connect(base_url=server.url) as client:
        await break_off_at(client, target)
        assert [] == list(target.parent.iterdir())
        await client.transcriptions.download_source("t", target, connections=1)
    check(target, DATA)
    assert "bytes=0-" == server.asked[-1].headers["range"], "one range, of all"


@pytest.fixture
def break_off_at():
    async def break_off_at(client, target):
        with anyio.CancelScope() as scope:
            await client.transcriptions.download_source(
                "t", target, on_progress=lambda done, _: scope.cancel() if done > 300_000 else None
            )

    return break_off_at


async def test_a_server_that_refuses_the_rest_is_asked_for_the_whole(serve, connect, span_of, target, break_off_at):
    """It has forgotten how to serve ranges in the meantime: a 416 that does not say of how much."""
    refusing = []

    def answer(asked):
        start, stop = span_of(asked, DATA)
        if refusing and start:
            return 416, {}, b""
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}", "ETag": '"v1"'}, DATA[start:stop]

    async with connect(base_url=serve(answer).url) as client:
        await break_off_at(client, target)
        refusing.append(True)
        with pytest.raises(RangeError):  # several connections cannot help it
            await client.transcriptions.download_source("t", target, connections=4)
        await client.transcriptions.download_source("t", target, connections=1)
    check(target, DATA)


FULL_DISK = """
import resource, sys, anyio
from polyglot_async import AsyncPolyglot, TransferError

async def main(url, path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    async with AsyncPolyglot("sk_key", base_url=url) as client:
        try:
            await client.transcriptions.download_source("t", path)
        except TransferError as error:
            print(error)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("length", [True, False], ids=["size told", "size not told"])
async def test_a_disk_that_takes_no_more_is_our_error_and_leaves_nothing(serve, script, target, length):
    """By a limit on the size of files, which acts like a full disk and needs no other user."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA)
    server = serve(lambda _: (200, {}, DATA) if length else (200, {"Transfer-Encoding": "chunked"}, chunked))
    out, err = script(FULL_DISK, server.url, target).communicate()
    assert f"{target}: cannot be written: {os.strerror(27)}" == out.strip(), err
    assert [] == list(target.parent.iterdir())


async def test_too_little_room_is_found_out_before_the_transfer(sandbox, client, put, target, monkeypatch):
    task, statvfs = put(DATA), os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([4096, 4096, 9, 9, 9, *list(statvfs(path))[5:]]))
    with pytest.raises(TransferError, match="No space left"):
        await client.transcriptions.download_source(task, target)
    assert 1 == sandbox.ledger.count()
    assert [] == list(target.parent.iterdir())
