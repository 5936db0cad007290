"""Calendar quotas as arithmetic: requests counted by UTC day and month. Times are handed in, as aware UTC datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


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
