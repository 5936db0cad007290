"""When to look: what is learned of durations, and the rhythm that follows."""

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    AuthenticationError,
    BadRequestError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from polyglot_async._tasks.schedule import (
    MOST_UNREADABLE_ANSWERS,
    DurationEstimate,
    Expectation,
    PollFailures,
    PollSchedule,
    TaskDurations,
    coalesce,
)

PACE = PollSchedule()
SECONDS = st.floats(0.01, 1e5)


def test_nothing_is_expected_before_a_task_has_ended():
    durations = TaskDurations()
    durations.unfinished(5.0, None)
    assert durations.expected() is None


@given(SECONDS, st.randoms(use_true_random=False))
def test_the_true_number_is_found_in_a_few_looks(true, dice):
    """Each task is polled at once or more; the guess ends a little above what is true, and stays there."""
    bracket = DurationEstimate()
    bracket.below(true * dice.uniform(1.0, 1.6))
    for _ in range(60):
        guess = bracket.guess().seconds
        (bracket.above if guess < true else bracket.below)(guess if guess < true else max(guess, true))
        if guess < true:
            bracket.below(true * 1.1)
    assert true * 0.95 <= bracket.guess().seconds <= true * 1.1


@given(st.lists(SECONDS, min_size=1), st.lists(SECONDS))
def test_a_guess_is_never_above_what_was_seen_nor_below_zero(highs, lows):
    bracket = DurationEstimate()
    for low in lows:
        bracket.above(low)
    for high in highs:
        bracket.below(high)
    guess = bracket.guess()
    assert 0 < guess.seconds <= guess.at_most <= max(highs)


def test_tasks_that_become_faster_are_found_out():
    bracket = DurationEstimate()
    for _ in range(50):
        bracket.above(99.0)
        bracket.below(100.0)
    for _ in range(400):
        bracket.below(max(10.0, bracket.guess().seconds))
    assert bracket.guess().seconds < 25


def test_audio_tells_more_than_the_mean_where_its_length_is_known():
    durations = TaskDurations()
    for length in (10.0, 100.0, 1000.0):
        durations.unfinished(length * 0.099, length)
        durations.finished(length * 0.1, length)
    assert 60.0 == pytest.approx(durations.expected(600.0).seconds)
    assert 10.0 == pytest.approx(durations.expected().at_most)


@given(
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.none() | st.builds(lambda seconds, more: Expectation(seconds, seconds + more), SECONDS, SECONDS),
)
def test_the_next_poll_at_is_never_too_soon_and_never_later_than_the_longest_interval_once_it_is_overdue(
    start, age, since, expected
):
    now = start + age
    polled = now - min(since, age)
    due = PACE.next_poll_at(start, polled, now, expected)
    assert due >= polled + PACE.min_interval - 1e-6
    if expected is None or polled >= start + expected.at_most:
        assert due <= polled + PACE.max_interval + 1e-6
    else:
        assert due <= max(start + expected.at_most, polled + PACE.min_interval) + 1e-6


def test_while_nothing_is_known_the_looks_grow_rarer():
    now, polled, looks = 0.0, None, []
    while now < 300:
        now = PACE.next_poll_at(0.0, polled, now, None)
        polled = now
        looks.append(now)
    gaps = [after - before for before, after in itertools.pairwise(looks)]
    assert gaps == sorted(gaps)
    assert 30 == pytest.approx(max(gaps))
    assert 24 > len(looks)


def test_one_look_serves_those_that_are_due_right_after():
    assert 10.4 == coalesce([10.0, 12.0, 10.4], 0.5)
    assert 10.0 == coalesce([12.0, 10.0], 0.0)


@pytest.mark.parametrize(("spread", "most_looks", "most_late"), [(0.0, 1.1, 0.03), (0.1, 2.0, 0.1), (0.5, 2.0, 0.35)])
def test_learning_costs_few_looks_a_task(spread, most_looks, most_late):
    """One task after the other: how often each was polled at, and how late its end was seen."""
    dice, durations, looks, late = random.Random(1), TaskDurations(), [], []
    for _ in range(300):
        true = 10.0 * dice.uniform(1 - spread, 1 + spread)
        polled, count = None, 0
        while True:
            at = PACE.next_poll_at(0.0, polled, polled or 0.0, durations.expected())
            count += 1
            if at >= true:
                durations.finished(at, None)
                break
            durations.unfinished(at, None)
            polled = at
        looks.append(count)
        late.append((at - true) / 10.0)
    assert most_looks > statistics.mean(looks[20:])
    assert most_late > statistics.mean(late[20:])


# After polls that failed.

SERVER_ERROR = ServerError("", status_code=503)
LOST = ApiConnectionError("lost")
UNREADABLE = ResponseDecodeError("", body=b'{"task": 1}')
PROXY_PAGE = ResponseDecodeError("", body=b"<title>Down for maintenance</title>")
TOO_MANY = RateLimitError("", status_code=429)


@pytest.mark.parametrize("error", [SERVER_ERROR, LOST, PROXY_PAGE, TOO_MANY])
def test_after_failures_that_pass_the_pauses_grow_up_to_half_a_minute(error):
    failures = PollFailures()
    pauses = [failures.pause_after(error, 0.0, random=0.5) for _ in range(200)]
    assert pauses == sorted(pauses)
    assert (0.375, 22.5) == (pauses[0], pauses[-1])
    assert (200, error) == (failures.count, failures.last)


@pytest.mark.parametrize(("asked", "least", "most"), [(7.0, 7.0, 8.0), (86_400.0, 120.0, 120.0)])
def test_a_pause_that_the_service_asks_for_is_kept_up_to_two_minutes(asked, least, most):
    error = ServerError("", status_code=503, retry_after=asked)
    assert least <= PollFailures().pause_after(error, 0.0, random=0.5) <= most


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("", status_code=401),
        BadRequestError("", status_code=422),
        ApiStatusError("", status_code=407),
        ApiConnectionError("certificate", permanent=True),
    ],
)
def test_what_no_repetition_mends_has_no_next_poll_and_is_the_last_failure(error):
    failures = PollFailures()
    assert failures.pause_after(error, 0.0, random=0.5) is None
    assert (0, error) == (failures.count, failures.last)


@pytest.mark.parametrize("body", [b'{"task": 1}', b"no JSON", b""])
def test_answers_that_cannot_be_read_pass_a_few_times_whatever_fails_between_them(body):
    failures, error = PollFailures(), ResponseDecodeError("", body=body)
    for _ in range(MOST_UNREADABLE_ANSWERS - 1):
        assert failures.pause_after(error, 0.0, random=0.5) is not None
        assert failures.pause_after(SERVER_ERROR, 0.0, random=0.5) is not None
    assert failures.pause_after(error, 0.0, random=0.5) is None


@pytest.mark.parametrize("error", [SERVER_ERROR, LOST, PROXY_PAGE, UNREADABLE])
def test_an_outage_lasts_since_the_first_failure_and_an_answer_of_the_service_ends_it(error):
    failures = PollFailures()
    assert failures.down_for(5.0) == 0.0
    failures.pause_after(error, 10.0, random=0.5)
    assert failures.down_for(10.0) == 0.0
    failures.pause_after(LOST, 40.0, random=0.5)
    assert failures.down_for(40.0) == 30.0
    failures.pause_after(TOO_MANY, 50.0, random=0.5)
    assert failures.down_for(60.0) == 0.0
