"""Times rule a task out only where that is certain: no clock, zone or change of the hour hides a task of ours."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.known_tasks import (
    KnownTasks,
    Listing,
    OwnTask,
    ServiceClock,
    is_after,
    is_before,
    is_newest_first,
    media_kind,
    service_clock,
)

NOW = datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp()
ZONES = st.sampled_from([-12, -9.5, -3, 0, 1, 3, 5.75, 8, 14]).map(lambda hours: hours * 3600)
"""Offsets of local times that are shown without a zone, and so are taken for UTC."""
ERRORS = st.floats(-86_400 * 400, 86_400 * 400)
"""Seconds by which the service's clock may be wrong."""
SECONDS = st.floats(0, 100)


def listed(task_id, at, shown_ahead=0.0, *, whole_seconds=False):
    """A task that was created at `at` of our clock, by a clock that is ahead."""
    created = at + shown_ahead
    created = datetime.fromtimestamp(int(created) if whole_seconds else created, UTC)
    return Task(task_id=task_id, status=TaskStatus.QUEUED, created_at=created)


def own_task(at, latency):
    return OwnTask(at + latency, since=at - 1.0)


@given(
    zone=ZONES,
    error=ERRORS,
    earlier=st.lists(st.tuples(st.floats(-86_400, 0), SECONDS), min_size=1, max_size=5),
    since=st.floats(0, 1000),
    after=SECONDS,
    clock_change=st.sampled_from([0, -3600]),
    whole=st.booleans(),
)
@example(zone=10_800, error=0, earlier=[(-10, 1)], since=0, after=0, clock_change=-3600, whole=True)
def test_a_task_of_ours_is_never_taken_for_an_older_one(zone, error, earlier, since, after, clock_change, whole):
    """Naive local times of any zone, in the night in which they go back by an hour, on a clock that is months off."""
    ahead = zone + error
    own = {f"own-{number}": own_task(NOW + at, latency) for number, (at, latency) in enumerate(earlier)}
    tasks = [listed(f"own-{n}", NOW + at, ahead, whole_seconds=whole) for n, (at, _) in enumerate(earlier)]
    ours = listed("ours", NOW + since + after, ahead + clock_change, whole_seconds=whole)
    assert not is_before(ours, NOW + since, service_clock([ours, *tasks], own))


@given(zone=ZONES, after=SECONDS, skew=ERRORS)
def test_where_the_clock_is_not_known_any_zone_is_possible(zone, after, skew):
    """Our own clock may be wrong by months as well: the `Date` of the answers tells."""
    ours = listed("ours", NOW + after, zone + skew)
    assert not is_before(ours, NOW, None, skew=skew)
    assert is_before(listed("old", NOW - 41 * 3600, zone + skew), NOW, None, skew=skew)


@given(
    ahead=ERRORS,
    own_at=st.floats(-86_400, 0),
    latency=st.floats(0, 50),
    late=st.floats(0, 86_400),
    age=st.floats(4, 86_400),
    whole=st.booleans(),
)
def test_an_older_task_is_never_taken_for_one_that_came_after(ahead, own_at, latency, late, age, whole):
    """Not even where the tasks of our own were found hours after they had been started."""
    own = {"own": OwnTask(NOW + own_at + latency + late, since=NOW + own_at - latency)}
    tasks = [listed("own", NOW + own_at, ahead, whole_seconds=whole)]
    older = listed("older", NOW - age, ahead, whole_seconds=whole)
    assert not is_after(older, NOW, service_clock([older, *tasks], own))


def test_a_task_is_after_where_the_clock_is_known():
    clock = service_clock([listed("own", NOW - 60, 10_800)], {"own": own_task(NOW - 60, 0.5)})
    assert ServiceClock(10_799.5, 10_801.0) == clock
    assert is_after(listed("ours", NOW + 1, 10_800), NOW, clock)
    assert not is_before(listed("ours", NOW + 1, 10_800), NOW, clock)
    assert is_before(listed("older", NOW - 2 * 3600, 10_800), NOW, clock)


@pytest.mark.parametrize("clock", [None, ServiceClock(0.0), ServiceClock(0.0, 0.0)])
def test_a_task_without_a_time_is_neither_before_nor_after(clock):
    task = Task(task_id="t", status=TaskStatus.QUEUED)
    assert (False, False) == (is_before(task, NOW, clock), is_after(task, NOW, clock))


def test_a_clock_that_no_two_tasks_agree_on_is_not_known():
    own = {"a": own_task(NOW, 0), "b": own_task(NOW + 10, 0)}
    assert service_clock([listed("a", NOW, 0), listed("b", NOW + 10, 3600)], own) is None
    assert service_clock([listed("c", NOW)], own) is None
    assert service_clock([], own) is None


def test_without_the_time_of_its_answer_a_task_of_ours_tells_nothing_of_the_clock():
    clock = service_clock([listed("own", NOW)], {"own": OwnTask(float("inf"))})
    assert not is_before(listed("ours", NOW + 1), NOW, clock)


@pytest.mark.parametrize("count", [2, 5, 40])
@given(data=st.data())
def test_a_list_that_is_not_newest_first_is_read_to_its_end(count, data):
    times = data.draw(st.lists(st.integers(0, 10**6), min_size=count, max_size=count, unique=True))
    tasks = [listed(f"t{number}", NOW + at) for number, at in enumerate(times)]
    assert not is_newest_first(sorted(tasks, key=lambda task: task.created_at), {})
    assert is_newest_first(sorted(tasks, key=lambda task: task.created_at, reverse=True), {})


def test_without_times_tasks_of_our_own_show_the_order():
    tasks = [Task(task_id=name, status=TaskStatus.QUEUED) for name in "abc"]
    own = {"a": OwnTask(2.0), "c": OwnTask(1.0)}
    assert is_newest_first(tasks, own)
    assert not is_newest_first(tasks[::-1], own)
    assert not is_newest_first(tasks, {"a": OwnTask(2.0)}), "one task has no order"


def test_what_was_seen_before_a_submission_is_older_and_what_was_seen_after_it_is_not_known_to_be():
    known = KnownTasks()
    tasks = [Task(task_id=name, status=TaskStatus.QUEUED) for name in "ab"]
    known.saw(tasks[:1], 10.0)
    known.saw(tasks, 20.0)
    assert known.is_older("a", 15.0)
    assert not known.is_older("a", 10.0)
    assert not known.is_older("b", 15.0)
    assert not known.is_older("c", 15.0)


def test_a_task_of_ours_is_older_if_its_answer_came_before():
    known = KnownTasks()
    known.add_own("a", OwnTask(10.0))
    assert (True, False) == (known.is_older("a", 11.0), known.is_older("a", 10.0))
    known.forget("a")
    known.forget("never there")
    assert not known.is_older("a", 11.0)


def test_the_oldest_of_ten_thousand_tasks_are_forgotten():
    known = KnownTasks()
    for number in range(10_001):
        known.add_own(f"own-{number}", OwnTask(0.0))
        known.saw([Task(task_id=f"seen-{number}", status=TaskStatus.QUEUED)], 0.0)
    assert (False, True) == (known.is_older("own-0", 1.0), known.is_older("own-1", 1.0))
    assert (False, True) == (known.is_older("seen-0", 1.0), known.is_older("seen-1", 1.0))


def test_a_listing_reaches_back_at_a_task_that_is_older_if_it_is_in_order():
    known = KnownTasks()
    known.saw([listed("old", NOW - 100)], NOW - 50)
    newest, new, old = listed("newest", NOW + 2), listed("new", NOW + 1), listed("old", NOW - 100)
    listing = Listing(known)
    listing.add([newest, new])
    assert not listing.reaches_back([newest, new], NOW)
    listing.add([old])
    assert listing.reaches_back([old], NOW)
    assert [newest, new] == listing.strangers(NOW)
    upside_down = Listing(known)
    upside_down.add([old, new])
    assert not upside_down.reaches_back([old, new], NOW)


def test_a_task_of_ours_is_no_stranger():
    known = KnownTasks()
    known.add_own("a", OwnTask(NOW + 5))
    listing = Listing(known)
    listing.add([listed("a", NOW + 4), listed("b", NOW + 3)])
    assert ["b"] == [task.task_id for task in listing.strangers(NOW)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("talk.mp3", ".mp3"),
        ("TALK.MP3", ".mp3"),
        ("a/b.tar.gz", ".gz"),
        ("talk", ""),
        ("", ""),
        (".mp3", ""),
        ("a.", ""),
    ],
)
def test_a_kind_of_media_is_its_suffix(name, kind):
    assert kind == media_kind(name)


@given(st.text(max_size=30))
def test_any_name_has_a_kind(name):
    assume("\0" not in name)
    assert isinstance(media_kind(name), str)


def test_old_enough_is_a_matter_of_more_than_a_day_where_no_zone_is_known():
    task = listed("t", NOW - timedelta(hours=20).total_seconds())
    assert not is_before(task, NOW, None)
