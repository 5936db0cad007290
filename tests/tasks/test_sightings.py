"""What a list proves by what it does not show, after what it showed of our tasks."""

import pytest

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.sightings import Sightings

AT = 1_000_000.0
QUEUED, DONE = TaskStatus.QUEUED, TaskStatus.COMPLETED


def sightings(count=1):
    """Return sightings that expect tasks "1", "2", ... which were accepted at `AT`."""
    known = Sightings()
    for number in range(count):
        known.expect(f"{number + 1}", AT, AT - 1)
    return known


def read(known, seconds, *shown, oldest=-100.0):
    """Have a reading begin so many seconds after `AT`, which shows tasks, and one that is `oldest` seconds old."""
    tasks = [Task(task_id=task_id, status=status) for task_id, status in shown]
    known.saw(tasks, AT + seconds, oldest=AT + oldest)
    return AT + seconds


def test_a_list_that_was_never_seen_is_given_a_minute():
    assert sightings().pause == 60


@pytest.mark.parametrize(("seconds", "pause"), [(0, 10), (9, 10), (11, 60), (500, 60)])
def test_a_list_that_showed_one_soon_is_looked_at_again_soon(seconds, pause):
    known = sightings()
    began = read(known, seconds, ("1", DONE))
    assert (known.pause, known.is_believed(began)) == (pause, True)


def test_a_reading_that_lacks_a_task_of_ours_proves_nothing_and_the_next_one_does():
    known = sightings()
    assert not known.is_believed(read(known, 5))
    assert known.is_believed(read(known, 9, ("1", QUEUED)))


def test_a_task_may_stand_further_down_than_a_reading_went():
    known = sightings()
    assert known.is_believed(read(known, 5, oldest=2))


def test_a_reading_that_began_before_a_task_was_accepted_need_not_show_it():
    known = sightings()
    assert known.is_believed(read(known, -0.5))


def test_a_late_list_is_given_twice_as_long_as_it_ever_took():
    known = sightings(2)
    read(known, 5)
    read(known, 45, ("1", QUEUED), ("2", QUEUED))
    assert known.pause == 90


def test_a_late_list_may_lack_what_is_newer_than_it_is_late():
    known = sightings(2)
    read(known, 20)
    read(known, 30, ("1", QUEUED), ("2", DONE))
    known.expect("3", AT + 40, AT + 39)
    assert known.is_believed(read(known, 69))
    assert not known.is_believed(read(known, 71))


def test_a_list_that_is_later_than_ten_minutes_proves_nothing():
    known = sightings()
    read(known, 5)
    assert not known.is_believed(read(known, 301, ("1", QUEUED)))


def test_a_list_that_hides_tasks_until_they_end_proves_nothing():
    known = sightings()
    read(known, 5)
    assert not known.is_believed(read(known, 9, ("1", DONE)))


def test_a_list_that_hides_tasks_after_their_end_too_is_late():
    known = sightings(2)
    known.ended("1")
    read(known, 5)
    assert known.is_believed(read(known, 9, ("1", DONE), ("2", DONE)))


def test_a_list_that_showed_an_unfinished_task_hides_none():
    known = sightings(2)
    read(known, 5)
    read(known, 8, ("1", QUEUED))
    assert known.is_believed(read(known, 9, ("2", DONE)))


def test_a_task_further_down_than_older_ones_is_no_order_by_age():
    known = sightings()
    began = read(known, 5)
    read(known, 5, ("1", QUEUED))
    assert (known.is_ordered, known.is_believed(began)) == (False, True)


def test_a_task_that_is_no_longer_ours_is_not_expected():
    known = sightings()
    known.forget("1")
    assert known.is_believed(read(known, 5))


def test_a_task_that_was_deleted_before_a_list_showed_it_is_forgotten_after_a_day():
    known = sightings()
    assert known.is_believed(read(known, 25 * 3600))


def test_no_more_tasks_are_expected_than_a_few_hundred():
    known = sightings(1000)
    read(known, 1, *((f"{number}", QUEUED) for number in range(1, 800)))
    assert known.is_believed(read(known, 2, *((f"{number}", QUEUED) for number in range(800, 1001))))
