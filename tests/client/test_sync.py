"""The sync client over real sockets: the same answers, clean ends, Ctrl-C at any moment, any number of threads."""

import random
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter

import anyio
import httpx
import pytest
from money_server import DRAIN, HEAD, MIDDLE, RESET, SILENCE, Step, http

from polyglot_async import (
    ApiConnectionError,
    AsyncPolyglot,
    BatchProgress,
    ConfigurationError,
    NotFoundError,
    Polyglot,
    ServerError,
    TaskStatus,
    webhooks,
)
from polyglot_async.sandbox import ScriptedEngine

DATA = random.Random(14).randbytes(2_000_003)


@pytest.fixture
def client(sandbox):
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        yield client


def test_upload_wait_and_result(sandbox, client, tmp_path):
    (tmp_path / "talk.mp3").write_bytes(b"some bytes of audio")
    task = client.transcriptions.upload(tmp_path / "talk.mp3", output_language="ru")
    assert TaskStatus.COMPLETED == client.transcriptions.wait(task, poll_interval=0.05).status
    transcript = client.transcriptions.result(task)
    assert ("This is a scripted transcript of talk.mp3.", True) == (transcript.text, bool(transcript.translation))
    assert transcript.text == client.transcribe(tmp_path / "talk.mp3").text
    assert "unlimited" == client.limits().plan
    assert task.task_id == client.transcriptions.get(task.task_id).task_id
    assert client.transcriptions.download(task, "srt").startswith(b"1\n")
    assert tmp_path / "talk.srt" == client.transcriptions.download(task, "srt", tmp_path / "talk.srt")


def test_errors_are_those_of_the_async_client(client):
    with pytest.raises(NotFoundError):
        client.transcriptions.get("nothing")


def test_the_source_to_disk_as_a_stream_and_as_a_file(client, start, tmp_path):
    task = start(DATA)
    assert DATA == client.transcriptions.download_source(task, tmp_path / "film.mp4").read_bytes()
    with client.transcriptions.source(task) as stream:
        assert DATA == b"".join(stream)
    with client.transcriptions.open_source(task) as media:
        media.seek(-100, 2)
        assert DATA[-100:] == media.read()


def test_progress_is_reported_in_the_calling_thread(client):
    threads = []
    client.transcriptions.upload(DATA, on_progress=lambda done, total: threads.append(threading.current_thread()))
    assert {threading.current_thread()} == set(threads)


def test_a_progress_callback_that_raises_ends_the_upload(sandbox, client, until):
    def refuse(done, total):
        if done:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        client.transcriptions.upload((DATA[:1000] for _ in range(10**6)), on_progress=refuse)
    until(lambda: sandbox.ledger.entries("upload")[0].bytes_in)
    assert {} == sandbox.state()["tasks"]


ALIKE = (RuntimeError("enough"), httpx.ReadTimeout("slow"), ServerError("down", status_code=503), OSError("gone"))


@pytest.mark.parametrize("error", ALIKE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [0, 1])
def test_what_a_progress_callback_raises_is_raised_as_it_is_and_nothing_is_sent_again(misbehaving, error, at):
    def refuse(done, total):
        if (done > 0) == at:
            raise error

    server = misbehaving()
    with Polyglot("sk_test", base_url=server.url) as client, pytest.raises(type(error)) as caught:
        client.transcriptions.upload(DATA, on_progress=refuse)
    assert caught.value is error
    assert server.heads <= 1
    assert [] == server.made


async def upload_async(url, on_progress):
    async with AsyncPolyglot("sk_test", base_url=url) as client:
        return await client.transcriptions.upload(DATA, on_progress=on_progress)


def upload_sync(url, on_progress):
    with Polyglot("sk_test", base_url=url) as client:
        return client.transcriptions.upload(DATA, on_progress=on_progress)


@pytest.mark.parametrize("is_async_callback", [False, True], ids=["plain callback", "async callback"])
@pytest.mark.parametrize("is_sync", [True, False], ids=["sync client", "async client"])
def test_a_task_that_an_early_answer_names_is_the_task_though_the_callback_fails(
    misbehaving, until, is_sync, is_async_callback
):
    """It is paid for: the error of a callback must not lose its id."""
    answer = Step(reads=HEAD, makes=True, answer=lambda task_id: http(200, {"task_id": task_id}), then=DRAIN)
    server = misbehaving(answer)

    def refuse(done, total):
        if done:
            until(lambda: server.answered)
            raise RuntimeError("enough")

    async def refuse_later(done, total):
        refuse(done, total)

    on_progress = refuse_later if is_async_callback else refuse
    upload = upload_sync if is_sync else partial(anyio.run, upload_async)
    assert "task-1" == upload(server.url, on_progress).task_id
    assert (1, 1) == (server.heads, len(server.made))


def test_a_progress_callback_may_call_the_same_client(client, start):
    task, seen = start(), []

    def ask(done, total):
        seen.append(client.transcriptions.get(task).task_id)

    client.transcriptions.upload(DATA, on_progress=ask)
    assert {task} == set(seen)


def test_a_progress_callback_may_close_the_client(sandbox, client):
    with pytest.raises(ApiConnectionError, match="the client was closed during the call"):
        client.transcriptions.upload(DATA, on_progress=lambda done, total: client.close())
    assert {} == sandbox.state()["tasks"]


def test_a_progress_callback_that_cannot_be_called_is_refused_before_anything_is_sent(sandbox, client):
    with pytest.raises(TypeError, match="on_progress is 'quick'"):
        client.transcriptions.upload(DATA, on_progress="quick")
    assert [] == sandbox.ledger.entries("upload")


def test_the_list_may_be_left_early(sandbox, client, start):
    ids = [start(b"x") for _ in range(30)][::-1]
    for task in client.transcriptions.list(page_size=10):
        if task.task_id == ids[12]:
            break
    assert 2 == sandbox.ledger.count("list")
    assert ids == [task.task_id for task in client.transcriptions.list()]
    assert [10, 10, 10] == [len(page.items) for page in client.transcriptions.list(page_size=10).pages()]


def test_a_stream_left_early_gives_its_connection_up(sandbox, client, start, until):
    task = start(DATA)
    sandbox.faults.add("slow call=source bytes_per_second=200000")
    with client.transcriptions.source(task) as stream:
        assert DATA.startswith(next(iter(stream)))
    until(lambda: sandbox.ledger.entries("source")[0].bytes_out)
    assert sandbox.ledger.entries("source")[0].bytes_out < len(DATA)
    assert task == client.transcriptions.get(task).task_id


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_it_works_inside_a_running_loop_as_in_a_notebook(sandbox, client, start, backend):
    task = start()

    async def cell():
        return client.transcriptions.get(task).task_id, [found.task_id for found in client.transcriptions.list()]

    assert (task, [task]) == anyio.run(cell, backend=backend)


def test_many_threads_may_share_one_client(sandbox, client, start):
    ids = [start(b"x") for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert ids == [task.task_id for task in threads.map(client.transcriptions.get, ids)]
        sums = threads.map(lambda _: len(list(client.transcriptions.list(page_size=7))), range(8))
        assert [40] * 8 == list(sums)


def test_closing_ends_its_thread_and_the_calls_under_way(sandbox, start):
    before = set(threading.enumerate())
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    assert before == set(threading.enumerate()), "no thread before the first call"
    client.transcriptions.get(start())
    client.close()
    client.close()
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if "asyncio" not in thread.name], "the sandbox keeps its own"


SLOW_UPLOAD = """
import sys, time
from polyglot_async import Polyglot

def chunks():
    while True:
        yield bytes(65536)
        time.sleep(0.01)

url, key = sys.argv[1:]
with Polyglot(key, base_url=url) as client:
    try:
        client.transcriptions.upload(chunks())
    except KeyboardInterrupt:
        print("interrupted", client.transcriptions.list().__class__.__name__, len(list(client.transcriptions.list())))
"""

LONG_WAIT = """
import sys
from polyglot_async import Polyglot

url, key = sys.argv[1:]
with Polyglot(key, base_url=url) as client:
    task = client.transcriptions.upload(b"audio")
    try:
        client.transcriptions.wait(task)
    except KeyboardInterrupt:
        print("interrupted", client.transcriptions.get(task).status)
"""

LONG_STREAM = """
import sys
from polyglot_async import Polyglot

url, key = sys.argv[1:]
with Polyglot(key, base_url=url) as client:
    task = next(iter(client.transcriptions.list()))
    try:
        with client.transcriptions.source(task) as stream:
            for chunk in stream:
                print(len(chunk) > 0, flush=True)
    except KeyboardInterrupt:
        print("interrupted", client.transcriptions.get(task).status)
"""


def interrupted(process, *warnings):
    """Send Ctrl-C; return what the process printed and the seconds that it took to end. It warns of nothing else."""
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert 0 == process.returncode
    assert len(warnings) == len(err.splitlines()), err
    assert all(re.search(warning, line) for warning, line in zip(warnings, err.splitlines(), strict=True)), err
    return out, time.monotonic() - sent


def test_ctrl_c_during_an_upload_closes_its_connection_at_once(sandbox, script, until):
    process = script(SLOW_UPLOAD, sandbox.url, sandbox.api_key)
    until(lambda: sandbox.ledger.count("upload"))
    out, seconds = interrupted(process)
    assert "interrupted SyncTaskList 0\n" == out
    assert seconds < 3
    until(lambda: sandbox.ledger.entries("upload")[0].bytes_in)
    [entry] = sandbox.ledger.entries("upload")
    assert (None, False) == (entry.status, entry.complete)


def test_ctrl_c_during_a_wait_ends_it_and_the_client_goes_on(polyglot_sandbox_factory, script, until):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=600))
    process = script(LONG_WAIT, sandbox.url, sandbox.api_key)
    until(lambda: sandbox.ledger.count("get"))
    out, seconds = interrupted(process)
    assert "interrupted processing\n" == out
    assert seconds < 3


def test_ctrl_c_within_a_stream_closes_it(sandbox, script, start, until):
    start(DATA)
    sandbox.faults.add("slow call=source bytes_per_second=100000")
    process = script(LONG_STREAM, sandbox.url, sandbox.api_key)
    assert "True\n" == process.stdout.readline()
    out, seconds = interrupted(process)
    assert out.endswith("interrupted completed\n")
    assert seconds < 3
    until(lambda: sandbox.ledger.entries("source")[0].bytes_out)
    assert not sandbox.ledger.entries("source")[0].complete


def test_a_refused_connection_is_our_error_here_too(free_port):
    client = Polyglot("sk_key", base_url=f"http://127.0.0.1:{free_port}", max_retries=0)
    with client, pytest.raises(ApiConnectionError):
        client.limits()


# Closed clients, and batches and streams that are used in another way than they are meant to


SOURCES = {"a file": ("talk.mp3", b"ID3 audio"), "a URL": "https://media.example/talk.mp3"}


def closed_during(server, call, until, is_time):
    """Close the client in another thread when it is time; return the error that the call ends with."""
    client = Polyglot("sk_test", base_url=server.url)
    closing = threading.Thread(target=lambda: (until(is_time), client.close()))
    closing.start()
    try:
        with pytest.raises(ApiConnectionError, match=r"^the client was closed during the call") as caught:
            call(client)
    finally:
        closing.join(10)
    return caught.value


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("stage", ["get", "result"])
def test_a_close_during_transcribe_leaves_the_task_to_its_caller(misbehaving, until, source, stage):
    """It was paid for: it can be waited for and fetched."""
    server = misbehaving()
    status = {"get": "processing", "result": "completed"}[stage]
    server.shows = lambda task: {**task, "status": status}
    server.on_get = lambda kind, _: Step(then=SILENCE) if kind == "result" else None
    looks = ("result",) if stage == "result" else ("get", "list")
    error = closed_during(
        server,
        lambda client: client.transcribe(SOURCES[source]),
        until,
        lambda: any(server.requests[kind] for kind in looks),
    )
    assert ("task-1", True) == (error.task.task_id, error.maybe_sent)
    assert "task task-1 was started and goes on: wait for it" in str(error)
    server.shows, server.on_get = (lambda task: {**task, "status": "completed"}), lambda *_: None
    with Polyglot("sk_test", base_url=server.url) as client:
        task = client.transcriptions.wait(error.task)
        assert "words" == client.transcriptions.result(task).text
    assert 1 == len(server.made)


CUT_OFF = {
    "the body was whole": (Step(makes=True, then=SILENCE), attrgetter("bodies"), True),
    "the body was not whole": (Step(reads=MIDDLE, then=SILENCE), attrgetter("heads"), False),
    "it is being looked for": (Step(makes=True, then=RESET), lambda server: server.requests["list"], True),
}


@pytest.mark.parametrize("call", ["upload", "transcribe"])
@pytest.mark.parametrize("what", CUT_OFF)
def test_a_close_during_an_upload_says_whether_it_may_have_been_accepted(misbehaving, until, call, what):
    step, is_time, maybe_sent = CUT_OFF[what]
    server = misbehaving(step)
    server.on_get = lambda *_: Step(then=SILENCE)
    data = bytes(32 << 20)  # more than the buffers of two sockets hold
    calls = {
        "upload": lambda client: client.transcriptions.upload(("a.mp3", data)),
        "transcribe": lambda client: client.transcribe(("a.mp3", data)),
    }
    error = closed_during(server, calls[call], until, partial(is_time, server))
    assert (None, maybe_sent) == (error.task, error.maybe_sent)
    assert maybe_sent == ("may have been accepted: look for it among your tasks" in str(error))


LONG_TRANSCRIPTION = """
import sys
from polyglot_async import Polyglot

url, key = sys.argv[1:]
with Polyglot(key, base_url=url) as client:
    try:
        client.transcribe(b"audio")
    except KeyboardInterrupt as interrupt:
        print("interrupted", client.transcriptions.get(interrupt.task).status, *interrupt.__notes__)
"""


def test_ctrl_c_during_transcribe_leaves_the_task_to_its_caller(polyglot_sandbox_factory, script, until):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=600))
    process = script(LONG_TRANSCRIPTION, sandbox.url, sandbox.api_key)
    until(lambda: sandbox.ledger.count("get") + sandbox.ledger.count("list"))
    out, _ = interrupted(process, "^task .* was started and goes on")
    assert out.startswith("interrupted processing task ")


LATE_CALLS = {
    "limits": lambda client, calls, task: client.limits(),
    "transcribe": lambda client, calls, task: client.transcribe(b"audio"),
    "a loop over a batch": lambda client, calls, task: list(client.batch([b"audio"])),
    "a batch": lambda client, calls, task: client.batch([b"audio"]).__enter__(),
    "use_webhooks": lambda client, calls, task: client.use_webhooks(webhooks.WebhookReceiver("secret")),
    "a view": lambda client, calls, task: client.with_options(timeout=5).limits(),
    "upload": lambda client, calls, task: calls.upload(b"audio"),
    "upload with progress": lambda client, calls, task: calls.upload(b"audio", on_progress=print),
    "from_url": lambda client, calls, task: calls.from_url("https://example.com/a.mp3"),
    "validate_url": lambda client, calls, task: calls.validate_url("https://example.com/a.mp3"),
    "get": lambda client, calls, task: calls.get(task),
    "wait": lambda client, calls, task: calls.wait(task),
    "result": lambda client, calls, task: calls.result(task),
    "list": lambda client, calls, task: list(calls.list()),
    "pages": lambda client, calls, task: list(calls.list().pages()),
    "download": lambda client, calls, task: calls.download(task, "srt"),
    "stream_download": lambda client, calls, task: calls.stream_download(task, "srt").__enter__(),
    "source": lambda client, calls, task: calls.source(task).__enter__(),
    "open_source": lambda client, calls, task: calls.open_source(task).__enter__(),
    "download_source": lambda client, calls, task: calls.download_source(task, "/nowhere/film.mp4"),
    "convert_audio": lambda client, calls, task: calls.convert_audio(b"audio", "/nowhere/a.mp3"),
    "a raw call": lambda client, calls, task: calls.with_raw_response.get(task),
}


@pytest.mark.parametrize("used", [True, False], ids=["used", "never used"])
@pytest.mark.parametrize("call", LATE_CALLS)
def test_a_call_after_close_says_that_the_client_is_closed(sandbox, call, used):
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    calls = client.transcriptions
    if used:
        client.limits()
    client.close()
    sandbox.ledger.clear()
    with pytest.raises(ConfigurationError, match="is closed: make a new one"):
        LATE_CALLS[call](client, calls, "9b9c")
    assert [] == sandbox.ledger.entries()


def test_media_is_not_read_on_after_close(sandbox, start):
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    with (
        pytest.raises(ApiConnectionError, match="the client was closed"),
        client.transcriptions.open_source(start(DATA)) as media,
    ):
        client.close()
        with pytest.raises(ConfigurationError, match="is closed"):
            media.read(10)


def test_a_batch_may_be_iterated_over_without_a_with(client):
    batch = client.batch([("a.mp3", b"one"), ("b.mp3", b"two")])
    assert (BatchProgress(), ()) == (batch.progress, batch.in_flight)
    assert {"a.mp3", "b.mp3"} == {outcome.name for outcome in batch}
    assert (2, ()) == (batch.progress.done, batch.in_flight)


def test_a_batch_that_is_left_early_names_the_tasks_that_it_left(client):
    batch = client.batch([("a.mp3", b"one"), ("b.mp3", b"two")])
    assert ({}, ()) == (batch.unreturned_tasks, batch.in_flight)
    with batch as outcomes:
        iterator = iter(outcomes)
        first = next(iterator)
        while not outcomes.unreturned_tasks:
            time.sleep(0.01)
    left = {task.task_id: task.file_name for task in client.transcriptions.list() if task.task_id != first.task.task_id}
    assert (left, tuple(left.values())) == (batch.unreturned_tasks, batch.in_flight)


def test_an_outcome_that_is_given_back_comes_again(sandbox, client, tmp_path):
    journal = tmp_path / "journal.db"
    with client.batch([b"audio"], journal=journal) as outcomes:
        for outcome in outcomes:
            assert outcome.ok
            outcomes.give_back()
    assert 1 == len(list(client.batch([b"audio"], journal=journal)))
    assert [] == list(client.batch([b"audio"], journal=journal))
    assert 1 == sandbox.ledger.count("upload")


@pytest.mark.parametrize("method", ["acknowledge", "give_back"])
def test_a_batch_that_is_not_started_has_nothing_to_acknowledge(client, method):
    batch = client.batch([b"audio"])
    with pytest.raises(ConfigurationError, match="not started: iterate over it, or open it in a `with`"):
        getattr(batch, method)()


def test_a_batch_runs_once(sandbox, client):
    batch = client.batch([b"audio"])
    assert 1 == len(list(batch))
    with pytest.raises(ConfigurationError, match=r"make another with client\.batch"):
        batch.__enter__()
    assert 1 == sandbox.ledger.count("upload")


def test_a_repr_says_what_to_do_and_makes_no_request(sandbox, client, start):
    task = start(DATA)
    calls = client.transcriptions
    batch = client.batch([b"audio"])
    with calls.source(task) as stream, calls.open_source(task) as media, calls.stream_download(task, "srt") as response:
        requests = len(sandbox.ledger.entries())
        assert f"<Polyglot {sandbox.url}>" == repr(client)
        assert "upload()" in repr(calls)
        assert "status, headers and body" in repr(calls.with_raw_response)
        assert repr(calls.list()).startswith("<SyncTaskList: iterate over it")
        assert repr(stream).startswith("<SyncMediaStream: iterate over it")
        assert "read()" in repr(media)
        assert "chunks()" in repr(response)
        assert "<SyncBatch, not started: iterate over it, or open it in a `with`>" == repr(batch)
        assert requests == len(sandbox.ledger.entries())
    with batch:
        assert "<SyncBatch, running: 0 done, 0 failed of " in repr(batch)
        assert 1 == len(list(batch))
    assert "<SyncBatch, ended: 1 done, 0 failed of 1 taken>" == repr(batch)
