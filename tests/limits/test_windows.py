"""Sliding windows and calendar counters, against the definition written out the long way."""

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._limits.windows import CLOCK_DRIFT, SlidingLog
from polyglot_async._state.usage import Usage, next_day, next_month

NOON = datetime(2026, 5, 24, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def test_no_limit_never_waits():
    log = SlidingLog(None, 60.0)
    for _ in range(1000):
        assert log.wait(5.0) == 0.0
        log.enter()


def test_what_is_under_way_holds_its_place_until_it_is_answered():
    log = SlidingLog(2, 60.0)
    log.enter()
    log.enter()
    assert log.wait(0.0) is None, "nobody knows when one of them will be answered"
    log.settle(10.0)
    assert 60 * (1 + CLOCK_DRIFT) == pytest.approx(log.wait(10.0)), "a window after the answer, not after the start"
    log.settle(11.0, reached=False)
    assert log.wait(11.0) == 0.0, "what never left takes no place"


def test_a_limit_that_is_lowered_waits_for_as_many_as_are_too_many():
    log = SlidingLog(3, 10.0)
    for at in (1.0, 2.0, 3.0):
        log.enter()
        log.settle(at)
    log.limit = 1
    assert 3.0 + 10.0 * (1 + CLOCK_DRIFT) - 3.0 == pytest.approx(log.wait(3.0))
    log.limit = 4
    assert log.wait(3.0) == 0.0


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
            assert len(held) < limit, "after the wait there is room"
            now += 1e-9
        log.enter()
        now += latency
        log.settle(now)
        answers.append(now)
        assert len([at for at in answers if at + span > now]) == log.recent(now)


def test_counts_belong_to_their_utc_day_and_month():
    usage = Usage().plus(3, NOON)
    assert (3, 3) == (usage.day_requests, usage.month_requests)
    midnight = datetime(2026, 5, 25, tzinfo=UTC)
    assert (3, 3) == counts(usage.at(midnight - timedelta(microseconds=1)))
    assert (0, 3) == counts(usage.at(midnight))
    assert (1, 1) == counts(usage.plus(1, datetime(2026, 6, 1, tzinfo=UTC)))


def test_a_request_that_never_left_is_taken_back_but_not_from_another_day():
    usage = Usage().plus(1, NOON).plus(-1, NOON)
    assert (0, 0) == counts(usage)
    yesterday = Usage().plus(1, NOON)
    assert (0, 0) == counts(yesterday.plus(-1, NOON + timedelta(days=1)))


@given(MOMENTS, MOMENTS, st.integers(0, 9), st.integers(0, 9))
def test_merging_never_forgets_what_either_counted_today(first, second, one, two):
    now = max(first, second)
    merged = Usage().plus(one, first).merged(Usage().plus(two, second), now)
    days = [count for count, at in ((one, first), (two, second)) if at.date() == now.date()]
    assert max(days) == merged.day_requests


@given(MOMENTS)
def test_the_counters_start_anew_at_the_next_utc_midnight_and_month(now):
    usage = Usage().plus(7, now)
    for resets_at, field in ((next_day(now), "day_requests"), (next_month(now), "month_requests")):
        assert now < resets_at
        assert 7 == getattr(usage.at(resets_at - timedelta(microseconds=1)), field)
        assert 0 == getattr(usage.at(resets_at), field)


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        # Already the next month where the caller lives, still the last one in UTC.
        (datetime(2026, 6, 1, 1, tzinfo=timezone(timedelta(hours=3))), datetime(2026, 6, 1, tzinfo=UTC)),
    ],
)
def test_the_next_month(now, month):
    assert month == next_month(now)


@given(st.dictionaries(st.sampled_from(["day", "day_requests", "month", "month_requests"]), st.none() | st.integers()))
def test_what_an_earlier_run_wrote_is_read_and_nonsense_is_nothing(value):
    usage = Usage().plus(3, NOON)
    assert usage == Usage.read(attrs.asdict(usage))
    assert Usage() == Usage.read(value)
    assert 0 <= Usage.read({**attrs.asdict(usage), "day_requests": -5}).day_requests


def counts(usage):
    return usage.day_requests, usage.month_requests
