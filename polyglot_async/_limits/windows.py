"""What an account has used, as arithmetic: burst windows, day and month, task slots. Times are handed in.

How the service counts a burst is unknown (A11), so the strictest is kept: never more than L requests in *any* window of
W seconds. An entry is stamped when the *answer* arrives. The request reached the service somewhere between its start
and its answer, so an entry that is W old at the answer's stamp is at least W old at the service, whatever the network
did meanwhile. A request under way holds its entry.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from .._models import Limits
from .._state.usage import Usage, next_day, next_month

if TYPE_CHECKING:
    from datetime import datetime

CLOCK_DRIFT = 0.001
"""Share of a window added to it: two clocks that disagree by less than this cannot make a breach."""


@attrs.define(eq=False, repr=False)
class SlidingLog:
    """At most `limit` requests in any `window` seconds; None is no limit.

    Attributes:
        under_way: requests that have left and are not answered.
        stamps: when the others were answered; the last window of them.
    """

    limit: int | None = None
    window: float = 60.0
    under_way: int = 0
    stamps: deque[float] = attrs.field(factory=deque)

    def wait(self, now: float) -> float | None:
        """Return the seconds until a request may leave: 0 for now, None for "not before one under way is answered"."""
        if self.limit is None:
            return 0.0
        self._forget(now)
        excess = self.under_way + len(self.stamps) - self.limit
        if excess < 0:
            return 0.0
        if excess >= len(self.stamps):
            return None
        return max(0.0, self.stamps[excess] + self.window * (1 + CLOCK_DRIFT) - now)

    def settle(self, now: float) -> None:
        """Stamp a request that was under way."""
        self.under_way -= 1
        self._forget(now)
        self.stamps.append(now)

    def recent(self, now: float) -> int:
        """Count the requests answered within the last window."""
        self._forget(now)
        return len(self.stamps)

    def _forget(self, now: float) -> None:
        span = self.window * (1 + CLOCK_DRIFT)
        while self.stamps and self.stamps[0] + span <= now:
            self.stamps.popleft()


@attrs.frozen
class Denial:
    """Why a request may not leave now.

    Attributes:
        limit: "burst", "uploads", "concurrency", "daily" or "monthly".
        wait: seconds until asking again makes sense; None: not before something is settled or released.
        resets_at: for a calendar quota, when it resets.
    """

    limit: str
    wait: float | None = None
    resets_at: datetime | None = None


@attrs.define(eq=False, repr=False)
class Counters:
    """Everything that is counted for one account.

    Attributes:
        limits: what is allowed; change it with `set_limits`.
        requests: the burst window of all requests; each that was acquired is settled there.
        uploads: the burst window of the billable ones; they are settled in both.
        usage: requests by day and month.
        task_slots: task slots that are held.
    """

    limits: Limits = attrs.field(factory=Limits, init=False)
    requests: SlidingLog = attrs.field(factory=SlidingLog, init=False)
    uploads: SlidingLog = attrs.field(factory=SlidingLog, init=False)
    usage: Usage = attrs.field(factory=Usage, init=False)
    task_slots: int = attrs.field(default=0, init=False)
    _exhausted: dict[str, datetime] = attrs.field(factory=dict, init=False)
    _has_quotas: bool = attrs.field(default=False, init=False)

    def set_limits(self, limits: Limits) -> None:
        """Replace what is allowed; what was counted stays."""
        self.limits = limits
        self.requests.limit, self.requests.window = limits.requests_per_window, limits.window_seconds
        self.uploads.limit, self.uploads.window = limits.uploads_per_window, limits.window_seconds
        quotas = (limits.requests_per_day, limits.requests_per_month)
        self._has_quotas = bool(self._exhausted) or quotas != (None, None)

    def exhaust(self, limit: str, resets_at: datetime) -> None:
        """Deny counted requests until `resets_at`: the service says that a quota ("daily", "monthly") is spent."""
        self._exhausted[limit] = resets_at
        self._has_quotas = True

    def acquire(
        self, now: float, utc_now: datetime, *, billable: bool, counted: bool, task_slot: bool
    ) -> Denial | None:
        """Count a request that leaves and return None, or return why it may not leave now.

        Args:
            now: seconds of the clock that all calls use.
            utc_now: the same moment as an aware datetime.
            billable: whether the window of uploads applies too.
            counted: whether the day's and the month's quotas apply: requests with an `sk_` key.
            task_slot: whether a task slot is taken with it.
        """
        if counted:
            usage = self.usage.plus(1, utc_now)
            if self._has_quotas and (denial := self._quota_denial(usage, utc_now)) is not None:
                return denial
        slots = self.limits.max_concurrent_tasks
        if task_slot and slots is not None and self.task_slots >= slots:
            return Denial("concurrency")
        wait = self.requests.wait(now)
        if wait != 0.0:
            return Denial("burst", wait)
        if billable and (wait := self.uploads.wait(now)) != 0.0:
            return Denial("uploads", wait)
        self.requests.under_way += 1
        self.uploads.under_way += billable
        self.task_slots += task_slot
        if counted:  # when it leaves: a request whose answer is lost was counted by the service
            self.usage = usage
        return None

    def uncount(self, utc_now: datetime, *, billable: bool, counted: bool) -> None:
        """Uncount a request that certainly never reached the service; its task slot stays."""
        self.requests.under_way -= 1
        self.uploads.under_way -= billable
        if counted:
            self.usage = self.usage.plus(-1, utc_now)

    def _quota_denial(self, usage: Usage, utc_now: datetime) -> Denial | None:
        """Return a denial if `usage`, the request itself included, is more than a day or a month may have."""
        limits = self.limits
        spent = [(when, limit) for limit, when in self._exhausted.items() if utc_now < when]
        if limits.requests_per_day is not None and usage.day_requests > limits.requests_per_day:
            spent.append((next_day(utc_now), "daily"))
        if limits.requests_per_month is not None and usage.month_requests > limits.requests_per_month:
            spent.append((next_month(utc_now), "monthly"))
        if not spent:
            return None
        resets_at, limit = max(spent)
        return Denial(limit, (resets_at - utc_now).total_seconds(), resets_at)
