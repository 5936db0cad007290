"""The limiter in virtual time, against servers that count in every way a server may (A11)."""

import math
from collections import deque
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import EPOCH, in_virtual_time, utc_now

from polyglot_async import ApiConnectionError, Limits, QuotaExhaustedError, RateLimitError
from polyglot_async._api import endpoints
from polyglot_async._limits.limiter import Limiter, SlotLease, merged
from polyglot_async._limits.store import MemoryLimitStore
from polyglot_async._limits.windows import CLOCK_DRIFT
from polyglot_async._state.usage import Usage

START, RESULT, POLL, LOAD = endpoints.UPLOAD, endpoints.RESULT, endpoints.GET, endpoints.DOWNLOAD
ORDER = [START, RESULT, POLL, LOAD]
SPAN = 1 + CLOCK_DRIFT


def limiter_of(on_quota="raise", **limits):
    return Limiter(Limits(**limits), store=MemoryLimitStore(utc_now=utc_now), on_quota=on_quota, utc_now=utc_now)


def refusal(detail="", retry_after=None, limit="burst"):
    error = RateLimitError("429", status_code=429, detail=detail, retry_after=retry_after)
    error.limit = limit
    return error


async def ask(limiter, endpoint=POLL, *, seconds=0.0, counted=True, lease=None, error=None, log=None, name=None):
    async with limiter.permit(endpoint, counted=counted, lease=lease):
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
        st.sampled_from(ORDER),
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
def test_no_server_ever_sees_too_many_and_nobody_waits_who_need_not(server, limit, uploads, phase, requests):
    """THE property: no refusal however the server counts, and each permit comes the moment that the rule has room."""
    window = 60.0
    all_of_them, of_uploads = server(limit, window, phase), server(uploads, window, phase)
    refused, waits, held = [], [], []

    async def one(limiter, endpoint, there, back, fate):
        asked = anyio.current_time()
        waits.append(entry := {"asked": asked, "endpoint": endpoint, "given": None})
        try:
            async with limiter.permit(endpoint, counted=True):
                entry["given"] = anyio.current_time()
                held.append(
                    place := [anyio.current_time(), math.inf, endpoint.billable]
                )  # until when, and of which rule
                await anyio.sleep(there)
                if fate == "refused connection":
                    place[1] = anyio.current_time()
                    raise ApiConnectionError("refused", maybe_sent=False, connected=False)
                now = anyio.current_time()
                if not all_of_them.allows(now) or (endpoint.billable and not of_uploads.allows(now)):
                    refused.append(now)
                await anyio.sleep(back)
                place[1] = anyio.current_time() + window * SPAN
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
        assert not limiter._line
        assert limiter.store._requests.under_way == limiter.store._uploads.under_way == 0

    in_virtual_time(main)
    assert not refused
    # Nobody waits who need not: at every moment at which places become free, whoever could have taken one has left.
    for moment in {end for _, end, _ in held} | {entry["asked"] for entry in waits}:
        now = moment + 1e-6
        waiting = [w for w in waits if w["asked"] < now < w["given"]]
        if not waiting:
            continue
        taken = [starts for begin, end, starts in held if begin <= now < end]
        room, room_for_uploads = len(taken) < limit, sum(taken) < uploads
        assert not room or all(w["endpoint"].billable and not room_for_uploads for w in waiting)
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


def test_who_waits_is_served_by_priority_and_then_in_order():
    async def main():
        limiter, log = limiter_of(requests_per_window=1), []
        async with anyio.create_task_group() as tasks:
            for number, endpoint in enumerate([LOAD, POLL, RESULT, START, LOAD, POLL, RESULT, START]):
                tasks.start_soon(lambda e=endpoint, n=number: ask(limiter, e, log=log, name=(e.call, n)))
                await anyio.sleep(1)
        return [name for name, _ in log]

    first, *rest = in_virtual_time(main)
    assert ("download", 0) == first, "it came alone, and had not to wait"
    assert [("upload", 3), ("upload", 7), ("result", 2), ("result", 6), ("get", 1), ("get", 5), ("download", 4)] == rest


def test_a_start_that_waits_for_its_own_rule_holds_up_nobody_else():
    async def main():
        limiter, log = limiter_of(requests_per_window=10, uploads_per_window=1), []
        async with anyio.create_task_group() as tasks:
            for name, endpoint in (("a", START), ("b", START), ("c", POLL)):
                tasks.start_soon(lambda e=endpoint, n=name: ask(limiter, e, log=log, name=n))
                await anyio.sleep(0.001)
        return {name: round(at) for name, at in log}

    assert {"a": 0, "b": 60, "c": 0} == in_virtual_time(main)


@settings(max_examples=200)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 100), st.floats(0, 20), st.sampled_from(ORDER)),
        min_size=1,
        max_size=20,
    ),
)
def test_cancelled_at_any_moment_no_permit_and_no_slot_is_lost(limit, requests):
    async def one(limiter, patience, seconds, endpoint):
        lease = SlotLease() if endpoint.billable else None
        with anyio.move_on_after(patience):
            try:
                await ask(limiter, endpoint, seconds=seconds, lease=lease)
                await anyio.sleep(seconds)
            finally:
                if lease is not None:
                    await limiter.release(lease)

    async def main():
        limiter = limiter_of(requests_per_window=limit, max_concurrent_tasks=2)
        async with anyio.create_task_group() as tasks:
            for idle, patience, seconds, endpoint in requests:
                await anyio.sleep(idle)
                tasks.start_soon(one, limiter, patience, seconds, endpoint)
        store = limiter.store
        assert (0, 0, []) == (store.slots_held, store._requests.under_way, limiter._line)
        await anyio.sleep(61)
        with anyio.fail_after(1):  # all is free again
            async with anyio.create_task_group() as tasks:
                for _ in range(limit):
                    tasks.start_soon(ask, limiter)

    in_virtual_time(main)


def test_the_leader_of_those_who_wait_can_go_and_another_asks_for_all():
    async def main():
        limiter, log = limiter_of(requests_per_window=1), []
        await ask(limiter)
        async with anyio.create_task_group() as tasks:

            async def impatient():
                with anyio.move_on_after(5):
                    await ask(limiter, START)

            tasks.start_soon(impatient)
            await anyio.sleep(1)
            tasks.start_soon(lambda: ask(limiter, POLL, log=log, name="poll"))
        return log

    [(_, at)] = in_virtual_time(main)
    assert 60 * SPAN == pytest.approx(at)


def test_limits_that_become_known_while_others_wait_hold_at_once():
    async def main():
        limiter, log = limiter_of(requests_per_window=1), []
        limiter = Limiter(store=limiter.store)
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
def test_or_it_is_waited_for_until_utc_midnight_or_the_end_of_the_month(limits, days):
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


def test_many_who_wait_for_a_quota_are_all_told():
    async def main():
        limiter, told = limiter_of(requests_per_day=1, requests_per_window=1), []
        await ask(limiter)

        async def one():
            with pytest.raises(QuotaExhaustedError):
                await ask(limiter)
            told.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
        return told

    assert [0.0] * 5 == in_virtual_time(main)


def test_an_earlier_runs_count_goes_on_and_one_of_yesterday_does_not():
    async def main():
        limiter = limiter_of(requests_per_day=10)
        await limiter.store.restore(Usage().plus(9, EPOCH))
        await ask(limiter)
        with pytest.raises(QuotaExhaustedError):
            await ask(limiter)
        limiter = limiter_of(requests_per_day=10)
        await limiter.store.restore(Usage().plus(9, EPOCH - timedelta(days=1)))
        assert (0, 9) == (limiter.usage.day_requests, limiter.usage.month_requests)

    in_virtual_time(main)


def test_only_a_request_that_never_left_is_taken_off_the_counters():
    async def main():
        limiter = limiter_of(requests_per_day=10)
        for error in (
            ApiConnectionError("refused", maybe_sent=False, connected=False),
            ApiConnectionError("cut in the middle of the body", maybe_sent=False),
            ApiConnectionError("no answer"),
        ):
            with pytest.raises(ApiConnectionError):
                await ask(limiter, error=error)
        assert (2, 2) == (limiter.usage.day_requests, limiter.store.recent_requests)

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
                await ask(limiter, error=refusal(limit=limit, retry_after=retry_after))
        patient = limiter_of("wait")
        with pytest.raises(RateLimitError) as waited:
            await ask(patient, error=(error := refusal(limit=limit, retry_after=retry_after)))
        assert patient.waits_out(error)
        assert waited.value is error
        assert not limiter.waits_out(error)
        await ask(patient)
        return (caught.value.resets_at - EPOCH).total_seconds() / 3600, anyio.current_time() / 3600

    assert pytest.approx((hours, hours)) == in_virtual_time(main)


# What 429s teach.


class Service:
    """Answers as a server with a limit does, and counts its refusals."""

    def __init__(self, limit, window=60.0, *, tells_when=True, counting=Sliding):
        self.server, self.tells_when = counting(limit, window, 0.3), tells_when
        self.refused, self.allowed = [], []

    async def __call__(self, limiter, endpoint=POLL):
        """Ask until it is allowed, as a batch does."""
        while True:
            try:
                async with limiter.permit(endpoint, counted=True):
                    now = anyio.current_time()
                    await anyio.sleep(0.05)
                    if self.server.allows(now):
                        self.allowed.append(now)
                        return
                    self.refused.append(now)
                    raise refusal(retry_after=self.server.wait(now) if self.tells_when else None)
            except RateLimitError:
                continue


@pytest.mark.parametrize("counting", [Sliding, Fixed, Bucket])
@pytest.mark.parametrize("tells_when", [True, False])
@pytest.mark.parametrize("stated", [None, 60])
def test_unknown_or_wrong_limits_are_learned_and_few_requests_are_refused(counting, tells_when, stated):
    """Ten workers with no end of work for an hour, of a real 20 per minute."""

    async def main():
        service, limiter = Service(20, tells_when=tells_when, counting=counting), limiter_of(requests_per_window=stated)

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


def test_a_storm_of_429s_is_survived_and_forgotten():
    """Ten refusals that say nothing, at the very beginning; then the service is well. Nothing crawls for long after."""

    async def main():
        limiter = limiter_of(requests_per_window=60)
        for _ in range(10):
            with pytest.raises(RateLimitError):
                await ask(limiter, error=refusal(limit=None))
        storm = anyio.current_time()
        for _ in range(300):
            await ask(limiter)
        return storm, anyio.current_time() - storm

    storm, after = in_virtual_time(main)
    assert 400 > storm
    assert 900 > after, "300 requests at 60 a minute need 5 minutes"


def test_many_refusals_at_once_are_one_lesson():
    async def main():
        limiter = limiter_of(requests_per_window=60)
        for _ in range(40):
            await ask(limiter)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):

                async def one():
                    with pytest.raises(RateLimitError):
                        await ask(limiter, seconds=1, error=refusal(retry_after=10.0))

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
            await ask(limiter, START)
        with pytest.raises(RateLimitError):
            await ask(limiter, START, error=refusal("3 uploads per minute", retry_after=20.0))
        assert (None, 3) == (limiter.limits.requests_per_window, limiter.limits.uploads_per_window)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(limiter, START, log=log, name="upload"))
            tasks.start_soon(lambda: ask(limiter, POLL, log=log, name="poll"))
        return log

    poll, upload = in_virtual_time(main)
    assert ("poll", 0.0) == poll
    assert upload[1] >= 20.0


@pytest.mark.parametrize("status", [429, 403])
def test_too_many_tasks_teach_how_many_slots_there_are(status):
    """A13. Eight starts at once, three are accepted: afterwards three is what is thought to be allowed."""

    async def main():
        limiter, accepted, leases = limiter_of(), [], []

        async def start(number):
            lease = SlotLease()
            try:
                await ask(limiter, START, lease=lease, error=None if number < 3 else refusal(limit="concurrency"))
            except RateLimitError:
                assert lease.id is None, "a refused start holds no slot"
            else:
                accepted.append(number)
                leases.append(lease)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(start, number)
        assert (3, 3) == (limiter.limits.max_concurrent_tasks, limiter.store.slots_held)
        with anyio.move_on_after(300) as patience:
            await ask(limiter, START, lease=SlotLease())
        assert patience.cancelled_caught, "it waits for a slot"
        await limiter.release(leases[0])
        with anyio.fail_after(1):
            await ask(limiter, START, lease=SlotLease())

    in_virtual_time(main)


# Whose word counts.


def test_the_callers_word_wins_over_the_services():
    stated = Limits(requests_per_window=10, max_concurrent_tasks=2, window_seconds=30.0)
    told = Limits(
        plan="pro",
        requests_per_window=60,
        uploads_per_window=5,
        requests_per_day=9,
        max_concurrent_tasks=3,
        raw={"a": 1},
    )
    both = merged(stated, told)
    assert (10, 5, 9, 2, "pro") == (
        both.requests_per_window,
        both.uploads_per_window,
        both.requests_per_day,
        both.max_concurrent_tasks,
        both.plan,
    )
    assert {"a": 1} == both.raw


@pytest.mark.parametrize(
    ("stated", "told", "window"),
    [
        (Limits(), Limits(requests_per_window=5, window_seconds=3.0), 3.0),
        (Limits(max_concurrent_tasks=1), Limits(requests_per_window=5, window_seconds=3.0), 3.0),
        (Limits(window_seconds=10.0), Limits(requests_per_window=5, window_seconds=3.0), 10.0),
        (Limits(requests_per_window=5, window_seconds=10.0), Limits(requests_per_window=9), 10.0),
        (Limits(requests_per_window=5, window_seconds=10.0), Limits(uploads_per_window=9), 60.0),
        (Limits(requests_per_window=5), Limits(requests_per_window=9, window_seconds=3.0), 60.0),
    ],
)
def test_a_rate_goes_with_its_window_and_of_two_the_stricter(stated, told, window):
    assert window == merged(stated, told).window_seconds


def test_what_was_learned_lowers_both():
    async def main():
        limiter = limiter_of(requests_per_window=100)
        for _ in range(30):
            await ask(limiter)
        with pytest.raises(RateLimitError):
            await ask(limiter, error=refusal(retry_after=1.0))
        assert 30 == limiter.limits.requests_per_window
        assert 100 == limiter.update(Limits(requests_per_window=200)).requests_per_window
        assert limiter.was_told

    in_virtual_time(main)
