"""The limits that hold: stated or fetched, and adapted to 429s where they are unknown or wrong (A11, A12, A13).

A 429 pauses requests for a while (backoff) and decreases the limit. Windows without a 429 increase it again, by steps
that grow: it may have been another program on the same account that used the limit up. A limit that is met again at
the same height is tried less and less often.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from .._models import Limits

if TYPE_CHECKING:
    from .._errors import RateLimitError
    from .windows import Counters

FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0
MIN_REQUESTS = 20
"""A service that allows fewer in a window is kept to by pauses: a 429 for the first request teaches no number."""
MAX_BACKOFF = 8
_MIN_SHARE = 0.25
_LONG_WINDOWS = 10
"""A Retry-After longer than so many windows is not about a burst."""


@attrs.define(eq=False, repr=False)
class AdaptiveLimit:
    """One limit as 429s suggest it.

    Attributes:
        limit: requests in a window, or tasks at once; None: no lower than what is known.
    """

    limit: float | None = None
    _step: float = 0.0
    _backoff: int = 1  # windows between a decrease and the first increase
    _decreased_at: float = -math.inf
    _increase_at: float = math.inf

    def apply(self, known: int | None) -> int | None:
        """Return the lower one of `known` and what 429s suggest."""
        if self.limit is None:
            return known
        return int(self.limit) if known is None else min(int(self.limit), known)

    def decrease(self, to: float, now: float, window: float) -> None:
        """Lower the limit to `to`."""
        if now - self._decreased_at >= window:
            self._increase_at = now + self._backoff * window
            # The same limit again is tried again later; another one, at the first occasion.
            again = self.limit is not None and to >= self.limit - self._step
            self._backoff = min(MAX_BACKOFF, 2 * self._backoff) if again else 1
        self.limit = to
        self._step = max(1.0, 0.1 * to)
        self._decreased_at = now

    def on_429(self, seen: int, known: int | None, now: float, window: float, *, minimum: int) -> None:
        """Lower the limit to the `seen` requests of the last window, but never below a quarter of what is known.

        A 429 after only a few shows other users of the account, or a service in trouble, more than the limit.
        """
        if now - self._decreased_at < window:  # many 429s at once count once
            return
        before = self.apply(known)
        least = max(1.0, _MIN_SHARE * known) if known is not None else minimum
        if before is not None:
            self.decrease(min(float(before), max(seen, least)), now, window)
        elif seen:
            self.decrease(float(max(seen, least)), now, window)

    def on_success(self, known: int | None, now: float, window: float) -> bool:
        """Increase the limit if no 429 came for long enough; return whether it changed."""
        if self.limit is None or now < self._increase_at:
            return False
        self.limit += self._step
        self._step *= 2
        self._increase_at = now + window
        if known is not None and self.limit >= known:
            self.limit = None
            self._backoff = 1
        return True


@attrs.define(eq=False, repr=False)
class AdaptiveLimits:
    """What 429s suggest about one account.

    Attributes:
        requests: requests in a burst window.
        uploads: billable requests in a burst window.
        task_slots: tasks at once.
        paused_until: no request may leave before.
        uploads_paused_until: no billable request may leave before.
    """

    requests: AdaptiveLimit = attrs.field(factory=AdaptiveLimit, init=False)
    uploads: AdaptiveLimit = attrs.field(factory=AdaptiveLimit, init=False)
    task_slots: AdaptiveLimit = attrs.field(factory=AdaptiveLimit, init=False)
    paused_until: float = attrs.field(default=-math.inf, init=False)
    uploads_paused_until: float = attrs.field(default=-math.inf, init=False)
    _consecutive_429s: int = attrs.field(default=0, init=False)

    def apply(self, known: Limits) -> Limits:
        """Return `known`, lowered to what 429s suggest."""
        return attrs.evolve(
            known,
            requests_per_window=self.requests.apply(known.requests_per_window),
            uploads_per_window=self.uploads.apply(known.uploads_per_window),
            max_concurrent_tasks=self.task_slots.apply(known.max_concurrent_tasks),
        )

    def on_429(self, error: RateLimitError, known: Limits, counters: Counters, now: float, *, billable: bool) -> None:
        """Pause, and lower the limit that the 429 is about.

        Args:
            error: the 429, not about a calendar quota.
            known: the limits that the caller stated or that were fetched.
            counters: what is counted, without the request that met the 429.
            now: the present.
            billable: whether the request was an upload or another start of work.
        """
        if now >= max(self.paused_until, self.uploads_paused_until):
            self._consecutive_429s += 1
        pause = error.retry_after
        if pause is None:
            pause = min(MAX_PAUSE, FIRST_PAUSE * 2.0 ** min(max(0, self._consecutive_429s - 1), 10))
        until, window = now + pause, known.window_seconds
        if error.limit == "concurrency":
            # Tasks of other programs hold slots too, so what this one holds is all that it may.
            self.task_slots.decrease(max(1, counters.task_slots), now, window)
            self.uploads_paused_until = max(self.uploads_paused_until, until)
        elif billable and "upload" in (error.detail or "").lower():
            self.uploads.on_429(counters.uploads.recent(now), known.uploads_per_window, now, window, minimum=1)
            self.uploads_paused_until = max(self.uploads_paused_until, until)
        else:
            seen = counters.requests.recent(now)
            self.requests.on_429(seen, known.requests_per_window, now, window, minimum=MIN_REQUESTS)
            self.paused_until = max(self.paused_until, until)

    def on_success(self, known: Limits, now: float) -> bool:
        """Increase what may be increased; return whether anything changed."""
        self._consecutive_429s = 0
        if self.requests.limit is self.uploads.limit is self.task_slots.limit is None:
            return False
        window = known.window_seconds
        changed = self.requests.on_success(known.requests_per_window, now, window)
        changed |= self.uploads.on_success(known.uploads_per_window, now, window)
        changed |= self.task_slots.on_success(known.max_concurrent_tasks, now, window)
        return changed


def exhausted_quota(error: RateLimitError, window: float) -> str | None:
    """Return the quota that a 429 says is spent: "daily", "monthly", or None where it is about another limit."""
    if error.limit in {"daily", "monthly"}:
        return error.limit
    # A burst is over within a window: a Retry-After of ten is about something else.
    long = error.limit != "concurrency" and (error.retry_after or 0.0) > _LONG_WINDOWS * window
    return "daily" if long else None


def merge_limits(stated: Limits, fetched: Limits) -> Limits:
    """Return `stated`, with what it leaves open taken from `fetched`.

    A rate goes with its window: where both give a rate, the longer window holds, which is the stricter.
    """
    default = Limits()
    given = {
        field.name: getattr(stated, field.name)
        for field in attrs.fields(Limits)
        if field.name not in {"raw", "not_understood"} and getattr(stated, field.name) != getattr(default, field.name)
    }
    rates = ("requests_per_window", "uploads_per_window")
    if any(rate in given for rate in rates):
        fetches_rate = any(rate not in given and getattr(fetched, rate) is not None for rate in rates)
        given["window_seconds"] = max(stated.window_seconds, fetched.window_seconds if fetches_rate else 0.0)
    return attrs.evolve(fetched, **given)
