"""The limiter in virtual time, against servers that count in every way a server may (A11)."""

import asyncio
import math
import sys
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import EPOCH, RUNTIME, in_virtual_time

from polyglot_async import ApiConnectionError, Limits, PolyglotError, QuotaExhaustedError, RateLimitError, Runtime
from polyglot_async._limits.limiter import Limiter, TaskSlotLease


class Endpoint(NamedTuple):
    """What the limiter reads of an endpoint."""

    call: str
    priority: int
    billable: bool = False


UPLOAD, RESULT = Endpoint("upload", 0, billable=True), Endpoint("result", 1)
POLL, DOWNLOAD = Endpoint("poll", 2), Endpoint("download", 3)
ENDPOINTS = [UPLOAD, RESULT, POLL, DOWNLOAD]
SPAN = 1.001
"""Windows are kept by a thousandth longer, for clocks that drift."""


def limiter_of(on_quota="raise", **limits):
    return Limiter(Limits(**limits), runtime=RUNTIME, on_quota=on_quota)


def error_429(detail="", retry_after=None, limit="burst"):
    error = RateLimitError("429", status_code=429, detail=detail, retry_after=retry_after)
    error.limit = limit
    return error


@asynccontextmanager
async def permit_for(limiter, endpoint, *, counted=True, task_slot=None):
    """Acquire and settle as the transport does."""
    permit = await limiter.acquire(endpoint, counted=counted, task_slot=task_slot)
    error, answered = None, False
    try:
        yield
        answered = True
    except PolyglotError as problem:
        error = problem
        raise
    finally:
        await limiter.settle(permit, error, answered=answered)


async def ask(limiter, endpoint=POLL, *, seconds=0.0, counted=True, task_slot=None, error=None, log=None, name=None):
    async with permit_for(limiter, endpoint, counted=counted, task_slot=task_slot):
        if log is not None:
            log.append((name, anyio.current_time()))
        await anyio.sleep(seconds)
        if error is not None:
            raise error


# Servers. `allows(now)` counts a request that arrives and says whether it is within the limit.


class Sliding:
    def __init__(self, limit, window, phase):
        self.limit, self.window, self.seen = limit, window, deque()

    def allows(self, now):
        while self.seen and self.seen[0] <= now - self.window:
            self.seen.popleft()
        if len(self.seen) < self.limit:
            self.seen.append(now)
            return True
        return False

    def wait(self, now):
        return self.seen[0] + self.window - now


class Fixed:
    def __init__(self, limit, window, phase):
        self.limit, self.window, self.phase, self.minute, self.count = limit, window, phase, None, 0

    def allows(self, now):
        minute = math.floor(now / self.window + self.phase)
        self.count = self.count + 1 if minute == self.minute else 1
        self.minute = minute
        return self.count <= self.limit

    def wait(self, now):
        return (self.minute + 1 - self.phase) * self.window - now


class Bucket:
    def __init__(self, limit, window, phase):
        self.limit, self.rate, self.tokens, self.at = limit, limit / window, float(limit), 0.0

    def allows(self, now):
        self.tokens = min(self.limit, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True

    def wait(self, now):
        return (1 - self.tokens) / self.rate


REQUESTS = st.lists(
    st.tuples(
        st.floats(0, 40),  # idle before it
        st.floats(0, 30),  # seconds to the server
        st.floats(0, 30),  # seconds back
        st.sampled_from(ENDPOINTS),
        st.sampled_from(["answered", "answered", "answered", "lost on the way", "refused connection"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=400)
@given(
    st.sampled_from([Sliding, Fixed, Bucket]),
    st.integers(1, 6),
    st.integers(1, 4),
    st.floats(0, 1),
    REQUESTS,
)
def test_no_server_sees_too_many_requests_and_none_waits_longer_than_it_must(server, limit, uploads, phase, requests):
    """No 429 however the server counts, and each permit comes at the first moment at which the rule allows it."""
    window = 60.0
    all_of_them, of_uploads = server(limit, window, phase), server(uploads, window, phase)
    refused, waits, held = [], [], []

    async def one(limiter, endpoint, there, back, fate):
        asked = anyio.current_time()
        waits.append(entry := {"asked": asked, "endpoint": endpoint, "given": None})
        try:
            async with permit_for(limiter, endpoint):
                entry["given"] = anyio.current_time()
                held.append(
                    hold := [anyio.current_time(), math.inf, endpoint.billable]
                )  # until when, and of which rule
                await anyio.sleep(there)
                if fate == "refused connection":
                    hold[1] = anyio.current_time()
                    raise ApiConnectionError("refused", maybe_sent=False, connected=False)
                now = anyio.current_time()
                if not all_of_them.allows(now) or (endpoint.billable and not of_uploads.allows(now)):
                    refused.append(now)
                await anyio.sleep(back)
                hold[1] = anyio.current_time() + window * SPAN
                if fate == "lost on the way":
                    raise ApiConnectionError("lost", maybe_sent=False)
        except ApiConnectionError:
            pass

    async def main():
        limiter = limiter_of(requests_per_window=limit, uploads_per_window=uploads)
        async with anyio.create_task_group() as tasks:
            for idle, there, back, endpoint, fate in requests:
                await anyio.sleep(idle)
                tasks.start_soon(one, limiter, endpoint, there, back, fate)
        assert not limiter._queue
        assert limiter._counters.requests.under_way == limiter._counters.uploads.under_way == 0

    in_virtual_time(main)
    assert not refused
    # Nobody waits who need not: at every moment at which a window opens, whatever could leave has left.
    for moment in {end for _, end, _ in held} | {entry["asked"] for entry in waits}:
        now = moment + 1e-6
        waiting = [w for w in waits if w["asked"] < now < w["given"]]
        if not waiting:
            continue
        taken = [starts for begin, end, starts in held if begin <= now < end]
        requests_open, uploads_open = len(taken) < limit, sum(taken) < uploads
        assert not requests_open or all(w["endpoint"].billable and not uploads_open for w in waiting)
    # And those that wait are served by priority, then in the order in which they came.
    for first in waits:
        for second in waits:
            both_waited = max(first["asked"], second["asked"]) < min(first["given"], second["given"]) - 1e-6
            if both_waited and first["endpoint"] == second["endpoint"] and first["asked"] < second["asked"]:
                assert first["given"] <= second["given"]
            if both_waited and second["endpoint"].billable < first["endpoint"].billable:
                continue  # uploads have a rule of their own, and may have to let others pass
            if both_waited and first["endpoint"].priority < second["endpoint"].priority:
                assert first["given"] <= second["given"] or first["endpoint"].billable


@given(st.integers(1, 20), st.integers(1, 200), st.floats(0, 2))
def test_the_whole_takes_no_longer_than_the_rule_demands(limit, requests, latency):
    async def main():
        limiter = limiter_of(requests_per_window=limit)
        async with anyio.create_task_group() as tasks:
            for _ in range(requests):
                tasks.start_soon(lambda: ask(limiter, seconds=latency))
        return anyio.current_time()

    windows = (requests - 1) // limit
    assert in_virtual_time(main) <= windows * (60 * SPAN + latency) + latency + 1e-6


def test_the_queue_is_served_by_priority_then_in_order_of_arrival():
    async def main():
        limiter, log = limiter_of(requests_per_window=1), []
        async with anyio.create_task_group() as tasks:
            for number, endpoint in enumerate([DOWNLOAD, POLL, RESULT, UPLOAD, DOWNLOAD, POLL, RESULT, UPLOAD]):
                tasks.start_soon(lambda e=endpoint, n=number: ask(limiter, e, log=log, name=(e.call, n)))
                await anyio.sleep(1)
        return [name for name, _ in log]

    first, *rest = in_virtual_time(main)
    assert ("download", 0) == first, "it came alone, and had not to wait"
    assert [
        ("upload", 3),
        ("upload", 7),
        ("result", 2),
        ("result", 6),
        ("poll", 1),
        ("poll", 5),
        ("download", 4),
    ] == rest


def test_an_upload_that_waits_for_the_limit_of_uploads_holds_up_nothing_else():
    async def main():
        limiter, log = limiter_of(requests_per_window=10, uploads_per_window=1), []
        async with anyio.create_task_group() as tasks:
            for name, endpoint in (("a", UPLOAD), ("b", UPLOAD), ("c", POLL)):
                tasks.start_soon(lambda e=endpoint, n=name: ask(limiter, e, log=log, name=n))
                await anyio.sleep(0.001)
        return {name: round(at) for name, at in log}

    assert {"a": 0, "b": 60, "c": 0} == in_virtual_time(main)


@settings(max_examples=200)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 100), st.floats(0, 20), st.sampled_from(ENDPOINTS)),
        min_size=1,
        max_size=20,
    ),
)
def test_cancelled_at_any_moment_no_permit_and_no_slot_is_lost(limit, requests):
    async def one(limiter, timeout, seconds, endpoint):
        lease = TaskSlotLease() if endpoint.billable else None
        with anyio.move_on_after(timeout):
            try:
                await ask(limiter, endpoint, seconds=seconds, task_slot=lease)
                await anyio.sleep(seconds)
            finally:
                if lease is not None:
                    await limiter.release(lease)

    async def main():
        limiter = limiter_of(requests_per_window=limit, max_concurrent_tasks=2)
        async with anyio.create_task_group() as tasks:
            for idle, timeout, seconds, endpoint in requests:
                await anyio.sleep(idle)
                tasks.start_soon(one, limiter, timeout, seconds, endpoint)
        counters = limiter._counters
        assert (0, 0, []) == (counters.task_slots, counters.requests.under_way, limiter._queue)
        await anyio.sleep(61)
        with anyio.fail_after(1):  # all is free again
            async with anyio.create_task_group() as tasks:
                for _ in range(limit):
                    tasks.start_soon(ask, limiter)

    in_virtual_time(main)


def test_when_the_waiter_that_runs_the_scheduling_loop_is_cancelled_another_takes_over():
    async def main():
        limiter, log = limiter_of(requests_per_window=1), []
        await ask(limiter)
        async with anyio.create_task_group() as tasks:

            async def cancelled():
                with anyio.move_on_after(5):
                    await ask(limiter, UPLOAD)

            tasks.start_soon(cancelled)
            await anyio.sleep(1)
            tasks.start_soon(lambda: ask(limiter, POLL, log=log, name="poll"))
        return log

    [(_, at)] = in_virtual_time(main)
    assert 60 * SPAN == pytest.approx(at)


def test_limits_that_are_fetched_while_requests_wait_hold_at_once():
    async def main():
        limiter, log = limiter_of(), []
        limiter.update(Limits(requests_per_window=1))
        await ask(limiter)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(limiter, log=log))
            await anyio.sleep(3)
            limiter.update(Limits(requests_per_window=2))
        return log

    assert [(None, 3.0)] == in_virtual_time(main)


# The calendar.


@pytest.mark.parametrize(
    ("limits", "resets_at"),
    [
        ({"requests_per_day": 2}, datetime(2026, 5, 25, tzinfo=UTC)),
        ({"requests_per_month": 2}, datetime(2026, 6, 1, tzinfo=UTC)),
        ({"requests_per_day": 2, "requests_per_month": 2}, datetime(2026, 6, 1, tzinfo=UTC)),
    ],
)
def test_a_spent_quota_is_an_error_that_says_when_it_is_over(limits, resets_at):
    async def main():
        limiter = limiter_of(**limits)
        for _ in range(2):
            await ask(limiter)
        with pytest.raises(QuotaExhaustedError) as caught:
            await ask(limiter)
        await ask(limiter, counted=False)  # a session's requests do not count
        assert (2, 2) == (limiter.usage.day_requests, limiter.usage.month_requests)
        return caught.value.resets_at, anyio.current_time()

    assert (resets_at, 0.0) == in_virtual_time(main)


@pytest.mark.parametrize(
    ("limits", "days"),
    [({"requests_per_day": 2}, 0.5), ({"requests_per_month": 2}, 7.5), ({"requests_per_day": 2, "window": 1}, 0.5)],
)
def test_with_on_quota_wait_it_is_waited_for_until_utc_midnight_or_the_end_of_the_month(limits, days):
    async def main():
        limiter = limiter_of("wait", **{name: value for name, value in limits.items() if name != "window"})
        for _ in range(3):
            await ask(limiter)
        return anyio.current_time()

    assert days * 86400 == pytest.approx(in_virtual_time(main), abs=1e-3)


def test_waiting_for_midnight_does_not_hold_up_what_is_not_counted():
    async def main():
        limiter, log = limiter_of("wait", requests_per_day=1), []
        await ask(limiter)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(limiter, log=log, name="key"))
            await anyio.sleep(1)
            tasks.start_soon(lambda: ask(limiter, log=log, name="session", counted=False))
        return log

    assert [("session", 1.0), ("key", 43200.0)] == in_virtual_time(main)


def test_every_waiter_of_a_spent_quota_gets_the_error():
    async def main():
        limiter, ends = limiter_of(requests_per_day=1, requests_per_window=1), []
        await ask(limiter)

        async def one():
            with pytest.raises(QuotaExhaustedError):
                await ask(limiter)
            ends.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
        return ends

    assert [0.0] * 5 == in_virtual_time(main)


async def usage_of(requests, *, days_ago=0):
    limiter = Limiter(runtime=Runtime(utc_now=lambda: RUNTIME.utc_now() - timedelta(days=days_ago)))
    for _ in range(requests):
        await ask(limiter)
    return limiter.usage


def test_an_earlier_runs_count_goes_on_and_one_of_yesterday_does_not():
    async def main():
        limiter = limiter_of(requests_per_day=10)
        await limiter.restore(await usage_of(9))
        await ask(limiter)
        with pytest.raises(QuotaExhaustedError):
            await ask(limiter)
        limiter = limiter_of(requests_per_day=10)
        await limiter.restore(await usage_of(9, days_ago=1))
        assert (0, 9) == (limiter.usage.day_requests, limiter.usage.month_requests)

    in_virtual_time(main)


def test_only_a_request_that_never_left_is_taken_off_the_counters():
    async def main():
        limiter = limiter_of(requests_per_day=10, requests_per_window=3)
        for error in (
            ApiConnectionError("refused", maybe_sent=False, connected=False),
            ApiConnectionError("cut in the middle of the body", maybe_sent=False),
            ApiConnectionError("no answer"),
        ):
            with pytest.raises(ApiConnectionError):
                await ask(limiter, error=error)
        assert 2 == limiter.usage.day_requests
        await ask(limiter)
        assert 0.0 == anyio.current_time(), "two of three are used"
        await ask(limiter)
        assert 60 * SPAN == pytest.approx(anyio.current_time())

    in_virtual_time(main)


@pytest.mark.parametrize(
    ("limit", "retry_after", "hours"),
    [("daily", None, 12.0), ("monthly", None, 7.5 * 24), ("daily", 30.0, 30 / 3600), ("burst", 7200.0, 2.0)],
)
def test_a_429_that_speaks_of_the_calendar_is_a_spent_quota(limit, retry_after, hours):
    """The service's clock may be behind ours at midnight: then its Retry-After says so."""

    async def main():
        limiter = limiter_of()
        for _ in range(2):
            with pytest.raises(QuotaExhaustedError) as caught:
                await ask(limiter, error=error_429(limit=limit, retry_after=retry_after))
        waiting = limiter_of("wait")
        with pytest.raises(RateLimitError) as waited:
            await ask(waiting, error=(error := error_429(limit=limit, retry_after=retry_after)))
        assert waiting.waits_out(error)
        assert waited.value is error
        assert not limiter.waits_out(error)
        await ask(waiting)
        return (caught.value.resets_at - EPOCH).total_seconds() / 3600, anyio.current_time() / 3600

    assert pytest.approx((hours, hours)) == in_virtual_time(main)


# Adapting to 429s.


class Service:
    """Answers as a server with a limit does, and counts its refusals."""

    def __init__(self, limit, window=60.0, *, sends_retry_after=True, counting=Sliding):
        self.server, self.sends_retry_after = counting(limit, window, 0.3), sends_retry_after
        self.refused, self.allowed = [], []

    async def __call__(self, limiter, endpoint=POLL):
        """Ask until it is allowed, as a batch does."""
        while True:
            try:
                async with permit_for(limiter, endpoint):
                    now = anyio.current_time()
                    await anyio.sleep(0.05)
                    if self.server.allows(now):
                        self.allowed.append(now)
                        return
                    self.refused.append(now)
                    raise error_429(retry_after=self.server.wait(now) if self.sends_retry_after else None)
            except RateLimitError:
                continue


@pytest.mark.parametrize("counting", [Sliding, Fixed, Bucket])
@pytest.mark.parametrize("sends_retry_after", [True, False])
@pytest.mark.parametrize("stated", [None, 60])
def test_unknown_or_wrong_limits_are_found_with_few_429s(counting, sends_retry_after, stated):
    """Ten workers with no end of work for an hour, of a real 20 per minute."""

    async def main():
        service, limiter = (
            Service(20, sends_retry_after=sends_retry_after, counting=counting),
            limiter_of(requests_per_window=stated),
        )

        async def worker():
            while True:
                await service(limiter)

        with anyio.move_on_after(3600):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(worker)
        return service

    service = in_virtual_time(main)
    assert 0.65 * 20 * 60 < len(service.allowed)
    assert len(service.refused) < 0.1 * len(service.allowed)


def test_ten_429s_in_a_row_do_not_slow_the_client_for_long():
    """Ten refusals that say nothing, at the very beginning; then the service is well. Nothing crawls for long after."""

    async def main():
        limiter = limiter_of(requests_per_window=60)
        for _ in range(10):
            with pytest.raises(RateLimitError):
                await ask(limiter, error=error_429(limit=None))
        refused_until = anyio.current_time()
        for _ in range(300):
            await ask(limiter)
        return refused_until, anyio.current_time() - refused_until

    refused_until, after = in_virtual_time(main)
    assert 400 > refused_until
    assert 900 > after, "300 requests at 60 a minute need 5 minutes"


def test_many_429s_at_once_lower_the_limit_once():
    async def main():
        limiter = limiter_of(requests_per_window=60)
        for _ in range(40):
            await ask(limiter)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):

                async def one():
                    with pytest.raises(RateLimitError):
                        await ask(limiter, seconds=1, error=error_429(retry_after=10.0))

                tasks.start_soon(one)
        assert 40 == limiter.limits.requests_per_window
        began = anyio.current_time()
        await ask(limiter)
        return anyio.current_time() - began

    assert 10.0 <= in_virtual_time(main)


def test_an_account_that_others_use_too_is_shared_and_then_taken_back():
    async def main():
        server, limiter = Service(60), limiter_of(requests_per_window=60)
        for _ in range(40):  # another program
            server.server.allows(anyio.current_time())
        for _ in range(60):
            await server(limiter)
        assert 60 > limiter.limits.requests_per_window
        for _ in range(8):
            await anyio.sleep(61)
            await server(limiter)
        assert 60 == limiter.limits.requests_per_window
        return server.refused

    assert 2 >= len(in_virtual_time(main))


def test_a_429_for_uploads_holds_back_uploads_alone():
    async def main():
        limiter, log = limiter_of(), []
        for _ in range(3):
            await ask(limiter, UPLOAD)
        with pytest.raises(RateLimitError):
            await ask(limiter, UPLOAD, error=error_429("3 uploads per minute", retry_after=20.0))
        assert (None, 3) == (limiter.limits.requests_per_window, limiter.limits.uploads_per_window)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(limiter, UPLOAD, log=log, name="upload"))
            tasks.start_soon(lambda: ask(limiter, POLL, log=log, name="poll"))
        return log

    poll, upload = in_virtual_time(main)
    assert ("poll", 0.0) == poll
    assert upload[1] >= 20.0


def test_a_429_for_concurrent_tasks_lowers_the_task_slots_to_those_that_are_held():
    """Eight uploads at once, three are accepted: afterwards three tasks at once are allowed."""

    async def main():
        limiter, accepted, leases = limiter_of(), [], []

        async def start(number):
            lease = TaskSlotLease()
            try:
                await ask(
                    limiter, UPLOAD, task_slot=lease, error=None if number < 3 else error_429(limit="concurrency")
                )
            except RateLimitError:
                assert not lease.held, "a refused start holds no slot"
            else:
                accepted.append(number)
                leases.append(lease)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(start, number)
        assert (3, 3) == (limiter.limits.max_concurrent_tasks, limiter._counters.task_slots)
        with anyio.move_on_after(300) as scope:
            await ask(limiter, UPLOAD, task_slot=TaskSlotLease())
        assert scope.cancelled_caught, "it waits for a slot"
        await limiter.release(leases[0])
        with anyio.fail_after(1):
            await ask(limiter, UPLOAD, task_slot=TaskSlotLease())

    in_virtual_time(main)


# Stated and fetched limits.


def test_a_429_lowers_stated_and_fetched_limits():
    async def main():
        limiter = limiter_of(requests_per_window=100)
        for _ in range(30):
            await ask(limiter)
        with pytest.raises(RateLimitError):
            await ask(limiter, error=error_429(retry_after=1.0))
        assert 30 == limiter.limits.requests_per_window
        assert 100 == limiter.update(Limits(requests_per_window=200)).requests_per_window
        assert limiter.limits_fetched

    in_virtual_time(main)


@pytest.mark.parametrize("on_quota", ["wiat", "", None, True, []])
def test_another_on_quota_is_refused(on_quota):
    with pytest.raises(ValueError, match=r"on_quota is .*; use 'raise' or 'wait'"):
        Limiter(on_quota=on_quota)


@pytest.mark.parametrize("limits", [{"requests_per_day": 5}, 5, "pro", ()])
def test_limits_of_another_type_are_refused(limits):
    with pytest.raises(ValueError, match=r"limits is .*; pass polyglot_async.Limits"):
        Limiter(limits)


# Counting and settling.


def test_a_permit_that_ends_without_an_answer_counts_but_increases_no_limit():
    """A cancelled request may have been counted by the service, and shows nothing of what it allows."""

    async def main():
        limiter = limiter_of(requests_per_window=60)
        for _ in range(30):
            await ask(limiter)
        with pytest.raises(RateLimitError):
            await ask(limiter, error=error_429(retry_after=1.0))
        await anyio.sleep(61)
        await limiter.settle(await limiter.acquire(POLL, counted=True), answered=False)
        assert (30, 32) == (limiter.limits.requests_per_window, limiter.usage.day_requests)
        await limiter.settle(await limiter.acquire(POLL, counted=True))
        assert (33, 33) == (limiter.limits.requests_per_window, limiter.usage.day_requests)

    in_virtual_time(main)


def test_a_lease_takes_one_slot_for_all_attempts_of_a_task():
    async def main():
        limiter, task_slot = limiter_of(max_concurrent_tasks=1), TaskSlotLease()
        for error in (ApiConnectionError("refused", connected=False), ApiConnectionError("no answer"), None):
            permit = await limiter.acquire(UPLOAD, counted=True, task_slot=task_slot)
            await limiter.settle(permit, error)
            assert task_slot.held
        with anyio.move_on_after(300) as scope:
            await limiter.acquire(UPLOAD, counted=True, task_slot=TaskSlotLease())
        assert scope.cancelled_caught
        for _ in range(2):
            await limiter.release(task_slot)
        assert not task_slot.held
        await limiter.acquire(UPLOAD, counted=True, task_slot=TaskSlotLease())
        with anyio.move_on_after(300) as scope:
            await limiter.acquire(UPLOAD, counted=True, task_slot=TaskSlotLease())
        assert scope.cancelled_caught, "a slot that is released twice is one slot"

    in_virtual_time(main)


def test_a_waiter_that_is_cancelled_in_the_moment_of_its_grant_takes_nothing():
    """On asyncio a task can be cancelled after what it waits for has come, and before it runs."""

    async def main():
        limiter = Limiter(Limits(max_concurrent_tasks=2))
        leases = [TaskSlotLease() for _ in range(4)]
        for lease in leases[:2]:
            await limiter.settle(await limiter.acquire(UPLOAD, counted=True, task_slot=lease))

        async def first():
            await limiter.acquire(UPLOAD, counted=True, task_slot=leases[2])
            assert leases[3].held, "the same round granted both"
            other.cancel()

        one = asyncio.create_task(first())
        other = asyncio.create_task(limiter.acquire(UPLOAD, counted=True, task_slot=leases[3]))
        while len(limiter._queue) < 2:
            await asyncio.sleep(0)
        for lease in leases[:2]:
            await limiter.release(lease)
        await one
        with pytest.raises(asyncio.CancelledError):
            await other
        assert ([False, False, True, False], []) == ([lease.held for lease in leases], limiter._queue)
        assert (3, 1, 1) == (
            limiter.usage.day_requests,
            limiter._counters.task_slots,
            limiter._counters.requests.under_way,
        )

    asyncio.run(main())


def test_a_waiter_that_gets_the_error_of_a_spent_quota_takes_nothing():
    async def main():
        limiter, task_slot = limiter_of(requests_per_window=1, requests_per_day=2), TaskSlotLease()
        await ask(limiter)
        async with anyio.create_task_group() as tasks:

            async def wait():
                with pytest.raises(QuotaExhaustedError):
                    await limiter.acquire(UPLOAD, counted=True, task_slot=task_slot)

            tasks.start_soon(lambda: ask(limiter, UPLOAD))
            await anyio.sleep(1)
            tasks.start_soon(wait)
        assert (2, False, []) == (limiter.usage.day_requests, task_slot.held, limiter._queue)

    in_virtual_time(main)


def test_the_clocks_are_those_of_the_runtime():
    """The monotonic clock times windows, the calendar times quotas: neither is read elsewhere."""
    now = 0.0

    async def main():
        nonlocal now
        runtime = Runtime(monotonic=lambda: now, utc_now=lambda: EPOCH + timedelta(days=now))
        limiter = Limiter(Limits(requests_per_window=1, requests_per_day=1), runtime=runtime)
        await ask(limiter)
        with pytest.raises(QuotaExhaustedError, match=r"the quota resets at 2026-05-25 00:00 UTC"):
            await ask(limiter)
        now = 1.0
        with anyio.move_on_after(59) as scope:
            await ask(limiter)
        assert scope.cancelled_caught, "the window is not over"
        now = 61.0
        await ask(limiter)

    in_virtual_time(main)


def test_an_uncontended_request_enters_few_functions():
    async def main():
        limiter = limiter_of()
        permit = await limiter.acquire(UPLOAD, counted=True, task_slot=TaskSlotLease())
        await limiter.settle(permit)
        return (
            await functions_entered(limiter.acquire(UPLOAD, counted=True, task_slot=TaskSlotLease())),
            await functions_entered(limiter.settle(permit)),
        )

    acquire, settle = in_virtual_time(main)
    assert len(acquire) <= 6, acquire
    assert len(settle) <= 5, settle


async def functions_entered(call):
    entered = set()

    def note(frame, event, _):
        if event == "call" and "/polyglot_async/" in frame.f_code.co_filename:
            entered.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        await call
    finally:
        sys.setprofile(before)
    return entered
