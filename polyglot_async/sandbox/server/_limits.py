"""The limits of a plan, and the counting that refuses what is over them (contract: "enforced by the API with 429")."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._storage import Database

Counting = Literal["sliding", "fixed", "bucket"]
USUAL_WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits of one account; None is no limit.

    Attributes:
        name: as the documentation answers it.
        requests_per_minute: calls of one user in one window, whichever credential they carry.
        uploads_per_minute: those of them that start a task (upload and from-url).
        window_seconds: the length of the "minute"; tests make it short.
        counting: how the window is counted (nobody knows how the service does it): the last `window_seconds`
            ("sliding"), windows aligned to the clock ("fixed"), or a bucket that refills evenly ("bucket").
        requests_per_day: requests made with any `sk_` key of the user, by UTC day, refused ones included.
        requests_per_month: likewise, by UTC month.
        max_concurrent_tasks: queued and processing tasks of one user.
        max_upload_bytes: size of one file.
        max_audio_seconds: length of one file.
    """

    name: str = "custom"
    requests_per_minute: int | None = None
    uploads_per_minute: int | None = None
    window_seconds: float = USUAL_WINDOW
    counting: Counting = "sliding"
    requests_per_day: int | None = None
    requests_per_month: int | None = None
    max_concurrent_tasks: int | None = None
    max_upload_bytes: int | None = None
    max_audio_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.counting not in {"sliding", "fixed", "bucket"}:
            raise ValueError(f"counting is sliding, fixed or bucket, not {self.counting!r}")
        if self.window_seconds <= 0:
            raise ValueError("window_seconds is a positive number")

    @classmethod
    def named(cls, name: str) -> Plan:
        """Return a ready plan: free, pro or unlimited."""
        try:
            return PLANS[name]
        except KeyError:
            raise ValueError(f"unknown plan {name!r}, known are {', '.join(PLANS)}") from None

    def rate_limits(self) -> dict[str, Any]:
        """Return the `rate_limits` of `GET /developer/documentation`."""
        burst: dict[str, Any] = {
            "requests_per_minute": self.requests_per_minute,
            "uploads_per_minute": self.uploads_per_minute,
        }
        if self.window_seconds != USUAL_WINDOW:
            burst["window_seconds"] = self.window_seconds
        return {
            "burst": burst,
            "api_keys": {
                "requests_per_day": self.requests_per_day,
                "requests_per_month": self.requests_per_month,
            },
            "plan": {
                "name": self.name,
                "max_concurrent_tasks": self.max_concurrent_tasks,
                "max_upload_bytes": self.max_upload_bytes,
                "max_audio_seconds": self.max_audio_seconds,
            },
        }


PLANS = {
    "free": Plan(
        name="free",
        requests_per_minute=20,
        uploads_per_minute=3,
        requests_per_day=200,
        requests_per_month=2_000,
        max_concurrent_tasks=1,
        max_upload_bytes=100 * 2**20,
        max_audio_seconds=1_800,
    ),
    "pro": Plan(
        name="pro",
        requests_per_minute=60,
        uploads_per_minute=10,
        requests_per_day=5_000,
        requests_per_month=100_000,
        max_concurrent_tasks=3,
        max_upload_bytes=2 * 2**30,
        max_audio_seconds=14_400,
    ),
    "unlimited": Plan(name="unlimited"),
}


@dataclass(frozen=True, slots=True)
class LimitExceeded:
    """Why a request is refused, as the 429 says (A12): `retry_after` in seconds."""

    detail: str
    retry_after: float


class Window(Protocol):
    """One way of counting at most so many requests per window."""

    def wait(self, now: float) -> float:
        """Return the seconds until one more request would be allowed; 0 means now."""
        ...

    def record(self, now: float) -> None:
        """Count a request that was allowed."""


class SlidingWindow:
    """Never more than `limit` in any `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds, self._seen = limit, seconds, deque[float]()

    def wait(self, now: float) -> float:
        """Return the seconds until the oldest counted request leaves the window."""
        while self._seen and self._seen[0] <= now - self._seconds:
            self._seen.popleft()
        if len(self._seen) < self._limit:
            return 0.0
        return self._seen[0] + self._seconds - now if self._seen else self._seconds

    def record(self, now: float) -> None:
        """Note when it came."""
        self._seen.append(now)


class FixedWindow:
    """`limit` in each window that is aligned to the clock."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds, self._window, self._count = limit, seconds, -1, 0

    def wait(self, now: float) -> float:
        """Return the seconds until the next window starts, if this one is full."""
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
        """Return the seconds until a whole token is there."""
        self._tokens = min(self._limit, self._tokens + (now - self._at) * self._rate) if self._rate else 0.0
        self._at = now
        # A billionth of slack: refilling in small steps must not lose the last token to rounding.
        if self._tokens >= 1 - 1e-9:
            return 0.0
        return (1 - self._tokens) / self._rate if self._rate else math.inf

    def record(self, now: float) -> None:  # noqa: ARG002  (wait has refilled it)
        """Use up a token."""
        self._tokens -= 1


WINDOWS: dict[str, Callable[[int, float], Window]] = {
    "sliding": SlidingWindow,
    "fixed": FixedWindow,
    "bucket": Bucket,
}


class RequestLimits:
    """Decides on each request as its head arrives.

    A request over the burst limit is not counted in the burst (or a client that hammers would never be let in again),
    but it is counted in the day and the month if a key made it.
    """

    def __init__(self, plan: Plan, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._plan = plan
        self._database = database
        self._now = now
        self._windows: dict[tuple[str, str], Window] = {}

    def admit(self, user: str, *, with_key: bool, starts_task: bool) -> LimitExceeded | None:
        """Count a request of `user`; return the reason to refuse it, or None."""
        exceeded = self._calendar(user) if with_key else None
        return exceeded or self._burst(user, starts_task=starts_task)

    def usage(self, user: str) -> dict[str, int]:
        """Return the requests made with the user's keys, by period ("2026-05-24" and "2026-05")."""
        return dict(self._database.run("SELECT period, requests FROM counters WHERE user = ?", (user,)))

    def _burst(self, user: str, *, starts_task: bool) -> LimitExceeded | None:
        now = self._now()
        rules = [("requests", self._plan.requests_per_minute)]
        if starts_task:
            rules.append(("uploads", self._plan.uploads_per_minute))
        windows = [(name, limit, self._window(user, name, limit)) for name, limit in rules if limit is not None]
        for name, limit, window in windows:
            if (wait := window.wait(now)) > 0:
                return LimitExceeded(f"Limit exceeded: {limit} {name} per minute (burst).", wait)
        for _, _, window in windows:
            window.record(now)
        return None

    def _window(self, user: str, name: str, limit: int) -> Window:
        window = self._windows.get((user, name))
        if window is None:
            window = WINDOWS[self._plan.counting](limit, self._plan.window_seconds)
            self._windows[user, name] = window
        return window

    def _calendar(self, user: str) -> LimitExceeded | None:
        today = datetime.fromtimestamp(self._now(), UTC)
        of_day = self._count(user, today.strftime("%Y-%m-%d"))
        of_month = self._count(user, today.strftime("%Y-%m"))
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
        if self._plan.requests_per_month is not None and of_month > self._plan.requests_per_month:
            next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
            detail = f"Limit exceeded: {self._plan.requests_per_month} requests per month (monthly)."
            return LimitExceeded(detail, (next_month - today).total_seconds())
        if self._plan.requests_per_day is not None and of_day > self._plan.requests_per_day:
            detail = f"Limit exceeded: {self._plan.requests_per_day} requests per day (daily)."
            return LimitExceeded(detail, (midnight + timedelta(days=1) - today).total_seconds())
        return None

    def _count(self, user: str, period: str) -> int:
        rows = self._database.run(
            "INSERT INTO counters VALUES (?, ?, 1) "
            "ON CONFLICT (user, period) DO UPDATE SET requests = requests + 1 RETURNING requests",
            (user, period),
        )
        return int(rows[0][0])
