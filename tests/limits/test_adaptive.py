"""What 429s and successes do to one limit; the whole, with a queue and a clock, is in `test_limiter`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import Limits, RateLimitError
from polyglot_async._limits.adaptive import (
    MAX_BACKOFF,
    MIN_REQUESTS,
    AdaptiveLimit,
    AdaptiveLimits,
    exhausted_quota,
    merge_limits,
)

WINDOW = 60.0


def on_429(limit, seen, known, now, minimum=1):
    limit.on_429(seen, known, now, WINDOW, minimum=minimum)
    return limit.apply(known)


def on_success(limit, known, now):
    changed = limit.on_success(known, now, WINDOW)
    return limit.apply(known) if changed else None


@pytest.mark.parametrize("known", [None, 1, 60])
def test_nothing_changes_without_a_429(known):
    limit = AdaptiveLimit()
    assert known == limit.apply(known)
    assert on_success(limit, known, 1000.0) is None


@pytest.mark.parametrize(
    ("seen", "known", "after"),
    [(40, 60, 40), (90, 60, 60), (0, 60, 15), (3, 60, 15), (40, None, 40), (3, None, MIN_REQUESTS), (0, None, None)],
)
def test_a_429_lowers_the_limit_to_what_was_seen_and_not_below_a_quarter(seen, known, after):
    assert after == on_429(AdaptiveLimit(), seen, known, 0.0, minimum=MIN_REQUESTS)


def test_many_429s_within_a_window_count_once():
    limit = AdaptiveLimit()
    assert [40, 40, 20] == [on_429(limit, seen, 60, now) for seen, now in ((40, 0.0), (20, 59.0), (20, 60.0))]


def test_windows_without_a_429_increase_it_by_growing_steps_until_it_is_what_is_known():
    limit = AdaptiveLimit()
    on_429(limit, 20, 60, 0.0)
    after = [on_success(limit, 60, now) for now in (59.0, 60.0, 61.0, 120.0, 180.0, 240.0, 300.0, 360.0)]
    assert [None, 22, None, 26, 34, 50, 60, None] == after


def test_a_limit_that_is_met_again_is_tried_less_and_less_often():
    limit, now, pauses = AdaptiveLimit(), 0.0, []
    for _ in range(6):
        on_429(limit, 20, 60, now)
        met = now
        while on_success(limit, 60, now) is None:
            now += WINDOW
        pauses.append((now - met) / WINDOW)
        now += 1.0
        now = max(now, met + WINDOW)
    assert [1, 1, 2, 4, 8] == pauses[:5]
    assert MAX_BACKOFF == pauses[-1]


@given(
    st.none() | st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 200), st.none() | st.integers(0, 150)), max_size=50),
)
def test_it_is_never_more_than_what_is_known_nor_less_than_one(known, answers):
    """Each answer: some time passes, then a success (None) or a 429 after so many requests in the window."""
    limit, now = AdaptiveLimit(), 0.0
    for idle, seen in answers:
        now += idle
        if seen is None:
            on_success(limit, known, now)
        else:
            on_429(limit, seen, known, now)
        applied = limit.apply(known)
        assert applied is None or 1 <= applied <= (known or 150 * 4**50)


def test_the_fields_of_limits_that_429s_say_nothing_about_stay():
    known = Limits(plan="pro", requests_per_window=60, requests_per_day=9, window_seconds=30.0, raw={"a": 1})
    adaptive = AdaptiveLimits()
    adaptive.requests.decrease(5, 0.0, WINDOW)
    adaptive.task_slots.decrease(2, 0.0, WINDOW)
    lowered = adaptive.apply(known)
    assert (5, None, 2, "pro", 9, 30.0, {"a": 1}) == (
        lowered.requests_per_window,
        lowered.uploads_per_window,
        lowered.max_concurrent_tasks,
        lowered.plan,
        lowered.requests_per_day,
        lowered.window_seconds,
        lowered.raw,
    )


def test_stated_limits_win_over_fetched_ones():
    stated = Limits(requests_per_window=10, max_concurrent_tasks=2, window_seconds=30.0)
    fetched = Limits(
        plan="pro",
        requests_per_window=60,
        uploads_per_window=5,
        requests_per_day=9,
        max_concurrent_tasks=3,
        raw={"a": 1},
    )
    both = merge_limits(stated, fetched)
    assert (10, 5, 9, 2, "pro") == (
        both.requests_per_window,
        both.uploads_per_window,
        both.requests_per_day,
        both.max_concurrent_tasks,
        both.plan,
    )
    assert {"a": 1} == both.raw


@pytest.mark.parametrize(
    ("stated", "fetched", "window"),
    [
        (Limits(), Limits(requests_per_window=5, window_seconds=3.0), 3.0),
        (Limits(max_concurrent_tasks=1), Limits(requests_per_window=5, window_seconds=3.0), 3.0),
        (Limits(window_seconds=10.0), Limits(requests_per_window=5, window_seconds=3.0), 10.0),
        (Limits(requests_per_window=5, window_seconds=10.0), Limits(requests_per_window=9), 10.0),
        (Limits(requests_per_window=5, window_seconds=10.0), Limits(uploads_per_window=9), 60.0),
        (Limits(requests_per_window=5), Limits(requests_per_window=9, window_seconds=3.0), 60.0),
    ],
)
def test_a_rate_goes_with_its_window_and_of_two_windows_the_longer_holds(stated, fetched, window):
    assert window == merge_limits(stated, fetched).window_seconds


@pytest.mark.parametrize(
    ("limit", "retry_after", "quota"),
    [
        ("daily", None, "daily"),
        ("monthly", 1.0, "monthly"),
        ("burst", 599.0, None),
        ("burst", 601.0, "daily"),
        (None, 601.0, "daily"),
        (None, None, None),
        ("concurrency", 7200.0, None),
    ],
)
def test_a_429_is_about_a_quota_if_it_names_one_or_lasts_for_many_windows(limit, retry_after, quota):
    error = RateLimitError("429", status_code=429, retry_after=retry_after)
    error.limit = limit
    assert quota == exhausted_quota(error, WINDOW)
