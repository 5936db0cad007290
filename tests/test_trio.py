"""The whole surface once on Trio (and on asyncio beside it, as in any test here): nothing relies on one event loop."""

import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import uvicorn

from polyglot_async import AsyncPolyglot, BatchProgress, NotFoundError, TaskFailedError, TaskStatus
from polyglot_async.sandbox import ScriptedEngine
from polyglot_async.webhooks import WebhookReceiver

RECORDING = Path(__file__).parents[1] / "examples" / "audio" / "austen-0880.wav"


@pytest.fixture
def sandbox(polyglot_sandbox_factory):
    return polyglot_sandbox_factory(
        engine=ScriptedEngine(fail=lambda name, size: "no speech found" if name == "noise.mp3" else None)
    )


@pytest.fixture
async def client(anyio_backend, sandbox):
    async with AsyncPolyglot(sandbox.api_key, base_url=sandbox.url) as client:
        yield client


async def test_one_file_from_end_to_end(client, tmp_path):
    steps = []

    async def note(done, total):
        await anyio.lowlevel.checkpoint()
        steps.append(done)

    transcript = await client.transcribe(RECORDING, output_language="ru", on_progress=note)
    assert "This is a scripted transcript of austen-0880.wav." == transcript.text
    assert transcript.translation
    assert RECORDING.stat().st_size == steps[-1]
    with pytest.raises(TaskFailedError, match="no speech found"):
        await client.transcribe(("noise.mp3", b"noise"))
    with pytest.raises(NotFoundError):
        await client.transcriptions.get("nothing")
    assert "unlimited" == (await client.limits()).plan
    assert (await client.transcriptions.with_raw_response.validate_url("http://127.0.0.1:9/a.mp3")).status_code in {
        200,
        400,
    }


async def test_lists_streams_and_downloads(client, tmp_path):
    calls = client.transcriptions
    data = RECORDING.read_bytes()
    task = await calls.wait(await calls.upload(data, name="a.wav"), poll_interval=0.05)
    assert [task.task_id] == [found.task_id async for found in calls.list()]
    assert (await calls.download(task, "srt", tmp_path / "a.srt")).read_bytes() == await calls.download(task, "srt")
    async with calls.stream_download(task, "txt") as response:
        assert b"".join([chunk async for chunk in response.chunks()])
    assert data == (await calls.download_source(task, tmp_path / "a.wav", connections=3)).read_bytes()
    async with calls.source(task) as stream:
        assert data == b"".join([chunk async for chunk in stream])
    async with calls.open_source(task) as media:
        assert (b"RIFF", len(data)) == (await media.read_at(0, 4), media.fetched)
    converted = await calls.convert_audio(RECORDING, tmp_path / "a.flac")
    assert converted.read_bytes().startswith(b"fLaC")


async def test_a_stream_and_an_upload_are_left_in_the_middle(client, sandbox):
    task = await client.transcriptions.upload(bytes(5_000_000))
    sandbox.faults.add("slow call=source bytes_per_second=100000 times=forever")
    async with client.transcriptions.source(task) as stream:
        async for chunk in stream:
            assert chunk
            break

    under_way = anyio.Event()

    async def endless():
        for _ in range(10):
            yield bytes(65536)
        under_way.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.transcriptions.upload, endless())
        await under_way.wait()
        tasks.cancel_scope.cancel()
    assert task.task_id == (await client.transcriptions.get(task)).task_id


async def test_a_batch_with_a_journal(client, sandbox, tmp_path):
    sources = [("a.mp3", b"a"), ("b.mp3", b"b"), ("noise.mp3", b"noise")]
    progress: list[BatchProgress] = []
    async with client.batch(sources, journal=tmp_path / "batch.db", on_progress=progress.append) as outcomes:
        ended = {outcome.name: outcome.ok async for outcome in outcomes}
    assert {"a.mp3": True, "b.mp3": True, "noise.mp3": False} == ended
    assert (2, 1) == (progress[-1].done, progress[-1].failed)
    async with client.batch(sources, journal=tmp_path / "batch.db") as outcomes:
        assert [] == [outcome async for outcome in outcomes]
    assert 3 == sandbox.ledger.count("upload")


async def test_a_batch_left_early_is_continued(client, sandbox, tmp_path):
    sources = [b"one", b"two", b"three"]
    async with client.batch(sources, journal=tmp_path / "batch.db") as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
            break
    async with client.batch(sources, journal=tmp_path / "batch.db") as outcomes:
        assert [True, True] == [outcome.ok async for outcome in outcomes]
        assert 1 == outcomes.progress.skipped
    assert 3 == sandbox.ledger.count("upload")


@contextmanager
def served(receiver):
    """Run the receiver in a thread with a loop of its own, as a service would run it."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(receiver, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


async def test_an_event_from_a_receiver_ends_a_wait(client, sandbox):
    receiver = WebhookReceiver(sandbox.webhook_secret)
    with served(receiver) as url:
        sandbox.set_webhook(url)
        detach = client.use_webhooks(receiver)
        task = await client.transcriptions.upload(("a.mp3", b"a"))
        with anyio.fail_after(10):
            task = await client.transcriptions.wait(task)
        detach()
        sandbox.set_webhook(None)
    assert TaskStatus.COMPLETED is task.status
    assert 0 == sandbox.ledger.count("get")
