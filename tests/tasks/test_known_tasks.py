"""When a list that was read to its end can be believed."""

from datetime import UTC, datetime

import pytest

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.known_tasks import KnownTasks, Listing, OwnTask, Reading, SentMedia, is_newest_first

NOW = 1_000_000.0


def listing_of(*task_ids, own_at):
    known = KnownTasks()
    known.add_own("own", OwnTask(own_at, own_at))
    listing = Listing(known)
    listing.add([Task(task_id=task_id, status=TaskStatus.COMPLETED) for task_id in task_ids])
    return listing


@pytest.mark.parametrize("shown", [(), ("other",)])
def test_a_list_that_does_not_show_a_recent_task_of_ours_is_not_believed(shown):
    assert not listing_of(*shown, own_at=NOW - 60).is_believed(NOW, Reading(NOW))


def test_a_list_that_shows_a_recent_task_of_ours_is_believed():
    assert listing_of("other", "own", own_at=NOW - 60).is_believed(NOW, Reading(NOW))


def test_a_task_of_days_ago_may_have_left_the_list():
    assert listing_of("other", own_at=NOW - 3 * 86_400).is_believed(NOW, Reading(NOW))


def test_what_is_remembered_of_our_tasks_and_of_the_list_does_not_grow_without_end():
    known = KnownTasks()
    for number in range(30_000):
        known.add_own(f"own{number}", OwnTask(NOW), SentMedia("a.mp3", number))
        page = [Task(task_id=f"{kind}{number}", status=TaskStatus.COMPLETED) for kind in ("own", "other")]
        known.record_page(Reading(NOW), page, NOW, is_end=False)
    assert len(known.own) <= 1_200
    assert len(known.media) <= 256
    assert ("own29999" in known.own, "own29999" in known.media) == (True, True)
    assert known.is_older("other29999", NOW + 1)


@pytest.mark.parametrize(
    ("hours", "is_ordered"),
    [([50, 10, 9, 5, 2], True), ([50, 10, 9, 30, 5, 2], False), ([2, 5, 9], False), ([9.0, 8.0, 8.01, 7.0], True)],
)
def test_a_list_by_another_order_is_no_list_from_new_to_old(hours, is_ordered):
    tasks = [
        Task(task_id=str(hour), status=TaskStatus.COMPLETED, created_at=datetime.fromtimestamp(3600 * hour + NOW, UTC))
        for hour in hours
    ]
    assert is_ordered == is_newest_first(tasks, {})


def test_when_our_clock_was_set_back_no_time_proves_anything():
    known = KnownTasks()
    listing = Listing(known)
    task = Task(task_id="a", status=TaskStatus.COMPLETED)
    known.record_page(Reading(NOW), [task], NOW, is_end=True)
    assert listing.is_older(task, NOW + 10)
    known.check_clock(NOW + 5, since=NOW + 10)
    assert not listing.is_older(task, NOW + 10)
    assert not listing.is_believed(NOW + 10, Reading(NOW + 5))
