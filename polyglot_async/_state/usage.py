"""Calendar quotas as arithmetic: requests counted by UTC day and month. Times are handed in, as aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Usage:
    """Requests made with `sk_` keys, by UTC calendar day and month (contract: "Limits").

    Attributes:
        day: "2026-05-24", or "" where nothing was counted yet.
        day_requests: requests of that day.
        month: "2026-05", or "".
        month_requests: requests of that month.
    """

    day: str = ""
    day_requests: int = 0
    month: str = ""
    month_requests: int = 0

    def at(self, now: datetime) -> Usage:
        """Return the same without what belongs to another day or month."""
        day = now.astimezone(UTC).date().isoformat()
        if day == self.day:
            return self
        month = day[:7]
        return Usage(day, 0, month, self.month_requests if month == self.month else 0)

    def plus(self, requests: int, now: datetime) -> Usage:
        """Return the same with `requests` more; a negative number takes back what the same day counted."""
        usage = self if now.astimezone(UTC).date().isoformat() == self.day else self.at(now)
        return Usage(
            usage.day, max(0, usage.day_requests + requests), usage.month, max(0, usage.month_requests + requests)
        )

    def merged(self, other: Usage, now: datetime) -> Usage:
        """Return the larger count of each: two records of one account, of which one may have missed some."""
        one, two = self.at(now), other.at(now)
        return Usage(
            one.day, max(one.day_requests, two.day_requests), one.month, max(one.month_requests, two.month_requests)
        )

    @classmethod
    def read(cls, value: Mapping[str, object]) -> Usage:
        """Parse what `attrs.asdict` wrote; whatever has another shape counts as nothing used."""
        day, month = value.get("day"), value.get("month")
        days, months = value.get("day_requests"), value.get("month_requests")
        if isinstance(day, str) and isinstance(month, str) and isinstance(days, int) and isinstance(months, int):
            return cls(day, max(0, days), month, max(0, months))
        return cls()


def next_day(now: datetime) -> datetime:
    """Return when the daily quota resets."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)


def next_month(now: datetime) -> datetime:
    """Return when the monthly quota resets."""
    first = now.astimezone(UTC).date().replace(day=1)
    return datetime.combine((first + timedelta(days=32)).replace(day=1), datetime.min.time(), UTC)
