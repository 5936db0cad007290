"""What an earlier run left open is found, proven absent or reported; never lost, never paid for twice unasked.

In virtual time: a run is broken off while answers are outstanding, as a kill does it, and the next one has the journal.
"""

import math
import os
from collections import Counter
from datetime import datetime, timedelta

import anyio
import httpx
import pytest
from journal_states import rows
from virtual import StubService, in_virtual_time

from polyglot_async import (
    AuthenticationError,
    QuotaExhaustedError,
    ServiceUnavailableError,
    SubmissionUncertainError,
)

LOST = httpx.ReadError("lost")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.db"


def states(path):
    return dict(Counter(state for (state,) in rows(path, "state")))


def run(main, *arguments):
    """Run `main` in virtual time with a service; return what it returns."""

    async def with_service():
        return await main(StubService(lambda _: 10.0), *arguments)

    return in_virtual_time(with_service)


def sources_of(*names):
    return [name if "://" in name else (name, b"content of %d" % number) for number, name in enumerate(names)]


async def resume(service, path, sources, **options):
    """Run a batch on the journal, as a new process does some time later; return the outcomes by name."""
    await anyio.sleep(1.0)
    async with (
        service.client() as client,
        client.batch(sources, journal=path, results="task", **options) as outcomes,
    ):
        return {outcome.name: outcome async for outcome in outcomes}


async def broken_off(service, path, sources, *, accepted=(), limits=None):
    """Break a run off while all its submissions have left and no answer has come; the service has those in `accepted`.

    `accepted` holds positions in `sources`.
    """
    media = [source if isinstance(source, str) else source[1] for source in sources]
    wanted = {media[number] for number in accepted}

    async def never(*_):
        await anyio.sleep(math.inf)

    def before(call, _):
        return never() if call in {"upload", "from_url"} and not wanted else None

    def after(call, _, answer):
        return never() if call in {"upload", "from_url"} else answer

    starts = service.start

    def start(name, medium=b"", fields=None):
        return starts(name, medium, fields) if medium in wanted else None

    service.hook, service.after, service.start = before, after, start
    with anyio.move_on_after(5.0):
        await resume(service, path, sources, concurrency=len(sources))
    service.hook, service.after, service.start = lambda *_: None, lambda _call, _request, answer: answer, starts
    assert len(sources) == states(path)["left"]


def hides(*names):
    return lambda task: {name: value for name, value in task.items() if name not in names}


def moved(hours, *, naive):
    def shown(task):
        at = datetime.fromisoformat(task["created_at"]) + timedelta(hours=hours)
        return {**task, "created_at": at.replace(tzinfo=None if naive else at.tzinfo).isoformat()}

    return shown


SHOWN = {
    "all": lambda task: task,
    "no names": hides("file_name"),
    "no times": hides("created_at"),
    "neither": hides("file_name", "created_at"),
    "local times, east": moved(3, naive=True),
    "local times, west": moved(-5, naive=True),
    "a clock ahead": moved(1, naive=False),
    "a clock behind": moved(-1, naive=False),
    "other names": lambda task: {**task, "file_name": "0b5e7c.bin"},
    "escaped names": lambda task: {**task, "file_name": task["file_name"].replace('"', "%22")},
}


@pytest.mark.parametrize("known", [0, 3], ids=["first run", "known tasks"])
@pytest.mark.parametrize("shown", SHOWN)
def test_what_was_accepted_is_found_and_what_was_not_is_sent(path, shown, known):
    """Whatever the list shows of names and times: the bytes tell."""

    async def main(service):
        service.shown = SHOWN[shown]
        await resume(service, path, [(f"known{n}.mp3", b"known %d" % n) for n in range(known)])
        await anyio.sleep(60)
        sources = sources_of('x".mp3', "b.mp3", 'x".mp3')
        await broken_off(service, path, sources, accepted={0})
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert [None, None] == [outcome.error for outcome in outcomes.values()]
    assert {1} == set(service.starts.values())
    assert {"done": known + 3} == states(path)


def test_a_journal_with_nothing_open_costs_no_proof(path):
    async def main(service):
        await resume(service, path, sources_of("a.mp3"))
        before = service.calls.copy()
        await resume(service, path, sources_of("a.mp3"))
        return service.calls - before

    assert {"documentation": 1, "list": 1} == run(main), "the limits, and which tasks there are before the first one"


def test_what_is_open_is_settled_even_if_it_is_no_source_of_this_run(path):
    async def main(service):
        await broken_off(service, path, sources_of("a.mp3", "b.mp3"), accepted={0})
        return await resume(service, path, [])

    assert {} == run(main)
    assert {"running": 1, "new": 1} == states(path)


@pytest.mark.parametrize("on_uncertain", ["report", "retry", "raise"])
def test_what_cannot_be_found_out_is_done_with_as_the_caller_says(path, on_uncertain):
    """The service serves other bytes than were uploaded, so the one task in the list may be either of the two."""

    async def main(service):
        service.source = lambda media: b"transcoded " + media
        sources = sources_of("a.mp3", "b.mp3")
        await broken_off(service, path, sources, accepted={0})
        if on_uncertain == "raise":
            with pytest.raises(SubmissionUncertainError) as caught:
                await resume(service, path, sources, on_uncertain=on_uncertain)
            return service, [caught.value]
        outcomes = await resume(service, path, sources, on_uncertain=on_uncertain)
        return service, [outcome.error for outcome in outcomes.values()]

    service, errors = run(main)
    if on_uncertain == "retry":
        assert ([None, None], 3) == (errors, service.starts.total())
    else:
        assert 1 == service.starts.total()
        for error in errors:
            assert (SubmissionUncertainError, ["task-1"]) == (type(error), [task.task_id for task in error.candidates])
    assert {"done": 2} == states(path) if on_uncertain == "retry" else {"ambiguous": 2} == states(path)


@pytest.mark.parametrize("accepted", [True, False])
def test_what_stayed_ambiguous_is_looked_for_again_by_the_next_run(path, accepted):
    async def main(service):
        sources = sources_of("a.mp3")
        await broken_off(service, path, sources, accepted={0} if accepted else ())
        service.hook = lambda call, _: httpx.Response(403) if call == "list" else None
        [first] = (await resume(service, path, sources)).values()
        between = states(path)
        service.hook = lambda *_: None
        [second] = (await resume(service, path, sources)).values()
        return service, first, second, between

    service, first, second, between = run(main)
    assert isinstance(first.error, SubmissionUncertainError)
    assert "cannot be read" in str(first.error)
    assert ({"ambiguous": 1}, None) == (between, second.error)
    assert 1 == service.starts.total()


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_list_that_is_refused_proves_nothing(path, status):
    async def main(service):
        sources = sources_of("a.mp3", "http://a.example/b.mp3")
        await broken_off(service, path, sources)
        service.hook = lambda call, _: httpx.Response(status) if call == "list" else None
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert [SubmissionUncertainError] * 2 == [type(outcome.error) for outcome in outcomes.values()]
    assert ({"ambiguous": 2}, 0) == (states(path), service.starts.total())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: httpx.Response(401), AuthenticationError),
        (lambda: httpx.Response(429, json={"detail": "daily limit"}), QuotaExhaustedError),
        (lambda: httpx.Response(502), ServiceUnavailableError),
        (lambda: httpx.ConnectError("refused"), ServiceUnavailableError),
    ],
)
def test_what_every_request_would_meet_ends_the_run_before_anything_is_sent(path, answer, error):
    async def main(service):
        sources = sources_of("a.mp3", "b.mp3")
        await broken_off(service, path, sources, accepted={0})
        service.hook = lambda call, _: answer() if call == "list" else None
        uploads = service.calls["upload"]
        with pytest.raises(error):
            await resume(service, path, [*sources, ("c.mp3", b"another")])
        return service.calls["upload"] - uploads

    assert 0 == run(main)
    assert {"left": 2} == states(path)


def test_a_service_that_is_back_after_a_while_is_waited_for(path):
    async def main(service):
        sources = sources_of("a.mp3", "b.mp3")
        await broken_off(service, path, sources, accepted={0})
        service.hook = lambda *_: httpx.Response(503) if anyio.current_time() < 300 else None
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert [None, None] == [outcome.error for outcome in outcomes.values()]
    assert {1} == set(service.starts.values())


# Other tasks of the account.


def test_anothers_task_of_the_same_name_and_time_is_not_taken_for_it(path):
    """The words of another recording would be the worst answer of all."""

    async def main(service):
        await resume(service, path, [("known.mp3", b"known")])
        sources = sources_of("talk.mp3")
        await broken_off(service, path, sources)
        service.start("talk.mp3", b"other words, uploaded by a colleague")
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert "task-3" == outcomes["talk.mp3"].task.task_id
    assert {1} == set(service.starts.values())


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_task_without_a_result_is_not_adopted(path, status):
    async def main(service):
        sources = sources_of("a.mp3")
        await broken_off(service, path, sources, accepted={0})
        service.tasks["task-1"].status = status
        await anyio.sleep(20)
        return await resume(service, path, sources)

    [outcome] = run(main).values()
    assert (None, "task-2") == (outcome.error, outcome.task.task_id)


def test_one_task_is_adopted_by_one_submission(path):
    """One recording, sent with two options, of which one was accepted: the other is not given its task as well."""

    async def main(service):
        sources = [("a.mp3", b"same")]
        await broken_off(service, path, sources, accepted={0})
        with anyio.move_on_after(5.0):
            service.hook = lambda call, _: anyio.sleep(math.inf) if call == "upload" else None
            await resume(service, path, sources, output_language="ru")
        assert {"running": 1, "left": 1} == states(path) or {"left": 2} == states(path)
        service.hook = lambda *_: None
        first = await resume(service, path, sources)
        second = await resume(service, path, sources, output_language="ru")
        return service, [*first.values(), *second.values()]

    _service, outcomes = run(main)
    tasks = [outcome.task.task_id for outcome in outcomes if outcome.task is not None]
    assert len(set(tasks)) == len(tasks)


def test_two_copies_that_are_uncertain_are_both_reported_and_neither_is_sent_again(path):
    async def main(service):
        service.source = lambda media: b"transcoded " + media
        service.after = lambda call, _, answer: LOST if call == "upload" else answer
        sources = [("a.mp3", b"same"), ("b.mp3", b"same")]
        return service, await resume(service, path, sources, concurrency=1)

    service, outcomes = run(main)
    assert ["a.mp3", "b.mp3"] == list(outcomes)
    assert [SubmissionUncertainError] * 2 == [type(outcome.error) for outcome in outcomes.values()]
    assert "b.mp3 may or may not have been accepted, and the same content was sent as" in str(outcomes["b.mp3"].error)
    assert (1, {"ambiguous": 1}) == (service.starts.total(), states(path))


# Sources.


def test_a_file_is_recognised_by_its_end_and_one_that_changed_since_by_what_it_was(tmp_path, path):
    """The journal knows the whole content that was sent; the file at its path may be another by now."""
    files = [tmp_path / f"{name}.mp3" for name in "abc"]
    for file in files:
        file.write_bytes(file.name.encode() * 50_000)
        os.utime(file, (10**10, 10**10))  # beyond what 64 bits of nanoseconds hold

    async def main(service):
        async def never(*_):
            await anyio.sleep(math.inf)

        service.after = lambda call, _, answer: never() if call == "upload" else answer
        with anyio.move_on_after(5.0):
            await resume(service, path, files)
        service.after = lambda _call, _request, answer: answer
        files[1].write_bytes(b"another recording")
        files[2].unlink()
        return service, await resume(service, path, files)

    service, outcomes = run(main)
    assert {"a.mp3": None, "b.mp3": None} == {
        name: outcome.error for name, outcome in outcomes.items() if name != "c.mp3"
    }
    assert ("task-1", "task-4") == (outcomes["a.mp3"].task.task_id, outcomes["b.mp3"].task.task_id)
    assert {1} == set(service.starts.values())
    assert {"done": 2, "running": 2} == states(path), "what was sent of the two changed ones is known to run"


@pytest.mark.parametrize("size", [100, 70_000, 600_000])
@pytest.mark.parametrize("ignores_range", [True, False])
def test_a_source_is_compared_whatever_the_service_makes_of_a_range(path, size, ignores_range):
    async def main(service):
        service.ignores_range = ignores_range
        sources = [("a.mp3", b"a" * size), ("b.mp3", b"b" * size)]
        await broken_off(service, path, sources, accepted={1})
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert [None, None] == [outcome.error for outcome in outcomes.values()]
    assert {1} == set(service.starts.values())


@pytest.mark.parametrize("late", ["list", "source"])
def test_what_lags_is_asked_for_a_second_time(path, late):
    """A replica of the list, or of the sources, that is some seconds behind."""

    async def main(service):
        sources = sources_of("a.mp3")
        await broken_off(service, path, sources, accepted={0})
        until = anyio.current_time() + 6.0
        service.hook = lambda call, _: (
            {"list": httpx.Response(200, json=[]), "source": httpx.Response(404)}[call]
            if call == late and anyio.current_time() < until
            else None
        )
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert (None, 1) == (outcomes["a.mp3"].error, service.starts.total())


def test_without_a_task_to_compare_with_other_bytes_prove_nothing(path):
    """A service that serves other bytes than were uploaded looks the same."""

    async def main(service):
        sources = sources_of("a.mp3")
        await broken_off(service, path, sources)
        service.start("another.mp3", b"another")
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert isinstance(outcomes["a.mp3"].error, SubmissionUncertainError)
    assert 0 == service.starts[b"content of 0"]


# URLs.


def test_a_url_is_recognised_by_the_url_where_the_list_shows_it_and_when_it_was_started(path):
    """An older task of the same URL is not taken for it: what the URL answers with may have changed."""

    async def main(service):
        service.shown = lambda task: {**task, "url": str(service.tasks[task["task_id"]].media)}
        service.start("x.mp3", "http://one.example/x.mp3?signature=1")
        await anyio.sleep(7200)
        await resume(service, path, [("known.mp3", b"known")])
        sources = sources_of("http://one.example/x.mp3?signature=1", "http://two.example/x.mp3")
        await broken_off(service, path, sources, accepted={1})
        return service, await resume(service, path, sources)

    _service, outcomes = run(main)
    assert {"http://one.example/x.mp3": "task-4", "http://two.example/x.mp3": "task-3"} == {
        name: outcome.task.task_id for name, outcome in outcomes.items()
    }


@pytest.mark.parametrize("accepted", [True, False])
def test_a_url_that_the_list_does_not_show_is_absent_only_where_nothing_else_is(path, accepted):
    async def main(service):
        sources = sources_of("http://one.example/x.mp3", "http://two.example/x.mp3")
        await broken_off(service, path, sources, accepted={0} if accepted else ())
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    errors = [SubmissionUncertainError] * 2 if accepted else [type(None)] * 2
    assert errors == [type(outcome.error) for outcome in outcomes.values()]
    assert (1 if accepted else 2) == service.starts.total()


def test_a_url_that_waits_for_its_turn_was_not_sent(path):
    """The mark is made when the request leaves, not when the item is taken up."""

    async def main(service):
        service.concurrency = 1
        sources = sources_of(*(f"http://a.example/{n}.mp3" for n in range(4)))
        service.after = lambda call, _, answer: anyio.sleep(math.inf) if call == "from_url" else answer
        with anyio.move_on_after(30.0):
            await resume(service, path, sources, concurrency=4)

    run(main)
    assert {"left": 1, "new": 3} == states(path)


# Pages.


def test_it_is_found_behind_many_newer_ones_and_pages_that_shift(path):
    async def main(service):
        await resume(service, path, [("known.mp3", b"known")])
        journal = path.with_name("second.db")
        sources = sources_of("a.mp3", "b.mp3")
        await broken_off(service, journal, sources, accepted={0})
        for number in range(45):
            service.start(f"other{number}.mp3", b"other %d" % number)

        def shifting(ids, first, size):
            if first == 20:
                service.start("newer.mp3", b"newer")  # while it is read, everything moves down by one
            return list(ids)[first : first + min(size, 20)]

        service.page, service.tells_total = shifting, False
        return service, await resume(service, journal, sources)

    service, outcomes = run(main)
    assert [None, None] == [outcome.error for outcome in outcomes.values()]
    assert (1, 1) == (service.starts[b"content of 0"], service.starts[b"content of 1"])


def test_a_list_that_cannot_be_read_back_to_the_submission_proves_nothing(path):
    """The service answers its newest page to whatever is asked for; the task is further down."""

    async def main(service):
        sources = sources_of("a.mp3")
        await broken_off(service, path, sources, accepted={0})
        for number in range(60):
            service.start(f"other{number}.mp3", b"other %d" % number)
        service.page, service.tells_total = lambda ids, *_: list(ids)[:20], False
        return service, await resume(service, path, sources)

    service, outcomes = run(main)
    assert isinstance(outcomes["a.mp3"].error, SubmissionUncertainError)
    assert 1 == service.starts[b"content of 0"]


def test_many_open_items_are_settled_together(path):
    """The list and each candidate's source are read for all at once, not for each item."""
    count = 300  # three pages of the list

    async def main(service):
        sources = sources_of(*(f"{number}.mp3" for number in range(count)))
        await broken_off(service, path, sources, accepted=range(0, count, 3))
        before = service.calls.copy()
        outcomes = await resume(service, path, sources, concurrency=count)
        return service, outcomes, service.calls - before

    service, outcomes, calls = run(main)
    assert {None} == {outcome.error for outcome in outcomes.values()}
    assert ({1}, count) == (set(service.starts.values()), service.starts.total())
    assert calls["list"] <= 30
    assert calls["source"] <= 2 * (count // 3) + 2, "the end, and the whole, because the media had no path"
