"""When the list of tasks showed our own ones: how far it is believed about a task that it does not show. Pure.

A list may lag behind, hide tasks until they have ended, or have another order than from new to old (A4, A19). Each
reading tells: it shows a task of ours so many seconds after it was accepted, or passes over it: it shows what is
certainly older, or the end, without it.

| what readings did with tasks of ours                          | what follows for one that is not shown         |
|---------------------------------------------------------------|------------------------------------------------|
| showed one within 10 s                                        | it is looked for again 10 s later              |
| showed none, or later only                                    | 60 s later                                     |
| passed over one, and a later reading showed it                | after twice the longest time that this took    |
| passed over one until its end, none after its end, and showed | the list proves nothing: it may hide this one  |
|   none before its end                                         |                                                |
| passed over one and showed it further down                    | only a list that was read to its end counts    |
| passed over one just now, later than it ever showed one       | this reading proves nothing                    |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._models import Task

PROMPT_SECONDS = 10.0
UNKNOWN_SECONDS = 60.0
LONGEST_SECONDS = 600.0
_MOST_AWAITED = 256
_RECENT_SECONDS = 24 * 3600.0


@attrs.define(eq=False)
class _Awaited:
    """A task of ours that no reading has shown yet, and the last two readings that passed over it; see `OwnTask`."""

    by: float
    since: float
    has_ended: bool = False
    passed_over: float | None = None
    passed_over_before: float | None = None


@attrs.define(eq=False, repr=False)
class Sightings:
    """What readings of the list showed of our tasks; a reading is known by when it began, Unix seconds.

    Attributes:
        is_ordered: whether no reading was in another order than from new to old.
    """

    is_ordered: bool = attrs.field(default=True, init=False)
    _awaited: dict[str, _Awaited] = attrs.field(factory=dict, init=False)
    _shows_unfinished: bool = attrs.field(default=False, init=False)
    _hidden_until_end: float = attrs.field(default=0.0, init=False)
    _hidden_after_end: float = attrs.field(default=0.0, init=False)
    _soonest: float = attrs.field(default=float("inf"), init=False)
    _latest: float = attrs.field(default=0.0, init=False)

    @property
    def pause(self) -> float:
        """Seconds after which a list that still does not show a task may prove its absence."""
        usual = PROMPT_SECONDS if self._soonest <= PROMPT_SECONDS else UNKNOWN_SECONDS
        return min(LONGEST_SECONDS, max(usual, 2 * self._latest))

    def is_believed(self, began: float | None) -> bool:
        """Return whether the reading that began then proves anything by what it does not show."""
        # A list that is late hides a task after its end too; what it hides for longer, it may hide until the end.
        hides = not self._shows_unfinished and self._hidden_until_end > 2 * self._hidden_after_end
        is_too_late = 2 * self._latest > LONGEST_SECONDS
        return not hides and not is_too_late and not any(self._lacks(task, began) for task in self._awaited.values())

    def expect(self, task_id: str, by: float, since: float | None) -> None:
        """Note a task that readings should show from now on."""
        self._awaited[task_id] = _Awaited(by, by if since is None else since)
        if len(self._awaited) > _MOST_AWAITED:
            del self._awaited[next(iter(self._awaited))]

    def forget(self, task_id: str) -> None:
        """Expect a task no longer."""
        self._awaited.pop(task_id, None)

    def ended(self, task_id: str) -> None:
        """Note that a task has ended, seen elsewhere than in the list: from now on a list that hides it is late."""
        if task_id in self._awaited:
            self._awaited[task_id].has_ended = True

    def saw(self, tasks: Sequence[Task], began: float, *, oldest: float) -> None:
        """Note what a page shows, and what it passes over: tasks whose submission began after `oldest`."""
        for task in tasks:
            if (awaited := self._awaited.pop(task.task_id, None)) is not None:
                self._shown(awaited, began, is_final=task.status.is_final)
        for awaited in self._awaited.values():
            if oldest < awaited.since and began - _RECENT_SECONDS < awaited.by < began:
                if awaited.passed_over != began:
                    awaited.passed_over, awaited.passed_over_before = began, awaited.passed_over
                if awaited.has_ended:
                    self._hidden_after_end = max(self._hidden_after_end, began - awaited.by)

    def _lacks(self, awaited: _Awaited, began: float | None) -> bool:
        """Return whether a reading passed over a task that it should have shown by now, late as it may be."""
        return began is not None and awaited.passed_over == began and began - awaited.by > self._latest

    def _shown(self, awaited: _Awaited, began: float, *, is_final: bool) -> None:
        seconds = max(0.0, began - awaited.by)
        self._soonest = min(self._soonest, seconds)
        is_further_down = awaited.passed_over == began
        self.is_ordered &= not is_further_down
        self._shows_unfinished |= not is_final and not is_further_down
        hidden = awaited.passed_over_before if is_further_down else awaited.passed_over
        if hidden is not None:
            self._latest = max(self._latest, seconds)
            if is_final and not awaited.has_ended:
                self._hidden_until_end = max(self._hidden_until_end, hidden - awaited.by)
