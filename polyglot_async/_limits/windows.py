"""Burst windows as arithmetic. Times are handed in: seconds of one clock.

How the service counts a burst is unknown (A11), so the strictest is kept: never more than L requests in *any* window of
W seconds. An entry is stamped when the *answer* arrives. The request reached the service somewhere between its start
and its answer, so an entry that is W old at the answer's stamp is at least W old at the service, whatever the network
did meanwhile. A request under way holds its entry.
"""

from __future__ import annotations

from collections import deque

import attrs

CLOCK_DRIFT = 0.001
"""Share of a window added to it: two clocks that disagree by less than this cannot make a breach."""


@attrs.define
class SlidingLog:
    """At most `limit` requests in any `window` seconds; None is no limit."""

    limit: int | None
    window: float
    under_way: int = 0
    stamps: deque[float] = attrs.field(factory=deque, repr=False)

    def wait(self, now: float) -> float | None:
        """Seconds until a request may leave: 0 for now, None for "not before one under way is answered"."""
        self._forget(now)
        if self.limit is None or self.under_way + len(self.stamps) < self.limit:
            return 0.0
        excess = self.under_way + len(self.stamps) - self.limit
        if excess >= len(self.stamps):
            return None
        return max(0.0, self.stamps[excess] + self._span - now)

    def enter(self) -> None:
        """A request leaves."""
        self.under_way += 1

    def settle(self, now: float, *, reached: bool = True) -> None:
        """Its answer came, or its failure; `reached` is False where it certainly never left."""
        self.under_way -= 1
        if reached:
            self._forget(now)
            self.stamps.append(now)

    def recent(self, now: float) -> int:
        """Count the requests answered within the last window."""
        self._forget(now)
        return len(self.stamps)

    @property
    def _span(self) -> float:
        return self.window * (1 + CLOCK_DRIFT)

    def _forget(self, now: float) -> None:
        while self.stamps and self.stamps[0] + self._span <= now:
            self.stamps.popleft()
