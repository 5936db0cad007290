"""An item is a record, and this is the only place where its state changes. Pure, but for the store that it is handed.

```
new -> leaving -> left -> running -> ended -> fetched -> done
        |          |         |         |
        v          v         v         v
       new      ambiguous  failed    failed
```

`leaving`: the first byte of its submission has left. `left`: the last byte is about to leave; this is on the disk
before the byte is handed to the socket. So a process that was killed in `leaving` has sent no whole request, and one
that was killed in `left` may have: its item is ambiguous. `running`: the service has it, under `task_id`.
`ambiguous`: it cannot be found out so far whether it was accepted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class State(StrEnum):
    """Where an item stands; see the head of the module."""

    NEW = "new"
    LEAVING = "leaving"
    LEFT = "left"
    RUNNING = "running"
    ENDED = "ended"
    FETCHED = "fetched"
    DONE = "done"
    FAILED = "failed"
    AMBIGUOUS = "ambiguous"


_NEXT: Mapping[State, frozenset[State]] = {
    State.NEW: frozenset({State.LEAVING, State.FAILED}),
    State.LEAVING: frozenset({State.LEAVING, State.LEFT, State.NEW, State.RUNNING, State.FAILED}),
    # An answer such as 429 to a whole request means "not accepted": the next attempt is leaving again.
    State.LEFT: frozenset({State.LEAVING, State.NEW, State.RUNNING, State.AMBIGUOUS, State.FAILED}),
    State.AMBIGUOUS: frozenset({State.NEW, State.RUNNING, State.LEAVING}),
    State.RUNNING: frozenset({State.ENDED, State.FAILED}),
    State.ENDED: frozenset({State.FETCHED, State.FAILED}),
    State.FETCHED: frozenset({State.DONE}),
    State.DONE: frozenset(),
    State.FAILED: frozenset({State.NEW, State.RUNNING}),
}
_AS_STORED = {State.LEAVING: State.NEW, State.ENDED: State.RUNNING, State.FETCHED: State.RUNNING}
"""What a later run has to do is the same in these states, so that nothing is written for the move."""

AMBIGUOUS_STATES = frozenset({State.LEFT, State.AMBIGUOUS})


@attrs.frozen(kw_only=True)
class ItemRecord:
    """What is known of an item.

    Attributes:
        key: fingerprint of the content and of the options.
        name: the file's name as it was sent, or the URL without user, password and query.
        state: see `State`.
        path: where it lies, for a file.
        size: bytes, for a file.
        modified_ns: when the file was last changed, see `storable_ns`.
        options: options of the submission, as sent.
        task_id: the service's id, once known.
        attempts: submissions of which at least one byte left.
        error: why it failed, or why it is ambiguous.
        files: result files that were written.
        submitted_at: when the first byte of the last submission left, Unix seconds.
        accepted_at: when the service's answer with the task's id came, Unix seconds.
        updated_at: when this was last changed, Unix seconds.
    """

    key: str = ""
    name: str = ""
    state: State = State.NEW
    path: str | None = None
    size: int | None = None
    modified_ns: int | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    task_id: str | None = None
    attempts: int = 0
    error: str | None = None
    files: tuple[str, ...] = ()
    submitted_at: float | None = None
    accepted_at: float | None = None
    updated_at: float = 0.0

    def moved(self, to: State, *, at: float, **facts: Any) -> ItemRecord:
        """Return the record after a move, with what is learned on the way.

        Raises:
            ValueError: there is no such move.
        """
        if to is not self.state and to not in _NEXT[self.state]:
            raise ValueError(f"an item cannot go from {self.state.value} to {to.value}")
        if to is State.LEAVING:
            facts |= {"attempts": self.attempts + 1, "submitted_at": at}
        elif to is State.RUNNING:
            facts |= {"error": None, "accepted_at": at}
        elif to in {State.NEW, State.DONE}:
            facts["error"] = None
        return attrs.evolve(self, state=to, updated_at=at, **facts)

    def stored(self) -> ItemRecord:
        """Return what a later run needs to know."""
        return attrs.evolve(self, state=_AS_STORED.get(self.state, self.state), updated_at=0.0)


def storable_ns(moment: int) -> int:
    """Return a time in nanoseconds as a signed number of 64 bits: from 1677 to 2262 it is what it was."""
    return (moment + (1 << 63)) % (1 << 64) - (1 << 63)


class ItemStore(Protocol):
    """Where items are kept."""

    async def write(self, record: ItemRecord) -> None:
        """Write a record; it is on the disk when this returns."""
        ...


@attrs.define(eq=False)
class Item:
    """One item on its way, and its record.

    Attributes:
        record: what is known of it.
        store: where that is kept, or None.
        unix_time: the clock that moves are stamped with.
    """

    unix_time: Callable[[], float] = attrs.field(repr=False)
    record: ItemRecord = attrs.field(factory=ItemRecord)
    store: ItemStore | None = attrs.field(default=None, repr=False)

    async def move(self, to: State, **facts: Any) -> None:
        """Change the state: on the disk before this returns, and only if a later run has to know."""
        before = self.record
        self.record = before.moved(to, at=self.unix_time(), **facts)
        if self.store is None:
            return
        stored, known = self.record.stored(), before.stored()
        # Until the last byte is about to leave, nothing depends on when the first one did.
        if (stored.state is not known.state) if to is State.LEAVING else (stored != known):
            await self.store.write(self.record)
