"""Burst windows and calendar quotas as arithmetic. Times are handed in: seconds of one clock, or aware UTC datetimes.

How the service counts a burst is unknown (A11), so the strictest is kept: never more than L requests in *any* window of
W seconds. An entry is stamped when the *answer* arrives. The request reached the service somewhere between its start
and its answer, so an entry that is W old at the answer's stamp is at least W old at the service, whatever the network
did meanwhile. A request under way holds its entry.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@attrs.frozen
class Usage:
    """Requests made with `sk_` keys, by UTC calendar day and month (contract: "Limits")."""

    day: str = ""
    day_requests: int = 0
    month: str = ""
    month_requests: int = 0

    def at(self, now: datetime) -> Usage:
        """The same, with what belongs to an earlier day or month dropped."""
        day, month = now.strftime("%Y-%m-%d"), now.strftime("%Y-%m")
        return Usage(
            day=day,
            day_requests=self.day_requests if self.day == day else 0,
            month=month,
            month_requests=self.month_requests if self.month == month else 0,
        )

    def plus(self, requests: int, now: datetime) -> Usage:
        """The same with `requests` more; taking back what an earlier day counted changes nothing."""
        today = self.at(now)
        return attrs.evolve(
            today,
            day_requests=max(0, today.day_requests + requests),
            month_requests=max(0, today.month_requests + requests),
        )

    def merged(self, other: Usage, now: datetime) -> Usage:
        """The larger count of each: two records of one account, of which one may have missed some."""
        mine, theirs = self.at(now), other.at(now)
        return attrs.evolve(
            mine,
            day_requests=max(mine.day_requests, theirs.day_requests),
            month_requests=max(mine.month_requests, theirs.month_requests),
        )

    @classmethod
    def read(cls, value: Mapping[str, object]) -> Usage:
        """Read what `attrs.asdict` wrote; whatever is off counts as nothing used."""
        day, month = value.get("day"), value.get("month")
        days, months = value.get("day_requests"), value.get("month_requests")
        if isinstance(day, str) and isinstance(month, str) and isinstance(days, int) and isinstance(months, int):
            return cls(day, max(0, days), month, max(0, months))
        return cls()


def next_day(now: datetime) -> datetime:
    """When the daily counter starts anew."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)


def next_month(now: datetime) -> datetime:
    """When the monthly counter starts anew."""
    first = now.astimezone(UTC).date().replace(day=1)
    return datetime.combine((first + timedelta(days=32)).replace(day=1), datetime.min.time(), UTC)
