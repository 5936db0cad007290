"""What 429s teach where limits are unknown or wrong (A11, A12, A13).

A lesson holds requests back for a while and lowers what is thought to be allowed. Quiet windows raise it again, by
steps that grow: it may have been another program on the same account that used the limit up. A limit that keeps
teaching the same is tried less and less often.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .._errors import RateLimitError
    from .._models import Limits
    from .store import LimitStore

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
FEWEST_REQUESTS = 20
"""A service that allows fewer in a window is kept to by pauses: a refusal of the first request teaches no number."""
LONGEST_PATIENCE = 8
_LEAST_SHARE = 0.25


@attrs.define
class _Lesson:
    """What one limit seems to be."""

    most: float | None = None
    _step: float = 0.0
    _patience: int = 1
    _taken: float = -math.inf
    _raise_at: float = math.inf

    def applied_to(self, known: int | None) -> int | None:
        """Lower what is known."""
        if self.most is None:
            return known
        return int(self.most) if known is None else min(int(self.most), known)

    def lower(self, to: float, now: float, window: float) -> None:
        """Take a lesson."""
        if now - self._taken >= window:
            self._raise_at = now + self._patience * window
            # The same lesson again is tried again later; another one starts anew.
            again = self.most is not None and to >= self.most - self._step
            self._patience = min(LONGEST_PATIENCE, 2 * self._patience) if again else 1
        self.most = to
        self._step = max(1.0, 0.1 * to)
        self._taken = now

    def refuse(self, seen: int, known: int | None, now: float, window: float, *, fewest: int) -> None:
        """Learn that `seen` in a window were allowed, but never less than a quarter of what is known.

        A refusal after only a few tells of others on the account, or of a service in trouble, more than of the limit.
        """
        if now - self._taken < window:  # one storm is one lesson
            return
        before = self.applied_to(known)
        least = max(1.0, _LEAST_SHARE * known) if known is not None else fewest
        if before is not None:
            self.lower(min(float(before), max(seen, least)), now, window)
        elif seen:
            self.lower(float(max(seen, least)), now, window)

    def relax(self, known: int | None, now: float, window: float) -> None:
        """Trust a little more, if it has been quiet for long enough."""
        if self.most is None or now < self._raise_at:
            return
        self.most += self._step
        self._step *= 2
        self._raise_at = now + window
        if known is not None and self.most >= known:
            self.most = None
            self._patience = 1


@attrs.define
class Learned:
    """Lessons of one account. Times are seconds of one clock, handed in."""

    _requests: _Lesson = attrs.field(factory=_Lesson, init=False)
    _uploads: _Lesson = attrs.field(factory=_Lesson, init=False)
    _slots: _Lesson = attrs.field(factory=_Lesson, init=False)
    _paused_until: float = attrs.field(default=-math.inf, init=False)
    _starts_paused_until: float = attrs.field(default=-math.inf, init=False)
    _in_a_row: int = attrs.field(default=0, init=False)

    def applied_to(self, known: Limits) -> Limits:
        """Lower `known` to what was learned."""
        return attrs.evolve(
            known,
            requests_per_window=self._requests.applied_to(known.requests_per_window),
            uploads_per_window=self._uploads.applied_to(known.uploads_per_window),
            max_concurrent_tasks=self._slots.applied_to(known.max_concurrent_tasks),
        )

    def pause(self, now: float) -> float:
        """Seconds for which nothing may leave."""
        return self._paused_until - now

    def start_pause(self, now: float) -> float:
        """Seconds for which nothing that starts work may leave."""
        return self._starts_paused_until - now

    def take(self, error: RateLimitError, now: float, store: LimitStore, known: Limits, *, billable: bool) -> None:
        """Take a lesson from a 429."""
        if now >= max(self._paused_until, self._starts_paused_until):
            self._in_a_row += 1
        until = now + (error.retry_after if error.retry_after is not None else self._own_pause())
        window = known.window_seconds
        if error.limit == "concurrency":
            # Tasks of other programs hold slots too, so what this one holds is all that it may.
            self._slots.lower(max(1, store.slots_held), now, window)
            self._starts_paused_until = max(self._starts_paused_until, until)
        elif billable and "upload" in (error.detail or "").lower():
            self._uploads.refuse(store.recent_uploads, known.uploads_per_window, now, window, fewest=1)
            self._starts_paused_until = max(self._starts_paused_until, until)
        else:
            seen = store.recent_requests
            self._requests.refuse(seen, known.requests_per_window, now, window, fewest=FEWEST_REQUESTS)
            self._paused_until = max(self._paused_until, until)

    def relax(self, known: Limits, now: float) -> None:
        """Take an answer that was no 429."""
        self._in_a_row = 0
        self._requests.relax(known.requests_per_window, now, known.window_seconds)
        self._uploads.relax(known.uploads_per_window, now, known.window_seconds)
        self._slots.relax(known.max_concurrent_tasks, now, known.window_seconds)

    def _own_pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(max(0, self._in_a_row - 1), 10))
