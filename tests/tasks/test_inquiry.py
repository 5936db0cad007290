"""How often the list is looked at, and when an answer is one."""

from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.inquiry import Inquiry, Proof

OURS = Proof(task=Task(task_id="t-1", status=TaskStatus.QUEUED))
ABSENT = Proof(absent=True)
UNKNOWN = Proof(reason="a task in the list may be the one")


def inquire(looks, *, late_seconds=0.0, list_delay=10.0):
    """Show looks, each the proofs and whether the list was complete; return when each was, and the last proofs."""

    async def main():
        inquiry = Inquiry([SimpleNamespace(late_seconds=late_seconds)] * len(looks[0][0]), 1.0)
        times = [0.0]
        for number, (proofs, complete) in enumerate(looks):
            inquiry.proofs = list(proofs)
            seconds = inquiry.look_ended(complete=complete, list_delay=list_delay)
            assert inquiry.is_answered is (seconds == 0)
            if inquiry.is_answered or number == len(looks) - 1:
                return times, inquiry.proofs, inquiry.is_answered
            inquiry.passed(seconds)
            times.append(times[-1] + seconds)
        raise AssertionError("no look was shown")

    return anyio.run(main)


def test_what_was_found_needs_no_second_look():
    assert ([0], [OURS], True) == inquire([([OURS], False)])


@pytest.mark.parametrize(
    ("late_seconds", "list_delay", "times"),
    [
        (0, 10, [0, 10]),
        (0, 45, [0, 45]),
        (60, 10, [0, 60]),
        (100, 10, [0, 60, 100]),
        (300, 10, [0, 60, 120, 180, 240, 300]),
        (60, 65, [0, 60, 70]),
    ],
)
def test_absence_is_seen_twice_so_far_apart_and_looked_at_once_a_minute(late_seconds, list_delay, times):
    looks = [([ABSENT], True)] * 10
    assert (times, [ABSENT], True) == inquire(looks, late_seconds=late_seconds, list_delay=list_delay)


def test_a_task_that_comes_late_ends_the_looks():
    looks = [([ABSENT], True), ([ABSENT], True), ([OURS], True)]
    assert ([0, 60, 120], [OURS], True) == inquire(looks, late_seconds=300)


@pytest.mark.parametrize(("proof", "complete"), [(UNKNOWN, True), (UNKNOWN, False), (ABSENT, False)])
def test_what_stays_unknown_is_looked_at_for_a_minute(proof, complete):
    times, proofs, is_answered = inquire([([proof], complete)] * 10, late_seconds=300)
    assert ([0, 10, 30, 60], True) == (times, is_answered)
    assert (None, False) == (proofs[0].task, proofs[0].absent)


def test_a_list_that_is_cut_short_at_last_proves_no_absence():
    times, proofs, is_answered = inquire([([ABSENT], True), *[([ABSENT], False)] * 30])
    assert is_answered
    assert times[-1] <= 10 + 120
    assert not proofs[0].absent


@given(
    st.lists(st.tuples(st.lists(st.sampled_from([OURS, ABSENT, UNKNOWN]), min_size=2, max_size=2), st.booleans()),
             min_size=60, max_size=60),
    st.floats(0, 300),
    st.floats(0, 300),
)  # fmt: skip
def test_every_inquiry_ends_and_absence_is_never_believed_too_soon(looks, late_seconds, list_delay):
    times, proofs, is_answered = inquire(looks, late_seconds=late_seconds, list_delay=list_delay)
    assert is_answered
    if any(proof.absent for proof in proofs):
        complete = [moment for moment, (_, complete) in zip(times, looks, strict=False) if complete]
        assert complete[-1] == times[-1]
        assert complete[-1] - complete[0] >= max(late_seconds, list_delay) - 1e-6
