"""Counts requests and refuses what is over a limit (contract: "Limits, enforced by the API with 429")."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._accounts import Caller
    from ._database import Database
    from ._plans import Plan


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, as the 429 tells it (A12): `retry_after` in seconds."""

    detail: str
    retry_after: float


class Window(Protocol):
    """One way of counting at most so many requests per window."""

    def wait(self, now: float) -> float:
        """Seconds until one more request would be allowed; 0 means now."""
        ...

    def record(self, now: float) -> None:
        """Count a request that was allowed."""


class SlidingWindow:
    """Never more than `limit` in any `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds, self._seen = limit, seconds, deque[float]()

    def wait(self, now: float) -> float:
        """Seconds until the oldest counted request leaves the window."""
        while self._seen and self._seen[0] <= now - self._seconds:
            self._seen.popleft()
        if len(self._seen) < self._limit:
            return 0.0
        return self._seen[0] + self._seconds - now if self._seen else self._seconds

    def record(self, now: float) -> None:
        """Remember when it came."""
        self._seen.append(now)


class FixedWindow:
    """`limit` in each window that is aligned to the clock."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds, self._window, self._count = limit, seconds, -1, 0

    def wait(self, now: float) -> float:
        """Seconds until the next window starts, if this one is full."""
        window = math.floor(now / self._seconds)
        if window != self._window:
            self._window, self._count = window, 0
        return 0.0 if self._count < self._limit else (window + 1) * self._seconds - now

    def record(self, now: float) -> None:  # noqa: ARG002  (the window was chosen by wait)
        """Count it in the current window."""
        self._count += 1


class Bucket:
    """`limit` tokens that come back evenly over `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._rate = limit, limit / seconds
        self._tokens, self._at = float(limit), -math.inf

    def wait(self, now: float) -> float:
        """Seconds until a whole token is there."""
        self._tokens = min(self._limit, self._tokens + (now - self._at) * self._rate) if self._rate else 0.0
        self._at = now
        # A billionth of slack: refilling in small steps must not lose the last token to rounding.
        if self._tokens >= 1 - 1e-9:
            return 0.0
        return (1 - self._tokens) / self._rate if self._rate else math.inf

    def record(self, now: float) -> None:  # noqa: ARG002  (wait has refilled it)
        """Take a token."""
        self._tokens -= 1


WINDOWS: dict[str, Callable[[int, float], Window]] = {
    "sliding": SlidingWindow,
    "fixed": FixedWindow,
    "bucket": Bucket,
}


class Limiter:
    """Decides on each request as its head arrives.

    A request over the burst limit is not counted in the burst (or a client that hammers would never be let in again),
    but it is counted in the day and the month if a key made it.
    """

    def __init__(self, plan: Plan, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._plan = plan
        self._database = database
        self._now = now
        self._windows: dict[tuple[str, str], Window] = {}

    def admit(self, caller: Caller, *, starts_task: bool) -> Refusal | None:
        """Count a request of `caller`; the reason to refuse it, or None."""
        refused = self._calendar(caller) if caller.kind == "key" else None
        return refused or self._burst(caller.user, starts_task=starts_task)

    def usage(self, user: str) -> dict[str, int]:
        """Requests made with the user's keys, by period ("2026-05-24" and "2026-05")."""
        return dict(self._database.run("SELECT period, requests FROM counters WHERE user = ?", (user,)))

    def _burst(self, user: str, *, starts_task: bool) -> Refusal | None:
        now = self._now()
        rules = [("requests", self._plan.requests_per_minute)]
        if starts_task:
            rules.append(("uploads", self._plan.uploads_per_minute))
        windows = [(name, limit, self._window(user, name, limit)) for name, limit in rules if limit is not None]
        for name, limit, window in windows:
            if (wait := window.wait(now)) > 0:
                return Refusal(f"Limit exceeded: {limit} {name} per minute (burst).", wait)
        for _, _, window in windows:
            window.record(now)
        return None

    def _window(self, user: str, name: str, limit: int) -> Window:
        window = self._windows.get((user, name))
        if window is None:
            window = WINDOWS[self._plan.counting](limit, self._plan.window_seconds)
            self._windows[user, name] = window
        return window

    def _calendar(self, caller: Caller) -> Refusal | None:
        today = datetime.fromtimestamp(self._now(), UTC)
        of_day = self._count(caller.user, today.strftime("%Y-%m-%d"))
        of_month = self._count(caller.user, today.strftime("%Y-%m"))
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
        if self._plan.requests_per_month is not None and of_month > self._plan.requests_per_month:
            next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
            detail = f"Limit exceeded: {self._plan.requests_per_month} requests per month (monthly)."
            return Refusal(detail, (next_month - today).total_seconds())
        if self._plan.requests_per_day is not None and of_day > self._plan.requests_per_day:
            detail = f"Limit exceeded: {self._plan.requests_per_day} requests per day (daily)."
            return Refusal(detail, (midnight + timedelta(days=1) - today).total_seconds())
        return None

    def _count(self, user: str, period: str) -> int:
        rows = self._database.run(
            "INSERT INTO counters VALUES (?, ?, 1) "
            "ON CONFLICT (user, period) DO UPDATE SET requests = requests + 1 RETURNING requests",
            (user, period),
        )
        return int(rows[0][0])
