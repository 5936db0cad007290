"""Waits for tasks, which one poller serves: how many requests it spends, how late it is, and what it survives."""

import logging
import random
import time

import anyio
import attrs
import httpx
import pytest
from virtual import StubService, in_virtual_time

from polyglot_async import (
    ApiConnectionError,
    AsyncPolyglot,
    AuthenticationError,
    NotFoundError,
    PollSchedule,
    ResponseDecodeError,
    Runtime,
    TaskCancelledError,
    TaskFailedError,
    TaskStatus,
    WaitTimeoutError,
    WebhookEvent,
)
from polyglot_async.sandbox import ScriptedEngine

AUDIO = b"some bytes of audio"
OFTEN = Runtime(poll_schedule=PollSchedule(min_interval=0.02, max_interval=0.1))


@pytest.fixture
def sandbox(polyglot_sandbox_factory, request):
    seconds = getattr(request, "param", 0.15)
    return polyglot_sandbox_factory(
        engine=ScriptedEngine("words", seconds=seconds, fail=lambda name, _: "no speech" if "bad" in name else None)
    )


@pytest.fixture
async def client(anyio_backend, connect):
    async with connect(runtime=OFTEN) as client:
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


class Receiver:
    """Takes the place of a webhook receiver: `send` hands its events to whoever has subscribed."""

    def __init__(self):
        self.subscribers = []

    def subscribe(self, callback):
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def send(self, task_id, status="completed", **more):
        event = WebhookEvent(event=f"transcription.{status}", task_id=task_id, status=TaskStatus(status), **more)
        for subscriber in list(self.subscribers):
            subscriber(event)


# Against the sandbox; its ledger says what was asked.


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


async def test_each_wait_ends_as_its_own_task_does(sandbox, client):
    good, bad, other = [*await start_all(client, 1), *await start_all(client, 2, "bad{}.mp3")]
    sandbox.cancel(other.task_id)
    lost = attrs.evolve(good, task_id="nobody-knows-me")
    ended = await wait_all(client, [good, bad, other, lost])
    assert ["completed", TaskFailedError, TaskCancelledError, NotFoundError] == [
        getattr(ended[0], "status", None),
        *map(type, ended[1:]),
    ]
    assert "no speech" == ended[1].failure_reason


async def test_two_waits_for_one_task_are_served_by_one_poll(sandbox, client):
    [task] = await start_all(client, 1)
    assert 2 == len(await wait_all(client, [task, attrs.evolve(task)]))
    assert 0 == sandbox.ledger.count("list")


@pytest.mark.parametrize("sandbox", [30.0], indirect=True)
async def test_a_timeout_ends_the_wait_and_its_polls_and_the_task_goes_on(sandbox, client):
    [task] = await start_all(client, 1)
    with pytest.raises(WaitTimeoutError, match="last seen processing") as caught:
        await client.transcriptions.wait(task, timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.__cause__ is None
    assert (task.task_id, "processing") == (caught.value.task.task_id, caught.value.task.status)
    polls = sandbox.ledger.count()
    await anyio.sleep(0.2)
    assert polls == sandbox.ledger.count()


@pytest.mark.parametrize("sandbox", [0.5], indirect=True)
async def test_when_the_waiter_that_polls_is_cancelled_another_takes_over(sandbox, client):
    first, second = await start_all(client, 2)
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.1) as scope:
            group.start_soon(client.transcriptions.wait, second)
            await client.transcriptions.wait(first)
    assert scope.cancelled_caught
    assert "completed" == sandbox.task(second.task_id)["status"]


@pytest.mark.parametrize("sandbox", [0.3], indirect=True)
async def test_another_takes_over_from_one_that_is_cancelled_in_the_middle_of_a_poll(sandbox, client):
    first, second = await start_all(client, 2)
    sandbox.faults.add("latency call=list seconds=1 times=1")
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.3):
            group.start_soon(client.transcriptions.wait, second)
            await client.transcriptions.wait(first)
    assert "completed" == sandbox.task(second.task_id)["status"]


@pytest.mark.parametrize(
    "fault", ["status call={} status=500", "status call={} status=429 retry_after=0", "reset_after_body call={}"]
)
@pytest.mark.parametrize(("anyio_backend", "count"), [("asyncio", 1), ("trio", 3)])
async def test_a_failure_that_passes_is_waited_out(anyio_backend, sandbox, client, fault, count):
    tasks = await start_all(client, count)
    sandbox.faults.add(fault.format("get" if count == 1 else "list"))
    assert {"completed"} == {task.status for task in await wait_all(client, tasks)}


async def test_a_failure_that_does_not_pass_ends_all_waits_with_it(sandbox, client):
    tasks = await start_all(client, 3)
    for call in ("list", "get"):  # the first wait may be alone when it looks
        sandbox.faults.add(f"status call={call} status=401 times=forever")
    ended = await wait_all(client, tasks)
    assert [AuthenticationError] * 3 == list(map(type, ended))
    assert tasks == [error.task for error in ended]


@pytest.mark.parametrize("sandbox", [30.0], indirect=True)
async def test_an_event_ends_its_wait_without_a_poll(sandbox, client):
    receiver, ended = Receiver(), []
    client.use_webhooks(receiver)
    good, bad = await start_all(client, 2)
    sandbox.ledger.clear()

    async def one(task):
        try:
            ended.append((await client.transcriptions.wait(task)).transcript_preview)
        except TaskFailedError as error:
            ended.append(error.failure_reason)

    async with anyio.create_task_group() as group:
        for task in (good, bad):
            group.start_soon(one, task)
        await anyio.sleep(0.2)
        receiver.send(good.task_id, transcript_preview="Hello")
        await anyio.sleep(0.02)
        receiver.send(bad.task_id, "failed", failure_reason="noise")
    assert ["Hello", "noise"] == ended
    assert 0 == sandbox.ledger.count()


# Servers that cannot be reached, and timeouts.


async def test_a_wait_that_never_reached_the_service_says_so_and_why(anyio_backend, connect, free_port):
    """One poll had time to fail; a status is not made up."""
    url = f"http://127.0.0.1:{free_port}/api/v1"
    async with connect(base_url=url) as client:
        with pytest.raises(WaitTimeoutError, match="last seen: never") as caught:
            await client.transcriptions.wait("t-1", timeout=0.3)
    assert isinstance(caught.value.__cause__, ApiConnectionError)
    assert f"the last poll failed: {caught.value.__cause__}" in str(caught.value)


async def test_a_failure_that_no_repetition_mends_ends_a_wait_at_once(anyio_backend, connect):
    async with connect(base_url="http://no-such-host.invalid/api/v1", allow_insecure_http=True) as client:
        with anyio.fail_after(20), pytest.raises(ApiConnectionError, match="unknown: check base_url"):
            await client.transcriptions.wait("t-1")


async def test_a_wait_polls_with_the_timeout_of_its_own_view_of_the_client(anyio_backend, connect, serve):
    """Also where another wait, with a longer one, runs the polling loop."""
    server = serve(lambda _: time.sleep(1.0))
    runtime = Runtime(poll_schedule=PollSchedule(min_interval=0.02, max_interval=0.1))
    async with connect(base_url=server.url, timeout=60.0, runtime=runtime) as client:
        hasty = client.with_options(timeout=0.1)
        async with anyio.create_task_group() as group:
            group.start_soon(client.transcriptions.wait, "t-2")
            with pytest.raises(WaitTimeoutError) as caught:
                await hasty.transcriptions.wait("t-1", timeout=0.4)
            group.cancel_scope.cancel()
    assert isinstance(caught.value.__cause__, TimeoutError)


# In virtual time, with a stub for the service.


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(500),
        lambda: httpx.Response(503, headers={"retry-after": "7"}),
        lambda: httpx.Response(408),
        lambda: httpx.Response(524, html="<title>A timeout occurred</title>"),
        lambda: httpx.Response(200, html="<title>Down for maintenance</title>"),
        lambda: httpx.Response(429, json={"detail": "burst"}),
        lambda: httpx.ReadError("lost"),
        lambda: httpx.ConnectError("refused"),
        lambda: httpx.ReadTimeout("slow"),
    ],
    ids=["500", "503", "408", "524", "maintenance", "429", "lost", "refused", "slow"],
)
def test_what_may_pass_is_waited_out_for_as_long_as_it_takes(answer, count):
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: answer() if call in {"get", "list"} and anyio.current_time() < 600 else None
        async with service.client() as client:
            tasks = await start_all(client, count)
            ended = await wait_all(client, tasks)
        return [getattr(task, "status", task) for task in ended], service.calls["get"] + service.calls["list"]

    statuses, polls = in_virtual_time(main)
    assert ["completed"] * count == statuses
    assert polls < 90, "the longest pause is 30 s, or what Retry-After asks for"


def test_garbage_is_survived_for_a_while_and_is_then_an_error():
    async def main(times):
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: (
            httpx.Response(200, text="no JSON") if call == "get" and service.calls["get"] <= times else None
        )
        async with service.client() as client:
            [ended] = await wait_all(client, await start_all(client, 1))
        return ended

    assert "completed" == in_virtual_time(main, 3).status
    assert isinstance(in_virtual_time(main, 10**9), ResponseDecodeError)


def test_a_task_whose_end_was_seen_keeps_it_when_the_rest_of_the_poll_fails():
    """The first page shows the end of one, and the request for the other is refused for good."""

    async def main():
        service = StubService(lambda number: 5.0 if number == 1 else 1000.0)
        service.page = lambda ids, *_: [task for task in ids if anyio.current_time() < 5 or task == "task-1"]
        service.tells_total = False
        service.hook = lambda call, request: httpx.Response(403) if request.url.path.endswith("task-2") else None
        async with service.client() as client:
            return await wait_all(client, await start_all(client, 2))

    first, second = in_virtual_time(main)
    assert ("completed", 403) == (first.status, second.status_code)


@pytest.mark.parametrize(
    ("spelling", "ends"),
    [("COMPLETED", True), ("done", True), ("Canceled", True), ("error", True), ("sleeping", False)],
)
def test_other_spellings_of_a_status_end_a_wait_and_unknown_ones_are_warned_of_once(spelling, ends, caplog):
    async def main():
        service = StubService(lambda _: 10.0)
        service.shown = lambda task: {**task, "status": spelling if task["status"] == "completed" else "processing"}
        async with service.client() as client:
            return await wait_all(client, await start_all(client, 3), timeout=3600.0)

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        ended = in_virtual_time(main)
    assert ends == all(not isinstance(error, WaitTimeoutError) for error in ended)
    warnings = [record.getMessage() for record in caplog.records]
    assert [] == warnings if ends else (len(warnings) == 1 and "'sleeping'" in warnings[0])


def virtually(count, seconds, *, concurrency, latency=0.05, **options):
    """Run `concurrency` workers that start a task and wait for it; return the polls per task and the mean lateness."""

    async def main():
        service = StubService(seconds, latency=latency, **options)
        late, ids = [], iter(range(count))

        async def worker(client):
            for _ in ids:
                task = await client.transcriptions.upload(("a.mp3", AUDIO))
                await client.transcriptions.wait(task)
                true = service.tasks[task.task_id]
                late.append((anyio.current_time() - true.ends) / (true.ends - true.began))

        async with service.client() as client, anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(worker, client)
        polls = service.calls["list"] + service.calls["get"]
        return polls / count, sum(late) / count, service

    return in_virtual_time(main)


@pytest.mark.parametrize(
    ("concurrency", "spread", "most_polls", "most_late"),
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
def test_polls_adapt_to_how_long_tasks_take(length, concurrency, spread, most_polls, most_late):
    dice = random.Random(7)
    polls, late, _ = virtually(
        20 * concurrency if concurrency > 1 else 200,
        lambda _: length * dice.uniform(1 - spread, 1 + spread),
        concurrency=concurrency,
    )
    assert polls <= most_polls
    assert late <= most_late


def test_tasks_that_become_ten_times_faster_or_slower_are_found_out():
    polls, late, _ = virtually(1000, lambda number: 60.0 if number < 200 else 6.0, concurrency=8)
    assert polls < 0.4
    assert late < 2.5, "a few are seen after 60 s that took 6"
    polls, late, _ = virtually(400, lambda number: 6.0 if number < 200 else 60.0, concurrency=8)
    assert polls < 0.8
    assert late < 0.1


def test_two_hundred_waits_need_as_many_polls_as_one():
    _polls, late, service = virtually(200, lambda _: 30.0, concurrency=200)
    assert service.calls["list"] <= 40, "two pages each"
    assert 0 == service.calls["get"]
    assert late < 0.3


def test_a_task_that_fell_off_the_list_is_asked_for_by_itself_and_only_then():
    """Behind three pages of other people's tasks: as long as pages are cheaper than single polls, pages are read."""

    async def main(count):
        service = StubService(lambda _: 5.0)
        async with service.client() as client:
            ids = [service.start().json()["task_id"] for _ in range(count + 1)]
            for _ in range(300):
                service.start()
            await anyio.sleep(10)
            async with anyio.create_task_group() as group:
                for task_id in ids:
                    group.start_soon(client.transcriptions.wait, task_id)
        return service.calls

    few, many = in_virtual_time(main, 1), in_virtual_time(main, 50)
    assert (2 >= few["list"], 2) == (True, few["get"])
    assert (4, 1 >= many["get"]) == (many["list"], True)


@pytest.mark.parametrize("comes", [True, False])
def test_with_events_polling_is_a_safety_net(comes):
    """An event that does not come is made up for; where they come, nothing is polled."""

    async def main():
        service, receiver = StubService(lambda _: 40.0), Receiver()
        async with service.client() as client:
            client.use_webhooks(receiver)
            task = await client.transcriptions.upload(("a.mp3", AUDIO))
            async with anyio.create_task_group() as group:
                group.start_soon(client.transcriptions.wait, task)
                await anyio.sleep(41)
                if comes:
                    receiver.send(task.task_id)
            return service.calls["get"], anyio.current_time()

    polls, ended = in_virtual_time(main)
    assert (0, 41) == (polls, ended) if comes else (polls == 1 and 41 < ended <= 100)


def test_of_two_receivers_one_may_be_detached_and_the_other_stays():
    """In either order, and a second call of `detach` does nothing."""

    async def main(first):
        service, receivers = StubService(lambda _: 40.0), [Receiver(), Receiver()]
        async with service.client() as client:
            detach = [client.use_webhooks(receiver) for receiver in receivers]
            detach[first]()
            detach[first]()
            task = await client.transcriptions.upload(("a.mp3", AUDIO))
            async with anyio.create_task_group() as group:
                group.start_soon(client.transcriptions.wait, task)
                await anyio.sleep(41)
                receivers[1 - first].send(task.task_id)
            detach[1 - first]()
            again = await client.transcriptions.upload(("a.mp3", AUDIO))
            polls = service.calls["get"]
            await client.transcriptions.wait(again)
        return polls, service.calls["get"], [len(receiver.subscribers) for receiver in receivers]

    for first in (0, 1):
        with_events, without, subscribers = in_virtual_time(main, first)
        assert (0, True, [0, 0]) == (with_events, without > 0, subscribers)


def test_a_poll_interval_of_ones_own_is_kept():
    async def main():
        service, polls = StubService(lambda _: 10.0), []
        service.hook = lambda call, _: polls.append(anyio.current_time()) if call == "get" else None
        async with service.client() as client:
            task = await client.transcriptions.upload(("a.mp3", AUDIO))
            await client.transcriptions.wait(task, poll_interval=3.0)
        return polls

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

    ended, polls = in_virtual_time(main)
    assert 3600 < ended < 3660
    assert polls < 2 * 3600 / 30 + 20


@pytest.mark.parametrize("timeout", [0, 30.0])
def test_a_failure_that_a_wait_met_long_ago_is_no_part_of_an_outage(timeout):
    """A batch gives up after 900 s without an answer; nobody has asked in between."""

    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: httpx.Response(503) if call == "get" else None
        async with service.client() as client:
            [task] = await start_all(client, 1)
            with pytest.raises(WaitTimeoutError, match="503"):
                await client.transcriptions.wait(task, timeout=timeout)
            await anyio.sleep(3600)
            failing = iter([httpx.Response(503)])
            service.hook = lambda call, _: next(failing, None) if call == "get" else None
            async with client.batch([("b.mp3", b"ID3 other")]) as outcomes:
                return [outcome.error async for outcome in outcomes], next(failing, None), service.starts

    errors, unused, starts = in_virtual_time(main)
    assert ([None], None) == (errors, unused)
    assert {1} == set(starts.values())


def test_two_failures_of_one_wait_with_an_answer_between_them_are_no_outage():
    async def main():
        service = StubService(lambda _: 7200.0)
        moments = iter([100.0, 3700.0])
        due = [next(moments)]

        def hook(call, _):
            if call != "get" or anyio.current_time() < due[0]:
                return None
            due[0] = next(moments, float("inf"))
            return httpx.Response(503)

        service.hook = hook
        async with service.client() as client, client.batch([("a.mp3", AUDIO)]) as outcomes:
            return [outcome.error async for outcome in outcomes], service.answers[503]

    assert ([None], 2) == in_virtual_time(main)


def test_a_look_that_succeeds_says_nothing_of_the_failures_of_other_waits():
    async def main():
        service = StubService(lambda _: 600.0)
        service.hook = lambda _, request: httpx.Response(503) if request.url.path.endswith("task-1") else None
        async with service.client() as client, anyio.create_task_group() as group:
            failing, task = await start_all(client, 2)
            group.start_soon(client.transcriptions.wait, failing)
            await anyio.sleep(30)
            with pytest.raises(WaitTimeoutError) as caught:
                await client.transcriptions.wait(task, timeout=0)
            group.cancel_scope.cancel()
        return caught.value, service.answers[503]

    error, failed = in_virtual_time(main)
    assert failed > 0
    assert "last seen processing). It goes on" in str(error)
    assert error.__cause__ is None


@pytest.mark.parametrize(("refused", "gets"), [("list", 0), ("get", 1)])
def test_what_every_request_would_meet_ends_all_waits_with_the_first(refused, gets):
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: {"list": httpx.Response(403), refused: httpx.Response(401)}.get(call)
        async with service.client() as client:
            return await wait_all(client, await start_all(client, 3)), service.calls

    ended, calls = in_virtual_time(main)
    assert [AuthenticationError] * 3 == list(map(type, ended))
    assert (1, gets) == (calls["list"], calls["get"])


def test_a_wait_warns_once_of_polls_that_fail_and_a_look_without_time_raises_only(caplog):
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: httpx.Response(503) if call == "get" and anyio.current_time() < 60 else None
        async with service.client() as client:
            [task] = await start_all(client, 1)
            with pytest.raises(WaitTimeoutError, match="503"):
                await client.transcriptions.wait(task, timeout=0)
            looked = len(caplog.records)
            await client.transcriptions.wait(task)
        return looked

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        assert 0 == in_virtual_time(main)
    [warning] = caplog.records
    assert "tasks cannot be polled, it is tried again" in warning.getMessage()


# Answers of replicas that lag behind, and lists that cannot be read or are stale.


def hides_until(moment, *calls):
    """Answers 404 to the calls until a moment of virtual time."""

    def hook(call, _):
        hidden = call in calls and anyio.current_time() < moment
        return httpx.Response(404, json={"detail": "no such task"}) if hidden else None

    return hook


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("count", [1, 3])
def test_a_task_that_was_just_started_is_asked_for_until_it_is_there(count, status):
    async def main():
        service = StubService(lambda _: 10.0)
        service.shown = lambda task: task if anyio.current_time() > 20 else None
        service.hook = lambda call, _: httpx.Response(status) if call == "get" and anyio.current_time() < 20 else None
        async with service.client() as client:
            ended = await wait_all(client, await start_all(client, count))
        return [getattr(task, "status", task) for task in ended], anyio.current_time(), service.calls["get"]

    statuses, ended, polls = in_virtual_time(main)
    assert ["completed"] * count == statuses
    assert 20 <= ended < 30
    assert polls <= 10 * count


@pytest.mark.parametrize("seconds", [0, 5, 50, 1_000])
def test_transcribe_asks_for_a_result_until_a_replica_that_is_behind_has_it(seconds):
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = lambda call, _: (
            httpx.Response(404) if call == "result" and anyio.current_time() < 10 + seconds else None
        )
        async with service.client() as client:
            try:
                return (await client.transcribe(("a.mp3", b"ID3"))).text
            except NotFoundError as error:
                assert anyio.current_time() < 200
                return error.task.status

    assert ("words" if seconds < 60 else "completed") == in_virtual_time(main)


def test_a_transcription_that_another_ones_failure_cancels_names_its_task(caplog):
    """Nobody looks at what a cancelled call of a task group raises."""

    async def main():
        service = StubService(lambda _: 100.0)
        service.hook = lambda call, request: (
            httpx.Response(400, json={"detail": "bad format"}) if call == "from_url" else None
        )
        async with service.client() as client:
            with pytest.raises(ExceptionGroup):
                async with anyio.create_task_group() as group:
                    group.start_soon(client.transcribe, ("a.mp3", b"ID3"))
                    await anyio.sleep(5)
                    group.start_soon(client.transcribe, "https://media.example/b.mp3")

    in_virtual_time(main)
    assert ["task task-1 was started and goes on: wait for it, do not send its media again"] == caplog.messages


@pytest.mark.parametrize("moment", [0.0, 300.0])
def test_a_404_of_a_task_of_ours_is_believed_when_it_has_lasted_for_a_minute(moment):
    """Also one that the service has shown before: a replica may be behind at any time."""

    async def main():
        service = StubService(lambda _: 3600.0)
        service.hook = lambda call, _: httpx.Response(404) if call == "get" and anyio.current_time() >= moment else None
        async with service.client() as client:
            [ended] = await wait_all(client, await start_all(client, 1))
        return type(ended), anyio.current_time()

    error, ended = in_virtual_time(main)
    assert NotFoundError is error
    assert 60 <= ended - moment < 150


def test_a_second_wait_and_a_look_without_time_know_that_the_task_is_ours():
    async def main():
        service = StubService(lambda _: 10.0)
        service.hook = hides_until(20.0, "get")
        async with service.client() as client:
            [task] = await start_all(client, 1)
            for timeout in (0, 1.0):
                with pytest.raises(WaitTimeoutError, match=r"last seen: never.*there is no such task \(404\)"):
                    await client.transcriptions.wait(task.task_id, timeout=timeout)
            return await client.transcriptions.wait(task.task_id)

    assert "completed" == in_virtual_time(main).status


def test_a_404_that_another_wait_has_met_is_not_counted():
    """Of a wait that ended without an answer, long before the next one begins."""

    async def main():
        service = StubService(lambda _: 3010.0)
        service.hook = hides_until(10.0, "get")
        async with service.client() as client:
            [task] = await start_all(client, 1)
            with pytest.raises(WaitTimeoutError, match="last seen: never"):
                await client.transcriptions.wait(task, timeout=5.0)
            await anyio.sleep(3000)
            service.hook = hides_until(3006.0, "get")
            return await client.transcriptions.wait(task), service.answers[404]

    task, missing = in_virtual_time(main)
    assert "completed" == task.status
    assert missing > 1, "the second wait met one too"


@pytest.mark.parametrize("count", [1, 3])
def test_404s_with_an_answer_between_them_are_counted_apart(count):
    async def main():
        service = StubService(lambda _: 600.0)

        def hook(call, _):
            if call == "list":
                return httpx.Response(403)
            is_behind = anyio.current_time() < 20 or 300 <= anyio.current_time() < 340
            return httpx.Response(404) if call == "get" and is_behind else None

        service.hook = hook
        async with service.client() as client:
            ended = await wait_all(client, await start_all(client, count))
        return [getattr(task, "status", task) for task in ended], service.answers[404]

    statuses, missing = in_virtual_time(main)
    assert ["completed"] * count == statuses
    assert missing >= 2 * count


def test_a_404_of_an_id_of_unknown_age_is_an_error_at_once():
    async def main():
        service = StubService(lambda _: 10.0)
        async with service.client() as client:
            with pytest.raises(NotFoundError):
                await client.transcriptions.wait("mistyped")
        return anyio.current_time(), service.requests

    assert (0.0, 1) == in_virtual_time(main)


REFUSALS = {
    "403": lambda: httpx.Response(403, json={"detail": "your role may not list tasks"}),
    "404": lambda: httpx.Response(404),
    "422": lambda: httpx.Response(422, json={"detail": [{"loc": ["query", "limit"], "msg": "too large"}]}),
    "nonsense": lambda: httpx.Response(200, json="tasks"),
}


@pytest.mark.parametrize("answer", REFUSALS)
def test_where_the_list_cannot_be_read_each_task_is_asked_for_when_it_is_due(answer):
    async def main():
        service = StubService(lambda number: 10.0 * number)
        service.hook = lambda call, _: REFUSALS[answer]() if call == "list" else None
        async with service.client() as client:
            ended = await wait_all(client, await start_all(client, 5))
        return [getattr(task, "status", task) for task in ended], service.calls, anyio.current_time()

    statuses, calls, ended = in_virtual_time(main)
    assert ["completed"] * 5 == statuses
    assert calls["list"] <= 5, "what cannot be read is not asked for each time"
    assert calls["get"] <= 5 * 15, "as many as each wait by itself needs"
    assert ended < 70


def test_a_list_that_can_be_read_again_is_read_again():
    async def main():
        service = StubService(lambda _: 1800.0)
        service.hook = lambda call, _: httpx.Response(403) if call == "list" and anyio.current_time() < 60 else None
        async with service.client() as client:
            await wait_all(client, await start_all(client, 20))
        return service.calls

    calls = in_virtual_time(main)
    assert 10 < calls["list"] < 60
    assert calls["get"] < 20 * 30


def test_a_task_that_may_not_be_read_does_not_end_the_waits_for_others():
    async def main():
        service = StubService(lambda number: 10.0 * number)
        service.hook = lambda call, request: (
            httpx.Response(403) if call == "list" or request.url.path.endswith("task-2") else None
        )
        async with service.client() as client:
            return await wait_all(client, await start_all(client, 3))

    first, second, third = in_virtual_time(main)
    assert ("completed", 403, "completed") == (first.status, second.status_code, third.status)


@pytest.mark.parametrize("count", [2, 40])
def test_a_list_that_shows_ended_tasks_as_unfinished_is_found_out(count):
    async def main():
        service = StubService(lambda _: 10.0)

        def stale(call, _, answer):
            if call == "list":
                for task in (content := answer.json())["items"]:
                    task["status"] = "processing"
                return httpx.Response(200, json=content)
            return answer

        service.after = stale
        async with service.client() as client:
            ended = await wait_all(client, await start_all(client, count))
            first = anyio.current_time()
            await wait_all(client, await start_all(client, count))
        return [getattr(task, "status", task) for task in ended], first, anyio.current_time() - first, service.calls

    statuses, first, second, calls = in_virtual_time(main)
    assert ["completed"] * count == statuses
    assert first < 130
    assert second < 130
    assert calls["get"] < 8 * count


def test_long_tasks_cost_few_requests_beside_the_list():
    """What the list shows is true: each task is asked for a few times in two hours, and one at a time."""

    async def main():
        service = StubService(lambda _: 7200.0)
        async with service.client() as client:
            ended = await wait_all(client, await start_all(client, 10))
        return {task.status for task in ended}, service.calls

    statuses, calls = in_virtual_time(main)
    assert {"completed"} == statuses
    assert calls["get"] <= 10 * 7
    assert calls["get"] <= calls["list"]


# After the start, every error says which task goes on.


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("result", lambda: httpx.Response(520)),
        ("result", lambda: httpx.Response(404, json={"detail": "no such task"})),
        ("result", lambda: httpx.ReadError("lost")),
        ("result", lambda: httpx.ConnectError("refused")),
        ("result", lambda: httpx.Response(200, html="<title>Sign in</title>")),
        ("result", lambda: httpx.Response(200, json={"task_id": "task-1"})),
        ("result", lambda: httpx.Response(401)),
        ("get", lambda: httpx.Response(404)),
        ("get", lambda: httpx.Response(401)),
        ("get", lambda: httpx.Response(302, headers={"location": "https://sign-in.example/"})),
    ],
)
def test_whatever_fails_after_the_start_of_transcribe_carries_the_task(call, answer):
    async def main():
        service = StubService(lambda _: 1.0)
        service.hook = lambda asked, _: answer() if asked == call else None
        async with service.client() as client:
            try:
                await client.transcribe(("a.mp3", AUDIO))
            except Exception as error:  # noqa: BLE001 - the test looks at it
                return error, service

    error, service = in_virtual_time(main)
    assert "task-1" == error.task.task_id
    assert {AUDIO: 1} == service.starts


async def test_a_view_and_its_client_share_one_poller(sandbox, client):
    first, second = await start_all(client, 2)
    view = client.with_options(timeout=5.0)
    async with anyio.create_task_group() as group:
        group.start_soon(client.transcriptions.wait, first)
        group.start_soon(view.transcriptions.wait, second)
    assert sandbox.ledger.count("list") > 0
    assert isinstance(view, AsyncPolyglot)


@pytest.mark.parametrize("sandbox", [30.0], indirect=True)
async def test_without_time_a_task_is_looked_at_once(sandbox, client):
    [task] = await start_all(client, 1)
    for waited_for in (task, task.task_id):
        sandbox.ledger.clear()
        with pytest.raises(WaitTimeoutError, match=r"after 0 s of waiting \(last seen processing\)") as caught:
            await client.transcriptions.wait(waited_for, timeout=0)
        assert "processing" == caught.value.task.status
        assert 1 == sandbox.ledger.count() == sandbox.ledger.count("get")


async def test_without_time_a_finished_task_is_returned(sandbox, client):
    [task] = await start_all(client, 1)
    await client.transcriptions.wait(task)
    assert "completed" == (await client.transcriptions.wait(task.task_id, timeout=0)).status
    with pytest.raises(NotFoundError):
        await client.transcriptions.wait("no-such-task", timeout=0)


async def test_without_time_a_look_that_fails_is_the_cause(sandbox, client):
    [task] = await start_all(client, 1)
    sandbox.faults.add("status call=get status=503")
    with pytest.raises(WaitTimeoutError, match=r"last seen: never.*the last poll failed: .*503") as caught:
        await client.transcriptions.wait(task.task_id, timeout=0)
    assert 503 == caught.value.__cause__.status_code
    assert 1 == sandbox.ledger.count("get")


@pytest.mark.parametrize("sandbox", [0.5], indirect=True)
async def test_a_look_without_time_leaves_the_other_waits_going(sandbox, client):
    first, second = await start_all(client, 2)
    ended = []

    async def wait():
        ended.append((await client.transcriptions.wait(first)).status)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.05)
        with pytest.raises(WaitTimeoutError):
            await client.transcriptions.wait(second, timeout=0)
        with pytest.raises(WaitTimeoutError):
            await client.transcriptions.wait(first, timeout=0)
    assert ["completed"] == ended
