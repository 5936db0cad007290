"""With a receiver attached, waits and batches end by the service's deliveries; without them they still end."""

import socket
import threading
import time
from contextlib import contextmanager

import anyio
import pytest
import uvicorn

from polyglot_async import AsyncPolyglot, Limits, TaskStatus
from polyglot_async.sandbox import Plan, ScriptedEngine
from polyglot_async.webhooks import WebhookReceiver

SLOTS = 8
FILES = 50
PLAN = Plan(name="test", max_concurrent_tasks=SLOTS)


@contextmanager
def served(receiver):
    """Run the receiver in a thread with an event loop of its own, as a web service would run it."""
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


async def run_batch(client, *, after_half=lambda: None):
    """Transcribe the files; return the outcomes and the seconds that it took."""
    outcomes = []
    started = time.monotonic()
    async with client.batch((f"{number}.mp3", b"%d" % number) for number in range(FILES)) as stream:
        async for outcome in stream:
            outcomes.append(outcome)
            if len(outcomes) == FILES // 2:
                after_half()
    return outcomes, time.monotonic() - started


@pytest.fixture
def sandbox(polyglot_sandbox_factory):
    return polyglot_sandbox_factory(engine=ScriptedEngine(seconds=0.3), plan=PLAN)


def client_of(sandbox):
    # Stated in full, so that a batch need not ask for them.
    limits = Limits(requests_per_window=100_000, max_concurrent_tasks=SLOTS)
    return AsyncPolyglot(sandbox.api_key, base_url=sandbox.url, limits=limits)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_batch_with_webhooks_spends_two_requests_a_file_and_is_not_slower(sandbox):
    async with client_of(sandbox) as client:
        polled, polling_seconds = await run_batch(client)
    sandbox.ledger.clear()
    receiver = WebhookReceiver(sandbox.webhook_secret)
    with served(receiver) as url:
        sandbox.set_webhook(url)
        async with client_of(sandbox) as client:
            detach = client.use_webhooks(receiver)
            notified, seconds = await run_batch(client)
            detach()
        sandbox.set_webhook(None)
    assert all(outcome.ok for outcome in polled + notified)
    assert sandbox.ledger.count() <= 2 * FILES + 1, "an upload and a result each, and one look at the list before"
    # The two differ by whole waits for a poll, a noisy machine by less.
    assert seconds < 1.25 * polling_seconds


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_when_webhooks_stop_halfway_the_safety_net_finds_the_rest(sandbox):
    receiver = WebhookReceiver(sandbox.webhook_secret)
    with served(receiver) as url:
        sandbox.set_webhook(url)
        async with client_of(sandbox) as client:
            client.use_webhooks(receiver)
            outcomes, _ = await run_batch(client, after_half=lambda: sandbox.set_webhook(None))
    assert [outcome.name for outcome in outcomes if not outcome.ok] == []
    assert len(outcomes) == FILES


async def test_an_event_that_comes_before_the_wait_ends_it_without_a_request(polyglot_sandbox):
    receiver = WebhookReceiver(polyglot_sandbox.webhook_secret)
    arrived = threading.Event()
    receiver.subscribe(lambda _: arrived.set())
    with served(receiver) as url:
        polyglot_sandbox.set_webhook(url)
        async with client_of(polyglot_sandbox) as client:
            client.use_webhooks(receiver)
            task = await client.transcriptions.upload(("a.mp3", b"a"))
            await anyio.to_thread.run_sync(arrived.wait, 10)
            done = await client.transcriptions.wait(task, timeout=10)
        polyglot_sandbox.set_webhook(None)
    assert done.status is TaskStatus.COMPLETED
    assert [entry.call for entry in polyglot_sandbox.ledger.entries()] == ["upload"]
