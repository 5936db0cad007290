"""A batch against the sandbox: what comes out, what was spent, and what the journal says."""

import fcntl
import io
import itertools
import json
import logging
import math
import os
import sqlite3
import time
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from journal_states import rows, states
from virtual import StubService, in_virtual_time

from polyglot_async import (
    ApiConnectionError,
    AsyncPolyglot,
    AuthenticationError,
    BadRequestError,
    JournalError,
    Limits,
    MediaError,
    NotFoundError,
    PermissionDeniedError,
    PollSchedule,
    PolyglotError,
    QuotaExhaustedError,
    RateLimitError,
    ResponseDecodeError,
    Runtime,
    ServerError,
    SubmissionUncertainError,
    TaskCancelledError,
    TaskFailedError,
)
from polyglot_async.sandbox import Plan, ScriptedEngine

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend():
    """One event loop except where both are named."""
    return "asyncio"


ENGINE = ScriptedEngine(
    "Words of {file_name}.", seconds=0.05, fail=lambda name, _: "no speech" if name.startswith("silent") else None
)
SLOW = ScriptedEngine("Words.", seconds=60.0)


@pytest.fixture
def sandbox(polyglot_sandbox_factory):
    return polyglot_sandbox_factory(engine=ENGINE)


@pytest.fixture
def connect(anyio_backend):
    """Makes clients that poll often and sleep little before they repeat what failed."""

    async def sleep(seconds):
        await anyio.sleep(min(seconds, 0.02))

    def make(sandbox, **options):
        options.setdefault(
            "runtime", Runtime(sleep=sleep, poll_schedule=PollSchedule(min_interval=0.05, max_interval=0.2))
        )
        return AsyncPolyglot(sandbox.api_key, base_url=sandbox.url, **options)

    return make


@pytest.fixture
async def client(sandbox, connect):
    async with connect(sandbox) as client:
        yield client


@pytest.fixture
def files(tmp_path):
    """Makes files, each with a content of its own."""
    folder = tmp_path / "media"
    folder.mkdir()

    def make(*names):
        paths = [folder / name for name in names]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"content of " + os.fsencode(path))
        return paths

    return make


async def run(client, sources, **options):
    """Run a batch to its end; return the outcomes by name."""
    async with client.batch(sources, **options) as outcomes:
        return {outcome.name: outcome async for outcome in outcomes}


def errors(outcomes):
    return {name: type(outcome.error) for name, outcome in outcomes.items()}


def starts(sandbox):
    """Return how often work was started, in all."""
    return sum(sandbox.ledger.starts().values())


@on_both_loops
async def test_every_kind_of_source_comes_out_with_its_words(anyio_backend, sandbox, client, files, serve):
    [first, second] = files("a.mp3", "b.mp3")
    media = serve(lambda _: (200, {"Content-Type": "audio/mpeg"}, b"bytes behind a URL"))
    url = f"{media.url}/films/c.mp3"
    sources = [str(first), second, url, ("d.mp3", b"bytes with a name"), b"bytes without"]
    outcomes = await run(client, sources)
    assert {"a.mp3", "b.mp3", url, "d.mp3", "upload.bin"} == set(outcomes)
    assert all(outcome.ok and outcome.task.status == "completed" for outcome in outcomes.values())
    assert "Words of c.mp3." == outcomes[url].transcript.text
    assert [source in {outcome.source for outcome in outcomes.values()} for source in sources] == [True] * 5
    assert {"upload", "task", "result"} == set(outcomes["a.mp3"].timings)
    assert 1 == outcomes["a.mp3"].attempts


@pytest.mark.parametrize("kind", ["list", "tuple", "generator", "iterator", "async generator", "empty"])
async def test_every_kind_of_iterable_is_taken(client, kind):
    sources = [(f"{number}.mp3", b"%d" % number) for number in range(5)]

    async def asynchronous():
        for source in sources:
            await anyio.lowlevel.checkpoint()
            yield source

    given = {
        "list": sources,
        "tuple": tuple(sources),
        "generator": (source for source in sources),
        "iterator": iter(sources),
        "async generator": asynchronous(),
        "empty": [],
    }[kind]
    assert (0 if kind == "empty" else 5) == len(await run(client, given))


@pytest.mark.parametrize(
    "sources", ["a.mp3", b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), Path("a.mp3"), io.BytesIO(b"x"), None, 5]
)
async def test_what_is_no_collection_of_sources_is_refused_where_it_is_passed(client, sources):
    with pytest.raises(TypeError, match="several sources"):
        client.batch(sources)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"concurrency": 0}, ValueError, "1 or more"),
        ({"concurrency": 1.5}, TypeError, "a whole number"),
        ({"concurrency": True}, TypeError, "a whole number"),
        ({"on_uncertain": "panic"}, ValueError, "'report', 'retry' or 'raise'"),
        ({"on_uncertain": None}, ValueError, "'report', 'retry' or 'raise'"),
        ({"results": ()}, ValueError, "results is empty"),
        ({"results": ("srt",)}, ValueError, "existing folder"),
        ({"results": ("srt",), "out": "nowhere/at/all"}, ValueError, "existing folder"),
        ({"extra": "speakers=2"}, TypeError, "extra is 'speakers=2'"),
        ({"on_progress": "print"}, TypeError, "on_progress is 'print'"),
        ({"journal": 5}, TypeError, "journal is 5"),
    ],
)
async def test_an_option_without_a_meaning_is_refused_where_it_is_passed(client, options, error, match):
    with pytest.raises(error, match=match):
        client.batch([], **options)


@pytest.mark.parametrize("asynchronous", [False, True])
@on_both_loops
async def test_an_endless_source_is_read_no_further_ahead_than_twice_the_concurrency(
    anyio_backend, client, asynchronous
):
    taken = itertools.count()
    read = 0

    def endless():
        nonlocal read
        for number in taken:
            read = number + 1
            yield f"{number}.mp3", b"%d" % number

    async def endless_too():
        for source in endless():
            yield source

    seen = 0
    async with client.batch(endless_too() if asynchronous else endless(), concurrency=2) as outcomes:
        await anyio.sleep(0.5)
        assert 4 >= read, "nobody has taken an outcome yet"
        async for _ in outcomes:
            seen += 1
            assert read - seen <= 4
            if seen == 12:
                break


@on_both_loops
async def test_a_source_that_blocks_for_ever_does_not_hold_up_the_end(anyio_backend, client):
    """An iterator that waits in a thread, like one that watches a folder."""

    def watching():
        yield "a.mp3", b"a"
        time.sleep(1.5)
        yield "b.mp3", b"b"

    began = time.monotonic()
    async with client.batch(watching()) as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
            break
    assert 1.2 > time.monotonic() - began


@on_both_loops
async def test_a_source_that_breaks_ends_the_batch_with_its_own_error(anyio_backend, client):
    def broken():
        yield "a.mp3", b"a"
        raise LookupError("no more tapes")

    with pytest.raises(LookupError, match="no more tapes"):
        await run(client, broken())


@on_both_loops
async def test_one_failed_item_does_not_end_the_batch(anyio_backend, sandbox, client, files, tmp_path):
    good, silent, gone, empty = files("good.mp3", "silent.mp3", "gone.mp3", "empty.mp3")
    gone.unlink()
    empty.write_bytes(b"")
    outcomes = await run(client, [gone, empty, silent, tmp_path, 5, "no\0name", good], journal=tmp_path / "j.db")
    assert {
        "gone.mp3": MediaError,
        "empty.mp3": MediaError,
        "silent.mp3": TaskFailedError,
        tmp_path.name: MediaError,
        "5": MediaError,
        "no\0name": MediaError,
        "good.mp3": type(None),
    } == dict(errors(outcomes))
    assert {"good.mp3": "done", "silent.mp3": "failed"} == states(tmp_path / "j.db")
    assert "no speech" == outcomes["silent.mp3"].task.failure_reason


@pytest.mark.parametrize(
    ("fault", "error", "state", "attempts"),
    [
        ("status call=upload status=400", BadRequestError, "failed", 1),
        ("status call=upload status=403", PermissionDeniedError, "failed", 1),
        ("status call=upload status=413 detail='The file is too large.'", BadRequestError, "failed", 1),
        ("status call=upload status=500 times=forever", ServerError, "new", 3),
        ("reset_before_body call=upload times=forever", ApiConnectionError, "new", 3),
        ("status call=result status=500 times=forever", ServerError, "running", 1),
        ("reset_after_body call=result times=forever", ApiConnectionError, "running", 1),
        ("garbage call=result times=forever", ResponseDecodeError, "running", 1),
    ],
)
async def test_an_error_is_a_value_and_leaves_the_item_in_the_state_that_a_later_run_needs(
    sandbox, client, files, tmp_path, fault, error, state, attempts
):
    """Running is what has a task that did not fail: the next run fetches it and pays nothing. New is what has none."""
    sandbox.faults.add(fault)
    [outcome] = (await run(client, files("a.mp3"), journal=tmp_path / "j.db")).values()
    assert (error, attempts) == (type(outcome.error), outcome.attempts)
    assert {"a.mp3": state} == states(tmp_path / "j.db")
    assert outcome.task is not None or "upload" in fault
    sandbox.faults.clear()
    again = await run(client, files("a.mp3"), journal=tmp_path / "j.db")
    assert ({} if state == "failed" else {"a.mp3": type(None)}) == errors(again)
    assert {1} >= set(sandbox.ledger.starts().values())


@pytest.mark.parametrize("retries", [0, 1, 4])
@pytest.mark.parametrize("fault", ["status status=503", "status status=408", "reset_before_body", "reset_during_body"])
async def test_the_attempts_of_an_upload_are_counted_once_and_in_all(sandbox, connect, fault, retries):
    """One policy counts: not a policy of the batch on top of one of the call."""
    sandbox.faults.add(f"{fault} call=upload times=forever")
    async with connect(sandbox, max_retries=retries) as client:
        [outcome] = (await run(client, [("a.mp3", b"content" * 20_000)])).values()
    assert not outcome.ok
    assert retries + 1 == outcome.attempts == sandbox.ledger.count("upload")


async def test_a_task_that_was_cancelled_on_the_site_is_an_outcome(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine("w", seconds=lambda name, _: 60 if name == "a" else 0))
    async with connect(sandbox) as client, client.batch([("a", b"a"), ("b", b"b")], concurrency=2) as outcomes:
        assert "b" == (await anext(outcomes)).name
        sandbox.cancel(next(e.task_id for e in sandbox.ledger.entries("upload") if e.file_name == "a"))
        assert isinstance((await anext(outcomes)).error, TaskCancelledError)


@on_both_loops
async def test_without_a_credential_that_is_accepted_the_batch_ends(anyio_backend, sandbox, connect, files, tmp_path):
    async with connect(sandbox) as client:
        await run(client, files("a.mp3"), journal=tmp_path / "j.db")
        sandbox.faults.add("status call=upload status=401 times=forever")
        with pytest.raises(AuthenticationError):
            await run(client, files("a.mp3", "b.mp3", "c.mp3"), journal=tmp_path / "j.db")
    left = Counter(states(tmp_path / "j.db").values())
    # The other one may have been cancelled before its answer came.
    assert (1, 2) == (left["done"], left["new"] + left["left"])


async def test_when_the_days_requests_are_spent_the_batch_ends_and_the_next_day_goes_on(
    polyglot_sandbox_factory, connect, files, tmp_path
):
    days = 0

    def unix_time():
        return time.time() + 86400 * days

    plan = Plan(requests_per_day=14, max_concurrent_tasks=2)
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=plan, now=unix_time)
    runtime = Runtime(unix_time=unix_time, utc_now=lambda: datetime.fromtimestamp(unix_time(), UTC))
    paths, journal, used = files(*(f"{n}.mp3" for n in range(8))), tmp_path / "j.db", []
    limits = set()
    for day in range(5):
        days = day
        for _ in range(2):  # another run of the same day knows what was spent
            async with connect(sandbox, runtime=runtime) as client:
                try:
                    await run(client, paths, journal=journal)
                except QuotaExhaustedError as error:
                    limits.add(error.limit)
        used.append(sum(entry.credential == "key" for entry in sandbox.ledger.entries()) - sum(used))
        if ["done"] * 8 == list(states(journal).values()):
            break
    assert {"daily"} == limits
    # The client counts. Only a new one, which does not know how many the day has, sends one request too many.
    assert 14 + 1 >= max(used)
    assert [1] * 8 == list(sandbox.ledger.starts().values())
    assert {"done"} == set(states(journal).values())


# Contents and keys.


@on_both_loops
async def test_a_second_run_does_nothing(anyio_backend, sandbox, client, files, tmp_path):
    paths = files("a.mp3", "b.mp3")
    await run(client, paths, journal=tmp_path / "j.db")
    sandbox.ledger.clear()
    async with client.batch(paths, journal=tmp_path / "j.db") as outcomes:
        assert [] == [outcome async for outcome in outcomes]
    assert (2, 0, 0) == (outcomes.progress.skipped, outcomes.progress.done, outcomes.progress.failed)
    assert 0 == sandbox.ledger.count()


@on_both_loops
async def test_the_same_content_is_paid_for_once_and_every_file_has_its_outcome(
    anyio_backend, sandbox, client, files, tmp_path
):
    first, second, third = files("a.mp3", "b.mp3", "silent.mp3")
    second.write_bytes(first.read_bytes())
    outcomes = await run(client, [first, second, third, first], journal=tmp_path / "j.db", concurrency=2)
    assert {"a.mp3", "b.mp3", "silent.mp3"} == set(outcomes)
    assert outcomes["a.mp3"].task.task_id == outcomes["b.mp3"].task.task_id
    assert 2 == starts(sandbox)


async def test_the_same_content_refused_is_not_sent_again_for_its_twin(sandbox, client, files, tmp_path):
    first, second = files("a.mp3", "b.mp3")
    second.write_bytes(first.read_bytes())
    sandbox.faults.add("status call=upload status=400 times=1")
    outcomes = await run(client, [first, second], journal=tmp_path / "j.db", concurrency=1)
    assert [False, False] == [outcome.ok for outcome in outcomes.values()]
    assert 1 == sandbox.ledger.count("upload")


async def test_a_renamed_or_touched_file_is_not_sent_again_and_a_changed_one_is(sandbox, client, files, tmp_path):
    [path] = files("a.mp3")
    await run(client, [path], journal=tmp_path / "j.db")
    renamed = path.rename(path.with_name("renamed.mp3"))
    assert {} == await run(client, [renamed], journal=tmp_path / "j.db")
    os.utime(renamed)
    assert {} == await run(client, [("bytes.mp3", renamed.read_bytes())], journal=tmp_path / "j.db")
    renamed.write_bytes(b"other words")
    assert ["renamed.mp3"] == list(await run(client, [renamed], journal=tmp_path / "j.db"))
    assert 2 == sandbox.ledger.count("upload")


async def test_a_file_that_has_not_changed_is_not_even_read(client, files, tmp_path):
    """Its content is replaced, and size and time of change are not: were it read, it would be another file."""
    [path] = files("a.mp3")
    await run(client, [path], journal=tmp_path / "j.db")
    before = path.stat()
    path.write_bytes(b"?" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert {} == await run(client, [path], journal=tmp_path / "j.db")


@pytest.mark.parametrize("seconds", [10**10, -(10**10), -1])  # some file systems keep years after 2446 as 2446
async def test_a_file_of_any_time_of_change_is_sent_and_known_again(sandbox, client, files, tmp_path, seconds):
    [path] = files("a.mp3")
    os.utime(path, (seconds, seconds))
    assert (await run(client, [path], journal=tmp_path / "j.db"))["a.mp3"].ok
    before = path.stat()
    path.write_bytes(b"?" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert {} == await run(client, [path], journal=tmp_path / "j.db"), "it is not even read"
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - seconds))
    assert ["a.mp3"] == list(await run(client, [path], journal=tmp_path / "j.db"))
    assert 2 == sandbox.ledger.count("upload")


@pytest.mark.parametrize(
    "options", [{"output_language": "ru"}, {"model": "fast"}, {"input_language": "de"}, {"extra": {"speakers": "2"}}]
)
async def test_the_options_are_part_of_the_key(sandbox, client, files, tmp_path, options):
    paths = files("a.mp3")
    await run(client, paths, journal=tmp_path / "j.db")
    [outcome] = (await run(client, paths, journal=tmp_path / "j.db", **options)).values()
    assert outcome.ok
    assert {} == await run(client, paths, journal=tmp_path / "j.db", **options)
    assert 2 == sandbox.ledger.count("upload")


async def test_names_that_are_no_utf8_are_sent_and_known_again(sandbox, client, files, tmp_path):
    """Old archives are full of them. Two whose names look the same when they are shown are still two files."""
    first, second = files(os.fsdecode(b"t\xffa.mp3"), os.fsdecode(b"t\xfea.mp3"))
    os.utime(first, (1, 1))
    os.utime(second, (1, 1))
    assert {True} == {
        outcome.ok for outcome in (await run(client, [first, second], journal=tmp_path / "j.db")).values()
    }
    assert {} == await run(client, [first, second], journal=tmp_path / "j.db")
    assert [1, 1] == list(sandbox.ledger.starts().values())


async def test_a_journal_needs_sources_that_can_be_known_again(client, tmp_path):
    [outcome] = (await run(client, [("a", iter([b"once"]))], journal=tmp_path / "j.db")).values()
    assert "later run" in str(outcome.error)


async def test_what_failed_is_sent_again_only_if_asked(sandbox, client, files, tmp_path):
    paths = files("silent.mp3", "a.mp3")
    await run(client, paths, journal=tmp_path / "j.db")
    assert {} == await run(client, paths, journal=tmp_path / "j.db")
    [outcome] = (await run(client, paths, journal=tmp_path / "j.db", retry_failed=True)).values()
    assert ("silent.mp3", TaskFailedError) == (outcome.name, type(outcome.error))
    assert 3 == sandbox.ledger.count("upload")


# Results.


async def test_a_task_may_be_all_that_is_wanted(sandbox, client):
    [outcome] = (await run(client, [("a.mp3", b"a")], results="task")).values()
    assert (None, (), "completed") == (outcome.transcript, outcome.files, outcome.task.status)
    assert 0 == sandbox.ledger.count("result")


async def test_files_are_downloaded_and_nothing_is_overwritten(sandbox, client, files, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("mine")
    one, other, long = files("x/a.mp3", "y/a.mp3", "l" * 250 + ".mp3")
    async with client.batch([one, other, long], results=("srt", "txt"), out=out, journal=tmp_path / "j.db") as outcomes:
        got = [outcome async for outcome in outcomes]
    assert [None] * 3 == [outcome.error for outcome in got]
    written = [path for outcome in got for path in outcome.files]
    assert (6, 7) == (len(set(written)), len(list(out.iterdir())))
    assert "mine" == (out / "a.txt").read_text()
    assert all("Words of" in path.read_text() for path in written)
    listed = [json.loads(files) for (files,) in rows(tmp_path / "j.db", "files")]
    assert {path for paths in listed for path in paths} == set(map(str, written))


async def test_files_of_one_name_that_end_together_keep_their_own_results(sandbox, client, tmp_path):
    sandbox.faults.add("slow call=download bytes_per_second=300 times=forever")
    out = tmp_path / "out"
    out.mkdir()
    kinds = ("srt", "vtt", "txt")
    sources = [("a.mp3", b"%d" % number) for number in range(12)]
    async with client.batch(sources, results=kinds, out=out, concurrency=12) as outcomes:
        got = [outcome async for outcome in outcomes]
    assert [None] * 12 == [outcome.error for outcome in got]
    assert {path for outcome in got for path in outcome.files} == set(out.iterdir())
    assert 36 == len(list(out.iterdir()))
    for outcome in got:
        assert 1 == len({path.stem for path in outcome.files})


async def test_two_batches_that_write_into_one_folder_keep_each_others_results(sandbox, connect, tmp_path):
    """As two processes do: neither knows the names that the other has chosen, and both choose the same."""
    sandbox.faults.add("slow call=download bytes_per_second=300 times=forever")
    out, got = tmp_path / "out", []
    out.mkdir()

    async def transcribe(suffix):
        sources = [(f"a.{suffix}", f"{suffix}{number}".encode()) for number in range(4)]
        async with (
            connect(sandbox) as client,
            client.batch(sources, results=("srt", "txt"), out=out, journal=tmp_path / f"{suffix}.db") as outcomes,
        ):
            got.extend([outcome async for outcome in outcomes])

    async with anyio.create_task_group() as tasks:
        for suffix in ("mp3", "wav", "ogg"):
            tasks.start_soon(transcribe, suffix)
    assert [None] * 12 == [outcome.error for outcome in got]
    assert {path for outcome in got for path in outcome.files} == set(out.iterdir())
    assert 24 == len(list(out.iterdir()))
    for outcome in got:
        assert all(f"Words of {outcome.name}." in path.read_text() for path in outcome.files)


async def test_a_result_file_that_others_keep_on_writing_is_fetched_by_the_next_run(sandbox, client, tmp_path):
    out, journal = tmp_path / "out", tmp_path / "j.db"
    out.mkdir()
    async with client.batch([("a.mp3", b"a")], results="task", journal=journal) as outcomes:
        task = (await anext(outcomes)).task
        outcomes.give_back()
    options = {"results": "srt", "out": out, "journal": journal}
    with ExitStack() as others:
        for name in ("a", f"a-{task.task_id}"):
            fcntl.flock(others.enter_context((out / f"{name}.srt.part").open("wb")), fcntl.LOCK_EX)
        outcomes = await run(client, [("a.mp3", b"a")], **options)
    assert "another download is writing here: wait for it" in str(outcomes["a.mp3"].error)
    assert {"a.mp3": "running"} == states(journal)
    assert (await run(client, [("a.mp3", b"a")], **options))["a.mp3"].ok
    assert ({"a.mp3": "done"}, 1) == (states(journal), starts(sandbox))


async def test_a_disk_that_refuses_fails_the_item_alone(client, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.srt.part").mkdir()
    outcomes = await run(client, [("a.mp3", b"a"), ("b.mp3", b"b")], results="srt", out=out)
    assert (False, True) == (outcomes["a.mp3"].ok, outcomes["b.mp3"].ok)


# Limits.


async def test_a_plan_whose_limit_is_a_huge_number_is_unlimited(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=Plan(max_concurrent_tasks=1_000_000_000))
    async with connect(sandbox) as client:
        assert (await run(client, [("a.mp3", b"a")]))["a.mp3"].ok


async def test_what_the_account_has_to_pay_for_first_stops_a_batch_and_fails_no_file(sandbox, connect, tmp_path):
    sandbox.faults.add("status call=upload status=402 times=1")
    sources = [(f"{number}.mp3", b"%d" % number) for number in range(6)]
    async with connect(sandbox) as client:
        with pytest.raises(BadRequestError):
            await run(client, sources, journal=tmp_path / "j.db", concurrency=1)
        await run(client, sources, journal=tmp_path / "j.db")
    assert [1] * 6 == list(sandbox.ledger.starts().values())


async def test_the_plan_says_how_many_at_once_and_no_request_is_refused(polyglot_sandbox_factory, connect):
    plan = Plan(max_concurrent_tasks=3, requests_per_minute=12, uploads_per_minute=8, window_seconds=1.0)
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=plan)
    async with connect(sandbox) as client:
        outcomes = await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(12)])
    assert {True} == {outcome.ok for outcome in outcomes.values()}
    assert 0 == sandbox.ledger.count(status=429)


async def test_a_higher_concurrency_does_not_exceed_the_plan(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=Plan(max_concurrent_tasks=2))
    async with connect(sandbox) as client:
        await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(8)], concurrency=6)
    assert 0 == sandbox.ledger.count(status=429)


async def test_limits_that_were_stated_are_not_asked_for(sandbox, connect):
    async with connect(sandbox, limits=Limits(requests_per_window=1000, max_concurrent_tasks=2)) as client:
        await run(client, [("a.mp3", b"a")])
    assert 0 == sandbox.ledger.count("documentation")


@pytest.mark.parametrize(
    ("anyio_backend", "call", "detail"),
    [
        ("asyncio", "upload", "burst"),
        ("trio", "upload", "concurrent"),
        ("trio", "get", "burst"),
        ("asyncio", "list", "burst"),
        ("asyncio", "result", "burst"),
        ("asyncio", "result", "concurrent"),
        ("trio", "download", "burst"),
        ("asyncio", "documentation", "burst"),
    ],
)
async def test_a_storm_of_429s_fails_no_item(anyio_backend, sandbox, connect, call, detail, tmp_path):
    async with connect(sandbox, max_retries=0) as client:
        sandbox.faults.add(f"status call={call} status=429 retry_after=0.01 detail={detail} times=2")
        sources = [(f"{n}.mp3", b"%d" % n) for n in range(5)]
        outcomes = await run(client, sources, journal=tmp_path / "j.db", results="srt", out=tmp_path)
        assert [None] * 5 == [outcome.error for outcome in outcomes.values()]
    assert [1] * 5 == list(sandbox.ledger.starts().values())
    assert {"done"} == set(states(tmp_path / "j.db").values())


async def test_unknown_limits_are_learned(polyglot_sandbox_factory, connect):
    plan = Plan(max_concurrent_tasks=2, requests_per_minute=40, window_seconds=2.0)
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=plan)
    sandbox.faults.add("status call=documentation status=404 times=forever")
    async with connect(sandbox, limits=Limits(window_seconds=2.0)) as client:
        outcomes = await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(20)], concurrency=6)
    assert {True} == {outcome.ok for outcome in outcomes.values()}


async def test_a_file_too_large_for_the_plan_is_not_sent(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=Plan(max_upload_bytes=10))
    async with connect(sandbox) as client:
        outcomes = await run(client, [("a.mp3", b"x" * 11), ("b.mp3", b"x")])
    assert {"a.mp3": MediaError, "b.mp3": type(None)} == errors(outcomes)
    assert 1 == sandbox.ledger.count("upload")


# Early ends.


@on_both_loops
async def test_an_early_end_leaves_the_journal_right_and_says_what_is_in_flight(
    anyio_backend, polyglot_sandbox_factory, connect, tmp_path
):
    sandbox = polyglot_sandbox_factory(
        engine=ScriptedEngine("w", seconds=lambda name, _: 0.0 if "quick" in name else 60.0)
    )

    async def sources():
        yield "quick.mp3", b"0"
        await anyio.sleep(0.2)
        for number in range(1, 4):
            yield f"slow{number}.mp3", b"%d" % number

    async with connect(sandbox) as client:
        async with client.batch(sources(), journal=tmp_path / "j.db", concurrency=2) as outcomes:
            async for outcome in outcomes:
                assert "quick.mp3" == outcome.name
                while outcomes.progress.processing < 2:
                    await anyio.sleep(0.01)
                break
        assert [] == [outcome async for outcome in outcomes]
    left = states(tmp_path / "j.db")
    assert ("done", {"done": 1, "running": 2, "new": 1}) == (left["quick.mp3"], Counter(left.values()))
    assert {name for name, state in left.items() if state == "running"} == set(outcomes.in_flight)


@on_both_loops
async def test_an_outcome_that_was_not_dealt_with_is_returned_again(anyio_backend, sandbox, client, tmp_path):
    """The body breaks while it deals with the first outcome: a crash there must not swallow it."""
    sources = [("a.mp3", b"a")]
    with pytest.raises(ZeroDivisionError):
        async with client.batch(sources, journal=tmp_path / "j.db") as outcomes:
            async for _ in outcomes:
                raise ZeroDivisionError
    assert {"a.mp3": "running"} == states(tmp_path / "j.db")
    assert ["a.mp3"] == list(await run(client, sources, journal=tmp_path / "j.db"))
    assert (1, {"a.mp3": "done"}) == (sandbox.ledger.count("upload"), states(tmp_path / "j.db"))


async def test_it_can_be_acknowledged_at_once(client, tmp_path):
    async with client.batch([("a.mp3", b"a")], journal=tmp_path / "j.db") as outcomes:
        await anext(outcomes)
        assert {"a.mp3": "running"} == states(tmp_path / "j.db")
        await outcomes.acknowledge()
        assert {"a.mp3": "done"} == states(tmp_path / "j.db")


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("slow call=upload bytes_per_second=1", "left"),  # the whole body is sent, and there is no answer yet
        ("stall call=upload", "left"),
        ("latency call=upload seconds=30", "left"),
        ("status call=upload status=429 retry_after=60 times=forever", "new"),  # certainly not accepted
    ],
)
@on_both_loops
async def test_cancelled_while_a_submission_is_under_way(
    anyio_backend, sandbox, client, connect, tmp_path, fault, state
):
    sandbox.faults.add(fault)
    with anyio.move_on_after(0.5):
        async with client.batch([("a.mp3", b"a")], journal=tmp_path / "j.db") as outcomes:
            await anext(outcomes)
    assert {"a.mp3": state} == states(tmp_path / "j.db")
    assert (state == "left") == ("a.mp3" in outcomes.in_flight)
    sandbox.faults.clear()
    async with connect(sandbox) as another:
        again = await run(another, [("a.mp3", b"a")], journal=tmp_path / "j.db")
    assert {"a.mp3": type(None)} == errors(again)
    assert 1 == sum(sandbox.state()["tasks"].values()), "paid for once"


async def test_cancelled_in_the_middle_of_a_body_it_is_new_again_and_not_in_flight(sandbox, client, tmp_path):
    big = tmp_path / "big.mp3"
    with big.open("wb") as file:
        file.truncate(64 << 20)
    async with client.batch([big], journal=tmp_path / "j.db") as outcomes:
        while not outcomes.progress.uploading or not outcomes.progress.uploading[0].sent:
            await anyio.lowlevel.checkpoint()
    assert {"big.mp3": "new"} == states(tmp_path / "j.db")
    assert () == outcomes.in_flight
    assert 0 == sum(sandbox.state()["tasks"].values())


@on_both_loops
async def test_progress_adds_up(anyio_backend, client, files, tmp_path):
    paths, seen = files("a.mp3", "b.mp3", "silent.mp3", "c.mp3"), []
    await run(client, paths[:1], journal=tmp_path / "j.db")

    async def on_progress(progress):
        seen.append(progress)

    async with client.batch(paths, journal=tmp_path / "j.db", concurrency=2, on_progress=on_progress) as outcomes:
        async for _ in outcomes:
            pass
    last = seen[-1]
    assert (4, 2, 1, 0, 1, 0, ()) == (
        last.taken,
        last.done,
        last.failed,
        last.uncertain,
        last.skipped,
        last.processing,
        last.uploading,
    )
    assert last == outcomes.progress
    assert any(progress.uploading for progress in seen)
    assert any(progress.processing for progress in seen)
    assert all(progress.processing <= 2 for progress in seen)
    assert 6 <= last.requests_today
    assert () == outcomes.in_flight


CALLBACK_ERRORS = [
    LookupError("my bar"),
    httpx.ConnectError("my metrics"),
    TimeoutError(),
    OSError(28, "disk full"),
    RateLimitError("my own call", status_code=429),
    ExceptionGroup("mine", [LookupError("one"), ValueError("two")]),
]


@pytest.mark.parametrize("error", CALLBACK_ERRORS, ids=lambda error: type(error).__name__)
def test_whenever_a_callback_raises_its_error_ends_the_batch_and_nothing_is_lost(tmp_path, error):
    """Each file is started once in the end, and a later run returns what the first one did not."""
    sources = [(f"{name}.mp3", name.encode() * 99) for name in "abc"]

    async def main(journal, last_call):
        service, calls = StubService(lambda _: 10.0), itertools.count()

        def broken(_):
            if next(calls) == last_call:
                raise error

        has_raised = False
        async with service.client() as client:
            try:
                await run(client, sources, journal=journal, on_progress=broken, concurrency=2)
            except type(error) as raised:
                has_raised = True
                assert error is raised  # noqa: PT017 - the last of these batches raises nothing
                assert last_call + 1 == next(calls)
        async with service.client() as client:
            await run(client, sources, journal=journal)
        assert [1, 1, 1] == list(service.starts.values())
        assert {name: "done" for name, _ in sources} == states(journal)
        return has_raised

    ended_early = [in_virtual_time(main, tmp_path / f"{number}.db", number) for number in range(40)]
    assert ended_early == sorted(ended_early, reverse=True)
    assert 12 <= ended_early.count(True) < 40


@on_both_loops
@pytest.mark.parametrize("stage", ["uploading", "processing", "done"])
@pytest.mark.parametrize("error", CALLBACK_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_callback_that_raises_over_sockets_is_the_callers_error(
    anyio_backend, sandbox, client, tmp_path, error, stage
):
    async def broken(progress):
        await anyio.lowlevel.checkpoint()
        if getattr(progress, stage):
            raise error

    with pytest.raises(type(error)) as caught:
        await run(client, [("a.mp3", b"a" * 99)], journal=tmp_path / "j.db", on_progress=broken)
    assert error is caught.value
    await run(client, [("a.mp3", b"a" * 99)], journal=tmp_path / "j.db")
    assert ({"a.mp3": "done"}, 1) == (states(tmp_path / "j.db"), starts(sandbox))


async def test_two_batches_of_one_client_share_its_limits_but_not_a_journal(
    polyglot_sandbox_factory, connect, tmp_path
):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=Plan(max_concurrent_tasks=2))
    async with connect(sandbox) as client:
        async with anyio.create_task_group() as tasks:
            for name in "ab":
                sources = [(f"{name}{n}.mp3", f"{name}{n}".encode()) for n in range(4)]
                tasks.start_soon(lambda s=sources, n=name: run(client, s, journal=tmp_path / f"{n}.db"))
        assert 0 == sandbox.ledger.count(status=429)
        async with client.batch([], journal=tmp_path / "a.db"):
            with pytest.raises(JournalError, match="another batch"):
                await run(client, [], journal=tmp_path / "a.db")


@pytest.mark.parametrize("state", ["left", "running", "done"])
async def test_a_journal_that_fails_midway_ends_the_batch_and_loses_nothing(sandbox, client, tmp_path, state):
    journal = tmp_path / "j.db"
    await run(client, [], journal=journal)
    with closing(sqlite3.connect(journal)) as database:
        database.execute(
            f"CREATE TRIGGER full BEFORE UPDATE ON items WHEN NEW.state = '{state}' "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        database.commit()
    with pytest.raises(JournalError, match="disk full"):
        await run(client, [("a.mp3", b"a")], journal=journal)
    assert {"a.mp3": {"left": "new", "running": "left", "done": "running"}[state]} == states(journal)
    with closing(sqlite3.connect(journal)) as database:
        database.execute("DROP TRIGGER full")
        database.commit()
    assert {"a.mp3": type(None)} == errors(await run(client, [("a.mp3", b"a")], journal=journal))
    assert [1] == list(sandbox.ledger.starts().values())


# Limits that cannot be read, files that a plan refuses.


@on_both_loops
async def test_limits_that_nobody_may_read_stop_nothing(anyio_backend, sandbox, client):
    """A key may read `transcriptions/*` only, and without one the documentation is refused too."""
    sandbox.faults.add("status call=documentation status=403 credential=key times=forever")
    sandbox.faults.add("status call=documentation status=401 credential=none times=forever")
    outcomes = await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(6)])
    assert [None] * 6 == [outcome.error for outcome in outcomes.values()]
    assert 2 == sandbox.ledger.count("documentation")


@pytest.mark.parametrize(
    "answer",
    [
        (429, "The file is too large: your plan allows 100 MB per file"),
        (429, "Audio duration exceeds the maximum of 60 minutes"),
        (413, "Request Entity Too Large"),
        (403, "The recording is longer than your plan allows"),
    ],
)
def test_a_file_that_the_plan_refuses_fails_alone_and_holds_nobody_back(answer):
    """Whatever the status: it is not sent again, and is not taken for a limit that passes."""
    status, detail = answer

    async def main():
        service = StubService(lambda _: 10.0)
        start = service.start
        service.start = lambda name, *more: (
            httpx.Response(status, json={"detail": detail}, headers={"retry-after": "60"})
            if name == "large.mp3"
            else start(name, *more)
        )
        sources = [("large.mp3", b"large"), *((f"{n}.mp3", b"%d" % n) for n in range(8))]
        async with service.client() as client:
            return service, await run(client, sources), anyio.current_time()

    service, outcomes, ended = in_virtual_time(main)
    refused = outcomes.pop("large.mp3")
    assert (BadRequestError, 1) == (type(refused.error), refused.attempts)
    assert [None] * 8 == [outcome.error for outcome in outcomes.values()]
    assert (9, True) == (service.calls["upload"], ended < 40)


async def run_and_run_again(service, sources, journal):
    """Run a batch, and again 20 s later, when the service behaves; return the outcomes of both runs."""
    async with service.client() as client:
        first = await run(client, sources, journal=journal)
    service.hook = lambda *_: None
    await anyio.sleep(20)
    async with service.client() as client:
        return first, await run(client, sources, journal=journal)


@pytest.mark.parametrize(("call", "status"), [("upload", 409), ("get", 404)])
@pytest.mark.parametrize(
    ("answer", "is_final"),
    [
        ({"html": "<title>default backend</title>"}, False),
        ({"text": "404 page not found"}, False),
        ({}, False),
        ({"json": {"detail": "No such task."}}, True),
    ],
    ids=["page", "text", "nothing", "JSON"],
)
def test_only_a_refusal_of_the_service_itself_is_final(call, status, answer, is_final, tmp_path):
    """A proxy that knows no route, while the service is redeployed, answers otherwise: the next run goes on."""
    journal, sources = tmp_path / "j.db", [("a.mp3", b"a")]

    async def main():
        service = StubService(lambda _: 2.0)
        service.hook = lambda asked, _: httpx.Response(status, **answer) if asked == call else None
        first, second = await run_and_run_again(service, sources, journal)
        return first["a.mp3"].error, second, sum(service.starts.values())

    error, second, starts = in_virtual_time(main)
    assert status == error.status_code
    if is_final:
        assert ({}, {"a.mp3": "failed"}) == (second, states(journal))
    else:
        assert (None, 1) == (second["a.mp3"].error, starts)


# A 404 of what was paid for.


def answers_404(call, begin, end):
    def hook(asked, _):
        hidden = asked == call and begin <= anyio.current_time() < end
        return httpx.Response(404, json={"detail": "no such task"}) if hidden else None

    return hook


@pytest.mark.parametrize("retry_failed", [False, True])
@pytest.mark.parametrize("call", ["get", "result"])
def test_a_404_of_a_replica_that_is_behind_fails_no_item(call, retry_failed, tmp_path):
    """Of a task that was just started, of one that a later run waits for, and of a result."""
    journal = tmp_path / "j.db"

    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = answers_404(call, 0, 30)
        async with service.client() as client:
            with anyio.move_on_after(20):
                await run(client, [("a.mp3", b"a")], journal=journal)
        seen = states(journal)
        async with service.client() as client:
            outcomes = await run(client, [("a.mp3", b"a")], journal=journal, retry_failed=retry_failed)
        return service, seen, outcomes

    service, seen, outcomes = in_virtual_time(main)
    assert ({"a.mp3": "running"}, {"a.mp3": type(None)}) == (seen, errors(outcomes))
    assert ([1], {"a.mp3": "done"}) == (list(service.starts.values()), states(journal))
    assert 40 > service.requests


@pytest.mark.parametrize(("begin", "end"), [(0, 50), (300, 340), (7200, 7250)])
def test_a_404_at_any_time_is_no_failure_unless_it_lasts(begin, end, tmp_path):
    """The service, or a proxy before it, may be redeployed, and a replica may come back with what is old."""

    async def main():
        service = StubService(lambda _: 7230.0)
        service.hook = answers_404("get", begin, end)
        async with service.client() as client:
            return await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db")

    assert {"a.mp3": type(None)} == errors(in_virtual_time(main))


@pytest.mark.parametrize("retry_failed", [False, True])
@pytest.mark.parametrize("listed", [httpx.Response(404, json={"detail": "Not Found"}), httpx.Response(503)])
def test_a_404_that_lasts_is_not_believed_while_the_list_is_not_there(listed, retry_failed, tmp_path):
    """A broken deployment answers so to everything; the next run asks again, and nothing is paid for twice."""
    journal, sources = tmp_path / "j.db", [("a.mp3", b"a")]

    async def main():
        service = StubService(lambda _: 100.0)
        service.hook = lambda call, _: (
            (listed if call == "list" else httpx.Response(404, json={"detail": "Not Found"}))
            if anyio.current_time() > 20
            else None
        )
        async with service.client() as client:
            first = await run(client, sources, journal=journal)
        left = states(journal)
        service.hook = lambda *_: None
        async with service.client() as client:
            return first, left, await run(client, sources, journal=journal, retry_failed=retry_failed), service.starts

    first, left, second, starts = in_virtual_time(main)
    assert ({"a.mp3": NotFoundError}, {"a.mp3": "running"}) == (errors(first), left)
    assert ({"a.mp3": type(None)}, {b"a": 1}) == (errors(second), starts)


@pytest.mark.parametrize(("call", "state"), [("get", "failed"), ("result", "running")])
def test_a_404_that_lasts_for_a_minute_is_believed(call, state, tmp_path):
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = answers_404(call, 0, math.inf)
        async with service.client() as client:
            outcomes = await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db")
        return outcomes, anyio.current_time(), service.requests

    outcomes, ended, requests = in_virtual_time(main)
    assert ({"a.mp3": NotFoundError}, {"a.mp3": state}) == (errors(outcomes), states(tmp_path / "j.db"))
    assert 60 <= ended < 130
    assert requests < 30


def test_a_kind_of_file_that_the_service_does_not_make_is_not_asked_for_again_and_again(tmp_path):
    async def main():
        service = StubService(lambda _: 1.0)
        service.hook = lambda call, request: httpx.Response(404) if request.url.path.endswith("/ass") else None
        sources = [(f"{number}.mp3", b"%d" % number) for number in range(100)]
        async with service.client() as client:
            outcomes = await run(client, sources, results="ass", out=tmp_path)
        return outcomes, service.answers[404], anyio.current_time()

    outcomes, answers, ended = in_virtual_time(main)
    assert {NotFoundError} == set(errors(outcomes).values())
    assert answers < 100 + 100
    assert ended < 200


def test_a_transcript_that_is_lost_fails_its_own_item_only():
    """The others' transcripts may still be late."""

    async def main():
        service = StubService(lambda _: 1.0)

        def hook(call, request):
            task = service.tasks.get(request.url.path.split("/")[-2])
            is_there = task is None or (task.id != "task-1" and anyio.current_time() >= task.ends + 40)
            return None if call != "result" or is_there else httpx.Response(404)

        service.hook = hook
        async with service.client() as client:
            outcomes = await run(client, [(f"{number}.mp3", b"%d" % number) for number in range(12)], concurrency=1)
        return [(outcome.task.task_id, type(outcome.error)) for outcome in outcomes.values() if not outcome.ok]

    assert [("task-1", NotFoundError)] == in_virtual_time(main)


async def test_a_kind_of_file_that_one_item_has_is_waited_for_again(tmp_path):
    missing = {"task-1": 1000, "task-2": 0, "task-3": 3}  # how often it is asked for in vain
    slept = [0.0]

    async def sleep(seconds):
        slept[0] += seconds
        await anyio.lowlevel.checkpoint()

    def hook(_, request):
        if not request.url.path.endswith("/ass"):
            return None
        task_id = request.url.path.split("/")[-3]
        missing[task_id] -= 1
        return httpx.Response(404) if missing[task_id] >= 0 else httpx.Response(200, text="[Script Info]")

    def monotonic():
        return slept[0] + anyio.current_time()

    runtime = Runtime(monotonic=monotonic, sleep=sleep, poll_schedule=PollSchedule(min_interval=0.05, max_interval=0.2))
    service, seen = StubService(lambda _: 0.0), {}
    service.hook = hook
    send, sources = anyio.create_memory_object_stream(1)
    async with (
        send,
        sources,
        service.client(runtime=runtime) as client,
        client.batch(sources, results="ass", out=tmp_path) as outcomes,
    ):
        for name in ("lost.mp3", "there.mp3", "late.mp3"):
            await send.send((name, name.encode()))
            seen[name] = await anext(outcomes)
    assert {"lost.mp3": NotFoundError, "there.mp3": type(None), "late.mp3": type(None)} == errors(seen)


# What a batch without a journal leaves behind.


def an_expired_key(service):
    service.hook = lambda call, _: httpx.Response(401) if call in {"get", "list"} and anyio.current_time() > 5 else None
    return {}, AuthenticationError


def an_uncertain_upload(service):
    answers = {"upload": httpx.Response(500), "list": httpx.Response(403)}
    service.hook = lambda call, _: answers.get(call) if service.calls["upload"] > 3 else None
    return {"on_uncertain": "raise"}, SubmissionUncertainError


def a_callback(_):
    def on_progress(_):
        if anyio.current_time() > 5:
            raise LookupError("my bar")

    return {"on_progress": on_progress}, LookupError


def the_caller(_):
    return {}, ZeroDivisionError


@pytest.mark.parametrize("end", [an_expired_key, an_uncertain_upload, a_callback, the_caller])
def test_what_ends_a_batch_names_the_tasks_that_were_started_and_not_returned(end, caplog):
    """Without a journal nothing else knows them, and they are paid for."""

    async def sources():
        for number in range(3):
            yield f"{number}.mp3", b"%d" % number
        await anyio.sleep(6)
        yield "3.mp3", b"3"

    async def main():
        service = StubService(lambda number: 4.0 if number == 1 else 3600.0)
        options, expected = end(service)
        async with service.client() as client:
            with pytest.raises(expected) as caught:
                async with client.batch(sources(), concurrency=3, **options) as outcomes:
                    assert "task-1" == (await anext(outcomes)).task.task_id
                    if end is the_caller:
                        raise ZeroDivisionError
                    await anext(outcomes)
        started = {task_id: task.name for task_id, task in service.tasks.items() if task_id != "task-1"}
        return caught.value, outcomes.unreturned_tasks, outcomes.in_flight, started

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        error, left, in_flight, started = in_virtual_time(main)
    assert started == left
    assert 2 == len(left)
    assert sorted(left.values()) == sorted(in_flight)
    [note] = error.__notes__
    assert all(f"{task_id} ({name})" in note for task_id, name in left.items())
    assert "task-1" not in note
    assert not any("were started" in record.getMessage() for record in caplog.records), "the note says it"


@pytest.mark.parametrize("count", [3, 50])
def test_a_cancelled_batch_logs_the_tasks_that_go_on(count, caplog):
    async def main():
        service = StubService(lambda _: 100.0)
        async with service.client() as client:
            with anyio.move_on_after(50):
                await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(count)], concurrency=count)
        return set(service.tasks)

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        tasks = in_virtual_time(main)
    message = caplog.records[-1].getMessage()
    assert min(count, 20) == sum(f"{task_id} (" in message for task_id in tasks)
    assert ("and 30 more" in message) == (count == 50)


def test_an_upload_without_an_answer_is_named_beside_a_task_of_the_same_name():
    """Two folders may hold a 1.wav each."""

    async def main():
        service = StubService(lambda _: 100.0)

        async def after(call, _, answer):
            if call == "upload" and service.calls["upload"] == 2:
                await anyio.sleep_forever()
            return answer

        service.after = after
        async with service.client() as client:
            with anyio.move_on_after(50):
                async with client.batch([("1.wav", b"1"), ("1.wav", b"2")], concurrency=2) as outcomes:
                    await anext(outcomes)
        return outcomes

    outcomes = in_virtual_time(main)
    assert ("1.wav", "1.wav") == outcomes.in_flight
    assert {"task-1": "1.wav"} == outcomes.unreturned_tasks


@pytest.mark.parametrize("journal", [True, False])
def test_a_batch_whose_tasks_are_known_elsewhere_logs_nothing(journal, tmp_path, caplog):
    """A journal has them; and a batch that came to its end, with failures too, has returned them."""

    async def main():
        service = StubService(lambda _: 10.0)
        async with service.client() as client:
            with anyio.move_on_after(5 if journal else 100):
                await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db" if journal else None)

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        in_virtual_time(main)
    assert [] == caplog.records


# Errors of the caller's, and those that nobody foresaw.


@pytest.mark.parametrize(
    "error",
    [
        ExceptionGroup("two of mine", [ValueError("one"), OSError("two")]),
        ExceptionGroup("nested", [ExceptionGroup("inner", [ValueError("one")])]),
        ValueError("plain"),
        PolyglotError("one like ours"),
        QuotaExhaustedError("the caller's own", resets_at=datetime(2026, 5, 24, tzinfo=UTC), limit="daily"),
    ],
    ids=lambda error: type(error).__name__,
)
@on_both_loops
async def test_an_error_of_the_callers_comes_out_as_it_was(anyio_backend, client, error):
    with pytest.raises(type(error)) as caught:
        async with client.batch([("a.mp3", b"a")]) as outcomes:
            await anext(outcomes)
            raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [ServerError, RateLimitError])
async def test_an_error_of_a_source_that_is_of_a_class_of_ours_is_no_outage(client, error):
    """A source may be read through another client. It is not read again here."""

    class Remote(io.BytesIO):
        def read(self, size=-1):
            if self.tell() == 1000:
                failures.append(failure)
                raise failure
            return super().read(min(size, 1000))

    failure = error("the other service's", status_code=500, method="GET", url="https://other.test/a.mp3")
    failures = []
    with anyio.fail_after(10):
        outcomes = await run(client, [("a.mp3", Remote(bytes(2000))), ("b.mp3", b"b")])
    assert failure is outcomes["a.mp3"].error
    assert [failure] == failures
    assert outcomes["b.mp3"].ok


@pytest.mark.parametrize("call", ["upload", "list", "get", "result"])
@pytest.mark.parametrize("error", [RuntimeError("boom"), ValueError("port 99999"), ExceptionGroup("g", [OSError("x")])])
def test_an_exception_that_nobody_foresaw_is_an_outcome_and_the_others_go_on(call, error, tmp_path):
    """And the task, where there was one, is named and fetched by the next run."""
    journal = tmp_path / "j.db"

    async def main():
        service = StubService(lambda _: 10.0)
        failures = iter([error])
        service.hook = lambda asked, _: (
            next(failures, None) if asked == call and service.calls["upload"] + (call == "upload") > 3 else None
        )
        sources = [(f"{n}.mp3", b"%d" % n) for n in range(8)]
        first, second = await run_and_run_again(service, sources, journal)
        return service, first, second

    service, first, second = in_virtual_time(main)
    failed = [outcome for outcome in first.values() if not outcome.ok]
    assert 8 == len(first)
    assert len(failed) <= 1, "a poll that fails may fail nobody, but never more than one"
    for outcome in failed:
        assert isinstance(outcome.error, PolyglotError)
        assert outcome.error.__cause__ is error
        assert (call == "upload") == (outcome.task is None)
    assert [None] * len(failed) == [outcome.error for outcome in second.values()]
    assert ({1}, {"done"}) == (set(service.starts.values()), set(states(journal).values()))
