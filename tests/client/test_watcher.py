"""One poller for all waits: how many requests it spends, how late it is, and what it survives."""

import random

import anyio
import attrs
import httpx
import pytest
from virtual import StubService, in_virtual_time

from polyglot_async import (
    AuthenticationError,
    NotFoundError,
    ResponseDecodeError,
    TaskCancelledError,
    TaskFailedError,
    WaitTimeoutError,
)
from polyglot_async._models import TaskStatus, WebhookEvent
from polyglot_async._tasks.schedule import Pace
from polyglot_async.sandbox import ScriptedEngine

AUDIO = b"some bytes of audio"
QUICK = Pace(floor=0.02, ceiling=0.1)


@pytest.fixture
def sandbox(polyglot_sandbox_factory, request):
    seconds = getattr(request, "param", 0.15)
    return polyglot_sandbox_factory(
        engine=ScriptedEngine("words", seconds=seconds, fail=lambda name, _: "no speech" if "bad" in name else None)
    )


@pytest.fixture
async def client(anyio_backend, connect):
    async with connect() as client:
        client._watcher.pace = QUICK
        yield client


pytestmark = pytest.mark.anyio


async def wait_all(client, tasks, **options):
    ended = {}

    async def one(task):
        try:
            ended[task.task_id] = await client.transcriptions.wait(task, **options)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ended[task.task_id] = error

    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(one, task)
    return [ended[task.task_id] for task in tasks]


async def start_all(client, count, name="a{}.mp3"):
    return [await client.transcriptions.upload((name.format(number), AUDIO)) for number in range(count)]


# Against the sandbox, with its ledger as the witness.


async def test_a_single_wait_asks_for_its_one_task(sandbox, client):
    [task] = await start_all(client, 1)
    done = await client.transcriptions.wait(task)
    assert ("completed", 2.4) == (done.status, done.audio_duration_seconds)
    assert 0 == sandbox.ledger.count("list") < sandbox.ledger.count("get")


async def test_several_waits_share_the_list(sandbox, client):
    tasks = await start_all(client, 12)
    ended = await wait_all(client, tasks)
    assert {"completed"} == {task.status for task in ended}
    assert 12 > sandbox.ledger.count("list") + sandbox.ledger.count("get")


async def test_a_final_task_costs_no_request(sandbox, client):
    [task] = await start_all(client, 1)
    done = await client.transcriptions.wait(task)
    asked = sandbox.ledger.count()
    assert done is await client.transcriptions.wait(done)
    assert asked == sandbox.ledger.count()


async def test_each_ends_as_it_deserves_and_none_for_another(sandbox, client):
    good, bad, other = [*await start_all(client, 1), *await start_all(client, 2, "bad{}.mp3")]
    sandbox.cancel(other.task_id)
    lost = attrs.evolve(good, task_id="nobody-knows-me")
    ended = await wait_all(client, [good, bad, other, lost])
    assert ["completed", TaskFailedError, TaskCancelledError, NotFoundError] == [
        getattr(ended[0], "status", None),
        *map(type, ended[1:]),
    ]
    assert "no speech" == ended[1].failure_reason


async def test_two_waits_for_one_task_are_served_by_one_look(sandbox, client):
    [task] = await start_all(client, 1)
    assert 2 == len(await wait_all(client, [task, attrs.evolve(task)]))
    assert 0 == sandbox.ledger.count("list")


@pytest.mark.parametrize("sandbox", [30.0], indirect=True)
async def test_patience_ends_and_the_task_goes_on(sandbox, client):
    [task] = await start_all(client, 1)
    with pytest.raises(WaitTimeoutError) as caught:
        await client.transcriptions.wait(task, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert (task.task_id, "processing") == (caught.value.task.task_id, caught.value.task.status)
    assert {} == client._watcher._waits


@pytest.mark.parametrize("sandbox", [0.5], indirect=True)
async def test_when_the_one_who_looks_is_cancelled_another_takes_over(sandbox, client):
    first, second = await start_all(client, 2)
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.1) as scope:
            group.start_soon(client.transcriptions.wait, second)
            await client.transcriptions.wait(first)
    assert scope.cancelled_caught
    assert {} == client._watcher._waits
    assert "completed" == sandbox.task(second.task_id)["status"]


@pytest.mark.parametrize("sandbox", [0.3], indirect=True)
async def test_cancelled_in_the_middle_of_a_look_too(sandbox, client):
    first, second = await start_all(client, 2)
    sandbox.faults.add("latency call=list seconds=1 times=1")
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.3):
            group.start_soon(client.transcriptions.wait, second)
            await client.transcriptions.wait(first)
    assert {} == client._watcher._waits


@pytest.mark.parametrize(
    "fault",
    ["status call={} status=500 times=4", "reset_after_body call={} times=4", "status call={} status=429 times=1"],
)
@pytest.mark.parametrize(("anyio_backend", "count"), [("asyncio", 1), ("trio", 3)])
async def test_what_passes_is_waited_out(anyio_backend, sandbox, client, fault, count):
    tasks = await start_all(client, count)
    sandbox.faults.add(fault.format("get" if count == 1 else "list"))
    assert {"completed"} == {task.status for task in await wait_all(client, tasks)}


async def test_garbage_is_survived_for_a_while_and_then_told(sandbox, client):
    [task] = await start_all(client, 1)
    sandbox.faults.add("garbage call=get times=3")
    assert "completed" == (await client.transcriptions.wait(task)).status
    [task] = await start_all(client, 1)
    sandbox.faults.add("garbage call=get times=forever")
    with pytest.raises(ResponseDecodeError):
        await client.transcriptions.wait(task)
    sandbox.faults.clear()
    assert "completed" == (await client.transcriptions.wait(task)).status


async def test_what_will_not_pass_ends_all_waits_with_it(sandbox, client):
    tasks = await start_all(client, 3)
    sandbox.faults.add("status call=list status=401 times=forever")
    assert [AuthenticationError] * 3 == [type(error) for error in await wait_all(client, tasks)]


@pytest.mark.parametrize("sandbox", [30.0], indirect=True)
async def test_told_from_outside_a_wait_ends_with_no_look(sandbox, client):
    client._watcher.told = True
    good, bad = await start_all(client, 2)
    sandbox.ledger.clear()
    ended = []

    async def one(task):
        try:
            ended.append((await client.transcriptions.wait(task)).transcript_preview)
        except TaskFailedError as error:
            ended.append(error.failure_reason)

    def event(task, status, **more):
        return WebhookEvent(event="transcription", task_id=task.task_id, status=TaskStatus(status), **more)

    async with anyio.create_task_group() as group:
        for task in (good, bad):
            group.start_soon(one, task)
        await anyio.sleep(0.2)
        client._watcher.tell(event(good, "completed", transcript_preview="Hello"))
        await anyio.sleep(0.02)
        client._watcher.tell(event(bad, "failed", failure_reason="noise"))
    assert ["Hello", "noise"] == ended
    assert 0 == sandbox.ledger.count()


# In virtual time, with a stub for the service.


def virtually(count, seconds, *, concurrency, told=False, latency=0.05, **options):
    """`concurrency` at a time start a task and wait for it; give the looks per task, and the mean lateness in it."""

    async def main():
        service = StubService(seconds, latency=latency, **options)
        late, ids = [], iter(range(count))

        async def worker(client):
            for _ in ids:
                task = await client.transcriptions.upload(("a.mp3", AUDIO))
                await client.transcriptions.wait(task)
                true = service.tasks[task.task_id]
                late.append((anyio.current_time() - true.ends) / (true.ends - true.began))

        async with service.client() as client:
            client._watcher.told = told
            async with anyio.create_task_group() as group:
                for _ in range(concurrency):
                    group.start_soon(worker, client)
        looks = service.calls["list"] + service.calls["get"]
        return looks / count, sum(late) / count, service

    return in_virtual_time(main)


@pytest.mark.parametrize(
    ("concurrency", "spread", "most_looks", "most_late"),
    [
        (1, 0.0, 1.3, 0.04),
        (8, 0.0, 0.25, 0.04),
        (32, 0.0, 0.08, 0.07),
        (1, 0.5, 2.0, 0.45),
        (8, 0.5, 1.1, 0.15),
        (32, 0.5, 0.6, 0.10),
    ],
)
@pytest.mark.parametrize("length", [5.0, 60.0])
def test_the_looks_adapt_to_how_long_tasks_take(length, concurrency, spread, most_looks, most_late):
    dice = random.Random(7)
    looks, late, _ = virtually(
        20 * concurrency if concurrency > 1 else 200,
        lambda _: length * dice.uniform(1 - spread, 1 + spread),
        concurrency=concurrency,
    )
    assert (looks, late) <= (most_looks, 1.0)
    assert late <= most_late


def test_tasks_that_become_ten_times_faster_or_slower_are_found_out():
    looks, late, _ = virtually(1000, lambda number: 60.0 if number < 200 else 6.0, concurrency=8)
    assert looks < 0.4
    assert late < 2.5, "a few are seen after 60 s that took 6"
    looks, late, _ = virtually(400, lambda number: 6.0 if number < 200 else 60.0, concurrency=8)
    assert looks < 0.8
    assert late < 0.1


def test_two_hundred_waits_need_as_many_looks_as_one():
    _looks, late, service = virtually(200, lambda _: 30.0, concurrency=200)
    assert service.calls["list"] <= 40, "two pages each"
    assert 0 == service.calls["get"]
    assert late < 0.3


def test_a_task_that_fell_off_the_list_is_asked_for_by_itself_and_only_then():
    """Behind three pages of other people's tasks: as long as pages are cheaper than single looks, pages are read."""

    async def main(count):
        service = StubService(lambda _: 5.0)
        async with service.client() as client:
            ids = [service.start().json()["task_id"]]
            for number in range(count):
                service.calls["upload"] = 1000 + number
                ids.append(service.start().json()["task_id"])
            for number in range(300):
                service.calls["upload"] = 5000 + number
                service.start()
            service.calls.clear()
            await anyio.sleep(10)
            async with anyio.create_task_group() as group:
                for task_id in ids:
                    group.start_soon(client.transcriptions.wait, task_id)
        return service.calls

    few, many = in_virtual_time(main, 1), in_virtual_time(main, 50)
    assert (2 >= few["list"], 2) == (True, few["get"])
    assert (4, 1 >= many["get"]) == (many["list"], True)


@pytest.mark.parametrize("comes", [True, False])
def test_with_events_looking_is_a_safety_net(comes):
    """An event that does not come is made up for; where they come, nobody looks."""

    async def main():
        service = StubService(lambda _: 40.0)
        async with service.client() as client:
            client._watcher.told = True
            task = await client.transcriptions.upload(("a.mp3", AUDIO))
            async with anyio.create_task_group() as group:
                group.start_soon(client.transcriptions.wait, task)
                await anyio.sleep(41)
                if comes:
                    event = WebhookEvent(event="e", task_id=task.task_id, status=TaskStatus.COMPLETED)
                    client._watcher.tell(event)
            return service.calls["get"], anyio.current_time()

    looks, ended = in_virtual_time(main)
    assert (0, 41) == (looks, ended) if comes else (looks == 1 and 41 < ended <= 100)


def test_a_rhythm_of_ones_own_is_kept():
    async def main():
        service, looks = StubService(lambda _: 10.0), []
        service.hook = lambda call, _: looks.append(anyio.current_time()) if call == "get" else None
        async with service.client() as client:
            task = await client.transcriptions.upload(("a.mp3", AUDIO))
            await client.transcriptions.wait(task, poll_interval=3.0)
        return looks

    assert [3.0, 6.0, 9.0, 12.0] == pytest.approx(in_virtual_time(main))


def test_a_service_that_is_down_for_an_hour_is_asked_rarely_and_then_answers():
    async def main():
        service = StubService(lambda _: 10.0)

        def hook(call, _):
            if call in {"get", "list"} and anyio.current_time() < 3600:
                return httpx.Response(503) if anyio.current_time() % 2 < 1 else httpx.ConnectError("down")
            return None

        service.hook = hook
        async with service.client() as client:
            tasks = [await client.transcriptions.upload((f"{n}.mp3", AUDIO)) for n in range(5)]
            await wait_all(client, tasks)
        return anyio.current_time(), service.calls["list"] + service.calls["get"]

    ended, looks = in_virtual_time(main)
    assert 3600 < ended < 3660
    assert looks < 3 * 3600 / 30 + 100
