"""What a broken run left behind is kept if the server proves that it has the same version, and only then."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import anyio
import pytest
from raw_server import ScriptedServer

from polyglot_async import RangeError, TransferError

pytestmark = pytest.mark.anyio

DATA = random.Random(9).randbytes(18_000_001)
OTHER = random.Random(10).randbytes(17_000_003)

DOWNLOADER = """
import sys, anyio
from polyglot_async import AsyncPolyglot

async def main(url, key, task, path, connections):
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
    """Reads the state that is saved beside the file: None, or its fields, with the number of bytes as `done`."""

    def state():
        try:
            saved = json.loads((target.parent / "film.mp4.part.json").read_text())
        except FileNotFoundError:
            return None
        return {**saved, "done": sum(stop - start for start, stop in saved["done"])}

    return state


@pytest.fixture
def scripted():
    """Starts scripted servers."""
    with contextlib.ExitStack() as servers:
        yield lambda answer: servers.enter_context(contextlib.closing(ScriptedServer(answer)))


def range_of(received, data):
    start, _, last = received.headers["range"].removeprefix("bytes=").partition("-")
    return int(start), min(int(last) + 1, len(data)) if last else len(data)


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
    sandbox, client, target, state, break_off, connections
):
    task = sandbox.put_source(DATA)
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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("connections", [1, 4])
async def test_after_sigkill_only_what_was_not_safely_there_is_asked_for(
    polyglot_sandbox_factory, connect, target, state, connections
):
    data = DATA * 9  # the state is saved every 64 MiB
    slow = polyglot_sandbox_factory(source_bytes_per_second=150_000_000 / connections)
    task = slow.put_source(data)
    command = [sys.executable, "-c", DOWNLOADER, slow.url, slow.api_key, task, str(target), str(connections)]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=None, stderr=None) as process:
        deadline = time.monotonic() + 30
        while state() is None:
            assert time.monotonic() < deadline, "nothing is saved"
            assert process.returncode is None, "the download is done"
            await anyio.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    there = state()["done"]
    assert 64 << 20 <= there < len(data)
    slow.ledger.clear()
    async with connect(slow.api_key, base_url=slow.url) as client:
        await client.transcriptions.download_source(task, target, connections=connections)
    check(target, data)
    assert len(data) - there == sum(entry.bytes_out for entry in slow.ledger.entries("source"))


async def test_a_run_killed_after_its_last_byte_is_finished_without_a_request(
    sandbox, client, target, state, break_off
):
    task = sandbox.put_source(DATA)
    await break_off(task, target)
    part, saved = (target.parent / name for name in ("film.mp4.part", "film.mp4.part.json"))
    part.write_bytes(DATA)
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "done": [[0, len(DATA)]]}))
    sandbox.ledger.clear()
    await client.transcriptions.download_source(task, target)
    check(target, DATA)
    assert 0 == sandbox.ledger.count()


@pytest.mark.parametrize("connections", [1, 4])
async def test_another_version_on_the_server_starts_over(sandbox, client, target, break_off, connections):
    task = sandbox.put_source(DATA)
    await break_off(task, target)
    sandbox.put_source(OTHER, task)
    sandbox.ledger.clear()
    await client.transcriptions.download_source(task, target, connections=connections)
    check(target, OTHER)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda saved: "{",
        lambda saved: json.dumps({**saved, "version": 99}),
        lambda saved: json.dumps({**saved, "source": "/transcriptions/another/source"}),
        lambda saved: json.dumps({**saved, "done": [[0, 10**9]]}),
        lambda saved: json.dumps({**saved, "done": [[-5, 10]]}),
        lambda saved: json.dumps({**saved, "done": "all"}),
        lambda saved: json.dumps({**saved, "total": None}),
        lambda saved: json.dumps({**saved, "etag": None, "last_modified": None}),
        lambda saved: json.dumps({**saved, "etag": '"other"'}),
        lambda saved: json.dumps([saved]),
        lambda saved: json.dumps(None),
    ],
)
async def test_a_state_that_cannot_be_trusted_is_dropped(sandbox, client, target, break_off, spoil):
    task = sandbox.put_source(DATA)
    await break_off(task, target)
    saved = target.parent / "film.mp4.part.json"
    saved.write_text(spoil(json.loads(saved.read_text())))
    (target.parent / "film.mp4.part").write_bytes(bytes(len(DATA)))
    await client.transcriptions.download_source(task, target)
    check(target, DATA)


async def test_without_validators_a_later_run_starts_over(scripted, connect, target, break_off_at):
    """Nobody could tell whether the bytes are of the same version (A7)."""

    def answer(received):
        start, stop = range_of(received, DATA)
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}, DATA[start:stop]

    server = scripted(answer)
    async with connect(base_url=server.url) as client:
        await break_off_at(client, target)
        assert [] == list(target.parent.iterdir())
        await client.transcriptions.download_source("t", target, connections=1)
    check(target, DATA)
    assert "bytes=0-" == server.received[-1].headers["range"], "one range, of all"


@pytest.fixture
def break_off_at():
    async def break_off_at(client, target):
        with anyio.CancelScope() as scope:
            await client.transcriptions.download_source(
                "t", target, on_progress=lambda done, _: scope.cancel() if done > 300_000 else None
            )

    return break_off_at


async def test_a_server_that_refuses_the_rest_is_asked_for_the_whole(scripted, connect, target, break_off_at):
    """It has forgotten how to serve ranges in the meantime: a 416 that does not say of how much."""
    refusing = []

    def answer(received):
        start, stop = range_of(received, DATA)
        if refusing and start:
            return 416, {}, b""
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}", "ETag": '"v1"'}, DATA[start:stop]

    async with connect(base_url=scripted(answer).url) as client:
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


@pytest.mark.parametrize("length", [True, False], ids=["size stated", "size not stated"])
async def test_a_disk_that_takes_no_more_is_our_error_and_leaves_nothing(scripted, target, length):
    """By a limit on the size of files, which acts like a full disk and needs no other user."""
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA)
    server = scripted(lambda _: (200, {}, DATA) if length else (200, {"Transfer-Encoding": "chunked"}, chunked))
    command = [sys.executable, "-W", "error", "-c", FULL_DISK, server.url, target]
    run = await anyio.run_process(command, check=False)
    assert f"{target}: cannot be written: {os.strerror(27)}" == run.stdout.decode().strip(), run.stderr.decode()
    assert [] == list(target.parent.iterdir())


async def test_too_little_space_is_found_out_before_the_transfer(sandbox, client, target, monkeypatch):
    task, statvfs = sandbox.put_source(DATA), os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([4096, 4096, 9, 9, 9, *list(statvfs(path))[5:]]))
    with pytest.raises(TransferError, match="No space left"):
        await client.transcriptions.download_source(task, target)
    assert 1 == sandbox.ledger.count()
    assert [] == list(target.parent.iterdir())
