"""Requests by UTC day and month."""

from datetime import UTC, datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._state.usage import Usage, next_day, next_month

NOON = datetime(2026, 5, 24, 12, tzinfo=UTC)
ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC) | ZONES)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=1)
KEYS = st.sampled_from(["day", "day_requests", "month", "month_requests"])


def counts(usage):
    return usage.day_requests, usage.month_requests


def test_counts_belong_to_their_utc_day_and_month():
    usage = Usage().plus(3, NOON)
    assert Usage("2026-05-24", 3, "2026-05", 3) == usage
    midnight = datetime(2026, 5, 25, tzinfo=UTC)
    assert (3, 3) == counts(usage.at(midnight - timedelta(microseconds=1)))
    assert (0, 3) == counts(usage.at(midnight))
    assert (1, 4) == counts(usage.plus(1, midnight))
    assert (1, 1) == counts(usage.plus(1, datetime(2026, 6, 1, tzinfo=UTC)))


@given(st.lists(st.tuples(MOMENTS, st.integers(0, 9)), max_size=20), MOMENTS)
def test_the_counts_are_those_of_the_definition(requests, now):
    """Sums by UTC date, written out the long way; the zone in which a moment is given makes no difference."""
    requests.sort(key=lambda request: request[0])
    now = max([now, *(at for at, _ in requests)])
    usage = Usage()
    for at, number in requests:
        usage = usage.plus(number, at)
    today = now.astimezone(UTC)
    dated = [(at.astimezone(UTC), number) for at, number in requests]
    day = sum(number for at, number in dated if at.date() == today.date())
    month = sum(number for at, number in dated if (at.year, at.month) == (today.year, today.month))
    assert (day, month) == counts(usage.at(now))


def test_a_request_is_taken_back_from_its_own_day_only():
    assert (0, 0) == counts(Usage().plus(1, NOON).plus(-1, NOON))
    assert (0, 0) == counts(Usage().plus(1, NOON).plus(-1, NOON + timedelta(days=1)))
    assert (0, 0) == counts(Usage().plus(-1, NOON))


@given(MOMENTS, MOMENTS, st.integers(0, 9), st.integers(0, 9))
def test_merging_never_forgets_what_either_counted_today(first, second, one, two):
    now = max(first, second)
    merged = Usage().plus(one, first).merged(Usage().plus(two, second), now)
    today = now.astimezone(UTC).date()
    days = [count for count, at in ((one, first), (two, second)) if at.astimezone(UTC).date() == today]
    assert max(days) == merged.day_requests


@given(MOMENTS)
def test_the_quotas_reset_at_the_next_utc_midnight_and_month(now):
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


@given(st.dictionaries(KEYS, VALUES))
def test_what_an_earlier_run_wrote_is_read_and_other_shapes_count_as_nothing_used(value):
    usage = Usage().plus(3, NOON)
    written = attrs.asdict(usage)
    assert usage == Usage.read(written)
    read = Usage.read(value)
    assert read == Usage() or len(value) == 4
    mixed = Usage.read({**written, **value})
    assert min(counts(read) + counts(mixed)) >= 0
    assert min(counts(mixed.plus(1, NOON))) >= 1, "whatever was read, counting goes on"
