"""The states of an item: which moves there are, what is on the disk before the next step, and what a crash leaves."""

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polyglot_async._state.items import AMBIGUOUS_STATES, Item, ItemRecord, State, storable_ns

MOVES = {
    "new": "leaving failed",
    "leaving": "leaving left new running failed",
    "left": "leaving new running ambiguous failed",
    "ambiguous": "new running leaving",
    "running": "ended failed",
    "ended": "fetched failed",
    "fetched": "done",
    "done": "",
    "failed": "new running",
}


class Store:
    """Keeps what was written, as a disk does. `full` makes it refuse."""

    def __init__(self):
        self.written: list[ItemRecord] = []
        self.full = False

    async def write(self, record):
        await anyio.lowlevel.checkpoint()
        if self.full:
            raise OSError("disk full")
        self.written.append(record.stored())

    @property
    def last(self):
        return self.written[-1] if self.written else ItemRecord()


def move(item, *states, **facts):
    async def main():
        for state in states:
            await item.move(state, **facts)

    anyio.run(main)


def made(state=State.NEW, store=None, **facts):
    return Item(lambda: 100.0, ItemRecord(state=state, **facts), store)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("to", State)
def test_there_are_these_moves_and_no_others(state, to):
    item = made(state)
    if to is state or to in MOVES[state].split():
        move(item, to)
        assert to is item.record.state
    else:
        with pytest.raises(ValueError, match=f"cannot go from {state} to {to}"):
            move(item, to)
        assert state is item.record.state


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (["leaving"], []),
        (["leaving", "new"], []),
        (["leaving", "left"], ["left"]),
        (["leaving", "left", "running"], ["left", "running"]),
        (["leaving", "left", "leaving", "left", "running"], ["left", "new", "left", "running"]),
        (["leaving", "left", "ambiguous", "running"], ["left", "ambiguous", "running"]),
        (["leaving", "left", "running", "ended", "fetched", "done"], ["left", "running", "done"]),
        (["leaving", "left", "running", "failed"], ["left", "running", "failed"]),
    ],
)
def test_a_move_is_written_only_if_a_later_run_has_to_know_it(path, written):
    item = made(store=(store := Store()))
    move(item, *map(State, path))
    assert written == [record.state for record in store.written]


def test_a_second_move_to_the_same_state_writes_nothing():
    item = made(State.FAILED, store=(store := Store()), error="no speech")
    move(item, State.FAILED, error="no speech")
    assert [] == store.written
    move(item, State.FAILED, error="another reason")
    assert ["another reason"] == [record.error for record in store.written]


def test_facts_are_kept_with_the_move_and_errors_end_with_it():
    item = made(store=(store := Store()))
    move(item, State.LEAVING, State.LEFT)
    assert (1, 100.0) == (item.record.attempts, item.record.submitted_at)
    move(item, State.AMBIGUOUS, error="no answer")
    assert "no answer" == store.last.error
    move(item, State.RUNNING, task_id="t-1")
    assert ("t-1", None, 100.0) == (store.last.task_id, store.last.error, store.last.accepted_at)
    move(item, State.ENDED)
    move(item, State.FETCHED, files=("a.srt",))
    assert (("a.srt",), State.RUNNING) == (store.last.files, store.last.state)
    move(item, State.DONE)
    assert (State.DONE, 1) == (store.last.state, store.last.attempts)


def test_a_disk_that_refuses_the_mark_keeps_the_last_byte_back():
    """`left` raises before the last byte is handed over, so nothing was accepted."""
    item = made(store=(store := Store()))
    move(item, State.LEAVING)
    store.full = True
    with pytest.raises(OSError, match="disk full"):
        move(item, State.LEFT)
    assert State.NEW is store.last.state, "what a run after a crash finds"


class Submissions(RuleBasedStateMachine):
    """An item against a service, with a crash at any moment: what stands on the disk must always be safe to act on.

    The model knows what the service has; the next run knows the disk alone.
    """

    def __init__(self):
        super().__init__()
        self.disk = Store()
        self.item = made(store=self.disk, key="k")
        self.accepted = 0  # tasks that the service has of it
        self.may_arrive = False  # the last byte may have been handed to the socket, and the answer is not in

    def go(self, to, **facts):
        move(self.item, to, **facts)

    def state(self):
        return self.item.record.state

    @precondition(lambda self: self.state() is State.NEW)
    @rule()
    def first_byte(self):
        self.go(State.LEAVING)

    @precondition(lambda self: self.state() is State.LEAVING)
    @rule()
    def last_byte(self):
        self.go(State.LEFT)
        self.may_arrive = True

    @precondition(lambda self: self.may_arrive)
    @rule()
    def service_accepts(self):
        self.accepted += 1
        self.may_arrive = False

    @precondition(lambda self: self.state() in {State.LEAVING, State.LEFT} and not self.accepted)
    @rule(again=st.booleans())
    def refused_for_now(self, again):
        self.may_arrive = False
        self.go(State.LEAVING if again else State.NEW)

    @precondition(lambda self: self.state() is State.LEFT and self.accepted)
    @rule()
    def answered(self):
        self.go(State.RUNNING, task_id="t-1")

    @precondition(lambda self: self.state() is State.LEFT)
    @rule()
    def answer_lost(self):
        self.go(State.AMBIGUOUS, error="no answer")

    @precondition(lambda self: self.state() is State.AMBIGUOUS)
    @rule()
    def proven(self):
        self.may_arrive = False
        self.go(State.RUNNING if self.accepted else State.NEW, **({"task_id": "t-1"} if self.accepted else {}))

    @precondition(lambda self: self.state() in {State.RUNNING, State.ENDED, State.FETCHED})
    @rule()
    def goes_on(self):
        self.go({State.RUNNING: State.ENDED, State.ENDED: State.FETCHED, State.FETCHED: State.DONE}[self.state()])

    @rule()
    def crash(self):
        """The process dies; the next one begins with what is on the disk, and proves what is ambiguous."""
        record = attrs.evolve(self.disk.last, key="k")
        self.item = made(store=self.disk)
        self.item.record = record
        if record.state in AMBIGUOUS_STATES:
            self.proven_after_crash()
        else:
            self.may_arrive = False

    def proven_after_crash(self):
        self.may_arrive = False
        if self.accepted:
            self.go(State.RUNNING, task_id="t-1")
        else:
            self.go(State.NEW)

    @invariant()
    def nothing_is_paid_twice_and_nothing_lost(self):
        assert self.accepted <= 1
        on_disk = self.disk.last
        if self.accepted or self.may_arrive:
            # Whoever finds this on the disk neither sends it again nor forgets it.
            assert on_disk.state in {*AMBIGUOUS_STATES, State.RUNNING, State.DONE}
        if on_disk.state is State.RUNNING:
            assert "t-1" == on_disk.task_id


TestSubmissions = Submissions.TestCase


@given(st.integers(-(2**80), 2**80))
def test_a_time_fits_into_64_bits_and_is_kept_where_it_did(moment):
    stored = storable_ns(moment)
    assert -(2**63) <= stored < 2**63
    assert stored == moment or not -(2**63) <= moment < 2**63
    assert stored != storable_ns(moment + 1), "a changed file is not taken for the old one"
