"""The ends of the sync client: closed, unclosed, forked, interrupted, failed, and left in the middle.

What its calls return, and how single calls end, stands in `client/test_sync.py`.
"""

import asyncio
import contextvars
import gc
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import httpx
import pytest

from polyglot_async import (
    ApiConnectionError,
    AsyncPolyglot,
    AuthenticationError,
    BatchProgress,
    ConfigurationError,
    NotFoundError,
    Polyglot,
    Task,
    TaskStatus,
    WebhookEvent,
)
from polyglot_async._sync.portal import Portal
from polyglot_async.sandbox import ScriptedEngine
from polyglot_async.webhooks import WebhookReceiver


@pytest.fixture
def sandbox(polyglot_sandbox):
    return polyglot_sandbox


@pytest.fixture
def client(sandbox):
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        yield client


AUDIO = Path(__file__).parents[2] / "examples" / "audio"


@pytest.fixture
def files():
    """The URL of a server that is not ours, with the recordings; it closes each connection."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(AUDIO))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def recording_url(files):
    return f"{files}/austen-0880.wav"


@pytest.fixture
def portal():
    portal = Portal()
    yield portal
    portal.close()


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return value


def loops():
    return [thread for thread in threading.enumerate() if thread.name == "polyglot_async"]


@pytest.fixture
def start():
    """Starts a program with all warnings shown, which name whatever is left open."""
    started = []

    def start(program, sandbox, *arguments):
        environment = {**os.environ, "POLYGLOT_API_KEY": sandbox.api_key, "POLYGLOT_BASE_URL": sandbox.url}
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "default", "-c", program, *map(str, arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process, seconds=10):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


# Closed, and never closed


def test_a_script_that_never_closes_ends_at_once_and_warns(sandbox, start):
    status, out, err = ended(start("import polyglot_async as p; c = p.Polyglot(); print(c.limits().plan)", sandbox))
    assert (0, "unlimited\n") == (status, out)
    [warning] = [line for line in err.splitlines() if "Warning" in line]
    assert warning.endswith(f"ResourceWarning: <Polyglot {sandbox.url}> was never closed")


def test_a_script_that_never_calls_has_nothing_to_close(sandbox, start):
    program = "import polyglot_async as p; c = p.Polyglot(); c.transcriptions"
    assert (0, "", "") == ended(start(program, sandbox))


def test_a_call_that_hangs_in_another_thread_does_not_hold_the_exit(sandbox, start):
    program = """
import polyglot_async as p, threading
client = p.Polyglot()
task = client.transcriptions.upload(b"audio")
client.transcriptions.get(task)
threading.Thread(target=client.transcriptions.wait, args=["9b9c"], daemon=True).start()
print(flush=True)
"""
    assert 0 == ended(start(program, sandbox))[0]


def test_a_client_that_nobody_closed_warns_and_its_thread_ends(sandbox):
    before = loops()
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    client.limits()
    assert len(before) + 1 == len(loops())
    with pytest.warns(ResourceWarning, match=f"<Polyglot {sandbox.url}> was never closed"):
        del client
    until(lambda: before == loops())


def test_a_view_keeps_the_client_that_it_came_from(sandbox):
    view = Polyglot(sandbox.api_key, base_url=sandbox.url).with_options(timeout=5)
    gc.collect()
    assert "unlimited" == view.limits().plan
    with pytest.warns(ResourceWarning, match="was never closed"):
        del view


def test_what_came_from_a_client_keeps_it_too(sandbox):
    tasks = Polyglot(sandbox.api_key, base_url=sandbox.url).transcriptions.list()
    gc.collect()
    assert [] == list(tasks)
    with pytest.warns(ResourceWarning, match="was never closed"):
        del tasks


def test_a_view_has_its_own_options_and_closes_nothing(sandbox, client):
    sandbox.faults.add("status call=get status=500 times=forever")
    with client.with_options(max_retries=0) as view, pytest.raises(Exception, match="500"):
        view.transcriptions.get("9b9c")
    assert 1 == sandbox.ledger.count("get")
    assert "unlimited" == client.limits().plan


def test_a_closed_client_says_so(sandbox):
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    client.limits()
    client.close()
    with pytest.raises(ConfigurationError, match="is closed: make a new one"):
        client.limits()
    with pytest.raises(ConfigurationError, match="is closed"), client.batch([b"audio"]):
        pass


def test_closing_ends_the_calls_of_other_threads(polyglot_sandbox_factory):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=600))
    client = Polyglot(sandbox.api_key, base_url=sandbox.url)
    task = client.transcriptions.upload(b"audio")
    errors = []

    def wait():
        try:
            client.transcriptions.wait(task)
        except ApiConnectionError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: sandbox.ledger.count("get"))
    client.close()
    thread.join(5)
    assert ["the client was closed during the call"] == errors


RUNNING = Task(task_id="task-1", status=TaskStatus.PROCESSING)


def carries(**known):
    """A call that is cut off, and whose cancellation carries what is known of the task."""

    async def work(on_progress):
        try:
            await on_progress(0, 0)
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as cancelled:
            vars(cancelled).update(known)
            raise

    return work


CARRIED = {
    "a task": ({"task": RUNNING}, True, "task task-1 was started and goes on: wait for it"),
    "sent whole": ({"maybe_sent": True}, True, "what was sent may have been accepted: look for it"),
    "not sent whole": ({"maybe_sent": False}, False, None),
    "nothing": ({}, True, None),
}


@pytest.mark.parametrize("what", CARRIED)
def test_what_a_close_cuts_off_says_what_it_has_started(portal, what):
    known, maybe_sent, words = CARRIED[what]
    with pytest.raises(ApiConnectionError) as caught:
        portal.call(carries(**known), on_progress=lambda done, total: portal.close())
    error = pickle.loads(pickle.dumps(caught.value))
    assert (known.get("task"), maybe_sent) == (error.task, error.maybe_sent)
    if words is None:
        assert "the client was closed during the call" == str(error)
    else:
        assert str(error).startswith(f"the client was closed during the call: {words}")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("what", CARRIED)
def test_what_interrupts_a_call_says_what_it_has_started(portal, what):
    known, _, words = CARRIED[what]

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        portal.call(carries(**known), on_progress=interrupt)
    assert known.get("task") is getattr(caught.value, "task", None)
    notes = getattr(caught.value, "__notes__", [])
    assert [words] == [note[: len(words)] for note in notes] if words else notes == []


def test_a_client_of_httpx_is_closed_with_the_loop_that_it_lived_in(sandbox):
    http = httpx.AsyncClient()
    with Polyglot(sandbox.api_key, base_url=sandbox.url, http_client=http) as client:
        client.limits()
        assert not http.is_closed
    assert http.is_closed


def test_a_loop_that_cannot_start_is_an_error_and_not_a_hang(portal, monkeypatch):
    def refuse(*_):
        raise OSError("too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("polyglot_async._sync.portal.anyio.run", refuse)
        with pytest.raises(OSError, match="too many open files"):
            portal.call(asyncio.sleep, 0)
    assert "slept" == portal.call(asyncio.sleep, 0, "slept")


def test_it_must_not_be_called_from_its_own_loop(client):
    """As a batch's `on_progress` might: it would wait for itself."""

    def ask(progress):
        client.limits()

    with pytest.raises(ConfigurationError, match="called from its own thread"):
        list(client.batch([b"audio"], on_progress=ask))


def test_context_variables_reach_the_loop(sandbox):
    """So that a span of the caller's is the parent of the request's."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def note(request):
        seen.append(variable.get())

    http = httpx.AsyncClient(event_hooks={"request": [note]})
    with Polyglot(sandbox.api_key, base_url=sandbox.url, http_client=http) as client:
        variable.set("set")
        client.limits()
    assert {"set"} == set(seen)


async def test_an_async_client_that_was_used_and_never_closed_warns(anyio_backend, files):
    client = AsyncPolyglot("sk_key", base_url=files)
    view = client.with_options(timeout=3)
    with pytest.raises(NotFoundError):
        await view.transcriptions.get("9b9c")
    del client
    gc.collect()
    with pytest.warns(ResourceWarning, match=f"<AsyncPolyglot {files}> was never closed"):
        del view


async def test_other_async_clients_do_not_warn(anyio_backend, sandbox):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AsyncPolyglot(sandbox.api_key, base_url=sandbox.url)
        async with httpx.AsyncClient() as http:
            await AsyncPolyglot(sandbox.api_key, base_url=sandbox.url, http_client=http).limits()
        async with AsyncPolyglot(sandbox.api_key, base_url=sandbox.url) as client:
            await client.with_options(timeout=3).limits()
        del client
        with pytest.raises(ConfigurationError):
            AsyncPolyglot("")
        gc.collect()
    assert [] == [str(warning.message) for warning in caught]


# Forks

FORK = """
import os, sys, warnings
import polyglot_async as p

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks with threads
client = p.Polyglot()
if sys.argv[1] == "used":
    client.limits()
sys.stdout.flush()
child = os.fork()
if child == 0:
    try:
        print(client.limits().plan)
    except p.PolyglotError as error:
        print(type(error).__name__, error)
    client.close()
    sys.stdout.flush()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), client.limits().plan)
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_client_used_before_a_fork_is_refused_in_the_child_and_goes_on_in_the_parent(sandbox, start):
    status, out, _ = ended(start(FORK, sandbox, "used"))
    refusal = f"ConfigurationError <Polyglot {sandbox.url}> was used before os.fork: make a new one in the child"
    assert (0, [refusal, "0 unlimited"]) == (status, out.splitlines())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_client_not_yet_used_works_on_both_sides_of_a_fork(sandbox, start):
    status, out, err = ended(start(FORK, sandbox, "fresh"))
    assert (0, ["unlimited", "0 unlimited"], "") == (status, out.splitlines(), err)


# Ctrl-C

BATCH = """
import sys, polyglot_async as p

with p.Polyglot() as client:
    sources = [(f"{number}.mp3", number.encode()) for number in sys.argv[2:]]
    for outcome in client.batch(sources, journal=sys.argv[1], concurrency=2):
        print(outcome.name, flush=True)
"""

DOWNLOAD = """
import sys, polyglot_async as p

with p.Polyglot() as client:
    client.transcriptions.download_source(sys.argv[1], sys.argv[2])
"""

BODY = """
import signal, sys, polyglot_async as p

with p.Polyglot() as client:
    with client.batch([b"one", b"two"], journal=sys.argv[1]) as outcomes:
        print("inside", flush=True)
        signal.pause()
"""


def interrupt(process):
    """Press Ctrl-C; what goes on by itself would go on for longer than is waited for here."""
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert -signal.SIGINT == status
    assert "KeyboardInterrupt" == err.splitlines()[-1]
    assert "Warning" not in err


def test_ctrl_c_during_a_batch_leaves_a_journal_that_the_next_run_goes_on_from(
    polyglot_sandbox_factory, start, tmp_path
):
    order = {}

    def seconds(name, size):  # the first two are done at once, whichever they are
        return 0.0 if order.setdefault(name, len(order)) < 2 else 600.0

    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=seconds))
    process = start(BATCH, sandbox, tmp_path / "journal.db", *range(40))
    done = {process.stdout.readline().strip(), process.stdout.readline().strip()}
    until(lambda: 4 == sandbox.ledger.count("upload", status=200))
    uploads = sandbox.ledger.entries("upload")
    # One look at both: the answers to both uploads have arrived, and the journal knows it.
    until(lambda: [entry for entry in sandbox.ledger.entries("list") if entry.number > uploads[-1].number])
    interrupt(process)
    left = {entry.file_name: entry.task_id for entry in uploads if entry.file_name not in done}
    assert 2 == len(left)
    for task_id in left.values():
        sandbox.cancel(task_id)
    numbers = [entry.file_name.removesuffix(".mp3") for entry in uploads]
    status, out, err = ended(start(BATCH, sandbox, tmp_path / "journal.db", *numbers))
    assert (0, "", set(left)) == (status, err, set(out.split()))
    assert 4 == sandbox.ledger.count("upload")


def test_ctrl_c_during_a_download_closes_its_connections_and_keeps_what_came(sandbox, start, tmp_path):
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        task = client.transcriptions.upload(random.Random(5).randbytes(9_000_000)).task_id
    sandbox.faults.add("slow call=source bytes_per_second=50000 times=forever")
    process = start(DOWNLOAD, sandbox, task, tmp_path / "film.mp4")
    until(lambda: list(tmp_path.glob("*.part*")))
    until(lambda: sandbox.ledger.count("source"))
    interrupt(process)
    assert not any(entry.complete for entry in sandbox.ledger.entries("source"))
    assert not (tmp_path / "film.mp4").exists()


def test_ctrl_c_in_the_body_of_a_batch_ends_its_uploads_before_it_is_raised(polyglot_sandbox_factory, start, tmp_path):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=600))
    process = start(BODY, sandbox, tmp_path / "journal.db")
    assert "inside\n" == process.stdout.readline()
    until(lambda: sandbox.ledger.count("upload", status=200))
    interrupt(process)


async def running_tasks():
    return len(asyncio.all_tasks())


@contextmanager
def interrupts():
    """Raises KeyboardInterrupt in this thread some milliseconds after each `arm(seconds)`; `disarm()` ends that."""
    armed = False

    def handler(*_):
        if armed:
            raise KeyboardInterrupt

    def arm(seconds):
        nonlocal armed
        armed = True
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def disarm():
        nonlocal armed
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        yield arm, disarm
    finally:
        disarm()
        signal.signal(signal.SIGALRM, before)


def interrupted_calls(call, most_seconds, times=150):
    """Call, and interrupt it at random moments, some of them between two lines of the portal; return how often."""
    dice = random.Random(11)
    interrupted = 0
    with interrupts() as (arm, disarm):
        for _ in range(times):
            try:
                try:
                    arm(0.00002 + dice.random() * most_seconds)
                    call()
                finally:
                    disarm()
            except KeyboardInterrupt:  # out here, because it may come while it is being disarmed
                interrupted += 1
    return interrupted


def test_an_interrupt_at_any_moment_of_a_call_leaves_the_client_usable(sandbox, client):
    task = client.transcriptions.upload(b"audio")
    assert interrupted_calls(lambda: client.transcriptions.get(task), 0.004) > 20
    assert task.task_id == client.transcriptions.get(task).task_id


@pytest.mark.parametrize("progress", [{}, {"on_progress": lambda done, total: None}], ids=["plain", "with progress"])
def test_an_interrupt_at_any_moment_of_a_call_leaves_no_task_behind(portal, progress):
    async def work(on_progress=None):
        if on_progress is not None:
            await on_progress(0, None)
        await anyio.sleep(0.001)

    idle = portal.call(running_tasks)
    assert interrupted_calls(lambda: portal.call(work, **progress), 0.002) > 20
    until(lambda: idle == portal.call(running_tasks))


def test_an_interrupt_at_any_moment_of_a_context_leaves_no_task_behind(portal):
    @asynccontextmanager
    async def resource():
        await anyio.sleep(0.0005)
        yield
        await anyio.sleep(0.0005)

    def use():
        with portal.context(resource()):
            pass

    idle = portal.call(running_tasks)
    assert interrupted_calls(use, 0.002) > 20
    until(lambda: idle == portal.call(running_tasks))


@pytest.fixture
def slow_end():
    """Something that takes a moment to clean up after itself, and notes when it has."""
    ended = []

    @asynccontextmanager
    async def slow_end():
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            ended.append(True)

    slow_end.ended = ended
    return slow_end


def test_what_interrupts_a_call_is_raised_when_the_call_has_cleaned_up(portal, slow_end):
    async def work(on_progress):
        async with slow_end():
            await on_progress(0, 0)
            await anyio.sleep_forever()

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portal.call(work, on_progress=interrupt)
    assert [True] == slow_end.ended


def test_what_interrupts_a_context_is_raised_when_the_context_has_cleaned_up(portal, slow_end):
    def work():
        with portal.context(slow_end()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [True] == slow_end.ended


def test_a_context_that_is_dropped_without_its_exit_is_closed(portal, slow_end):
    """Ctrl-C may come between `with` and the first line of `__exit__`."""
    context = portal.context(slow_end())
    context.__enter__()
    del context
    gc.collect()
    until(lambda: [True] == slow_end.ended)


def test_each_call_ends_when_the_portal_is_closed_at_any_moment():
    for delay in range(20):
        portal = Portal()
        ends = []

        def calls(portal=portal, ends=ends):
            for _ in range(30):
                try:
                    portal.call(anyio.sleep, 0.0005)
                except (ConfigurationError, ApiConnectionError) as error:
                    ends.append(str(error))

        threads = [threading.Thread(target=calls) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(delay / 2000)
        portal.close()
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)
        assert all("closed" in end for end in ends)
        assert ends


# Callbacks


def test_an_async_progress_callback_is_awaited_too(client):
    steps = []

    async def note(done, total):
        await asyncio.sleep(0)
        steps.append((done, threading.current_thread() is threading.main_thread()))

    client.transcriptions.upload(b"audio", on_progress=note)
    assert [(0, False), (5, False)] == steps


def test_what_a_callback_raises_is_raised_where_the_coroutine_awaits_it(portal):
    error = RuntimeError("enough")

    def refuse(done, total):
        raise error

    async def work(on_progress):
        try:
            await on_progress(0, 0)
        except RuntimeError as raised:
            return raised

    assert error is portal.call(work, on_progress=refuse)


def test_a_coroutine_waits_for_its_callback_and_no_longer_than_it_wants(portal):
    steps, left = [], threading.Event()

    def note(done, total):
        if done:
            left.wait(10)
        steps.append(f"callback {done}")

    async def work(on_progress):
        await on_progress(0, 1)
        steps.append("coroutine")
        with anyio.move_on_after(0.01):
            await on_progress(1, 1)
        left.set()
        return "left"

    assert "left" == portal.call(work, on_progress=note)
    assert ["callback 0", "coroutine", "callback 1"] == steps
    portal.call(anyio.sleep, 0)


def test_progress_of_a_download_is_reported_in_the_calling_thread(client, tmp_path):
    task = client.transcriptions.upload(bytes(300_000))
    threads = set()

    def note(done, total):
        threads.add(threading.current_thread())

    client.transcriptions.download_source(task, tmp_path / "a.wav", on_progress=note)
    assert {threading.current_thread()} == threads


# Batches


def test_a_batch_says_how_far_it_is(client):
    batch = client.batch([b"one", b"two"])
    assert (BatchProgress(), ()) == (batch.progress, batch.in_flight)
    seen = []
    with batch as outcomes:
        for outcome in outcomes:
            outcomes.acknowledge()
            seen.append(outcome.ok)
        assert 2 == outcomes.progress.done
        assert [] == list(outcomes)
    assert [True, True] == seen


def test_a_batch_left_early_frees_its_journal_at_once(sandbox, client, tmp_path):
    for _ in range(3):
        for outcome in client.batch([b"one", b"two", b"three"], journal=tmp_path / "journal.db"):
            assert outcome.ok
            break
    rest = [outcome.ok for outcome in client.batch([b"one", b"two", b"three"], journal=tmp_path / "journal.db")]
    assert all(rest)
    assert 3 == sandbox.ledger.count("upload")


def test_an_error_in_the_body_of_a_batch_is_raised_as_it_is(sandbox, client, tmp_path):
    class OwnError(Exception):
        pass

    for error in (OwnError("mine"), StopIteration("mine"), KeyboardInterrupt("mine")):
        with pytest.raises(type(error), match="mine") as caught:  # noqa: SIM117 - the order is the point
            with client.batch([b"one", b"two"], journal=tmp_path / "journal.db") as outcomes:
                next(iter(outcomes), None)
                raise error
        assert caught.value is error


def test_what_ends_a_batch_is_raised_in_the_loop_over_it(sandbox, client, tmp_path):
    """And not only behind it: what follows the loop must not take the batch for whole."""

    def sources():
        yield b"one"
        until(lambda: sandbox.ledger.count("upload", status=200))
        sandbox.faults.add("status call=upload status=401 times=forever")
        for number in range(50):
            yield bytes([number])

    reached = []
    with pytest.raises(AuthenticationError):  # noqa: SIM117 - the order is the point
        with client.batch(sources(), journal=tmp_path / "journal.db", concurrency=1) as outcomes:
            reached.extend(outcome.ok for outcome in outcomes)
            reached.append("behind the loop")
    assert "behind the loop" not in reached
    with pytest.raises(AuthenticationError):
        list(client.batch([b"four"]))
    sandbox.faults.clear()
    assert [True] == [outcome.ok for outcome in client.batch([b"four"], journal=tmp_path / "journal.db")]


def test_a_batch_that_cannot_begin_says_why(client, tmp_path):
    (tmp_path / "journal.db").write_text("no journal")
    for use in (list, lambda batch: batch.__enter__()):
        with pytest.raises(Exception, match="journal"):
            use(client.batch([b"one"], journal=tmp_path / "journal.db"))


# Streams and files


def test_a_stream_that_is_dropped_unread_is_closed(sandbox, client):
    task = client.transcriptions.upload(bytes(20_000_000))
    sandbox.faults.add("slow call=source bytes_per_second=100000 times=forever")
    context = client.transcriptions.source(task)
    stream = weakref.ref(context.__enter__())
    del context
    gc.collect()
    assert stream() is None
    until(lambda: sandbox.ledger.entries("source")[0].bytes_out)
    assert not sandbox.ledger.entries("source")[0].complete


def test_a_result_file_as_a_stream(client):
    task = client.transcriptions.wait(client.transcriptions.upload(b"audio"))
    with client.transcriptions.stream_download(task, "srt") as response:
        assert (200, True) == (response.status_code, response.url.endswith(f"{task.task_id}/downloads/srt"))
        assert b"".join(response.chunks()).startswith(b"1\n")


def test_remote_media_is_a_file_of_the_standard_library(client):
    data = random.Random(3).randbytes(700_000)
    task = client.transcriptions.upload(data)
    with client.transcriptions.open_source(task) as media:
        assert (True, True, False) == (media.readable(), media.seekable(), media.writable())
        assert data[:10] == media.read(10)
        assert (10, 20) == (media.tell(), media.seek(10, io.SEEK_CUR))
        assert data[20:] == media.read()
        assert data[-5:] == media.read_at(len(data) - 5, 100)
        media.seek(0)
        with io.BufferedReader(media) as buffered:
            assert data == buffered.read()
        assert len(data) == media.fetched == media.size
    assert media.closed
    for read in (media.read, media.readall, lambda: media.read_at(0, 1), lambda: media.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            read()


# The calls that no other test makes through the sync client


def test_calls_by_url_and_conversions(client, recording_url, tmp_path):
    validation = client.transcriptions.validate_url(recording_url)
    assert (recording_url, True) == (validation.url, validation.valid)
    task = client.transcriptions.from_url(recording_url)
    assert TaskStatus.COMPLETED is client.transcriptions.wait(task).status
    converted = client.transcriptions.convert_audio(AUDIO / "austen-0880.wav", tmp_path / "a.flac")
    assert converted.read_bytes().startswith(b"fLaC")


def test_raw_responses(client, recording_url):
    calls, raw = client.transcriptions, client.transcriptions.with_raw_response
    answer = raw.upload(b"audio")
    task = calls.wait(answer.parse())
    assert (200, task.task_id) == (answer.status_code, raw.get(task).parse().task_id)
    assert raw.from_url(recording_url).parse().task_id
    assert raw.validate_url(recording_url).parse().valid
    assert 2 == len(raw.list().parse().items)
    assert calls.result(task) == raw.result(task).parse()
    assert calls.download(task, "srt") == raw.download(task, "srt").body


def test_a_receivers_event_ends_a_wait(polyglot_sandbox_factory):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(seconds=600))
    receiver = WebhookReceiver("secret")
    subscribers = []
    receiver.subscribe = lambda callback: subscribers.append(callback) or subscribers.clear
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        detach = client.use_webhooks(receiver)
        task = client.transcriptions.upload(b"audio")
        event = WebhookEvent(event="transcription.completed", task_id=task.task_id, status=TaskStatus.COMPLETED)
        subscribers[0](event)
        assert TaskStatus.COMPLETED is client.transcriptions.wait(task, timeout=10).status
        detach()
    assert [] == subscribers
