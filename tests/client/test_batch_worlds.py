"""Random worlds in virtual time: a batch that meets faults of every kind, is killed at random moments, and runs again.

Whatever happens: once a run ends undisturbed, each content was started exactly once, and every item is done.
"""

import itertools
import random
import shutil
from collections import Counter

import anyio
import attrs
import httpx
import pytest
from journal_states import rows
from virtual import RUNTIME, StubService, in_virtual_time

from polyglot_async import ApiConnectionError, ServerError, ServiceUnavailableError, SubmissionUncertainError

PAGE = "<html><title>Down for maintenance</title></html>"
BEFORE = (
    lambda: httpx.Response(500),
    lambda: httpx.Response(502, html=PAGE),
    lambda: httpx.Response(200, html=PAGE),
    lambda: httpx.Response(429, json={"detail": "too many requests"}, headers={"retry-after": "3"}),
    lambda: httpx.Response(408),
    lambda: httpx.ReadError("lost before it was taken in"),
    lambda: httpx.ConnectError("refused"),
    lambda: httpx.ReadTimeout("slow"),
)
AFTER = (
    lambda: httpx.Response(503, html=PAGE),
    lambda: httpx.Response(520),
    lambda: httpx.Response(200, html=PAGE),
    lambda: httpx.Response(200, json={"status": "queued"}),
    lambda: httpx.ReadError("lost after it was taken in"),
    lambda: httpx.RemoteProtocolError("garbled"),
)


class World:
    """A service with its faults, by a seed."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.share = self.dice.choice([0.0, 0.1, 0.3])
        self.is_calm = False
        self.outages = [(start, start + self.dice.uniform(1, 120)) for start in self.dice.sample(range(2000), 4)]
        self.service = StubService(lambda number: 5.0 + number % 7, latency=0.3)
        self.service.hook, self.service.after = self.before, self.after
        hidden = self.dice.choice([(), ("file_name",), ("created_at",), ("file_name", "created_at")])
        self.service.shown = lambda task: {name: value for name, value in task.items() if name not in hidden}
        self.service.tells_total = self.dice.random() < 0.5
        self.service.ignores_range = self.dice.random() < 0.2

    def client(self):
        runtime = attrs.evolve(RUNTIME, random=self.dice.random)
        return self.service.client(runtime=runtime, max_retries=self.dice.choice([0, 2, 4]))

    def before(self, call, _):
        if self.is_calm:
            return None
        if any(start <= anyio.current_time() < end for start, end in self.outages):
            return self.dice.choice([BEFORE[1], BEFORE[2], BEFORE[6]])()
        return self.dice.choice(BEFORE)() if self.dice.random() < self.share else None

    def after(self, call, _, answer):
        if self.is_calm or isinstance(answer, Exception) or answer.status_code >= 300:
            return answer
        return self.dice.choice(AFTER)() if self.dice.random() < self.share / (1 if call == "upload" else 4) else answer


async def copy_at(journal, seconds):
    """Copy a journal's files after some seconds."""
    await anyio.sleep(seconds)
    for file in journal.parent.glob(f"{journal.name}*"):
        shutil.copy(file, journal.parent / f"killed-{file.name}")


async def run_until_killed(world, journal, sources, seconds):
    """Run a batch, and kill it after some seconds: what stands on the disk then is all that is left of it."""
    errors = []
    with anyio.move_on_after(seconds) as scope:
        try:
            async with (
                world.client() as client,
                client.batch(
                    sources, journal=journal, concurrency=world.dice.choice([1, 3, 8]), results="task"
                ) as outcomes,
                anyio.create_task_group() as group,
            ):
                group.start_soon(copy_at, journal, seconds - 0.001)
                errors = [outcome.error async for outcome in outcomes if not outcome.ok]
                group.cancel_scope.cancel()
        except (ServiceUnavailableError, ApiConnectionError, ServerError) as error:
            errors.append(error)
    if scope.cancelled_caught:
        for file in journal.parent.glob(f"killed-{journal.name}*"):
            file.rename(journal.parent / file.name.removeprefix("killed-"))
        return None
    return errors


async def live_through(world, journal, sources):
    """Run six times, disturbed, and then twice without any disturbance; return the errors of the last two."""
    for _ in range(6):
        await run_until_killed(world, journal, sources, world.dice.uniform(0.5, 90))
        assert {1} >= set(world.service.starts.values()), world.service.starts
        await anyio.sleep(world.dice.uniform(1, 100))
    world.is_calm = True
    return [error for _ in range(2) for error in await run_until_killed(world, journal, sources, 10_000)]


def lags(service):
    """The list shows a task some seconds after it was started."""

    def page(ids, first, size):
        shown = [task_id for task_id in ids if service.tasks[task_id].began < anyio.current_time() - 6]
        return shown[first : first + size]

    service.tells_total, service.page = False, page


def is_shared(service):
    """Somebody else starts tasks on the account, of files with the same names."""
    numbers, before = itertools.count(), service.hook

    def hook(call, request):
        if call == "list" and next(numbers) % 4 == 0:
            service.start(f"{next(numbers) % 9}.mp3", b"another's, number %d" % next(numbers))
        return before(call, request)

    service.hook = hook


def hides_sources(service):
    """A source can be read now and then."""
    service.source = lambda media: media if anyio.current_time() % 20 > 5 else None


def transcodes(service):
    service.source = lambda media: b"transcoded " + media


SOURCES = [(f"{number % 9}.mp3", b"content of %d" % (number % 14)) for number in range(18)]  # four come twice
CONTENTS = [content for _, content in SOURCES[:14]]


@pytest.mark.parametrize(
    "kind", [lambda _: None, lags, is_shared, hides_sources], ids=["true", "lags", "shared", "hides"]
)
@pytest.mark.parametrize("seed", range(12))
def test_each_content_is_started_once_and_every_item_is_done(seed, kind, tmp_path):
    journal, world = tmp_path / "archive.db", World(seed)
    kind(world.service)
    errors = in_virtual_time(live_through, world, journal, SOURCES)
    assert not [error for error in errors if isinstance(error, SubmissionUncertainError)]
    assert [1] * 14 == [world.service.starts[content] for content in CONTENTS]
    assert {"done": 14} == dict(Counter(state for (state,) in rows(journal, "state")))


@pytest.mark.parametrize("seed", range(12))
def test_where_sources_prove_nothing_an_item_may_stay_uncertain_and_is_not_sent_twice(seed, tmp_path):
    journal, world = tmp_path / "archive.db", World(seed)
    transcodes(world.service)
    in_virtual_time(live_through, world, journal, SOURCES)
    assert {1} == set(world.service.starts.values())
    left = Counter(state for (state,) in rows(journal, "state"))
    assert 14 == left["done"] + left["ambiguous"]
    assert left["done"] <= world.service.starts.total()
