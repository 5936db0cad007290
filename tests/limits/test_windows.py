"""Burst windows, quotas and task slots, against the definition written out the long way."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import Limits
from polyglot_async._limits.windows import CLOCK_DRIFT, Counters, Denial, SlidingLog

NOON = datetime(2026, 5, 24, 12, tzinfo=UTC)
MIDNIGHT, JUNE = datetime(2026, 5, 25, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def enter(log):
    log.under_way += 1


def test_no_limit_never_waits():
    log = SlidingLog()
    for _ in range(1000):
        assert log.wait(5.0) == 0.0
        enter(log)


def test_a_request_under_way_counts_until_a_window_after_its_answer():
    log = SlidingLog(2, 60.0)
    enter(log)
    enter(log)
    assert log.wait(0.0) is None, "nobody knows when one of them will be answered"
    log.settle(10.0)
    assert 60 * (1 + CLOCK_DRIFT) == pytest.approx(log.wait(10.0)), "a window after the answer, not after the start"
    assert (1, 1) == (log.under_way, log.recent(10.0))


def test_a_limit_that_is_lowered_waits_for_as_many_as_are_too_many():
    log = SlidingLog(3, 10.0)
    for at in (1.0, 2.0, 3.0):
        enter(log)
        log.settle(at)
    log.limit = 1
    assert 10.0 * (1 + CLOCK_DRIFT) == pytest.approx(log.wait(3.0))
    log.limit = 4
    assert log.wait(3.0) == 0.0


def test_without_a_limit_old_stamps_are_forgotten_too():
    log = SlidingLog(None, 60.0)
    for now in range(1000):
        enter(log)
        log.settle(float(now))
    assert len(log.stamps) <= 61


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30)), max_size=40),
)
def test_an_entry_is_allowed_exactly_when_the_definition_says_so(limit, steps):
    """Each step: some time passes, a request is answered after some more; the oracle counts what is still held."""
    log, now, answers = SlidingLog(limit, 20.0), 0.0, []
    span = 20.0 * (1 + CLOCK_DRIFT)
    for idle, latency in steps:
        now += idle
        wait = log.wait(now)
        held = [at for at in answers if at + span > now]
        assert (wait == 0.0) == (len(held) < limit)
        if wait:
            now += wait
            held = [at for at in answers if at + span > now + 1e-9]
            assert len(held) < limit, "after the wait one may leave"
            now += 1e-9
        enter(log)
        now += latency
        log.settle(now)
        answers.append(now)
        assert len([at for at in answers if at + span > now]) == log.recent(now)


def counters_of(**limits):
    counters = Counters()
    counters.set_limits(Limits(**limits))
    return counters


def acquire(counters, now=0.0, utc_now=NOON, *, billable=False, counted=True, task_slot=False):
    return counters.acquire(now, utc_now, billable=billable, counted=counted, task_slot=task_slot)


@pytest.mark.parametrize(
    ("limits", "request_", "denial"),
    [
        ({"requests_per_window": 2}, {}, Denial("burst")),
        ({"requests_per_window": 2}, {"counted": False}, Denial("burst")),
        ({"uploads_per_window": 2}, {"billable": True}, Denial("uploads")),
        ({"uploads_per_window": 2}, {}, None),
        ({"max_concurrent_tasks": 2}, {"task_slot": True}, Denial("concurrency")),
        ({"max_concurrent_tasks": 2}, {}, None),
        ({"requests_per_day": 2}, {}, Denial("daily", 12 * 3600, MIDNIGHT)),
        ({"requests_per_day": 2}, {"counted": False}, None),
        ({"requests_per_month": 2}, {}, Denial("monthly", 7.5 * 86400, JUNE)),
        ({"requests_per_day": 2, "requests_per_month": 2}, {}, Denial("monthly", 7.5 * 86400, JUNE)),
        ({}, {"billable": True, "task_slot": True}, None),
    ],
)
def test_the_third_request_is_denied_by_the_limit_that_it_meets(limits, request_, denial):
    counters = counters_of(**limits)
    assert [None, None] == [acquire(counters, **request_) for _ in range(2)]
    assert denial == acquire(counters, **request_)


@given(st.sampled_from(["requests_per_window", "uploads_per_window", "max_concurrent_tasks", "requests_per_day"]))
def test_a_request_that_is_denied_is_counted_nowhere(limit):
    counters = counters_of(**{limit: 1})
    acquire(counters, billable=True, task_slot=True)
    before = attrs.asdict(counters)
    assert acquire(counters, billable=True, task_slot=True) is not None
    assert before == attrs.asdict(counters)


def test_a_request_that_never_reached_the_service_is_uncounted_but_keeps_its_task_slot():
    counters = counters_of(requests_per_window=1, uploads_per_window=1, requests_per_day=1, max_concurrent_tasks=1)
    acquire(counters, billable=True, task_slot=True)
    counters.uncount(NOON, billable=True, counted=True)
    assert Denial("concurrency") == acquire(counters, billable=True, task_slot=True)
    assert acquire(counters, billable=True) is None


def test_new_limits_keep_what_was_counted():
    counters = counters_of()
    for _ in range(3):
        acquire(counters, task_slot=True)
    counters.set_limits(Limits(max_concurrent_tasks=3, requests_per_day=3))
    assert "daily" == acquire(counters).limit
    assert Denial("concurrency") == acquire(counters, counted=False, task_slot=True)
    counters.set_limits(Limits(max_concurrent_tasks=4, requests_per_day=4))
    assert acquire(counters, task_slot=True) is None


def test_a_quota_that_the_service_says_is_spent_is_denied_until_it_resets():
    counters = counters_of()
    counters.exhaust("daily", MIDNIGHT)
    counters.set_limits(Limits(requests_per_window=9))
    assert Denial("daily", 12 * 3600, MIDNIGHT) == acquire(counters)
    assert acquire(counters, counted=False) is None
    assert Denial("daily", 1, MIDNIGHT) == acquire(counters, utc_now=MIDNIGHT - timedelta(seconds=1))
    assert acquire(counters, utc_now=MIDNIGHT) is None


def test_of_several_spent_quotas_the_one_that_resets_last_is_named():
    counters = counters_of(requests_per_day=1)
    acquire(counters)
    counters.exhaust("monthly", JUNE)
    assert "monthly" == acquire(counters).limit
    counters.exhaust("monthly", NOON + timedelta(minutes=1))
    assert "daily" == acquire(counters).limit
