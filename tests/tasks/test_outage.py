"""What waits while the service is down: for how long, how often it is asked, and for whom. In virtual time."""

import logging

import anyio
import httpx
import pytest
from virtual import StubService, in_virtual_time

from polyglot_async import ApiConnectionError, ServiceUnavailableError
from polyglot_async._tasks.outage import BATCH_TIMEOUT, CALL_TIMEOUT, LONGEST_PROBE_DELAY

DOWN = {
    "refused": lambda: httpx.ConnectError("refused"),
    "lost": lambda: httpx.ReadError("lost"),
    "502": lambda: httpx.Response(502, html="<title>Bad gateway</title>"),
    "maintenance": lambda: httpx.Response(200, html="<title>Down for maintenance</title>"),
    "a text": lambda: httpx.Response(200, text="Down for maintenance"),
    "nothing": lambda: httpx.Response(200),
}


def down(service, since, until, answer=DOWN["refused"], calls=("list", "get", "result", "upload")):
    """Take the service down from one moment to another."""
    service.hook = lambda call, _: answer() if call in calls and since <= anyio.current_time() < until else None


async def outcomes_of(client, count, **options):
    sources = [(f"{n}.mp3", b"content of %d" % n) for n in range(count)]
    async with client.batch(sources, **options) as outcomes:
        return [outcome async for outcome in outcomes]


@pytest.mark.parametrize("kind", DOWN)
@pytest.mark.parametrize("seconds", [0.3, 6.0, 60.0, 0.9 * BATCH_TIMEOUT])
def test_a_batch_waits_for_as_long_as_the_service_is_down_and_then_goes_on(kind, seconds):
    async def main():
        service = StubService(lambda _: 2.0, latency=0.02)
        down(service, 5.0, 5.0 + seconds, DOWN[kind])
        async with service.client() as client:
            outcomes = await outcomes_of(client, 40, concurrency=4)
        return service, outcomes, anyio.current_time()

    service, outcomes, ended = in_virtual_time(main)
    assert [None] * 40 == [outcome.error for outcome in outcomes]
    assert {1} == set(service.starts.values())
    assert ended < 5 + seconds + 2 * LONGEST_PROBE_DELAY + 100


def test_while_it_is_down_one_asks_and_nothing_is_sent():
    async def main():
        service = StubService(lambda _: 2.0)
        down(service, 5.0, 305.0)
        async with service.client() as client, anyio.create_task_group() as group:
            group.start_soon(outcomes_of, client, 40)
            await anyio.sleep(20)
            before = service.calls.copy()
            await anyio.sleep(200)
            return service.calls - before

    asked = in_virtual_time(main)
    assert 0 == asked["upload"]
    assert asked["list"] <= 200 / LONGEST_PROBE_DELAY + 200 / 15 + 2, "the outage's, and the poller's"


def test_a_service_that_does_not_come_back_stops_a_batch_with_the_last_failure():
    async def main():
        service = StubService(lambda _: 2.0)
        down(service, 5.0, 10**9)
        async with service.client() as client:
            with pytest.raises(ServiceUnavailableError, match=f"for {BATCH_TIMEOUT:.0f} s: .*refused") as caught:
                await outcomes_of(client, 40)
            assert isinstance(caught.value.__cause__, ApiConnectionError)
        return anyio.current_time()

    assert BATCH_TIMEOUT - 10 < in_virtual_time(main) < BATCH_TIMEOUT + 60


def test_many_calls_that_wait_for_one_outage_give_up_together():
    """Not one after the other, each after a time of its own."""

    async def main():
        service = StubService(lambda _: 2.0)
        service.after = lambda call, _, answer: DOWN["lost"]() if call in {"upload", "list"} else answer
        errors = []

        async def one(client, number):
            try:
                await client.transcriptions.upload((f"{number}.mp3", b"%d" % number))
            except Exception as error:  # noqa: BLE001 - the test looks at it
                errors.append(error)

        async with service.client() as client, anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(one, client, number)
        return errors, anyio.current_time()

    errors, ended = in_virtual_time(main)
    assert 8 == len(errors)
    assert {ServiceUnavailableError} == {type(error.__cause__) for error in errors}
    assert ended < CALL_TIMEOUT + 60


def test_a_later_outage_is_waited_for_in_full():
    """One that was given up an hour ago is another one."""

    async def main():
        service = StubService(lambda _: 2.0)
        async with service.client() as client:
            for began in (0.0, 3600.0):
                down(service, began, began + 2 * CALL_TIMEOUT, DOWN["502"])
                await anyio.sleep(began - anyio.current_time())
                with pytest.raises(Exception, match="could not be reached"):
                    await client.transcriptions.upload(("a.mp3", b"a"))
                assert 0.9 * CALL_TIMEOUT < anyio.current_time() - began < CALL_TIMEOUT + 60

    in_virtual_time(main)


def test_when_who_asks_is_cancelled_another_goes_on_asking():
    async def main():
        service = StubService(lambda _: 2.0)
        service.after = lambda call, _, answer: DOWN["502"]() if anyio.current_time() < 60 and call != "get" else answer
        tasks = []

        async def upload(client, name):
            tasks.append(await client.transcriptions.upload((name, name.encode())))

        async with service.client() as client, anyio.create_task_group() as group:
            first = anyio.CancelScope()

            async def cancelled():
                with first:
                    await upload(client, "first.mp3")

            group.start_soon(cancelled)
            await anyio.sleep(1)
            group.start_soon(upload, client, "second.mp3")
            await anyio.sleep(20)
            first.cancel()
        return tasks, service, anyio.current_time()

    tasks, service, ended = in_virtual_time(main)
    assert {b"second.mp3"} >= {service.tasks[task.task_id].media for task in tasks}
    assert (1, {1}) == (len(tasks), set(service.starts.values()))
    assert ended < 100


def test_a_failure_while_the_service_answers_is_no_outage(caplog):
    """The list is answered, so nothing is held back."""

    async def main():
        service = StubService(lambda _: 2.0)
        service.hook = lambda call, _: httpx.ConnectError("refused") if call == "upload" else None
        async with service.client() as client:
            return await outcomes_of(client, 3), anyio.current_time()

    with caplog.at_level(logging.WARNING, "polyglot_async"):
        outcomes, ended = in_virtual_time(main)
    assert [ApiConnectionError] * 3 == [type(outcome.error) for outcome in outcomes]
    assert [] == caplog.records
    assert ended < 30


@pytest.mark.parametrize("body", [b"null", b'{"items": "many"}', b'{"items": [{"task_id": "t"'])
def test_json_of_the_service_that_cannot_be_read_ends_an_outage(body):
    """Cut short or of another shape, it comes from where uploads go."""

    async def main():
        service = StubService(lambda _: 2.0)
        service.hook = lambda call, _: (
            httpx.Response(200, content=body) if call == "list" else httpx.ConnectError("refused")
        )
        async with service.client() as client:
            [outcome] = await outcomes_of(client, 1)
        return outcome.error, anyio.current_time()

    error, ended = in_virtual_time(main)
    assert isinstance(error, ApiConnectionError)
    assert ended < 30


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_any_answer_of_the_service_ends_an_outage_a_refusal_too(status):
    async def main():
        service = StubService(lambda _: 2.0)
        service.hook = lambda call, _: (
            httpx.Response(status, json={"detail": "no"}) if call == "list" else httpx.ConnectError("refused")
        )
        async with service.client() as client:
            with pytest.raises(ApiConnectionError):
                await client.transcriptions.upload(("a.mp3", b"a"))
        return anyio.current_time()

    assert in_virtual_time(main) < 30
