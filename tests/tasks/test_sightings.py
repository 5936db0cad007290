"""What a list proves by what it does not show, after what it showed of our tasks."""

import itertools

import pytest

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.sightings import OwnTask, Reading, Sightings

AT = 1_000_000.0
QUEUED, DONE = TaskStatus.QUEUED, TaskStatus.COMPLETED


class List:
    """A list that is read, and what is learned of it; times are seconds after `AT`, when task "1" was accepted."""

    def __init__(self, count=1):
        self.known = Sightings()
        self.own = {}
        for number in range(count):
            self.accepted(f"{number + 1}", 0)

    def accepted(self, task_id, seconds):
        self.own[task_id] = OwnTask(AT + seconds, AT + seconds - 1)

    def ended(self, task_id, seconds):
        self.own[task_id].ended = AT + seconds

    def page(self, reading, *shown, oldest=-100.0, is_end=False):
        tasks = [Task(task_id=task_id, status=status) for task_id, status in shown]
        self.known.record_page(reading, tasks, self.own, oldest=AT + oldest, is_end=is_end)
        return self.known.is_believed(reading)

    def read(self, seconds, *shown, **options):
        """Read one page; return whether the reading is believed."""
        return self.page(Reading(AT + seconds), *shown, **options)


def test_a_list_of_which_nothing_is_known_is_given_a_minute():
    assert List().known.recheck_delay == 60


@pytest.mark.parametrize(("seconds", "delay"), [(0, 10), (9, 10), (11, 60), (500, 60)])
def test_a_list_that_showed_one_soon_is_looked_at_again_soon(seconds, delay):
    tasks = List()
    assert tasks.read(seconds, ("1", DONE))
    assert tasks.known.recheck_delay == delay


def test_a_reading_that_lacks_a_task_of_ours_proves_nothing_and_the_next_one_does():
    tasks = List()
    assert not tasks.read(5)
    assert tasks.read(9, ("1", QUEUED))


def test_a_reading_that_another_one_overtakes_still_proves_nothing():
    tasks = List()
    first, second = Reading(AT + 5), Reading(AT + 5)
    assert not tasks.page(second)
    assert not tasks.page(first)
    assert not tasks.known.is_believed(second)


def test_a_task_may_stand_further_down_than_a_reading_went():
    assert List().read(5, oldest=2)
    assert not List().read(5, oldest=2, is_end=True)


def test_a_reading_that_began_before_a_task_was_accepted_need_not_show_it():
    assert List().read(-0.5)


def test_a_late_list_is_given_twice_as_long_as_it_ever_took():
    tasks = List(2)
    tasks.read(5)
    tasks.read(45, ("1", QUEUED), ("2", QUEUED))
    assert tasks.known.recheck_delay == 90


def test_a_list_is_not_late_because_nobody_looked():
    tasks = List()
    tasks.read(5)
    assert tasks.read(3600, ("1", QUEUED))
    assert tasks.known.recheck_delay == 60


def test_that_a_list_was_late_once_is_forgotten_when_it_was_prompt_for_long():
    tasks = List(100)
    tasks.read(50, *((f"{number}", QUEUED) for number in range(2, 100)), oldest=5)
    tasks.read(50)
    tasks.read(55, ("1", QUEUED))
    assert tasks.known.recheck_delay == 110
    for number in range(100, 180):
        tasks.accepted(f"{number}", 100)
        tasks.read(101, (f"{number}", QUEUED))
    assert tasks.known.recheck_delay == 10


def test_a_late_list_may_lack_what_is_newer_than_it_is_late():
    tasks = List(2)
    tasks.read(20)
    tasks.read(30, ("1", QUEUED), ("2", DONE))
    tasks.accepted("3", 40)
    assert tasks.read(69)
    assert not tasks.read(71)


def test_a_list_that_is_later_than_it_can_be_waited_for_proves_nothing():
    tasks = List()
    tasks.read(105)
    assert not tasks.read(151, ("1", QUEUED))
    assert not tasks.known.can_prove_absence


@pytest.mark.parametrize("ended", [None, 5])
def test_a_list_that_hides_tasks_until_they_end_proves_nothing(ended):
    tasks = List()
    tasks.read(4)
    if ended is not None:
        tasks.ended("1", ended)
    assert not tasks.read(9, ("1", DONE))


def test_a_list_that_hides_tasks_as_long_after_their_end_is_late():
    tasks = List(2)
    tasks.ended("1", 1)
    tasks.read(5)
    assert tasks.read(9, ("1", DONE), ("2", DONE))


def test_a_list_that_hides_tasks_until_their_end_may_be_late_as_well():
    tasks = List(2)
    tasks.ended("1", 15)
    tasks.read(16)
    assert not tasks.read(18, ("1", DONE), ("2", DONE))


def test_a_list_that_showed_an_unfinished_task_hides_none():
    tasks = List(2)
    tasks.read(5)
    tasks.read(8, ("1", QUEUED))
    assert tasks.read(9, ("2", DONE))


def test_in_a_list_of_another_order_only_its_end_tells_what_is_not_there():
    tasks = List(3)
    reading = Reading(AT + 5)
    tasks.page(reading, ("2", QUEUED))
    tasks.page(reading, ("1", QUEUED))
    assert (tasks.known.is_ordered, tasks.known.is_believed(reading)) == (False, False)
    assert tasks.read(6)
    assert not tasks.read(7, is_end=True)
    assert tasks.read(8, ("3", QUEUED), is_end=True)


def test_a_task_that_was_deleted_before_a_list_showed_it_is_forgotten_after_a_day():
    assert List().read(25 * 3600)


@pytest.mark.parametrize("order", list(itertools.permutations(["passes over", "shows", "ends"])))
def test_readings_and_ends_in_any_order_are_no_error(order):
    tasks = List(2)
    steps = {
        "passes over": lambda: tasks.read(3),
        "shows": lambda: tasks.read(4, ("1", DONE), ("2", QUEUED)),
        "ends": lambda: tasks.ended("1", 3),
    }
    for step in order:
        steps[step]()
    assert tasks.read(9, ("1", DONE), ("2", DONE))
