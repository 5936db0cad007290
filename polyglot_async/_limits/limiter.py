"""Admission: every request waits here for its permit, before its body is opened.

Waiting requests form a queue, by priority (start work, result, poll, download), then in order of arrival. One waiter
runs the scheduling loop; when it is done, another takes over. A 429 adapts the limits, see `adaptive`, and fails no
call by itself.
"""

from __future__ import annotations

import bisect
import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import anyio
import attrs

from .._errors import ApiConnectionError, QuotaExhaustedError, RateLimitError
from .._models import Limits
from .._runtime import Runtime
from .._state.usage import next_day, next_month
from .adaptive import AdaptiveLimits, exhausted_quota, merge_limits
from .windows import Counters, Denial

if TYPE_CHECKING:
    from datetime import datetime

    from .._api.messages import Endpoint
    from .._errors import PolyglotError
    from .._state.usage import Usage


@attrs.define(eq=False, repr=False)
class TaskSlotLease:
    """A task slot: taken with the permit of the request that starts the task, held until the task is final.

    Attributes:
        held: whether it is held now.
    """

    held: bool = False


@attrs.frozen(eq=False, repr=False)
class Permit:
    """What one request may leave with; each goes to `Limiter.settle` once.

    Attributes:
        billable: whether it counts as an upload too.
        counted: whether it counts for the day and the month.
        task_slot: the lease of the task that the request starts, or None.
        takes_slot: whether the slot is taken with this permit, and not held from an earlier attempt.
    """

    billable: bool
    counted: bool
    task_slot: TaskSlotLease | None
    takes_slot: bool


@attrs.define(eq=False, repr=False)
class _Waiter:
    permit: Permit
    woken: anyio.Event = attrs.field(factory=anyio.Event)
    granted: bool = False
    error: QuotaExhaustedError | None = None


class Limiter:
    """Grants permits under the account's limits; see the head of the module.

    Args:
        limits: limits that the caller states; they win over fetched ones.
        runtime: the clocks.
        on_quota: what happens when the day's or the month's requests are spent: "raise" or "wait".

    Attributes:
        limits_fetched: whether the account's limits were fetched; `update` sets it.

    Raises:
        ValueError: `on_quota` or `limits` is something else.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        runtime: Runtime | None = None,
        on_quota: Literal["raise", "wait"] = "raise",
    ) -> None:
        if on_quota not in ("raise", "wait"):
            raise ValueError(f"on_quota is {on_quota!r}; use 'raise' or 'wait'")
        if not isinstance(limits, Limits | None):
            raise ValueError(f"limits is {limits!r}; pass polyglot_async.Limits(...), or None to fetch them")
        self.limits_fetched: bool = False
        self._stated = limits or Limits()
        self._known = self._stated
        self._runtime = runtime or Runtime()
        self._on_quota = on_quota
        self._adaptive = AdaptiveLimits()
        self._counters = Counters()
        self._counters.set_limits(self._known)
        self._queue: list[tuple[int, int, _Waiter]] = []
        self._arrivals = itertools.count()
        self._scheduling = False  # whether a waiter runs the scheduling loop
        self._changed = anyio.Event()  # wakes the scheduling loop

    @property
    def limits(self) -> Limits:
        """The limits that hold: stated by the caller, else fetched, and lowered by 429s."""
        return self._counters.limits

    @property
    def usage(self) -> Usage:
        """Requests made today and this month, as far as is known."""
        return self._counters.usage.at(self._runtime.utc_now())

    def update(self, fetched: Limits) -> Limits:
        """Use fetched limits where the caller stated none; return both together."""
        self._known = merge_limits(self._stated, fetched)
        self.limits_fetched = True
        self._adapt()
        return self._known

    def waits_out(self, error: PolyglotError) -> bool:
        """Return whether the next permit waits for as long as it takes until `error`, a spent quota, is over."""
        if not isinstance(error, RateLimitError) or self._on_quota != "wait":
            return False
        return exhausted_quota(error, self.limits.window_seconds) is not None

    async def acquire(self, endpoint: Endpoint, *, counted: bool, task_slot: TaskSlotLease | None = None) -> Permit:
        """Wait for a permit; `settle` it once, whatever happens to the request.

        With a `task_slot` that is not held yet, the permit waits for one and takes it.

        Raises:
            QuotaExhaustedError: the day's or the month's requests are spent, and `on_quota` is "raise".
        """
        permit = Permit(endpoint.billable, counted, task_slot, task_slot is not None and not task_slot.held)
        if self._queue or self._grant(permit) is not None:
            await self._wait_in_queue(permit, int(endpoint.priority))
        return permit

    async def settle(self, permit: Permit, error: PolyglotError | None = None, *, answered: bool = True) -> None:
        """Count a request that is over, and adapt the limits to its answer.

        Args:
            permit: of the request.
            error: what the request ended with, or None.
            answered: False where there is neither an error nor an answer: cancelled, or failed by something else.

        Raises:
            QuotaExhaustedError: `error` says that the day's or the month's requests are spent, and `on_quota` is
                "raise".
        """
        now = self._runtime.monotonic()
        try:
            if isinstance(error, RateLimitError):
                self._on_429(error, permit, now)
            elif error is None and answered and self._adaptive.on_success(self._known, now):
                self._adapt()
        finally:
            if isinstance(error, ApiConnectionError) and not error.connected:
                self._uncount(permit)
            else:  # half an upload is counted by the service as a whole one is
                self._counters.requests.settle(now)
                if permit.billable:
                    self._counters.uploads.settle(now)
            self._changed.set()

    async def release(self, task_slot: TaskSlotLease) -> None:
        """Return a slot: its task is final, or was never started. One that is not held stays so."""
        self._release(task_slot)

    async def restore(self, usage: Usage) -> None:
        """Continue the counts of an earlier run: the larger count of each holds."""
        self._counters.usage = self._counters.usage.merged(usage, self._runtime.utc_now())

    def _grant(self, permit: Permit) -> Denial | None:
        """Count the permit and return None, or return why it is not granted now."""
        now, adaptive = self._runtime.monotonic(), self._adaptive
        if now < adaptive.paused_until:
            return Denial("burst", adaptive.paused_until - now)
        if permit.billable and now < adaptive.uploads_paused_until:
            return Denial("uploads", adaptive.uploads_paused_until - now)
        denial = self._counters.acquire(
            now,
            self._runtime.utc_now(),
            billable=permit.billable,
            counted=permit.counted,
            task_slot=permit.takes_slot,
        )
        if denial is None and permit.task_slot is not None:
            permit.task_slot.held = True
        return denial

    async def _wait_in_queue(self, permit: Permit, priority: int) -> None:
        waiter = _Waiter(permit)
        entry = (priority, next(self._arrivals), waiter)
        bisect.insort(self._queue, entry)
        self._changed.set()  # the loop may wait for something that this one need not wait for
        try:
            while not waiter.granted and waiter.error is None:
                if self._scheduling:
                    await waiter.woken.wait()
                    waiter.woken = anyio.Event()
                else:
                    await self._run_scheduling_loop(waiter)
        except BaseException:
            if waiter.granted:  # cancelled in the very moment of the grant
                self._uncount(permit)
                if permit.takes_slot:
                    self._release(permit.task_slot)
            raise
        finally:
            self._queue.remove(entry)
            if not self._scheduling and self._queue:
                self._queue[0][2].woken.set()  # the next one runs the scheduling loop
            self._changed.set()
        if waiter.error is not None:
            raise waiter.error

    async def _run_scheduling_loop(self, waiter: _Waiter) -> None:
        """Serve the queue until `waiter`, who runs this, is served."""
        self._scheduling = True
        try:
            while True:
                self._changed = anyio.Event()
                seconds = self._serve_queue()
                if waiter.granted or waiter.error is not None:
                    return
                with anyio.move_on_after(seconds):
                    await self._changed.wait()
        finally:
            self._scheduling = False

    def _serve_queue(self) -> float | None:
        """Grant what can be granted, in order; return the seconds until another round makes sense (None: a change)."""
        waits: list[float] = []
        denials: dict[tuple[bool, bool, bool], Denial] = {}
        for _, _, waiter in self._queue:
            if waiter.granted or waiter.error is not None:
                continue
            permit = waiter.permit
            kind = (permit.billable, permit.counted, permit.takes_slot)
            denial = denials.get(kind) or self._grant(permit)
            if denial is None:
                waiter.granted = True
                waiter.woken.set()
                continue
            denials[kind] = denial
            if denial.wait is not None:
                waits.append(denial.wait)
            if denial.resets_at is not None and self._on_quota == "raise":
                waiter.error = _quota_error(denial.limit, denial.resets_at)
                waiter.woken.set()
            if denial.limit == "burst":
                break  # it holds for everybody behind as well
        return min(waits, default=None)

    def _on_429(self, error: RateLimitError, permit: Permit, now: float) -> None:
        """Adapt to a 429 (A11, A12, A13).

        Raises:
            QuotaExhaustedError: as `settle` does.
        """
        known = self._known
        limit = exhausted_quota(error, known.window_seconds)
        if limit is not None and permit.counted:
            utc_now = self._runtime.utc_now()
            resets_at = next_day(utc_now) if limit == "daily" else next_month(utc_now)
            if error.retry_after is not None:  # the service's clock may be behind ours at midnight
                resets_at = min(resets_at, utc_now + timedelta(seconds=error.retry_after))
            self._counters.exhaust(limit, resets_at)
            if self._on_quota == "raise":
                raise _quota_error(limit, resets_at) from error
            return
        if error.limit == "concurrency":
            self._release(permit.task_slot)
        self._adaptive.on_429(error, known, self._counters, now, billable=permit.billable)
        self._adapt()

    def _adapt(self) -> None:
        self._counters.set_limits(self._adaptive.apply(self._known))
        self._changed.set()

    def _uncount(self, permit: Permit) -> None:
        self._counters.uncount(self._runtime.utc_now(), billable=permit.billable, counted=permit.counted)

    def _release(self, task_slot: TaskSlotLease | None) -> None:
        if task_slot is not None and task_slot.held:
            task_slot.held = False
            self._counters.task_slots -= 1
            self._changed.set()


def _quota_error(limit: str, resets_at: datetime) -> QuotaExhaustedError:
    period = "day's" if limit == "daily" else "month's"
    return QuotaExhaustedError(
        f"the {period} requests are spent; the quota resets at {resets_at:%Y-%m-%d %H:%M} UTC",
        resets_at=resets_at,
        limit=limit,
    )
