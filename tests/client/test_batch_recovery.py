"""What an earlier run left open is found, proven absent or parked; never lost, never paid for twice unasked."""

import json
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import attrs
import pytest

from polyglot_async import AsyncPolyglot, QuotaExhaustedError, SubmissionUncertainError
from polyglot_async._state.journal import locked_journal, read_journal
from polyglot_async._tasks import recovery
from polyglot_async._tasks.schedule import Pace
from polyglot_async._uploads.fingerprint import key_of_bytes, key_of_url

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend():
    """One loop but where it is said: the core ones run on both."""
    return "asyncio"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recovery, "SETTLING_SECONDS", 0.05)


@attrs.define
class Service:
    """A service whose list says what a test wants said. `renames` is what it makes of a file's name."""

    tasks: list = attrs.field(factory=list)
    uploads: Counter = attrs.field(factory=Counter)
    lists: int = 0
    renames: object = staticmethod(lambda name: name)
    skew: timedelta = timedelta(0)
    pages: object = None
    hidden: tuple = ()
    broken: int | None = None
    loses_answers: bool = False

    def add(self, name, *, age=0.0, **fields):
        created = datetime.now(UTC) + self.skew - timedelta(seconds=age)
        task = {
            "task_id": f"t-{len(self.tasks) + 1}",
            "status": "completed",
            "file_name": self.renames(name),
            "created_at": created.isoformat(),
            **fields,
        }
        self.tasks.insert(0, {key: value for key, value in task.items() if key not in self.hidden})
        return task["task_id"]

    def __call__(self, asked):
        headers = {"Date": format_datetime(datetime.now(UTC) + self.skew, usegmt=True)}
        if asked.path.endswith("/documentation"):
            return 404, headers, b"{}"
        if asked.method == "POST":
            name = (
                json.loads(asked.body)["url"]
                if asked.path.endswith("from-url")
                else re.search(rb'filename="([^"]*)"', asked.body)[1].decode()
            )
            self.uploads[name] += 1
            started = json.dumps({"task_id": self.add(name.split("/")[-1]), "status": "queued"})
            return None if self.loses_answers else (200, headers, started.encode())
        if asked.path.endswith("/transcriptions"):
            self.lists += 1
            if self.broken:
                return self.broken, headers, json.dumps({"detail": "daily" if self.broken == 429 else "no"}).encode()
            query = dict(part.split("=") for part in asked.query.split("&"))
            first, size = int(query.get("offset", 0)), int(query["limit"])
            page = self.pages(first, size) if self.pages else self.tasks[first : first + size]
            return 200, headers, json.dumps(page).encode()
        [task] = [task for task in self.tasks if asked.path.endswith(task["task_id"])]
        return 200, headers, json.dumps(task).encode()


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.db"


@pytest.fixture
def resume(serve, service, path, anyio_backend):
    """Runs a batch on the journal."""
    server = serve(service)

    async def resume(sources, **options):
        async with AsyncPolyglot("sk_x", base_url=server.url, max_retries=0) as client:
            client._watcher.pace = Pace(floor=0.02)
            async with client.batch(sources, journal=path, results="task", **options) as outcomes:
                return {outcome.name: outcome async for outcome in outcomes}

    return resume


async def left(path, *names, state="submitting", ago=1.0, contents=None):
    """Leave items as a killed run does; give them as sources."""
    sources = []
    with locked_journal(path) as journal:
        for number, name in enumerate(names):
            if name.startswith("http"):
                key, source = key_of_url(name, {}), name
            else:
                content = (contents or {}).get(number, b"content %d" % number)
                key, source = key_of_bytes(content, {}), (name, content)
            await journal.add(key, name, None, "[]")
            await journal.submitting(key, name)
            if state == "uncertain":
                await journal.uncertain(key, "the line went dead")
            await journal._write("UPDATE items SET submitted_at = ? WHERE key = ?", (time.time() - ago, key))
            sources.append(source)
    return sources


def states(path):
    return Counter(str(entry.state) for entry in read_journal(path)[0])


@pytest.mark.parametrize("state", ["submitting", "uncertain"])
@pytest.mark.parametrize("skew", [timedelta(0), timedelta(hours=-5), timedelta(hours=5)], ids=str)
async def test_what_was_accepted_is_found_and_what_was_not_is_sent(service, path, resume, state, skew):
    service.skew = skew
    sources = await left(path, "a.mp3", "b.mp3", state=state)
    service.add("a.mp3")
    outcomes = await resume(sources)
    assert (True, True, "t-1") == (outcomes["a.mp3"].ok, outcomes["b.mp3"].ok, outcomes["a.mp3"].task.task_id)
    assert {"b.mp3": 1} == service.uploads
    assert {"done": 2} == states(path)
    assert 2 == service.lists, "one look for all: a page, and the empty one behind it"


async def test_a_journal_with_nothing_open_asks_nothing(service, resume):
    await resume([("a.mp3", b"a")])
    assert 0 == service.lists


async def test_what_is_open_is_settled_even_if_it_is_no_source_of_this_run(service, path, resume):
    await left(path, "a.mp3", "b.mp3")
    service.add("a.mp3")
    assert {} == await resume([])
    assert {"running": 1, "new": 1} == states(path)


@pytest.mark.parametrize("on_uncertain", ["park", "retry", "raise"])
@on_both_loops
async def test_of_two_of_one_name_of_which_one_was_accepted_nobody_can_tell_which(
    anyio_backend, service, path, resume, on_uncertain
):
    sources = await left(path, "x.mp3", "x.mp3")
    service.add("x.mp3")
    if on_uncertain == "raise":
        with pytest.raises(SubmissionUncertainError) as caught:
            await resume(sources, on_uncertain=on_uncertain)
        assert ["t-1"] == [task.task_id for task in caught.value.candidates]
    else:
        await resume(sources, on_uncertain=on_uncertain)
    assert (2 if on_uncertain == "retry" else 0) == service.uploads.total()
    assert ({"done": 2} if on_uncertain == "retry" else {"uncertain": 2}) == states(path)


async def test_of_two_of_one_name_of_which_none_was_accepted_both_are_sent(service, path, resume):
    sources = await left(path, "x.mp3", "x.mp3")
    await resume(sources)
    assert (2, {"done": 2}) == (service.uploads.total(), states(path))


async def test_a_parked_one_is_looked_for_again_by_the_next_run(service, path, resume):
    sources = await left(path, "a.mp3", state="uncertain")
    service.broken = 500
    [outcome] = (await resume(sources)).values()
    assert isinstance(outcome.error, SubmissionUncertainError)
    assert "cannot be read" in str(outcome.error)
    service.broken = None
    service.add("a.mp3")
    [outcome] = (await resume(sources)).values()
    assert (True, 0) == (outcome.ok, service.uploads.total())


@pytest.mark.parametrize("status", [403, 404, 500])
@on_both_loops
async def test_a_list_that_cannot_be_read_proves_nothing(anyio_backend, service, path, resume, status):
    sources = await left(path, "a.mp3")
    service.broken = status
    [outcome] = (await resume(sources)).values()
    assert isinstance(outcome.error, SubmissionUncertainError)
    assert ({"uncertain": 1}, 0) == (states(path), service.uploads.total())


async def test_a_spent_quota_ends_the_run_before_it_begins(service, path, resume):
    sources = await left(path, "a.mp3")
    service.broken = 429
    with pytest.raises(QuotaExhaustedError):
        await resume(sources)
    assert {"submitting": 1} == states(path)


# What proves no absence.


@pytest.mark.parametrize(
    ("renames", "name"),
    [
        (lambda name: name.replace(" ", "_").lower(), "My Talk.mp3"),
        (lambda _: "0b5e7c.bin", "a.mp3"),
        (lambda name: name.replace('"', "%22"), 'a"b.mp3'),
    ],
    ids=["sanitised", "made up", "escaped"],
)
async def test_a_service_that_changes_names_makes_nobody_pay_twice(service, path, resume, renames, name):
    service.renames = renames
    sources = await left(path, name)
    service.add(name)
    [outcome] = (await resume(sources)).values()
    assert isinstance(outcome.error, SubmissionUncertainError)
    assert ["t-1"] == [task.task_id for task in outcome.error.candidates]
    assert 0 == service.uploads.total()


async def test_nor_if_it_is_seen_to_change_those_that_are_known(service, path, resume):
    service.renames = str.upper
    await resume([("known.mp3", b"known")])
    sources = await left(path, "a.mp3")
    service.add("a.mp3")
    [outcome] = (await resume(sources)).values()
    assert (False, 1) == (outcome.ok, service.uploads.total())


async def test_where_names_are_seen_to_be_kept_others_tasks_disturb_nobody(service, path, resume):
    await resume([("known.mp3", b"known")])
    sources = await left(path, "a.mp3")
    service.add("somebody-elses.mp3")
    [outcome] = (await resume(sources)).values()
    assert (True, 1) == (outcome.ok, service.uploads["a.mp3"])


async def test_without_anything_to_go_by_another_task_may_be_ours(service, path, resume):
    """It bears another name, but nothing shows that this service keeps names."""
    sources = await left(path, "a.mp3")
    service.add("somebody-elses.mp3")
    [outcome] = (await resume(sources)).values()
    assert (False, 0) == (outcome.ok, service.uploads.total())


@pytest.mark.parametrize("hidden", ["created_at", "file_name"])
async def test_a_list_that_does_not_say_when_or_what_proves_nothing(service, path, resume, hidden):
    service.hidden = (hidden,)
    sources = await left(path, "a.mp3")
    service.add("b.mp3")
    [outcome] = (await resume(sources)).values()
    assert (False, 0) == (outcome.ok, service.uploads.total())


async def test_an_older_task_of_the_same_name_is_not_taken_for_it(service, path, resume):
    service.add("a.mp3", age=60.0)
    sources = await left(path, "a.mp3")
    [outcome] = (await resume(sources)).values()
    assert ("t-2", 1) == (outcome.task.task_id, service.uploads.total())


async def test_a_task_that_the_journal_knows_is_anothers(service, path, resume):
    await resume([("a.mp3", b"first content")])
    sources = await left(path, "a.mp3")
    [outcome] = (await resume(sources)).values()
    assert ("t-2", 2) == (outcome.task.task_id, service.uploads.total())


async def test_a_clock_that_was_set_back_proves_nothing(service, path, resume):
    sources = await left(path, "a.mp3", ago=-3600.0)
    [outcome] = (await resume(sources)).values()
    assert (False, 0) == (outcome.ok, service.uploads.total())


async def test_a_file_that_was_renamed_meanwhile_is_looked_for_under_its_old_name(service, path, resume):
    [(_, content)] = await left(path, "old.mp3")
    service.add("old.mp3")
    [outcome] = (await resume([("new.mp3", content)])).values()
    assert (True, 0) == (outcome.ok, service.uploads.total())


async def test_urls_that_end_alike_are_not_taken_for_each_other(service, path, resume):
    sources = await left(path, "http://one.example/x.mp3", "http://two.example/x.mp3")
    service.add("x.mp3")
    outcomes = await resume(sources)
    assert [False, False] == [outcome.ok for outcome in outcomes.values()]
    assert 0 == service.uploads.total()


# Pages.


async def test_it_is_found_behind_many_newer_ones_and_pages_that_shift(service, path, resume):
    sources = await left(path, "a.mp3", "b.mp3")
    service.add("a.mp3")
    for number in range(230):
        service.add(f"other{number}.mp3")

    def shifting(first, size):
        if first == 100:
            service.add("newer.mp3")  # while we read, everything moves down by one
        return service.tasks[first : first + size]

    service.pages = shifting
    outcomes = await resume(sources)
    assert (True, True) == (outcomes["a.mp3"].ok, outcomes["b.mp3"].ok)
    assert {"b.mp3": 1} == service.uploads


async def test_a_service_that_does_not_page_proves_nothing(service, path, resume):
    sources = await left(path, "a.mp3")
    for number in range(150):
        service.add("a.mp3" if number == 0 else f"other{number}.mp3")
    service.pages = lambda _, size: service.tasks[:size]
    [outcome] = (await resume(sources)).values()
    assert (False, 0) == (outcome.ok, service.uploads.total())


# Time.


async def test_what_may_still_arrive_is_waited_for(service, path, resume, monkeypatch):
    """The killed process sent its last bytes just now, and the service takes them a moment later."""
    monkeypatch.setattr(recovery, "SETTLING_SECONDS", 0.6)
    sources = await left(path, "a.mp3", ago=100.0)

    async def late():
        await anyio.sleep(0.3)
        service.add("a.mp3")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(late)
        [outcome] = (await resume(sources)).values()
    assert (True, 0) == (outcome.ok, service.uploads.total())


async def test_of_what_was_left_uncertain_long_ago_nothing_can_arrive_any_more(path, resume, monkeypatch):
    sources = await left(path, "a.mp3", state="uncertain")
    with locked_journal(path) as journal:
        await journal._write("UPDATE items SET updated_at = ?", (time.time() - 100,))
    monkeypatch.setattr(recovery, "SETTLING_SECONDS", 50.0)
    with anyio.fail_after(5):
        assert 1 == len(await resume(sources))


async def test_an_uncertain_item_is_not_sent_again_for_its_twin_in_the_same_run(service, path, resume):
    service.hidden = ("created_at",)
    service.loses_answers = True
    outcomes = await resume([("a.mp3", b"same"), ("b.mp3", b"same")], concurrency=1)
    assert [SubmissionUncertainError] * 2 == [type(outcome.error) for outcome in outcomes.values()]
    assert 1 == service.uploads.total()
    assert {"uncertain": 1} == states(path)
