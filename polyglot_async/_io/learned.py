"""What 429s teach where limits are unknown or wrong (A11, A12, A13).

A lesson holds requests back for a while and lowers what is thought to be allowed. A window without another lesson
raises it again a little: it may have been another program on the same account that used the limit up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .._errors import RateLimitError
    from .._models import Limits
    from .limit_store import LimitStore

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


@attrs.define
class Learned:
    """Lessons of one account. Times are seconds of one clock, handed in."""

    _requests: float | None = attrs.field(default=None, init=False)
    _slots: int | None = attrs.field(default=None, init=False)
    _last_lesson: float = attrs.field(default=-math.inf, init=False)
    _paused_until: float = attrs.field(default=-math.inf, init=False)
    _starts_paused_until: float = attrs.field(default=-math.inf, init=False)
    _in_a_row: int = attrs.field(default=0, init=False)

    def applied_to(self, known: Limits) -> Limits:
        """Lower `known` to what was learned."""
        if self._requests is not None:
            learned = max(1, int(self._requests))
            known = attrs.evolve(known, requests_per_window=min(learned, known.requests_per_window or learned))
        if self._slots is not None:
            known = attrs.evolve(
                known, max_concurrent_tasks=min(self._slots, known.max_concurrent_tasks or self._slots)
            )
        return known

    def pause(self, now: float) -> float:
        """Seconds for which nothing may leave."""
        return self._paused_until - now

    def start_pause(self, now: float) -> float:
        """Seconds for which nothing that starts work may leave."""
        return self._starts_paused_until - now

    def take(self, error: RateLimitError, now: float, store: LimitStore, *, starts_work: bool) -> None:
        """Take a lesson from a 429."""
        fresh = now >= max(self._paused_until, self._starts_paused_until)
        self._in_a_row = self._in_a_row + 1 if fresh else max(1, self._in_a_row)
        self._last_lesson = now
        until = now + (error.retry_after if error.retry_after is not None else self._own_pause())
        if error.limit == "concurrency":
            # Tasks of other programs hold slots too, so what this one holds is all that it may.
            self._slots = max(1, store.slots_held)
            self._starts_paused_until = max(self._starts_paused_until, until)
        elif starts_work and "upload" in (error.detail or "").lower():
            self._starts_paused_until = max(self._starts_paused_until, until)
        else:
            if fresh:  # one storm is one lesson
                self._requests = float(max(1, min(store.recent_requests, self._requests or math.inf)))
            self._paused_until = max(self._paused_until, until)

    def relax(self, now: float, window: float) -> None:
        """Trust a little more after a window without a lesson."""
        if now - self._last_lesson < window or (self._requests is None and self._slots is None):
            return
        self._last_lesson = now
        self._in_a_row = 0
        if self._requests is not None:
            self._requests += max(1.0, self._requests * 0.1)
        if self._slots is not None:
            self._slots += 1

    def _own_pause(self) -> float:
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._in_a_row - 1, 10))
