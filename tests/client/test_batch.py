"""A batch against the sandbox: what comes out, what was spent, and what the journal says."""

import itertools
import os
import time
from collections import Counter
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from polyglot_async import (
    ApiConnectionError,
    AsyncPolyglot,
    AuthenticationError,
    BadRequestError,
    JournalError,
    Limits,
    MediaError,
    NotFoundError,
    QuotaExhaustedError,
    ServerError,
    SubmissionUncertainError,
    TaskCancelledError,
    TaskFailedError,
)
from polyglot_async._state.journal import read_journal
from polyglot_async._tasks import recovery
from polyglot_async._tasks.schedule import Pace
from polyglot_async.sandbox import Plan, ScriptedEngine

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend():
    """One loop but where it is said: the core ones run on both."""
    return "asyncio"


ENGINE = ScriptedEngine(
    "Words of {file_name}.", seconds=0.05, fail=lambda name, _: "no speech" if name.startswith("silent") else None
)
SLOW = ScriptedEngine("Words.", seconds=60.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recovery, "SETTLING_SECONDS", 0.2)


@pytest.fixture
def sandbox(polyglot_sandbox_factory):
    return polyglot_sandbox_factory(engine=ENGINE)


@pytest.fixture
def connect(anyio_backend):
    """Clients with all their limits, and a poller that is in a hurry."""

    def make(sandbox, **options):
        client = AsyncPolyglot(sandbox.api_key, base_url=sandbox.url, **options)
        client._watcher.pace = Pace(floor=0.05, ceiling=0.2)
        return client

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
    """Run a batch to its end; give the outcomes by name."""
    async with client.batch(sources, **options) as outcomes:
        return {outcome.name: outcome async for outcome in outcomes}


def errors(outcomes):
    return {name: type(outcome.error) for name, outcome in outcomes.items()}


def states(path):
    return {entry.name: str(entry.state) for entry in read_journal(path)[0]}


def uploads(sandbox):
    """Accepted uploads by content."""
    return Counter(e.file_sha256 for e in sandbox.ledger.entries("upload") if e.task_id is not None)


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
async def test_every_kind_of_iterable_will_do(client, kind):
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


@pytest.mark.parametrize("source", ["a.mp3", b"bytes", Path("a.mp3")])
async def test_one_source_by_itself_is_a_mistake(client, source):
    with pytest.raises(TypeError, match="several sources"):
        await run(client, source)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"concurrency": 0}, "1 or more"),
        ({"on_uncertain": "panic"}, "park"),
        ({"results": ()}, "results is empty"),
        ({"results": ("srt",)}, "existing folder"),
        ({"results": ("srt",), "out": "nowhere/at/all"}, "existing folder"),
    ],
)
async def test_what_cannot_be_meant_is_said_at_once(client, options, match):
    with pytest.raises(ValueError, match=match):
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
async def test_one_failure_sinks_no_other(anyio_backend, sandbox, client, files, tmp_path):
    good, silent, gone, empty = files("good.mp3", "silent.mp3", "gone.mp3", "empty.mp3")
    gone.unlink()
    empty.write_bytes(b"")
    outcomes = await run(client, [gone, empty, silent, tmp_path, 5, "no\0name", good], journal=tmp_path / "j.db")
    assert {
        str(gone): MediaError,
        str(empty): MediaError,
        "silent.mp3": TaskFailedError,
        str(tmp_path): MediaError,
        "5": MediaError,
        "no\0name": MediaError,
        "good.mp3": type(None),
    } == dict(errors(outcomes))
    assert {"good.mp3": "done", "silent.mp3": "failed"} == states(tmp_path / "j.db")
    assert "no speech" == outcomes["silent.mp3"].task.failure_reason


@pytest.mark.parametrize(
    ("fault", "error", "state"),
    [
        ("status call=upload status=400", BadRequestError, "failed"),
        ("status call=upload status=403", "PermissionDeniedError", "failed"),
        ("status call=upload status=500", SubmissionUncertainError, "uncertain"),
        ("status call=result status=500 times=3", ServerError, "running"),
        ("status call=result status=404", NotFoundError, "running"),
        ("reset_after_body call=result times=3", ApiConnectionError, "running"),
        ("garbage call=result", "ResponseDecodeError", "running"),
        ("status call=get status=404", NotFoundError, "failed"),
    ],
)
async def test_each_error_is_a_value_and_leaves_the_state_that_it_deserves(
    sandbox, client, files, tmp_path, fault, error, state
):
    """Running is what has a task that did not fail: the next run fetches it and pays nothing."""
    sandbox.faults.add(fault)
    [outcome] = (await run(client, files("a.mp3"), journal=tmp_path / "j.db")).values()
    assert (error if isinstance(error, str) else error.__name__) == type(outcome.error).__name__
    assert {"a.mp3": state} == states(tmp_path / "j.db")
    sandbox.faults.clear()
    again = await run(client, files("a.mp3"), journal=tmp_path / "j.db")
    paid = sum(uploads(sandbox).values())
    if state == "failed":
        assert {} == again
    else:
        assert ({"a.mp3": type(None)}, 1) == (errors(again), paid)


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
    assert (1, 2) == (left["done"], left["new"] + left["submitting"]), "the other may have been cancelled on the wire"


async def test_when_the_days_requests_are_spent_the_batch_ends_and_the_next_day_goes_on(
    polyglot_sandbox_factory, connect, files, tmp_path
):
    plan = Plan(requests_per_day=14, max_concurrent_tasks=2)
    folder = tmp_path / "sandbox"
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=plan, folder=folder)
    paths, journal = files(*(f"{n}.mp3" for n in range(8))), tmp_path / "j.db"
    async with connect(sandbox) as client:
        with pytest.raises(QuotaExhaustedError) as caught:
            await run(client, paths, journal=journal)
    assert "daily" == caught.value.limit
    assert 14 >= sum(sandbox.state()["usage"].values()) / 2, "the client counts, and asks for no refusal"
    assert 14 == read_journal(journal)[1].day_requests
    async with connect(sandbox) as client:
        with pytest.raises(QuotaExhaustedError):
            await run(client, paths, journal=journal)
    assert 14 >= sum(sandbox.state()["usage"].values()) / 2 - 1, "another run of the same day knows what was spent"
    paid = uploads(sandbox)
    sandbox.close()
    tomorrow = polyglot_sandbox_factory(engine=ENGINE, plan="unlimited", folder=folder)
    journal_usage_of_yesterday(journal)
    async with connect(tomorrow) as client:
        outcomes = await run(client, paths, journal=journal)
    assert {type(None)} == set(errors(outcomes).values())
    assert {"done"} == set(states(journal).values())
    assert [1] * 8 == list((paid + uploads(tomorrow)).values())


def journal_usage_of_yesterday(path):
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE notes SET value = '{}'")
        database.commit()


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
    assert 2 == sum(uploads(sandbox).values())


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


async def test_a_file_that_has_not_changed_is_not_even_read(client, files, tmp_path, monkeypatch):
    [path] = files("a.mp3")
    await run(client, [path], journal=tmp_path / "j.db")
    monkeypatch.setattr("polyglot_async._batch.item.key_of_file", None)
    assert {} == await run(client, [path], journal=tmp_path / "j.db")


@pytest.mark.parametrize(
    "wish", [{"output_language": "ru"}, {"model": "fast"}, {"input_language": "de"}, {"extra": {"speakers": "2"}}]
)
async def test_what_was_asked_for_is_part_of_the_key(sandbox, client, files, tmp_path, wish):
    paths = files("a.mp3")
    await run(client, paths, journal=tmp_path / "j.db")
    [outcome] = (await run(client, paths, journal=tmp_path / "j.db", **wish)).values()
    assert outcome.ok
    assert {} == await run(client, paths, journal=tmp_path / "j.db", **wish)
    assert 2 == sandbox.ledger.count("upload")


async def test_names_that_are_no_utf8_go_all_the_way(sandbox, client, files, tmp_path):
    """Old archives are full of them. Two whose names look the same when they are shown are still two files."""
    first, second = files(os.fsdecode(b"t\xffa.mp3"), os.fsdecode(b"t\xfea.mp3"))
    os.utime(first, (1, 1))
    os.utime(second, (1, 1))
    assert {True} == {
        outcome.ok for outcome in (await run(client, [first, second], journal=tmp_path / "j.db")).values()
    }
    assert {} == await run(client, [first, second], journal=tmp_path / "j.db")
    assert [1, 1] == list(uploads(sandbox).values())


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
    assert {f for e in read_journal(tmp_path / "j.db")[0] for f in e.files} == set(map(str, written))


async def test_a_disk_that_refuses_fails_the_item_alone(sandbox, client, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.srt.part").mkdir()
    outcomes = await run(client, [("a.mp3", b"a"), ("b.mp3", b"b")], results="srt", out=out)
    assert (False, True) == (outcomes["a.mp3"].ok, outcomes["b.mp3"].ok)


# Limits.


async def test_the_plan_says_how_many_at_once_and_no_request_is_refused(polyglot_sandbox_factory, connect):
    plan = Plan(max_concurrent_tasks=3, requests_per_minute=12, uploads_per_minute=8, window_seconds=1.0)
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=plan)
    async with connect(sandbox) as client:
        outcomes = await run(client, [(f"{n}.mp3", b"%d" % n) for n in range(12)])
    assert {True} == {outcome.ok for outcome in outcomes.values()}
    assert 0 == sandbox.ledger.count(status=429)


async def test_asked_for_more_at_once_the_plan_still_holds(polyglot_sandbox_factory, connect):
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
    assert [1] * 5 == list(uploads(sandbox).values())
    assert {"done"} == set(states(tmp_path / "j.db").values())


async def test_limits_nobody_told_are_learned(polyglot_sandbox_factory, connect):
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


# Ends before the end.


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
async def test_an_outcome_that_was_not_dealt_with_is_given_again(anyio_backend, sandbox, client, tmp_path):
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
    ("fault", "state", "in_flight"),
    [
        ("slow call=upload bytes_per_second=1", "submitting", True),  # whole body sent, no answer yet
        ("latency call=upload seconds=30", "submitting", True),
        ("status call=upload status=429 retry_after=60 times=forever", None, None),  # certainly not accepted, or unsure
    ],
)
@on_both_loops
async def test_cancelled_while_a_submission_is_under_way(
    anyio_backend, sandbox, client, tmp_path, fault, state, in_flight
):
    sandbox.faults.add(fault)
    with anyio.move_on_after(0.5):
        async with client.batch([("a.mp3", b"a")], journal=tmp_path / "j.db") as outcomes:
            await anext(outcomes)
    if state is not None:
        assert {"a.mp3": state} == states(tmp_path / "j.db")
        assert in_flight == ("a.mp3" in outcomes.in_flight)
    sandbox.faults.clear()
    sandbox.ledger.clear()
    if "429" in fault:
        return
    again = await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db")
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


async def test_a_callback_that_breaks_is_the_callers_error(client):
    def broken(_):
        raise LookupError("my bar")

    with pytest.raises(LookupError, match="my bar"):
        await run(client, [("a.mp3", b"a")], on_progress=broken)


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


async def test_a_journal_that_fails_midway_ends_the_batch_and_loses_nothing(sandbox, client, tmp_path, monkeypatch):
    from polyglot_async._state.journal import Journal

    async def full(*_):
        raise JournalError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "running", full)
        with pytest.raises(JournalError, match="disk full"):
            await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db")
    assert {"a.mp3": "submitting"} == states(tmp_path / "j.db")
    assert {"a.mp3": type(None)} == errors(await run(client, [("a.mp3", b"a")], journal=tmp_path / "j.db"))
    assert 1 == sandbox.ledger.count("upload")
