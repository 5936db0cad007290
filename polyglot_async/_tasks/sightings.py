"""How far a list that may be stale is believed: learned from when it showed tasks that certainly are ours. Pure.

A list may lag behind (eventual consistency), hide tasks until they have ended, or have another order than from new to
old (A4, A19). Each reading tells: it shows a task of ours so many seconds after it was accepted, or passes over it: it
shows what is certainly older, or ends, without it.

| what readings did with tasks of ours, the last 64 of them       | what follows for one that is not shown          |
|-----------------------------------------------------------------|-------------------------------------------------|
| showed one within 10 s                                          | it is looked for again 10 s later               |
| showed none (nothing is known of the list), or only later       | 60 s later                                      |
| passed over one, and a later reading showed it                  | after twice the longest time that this took;    |
|                                                                 |   over 5 minutes: such a list proves nothing    |
| showed none before its end, and passed over one before its end  | the list proves nothing: it may hide this one   |
|   for more than twice as long as any after its end (a list that |   until its end                                 |
|   is merely late hides tasks after their end as well)           |                                                 |
| passed over one and showed it further down                      | only a list that was read to its end counts     |
| never showed an unfinished task, anybody's, above a finished    | one that was read far counts: new tasks may     |
|   one                                                           |   stand behind all finished ones                |
| this reading passed over one, older than the list is known to   | this reading proves nothing                     |
|   be late                                                       |                                                 |
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._models import Task

PROMPT_SECONDS = 10.0
UNKNOWN_SECONDS = 60.0
LONGEST_SECONDS = 300.0
RECENT_SECONDS = 24 * 3600.0
"""A task that is older may have left the list."""
_REMEMBERED_SIGHTINGS = 64


@attrs.define(eq=False)
class Reading:
    """One reading of the list, page by page.

    Attributes:
        began: when its first page was asked for, Unix seconds.
        passed_over: our tasks that it should have shown so far.
    """

    began: float
    passed_over: dict[str, OwnTask] = attrs.field(factory=dict, init=False)


@attrs.define(eq=False)
class OwnTask:
    """A task that certainly is ours.

    Attributes:
        by: when the service had it at the latest, Unix seconds.
        since: when its first byte left, Unix seconds, where known.
        url_key: for one that was started from a URL, its key without options.
        ended: when it was seen at its end, elsewhere than in the list.
        shown_at: when a reading first showed it.
        hidden: the last two readings that passed over it.
    """

    by: float
    since: float | None = None
    url_key: str | None = None
    ended: float | None = None
    shown_at: float | None = None
    hidden: tuple[Reading, ...] = ()


@attrs.define(eq=False, repr=False)
class Sightings:
    """What readings of the list showed of our tasks.

    Attributes:
        is_ordered: whether no reading was in another order than from new to old.
        shows_unfinished_first: whether an unfinished task, anybody's, stood above a finished one on some page: such a
            list does not begin with the finished ones, however far it goes.
    """

    is_ordered: bool = attrs.field(default=True, init=False)
    shows_unfinished_first: bool = attrs.field(default=False, init=False)
    _shows_unfinished: bool = attrs.field(default=False, init=False)
    _hidden_until_end: float = attrs.field(default=0.0, init=False)
    _hidden_after_end: float = attrs.field(default=0.0, init=False)
    _ages: deque[float] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED_SIGHTINGS), init=False)
    _lags: deque[float] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED_SIGHTINGS), init=False)

    @property
    def lag(self) -> float:
        """Seconds by which the list is known to have been late."""
        return max(self._lags, default=0.0)

    @property
    def recheck_delay(self) -> float:
        """Seconds after which a list that still does not show a task may prove its absence."""
        is_prompt = min(self._ages, default=UNKNOWN_SECONDS) <= PROMPT_SECONDS
        return max(PROMPT_SECONDS if is_prompt else UNKNOWN_SECONDS, 2 * self.lag)

    @property
    def can_prove_absence(self) -> bool:
        """Return whether a reading of this list can prove anything by what it does not show."""
        hides = not self._shows_unfinished and self._hidden_until_end > 2 * self._hidden_after_end
        return not hides and self.recheck_delay <= LONGEST_SECONDS

    def is_believed(self, reading: Reading) -> bool:
        """Return whether this reading proves something by what it does not show."""
        lag = self.lag
        return self.can_prove_absence and all(reading.began - own.by <= lag for own in reading.passed_over.values())

    def record_page(
        self, reading: Reading, tasks: Sequence[Task], own: Mapping[str, OwnTask], *, oldest: float, is_end: bool
    ) -> None:
        """Note what a page shows of our tasks, and what it passes over.

        Args:
            reading: what the page belongs to.
            tasks: those of the page.
            own: our tasks by id.
            oldest: how old some task of the page is at least: when it was there already, Unix seconds.
            is_end: whether nothing comes after the page.
        """
        below_unfinished = False
        for task in tasks:
            ours = own.get(task.task_id)
            self.shows_unfinished_first |= below_unfinished and task.status.is_final
            below_unfinished |= not task.status.is_final
            if ours is not None and ours.shown_at is None:
                self._shown(task, ours, reading)
        if not self.is_ordered and not is_end:
            return
        for task_id, ours in own.items():
            is_expected = ours.shown_at is None and reading.began - RECENT_SECONDS < ours.by < reading.began
            if is_expected and (is_end or oldest < (ours.by if ours.since is None else ours.since)):
                self._passed_over(task_id, ours, reading)

    def _passed_over(self, task_id: str, ours: OwnTask, reading: Reading) -> None:
        if task_id not in reading.passed_over:
            reading.passed_over[task_id] = ours
            ours.hidden = (*ours.hidden[-1:], reading)
            if ours.ended is not None:
                self._hidden_after_end = max(self._hidden_after_end, reading.began - ours.ended)

    def _shown(self, task: Task, ours: OwnTask, reading: Reading) -> None:
        is_further_down = reading.passed_over.pop(task.task_id, None) is not None
        hidden = max((other.began for other in ours.hidden if other is not reading), default=None)
        ours.shown_at, ours.hidden = reading.began, ()
        self.is_ordered = self.is_ordered and not is_further_down
        self._shows_unfinished |= not task.status.is_final and not is_further_down
        self._ages.append(max(0.0, reading.began - ours.by))
        if hidden is None:
            self._lags.append(0.0)
            return
        # Long after the reading that passed over it, nobody knows when it came.
        is_close = reading.began - hidden <= UNKNOWN_SECONDS
        self._lags.append((reading.began if is_close else hidden) - ours.by)
        if task.status.is_final and (ours.ended is None or hidden < ours.ended):
            self._hidden_until_end = max(self._hidden_until_end, hidden - ours.by)
