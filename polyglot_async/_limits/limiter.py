"""Waits for permits: one limiter for everything that a client sends.

Who waits is served by priority (start work, result, poll, download), then in order of arrival. One of those who wait
does the asking for all; when it is served, another takes over. A 429 teaches, see `learned`, and fails nothing by
itself.
"""

from __future__ import annotations

import bisect
import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import anyio
import attrs

from .._errors import ApiConnectionError, QuotaExhaustedError, RateLimitError
from .._models import Limits
from .._state.usage import next_day, next_month
from .adaptive import Learned
from .store import Claim, Grant, LimitStore, MemoryLimitStore, Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .._api.messages import Endpoint
    from .._errors import PolyglotError
    from .._state.usage import Usage

_LONG_WINDOWS = 10
"""So many windows to wait for are no burst's doing."""


@attrs.define(eq=False)
class SlotLease:
    """A task slot, taken with the permit of the request that starts the task and held until the task is final."""

    id: str | None = None


@attrs.define(eq=False)
class _Waiter:
    claim: Claim
    news: anyio.Event = attrs.field(factory=anyio.Event)
    grant: Grant | None = None
    spent: tuple[str, datetime] | None = None

    def raise_if_spent(self) -> None:
        if self.spent is not None:
            raise quota_exhausted(*self.spent)


class Limiter:
    """Gives permits under the account's limits; see the module's head.

    `on_quota` says what happens when the day's or the month's requests are spent: "raise" or "wait".

    Attributes:
        store: where permits are counted.
        was_told: whether the service told its limits.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        store: LimitStore | None = None,
        on_quota: Literal["raise", "wait"] = "raise",
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store: LimitStore = store or MemoryLimitStore()
        self._stated = limits or Limits()
        self._fetched = Limits()
        self.was_told = False
        self._on_quota = on_quota
        self._utc_now = utc_now
        self._learned = Learned()
        self._spent: dict[str, datetime] = {}
        self._line: list[tuple[int, int, _Waiter]] = []
        self._order = itertools.count()
        self._leading = False
        self._changed = anyio.Event()

    @property
    def limits(self) -> Limits:
        """What is known: the caller's word first, then the service's, then what 429s taught."""
        return self._learned.applied_to(merged(self._stated, self._fetched))

    @property
    def usage(self) -> Usage:
        """Requests made today and this month, as far as the store knows."""
        return self.store.usage

    def waits_out(self, error: PolyglotError) -> bool:
        """Whether the next permit will wait for as long as it takes until `error`, a spent quota, is over."""
        if not isinstance(error, RateLimitError) or self._on_quota != "wait":
            return False
        return _calendar_limit(error, self.limits.window_seconds) is not None

    def update(self, fetched: Limits) -> Limits:
        """Take the service's word, except where the caller stated otherwise; give what then holds."""
        self._fetched = fetched
        self.was_told = True
        self._changed.set()
        return merged(self._stated, fetched)

    @asynccontextmanager
    async def permit(self, endpoint: Endpoint, *, counted: bool, lease: SlotLease | None = None) -> AsyncIterator[None]:
        """Wait for a permit, and hold it while the answer is awaited.

        With a `lease` that holds no slot yet, the permit comes with one.

        Raises:
            QuotaExhaustedError: the day's or the month's requests are spent, and the client was not told to wait.
        """
        claim = Claim(endpoint.billable, counted, slot=lease is not None and lease.id is None)
        grant = await self._acquire(claim, int(endpoint.priority))
        if lease is not None and grant.lease is not None:
            lease.id = grant.lease
        reached = True
        try:
            yield
        except ApiConnectionError as error:
            reached = error.connected  # half an upload is counted by the service as a whole one is
            raise
        except RateLimitError as error:
            await self._learn(error, grant, lease)
            raise
        else:
            self._learned.relax(merged(self._stated, self._fetched), anyio.current_time())
        finally:
            with anyio.CancelScope(shield=True):
                await self.store.settle(grant, reached=reached)
            self._changed.set()

    async def release(self, lease: SlotLease) -> None:
        """Give a slot back: its task is final, or was never started."""
        if lease.id is not None:
            with anyio.CancelScope(shield=True):
                await self.store.release(lease.id)
            lease.id = None
            self._changed.set()

    async def _acquire(self, claim: Claim, priority: int) -> Grant:
        if not self._line:
            answer = await self._ask(claim)
            if isinstance(answer, Grant):
                return answer
        waiter = _Waiter(claim)
        place = (priority, next(self._order), waiter)
        bisect.insort(self._line, place)
        self._changed.set()  # who leads may wait for something that this one need not wait for
        try:
            while waiter.grant is None:
                if self._leading:
                    await waiter.news.wait()
                    waiter.news = anyio.Event()
                else:
                    await self._lead(waiter)
                waiter.raise_if_spent()
        except BaseException:
            await self._hand_back(waiter)
            raise
        finally:
            self._line.remove(place)
            if not self._leading and self._line:
                self._line[0][2].news.set()  # the next one takes over
            self._changed.set()
        return waiter.grant

    async def _lead(self, waiter: _Waiter) -> None:
        """Ask for all who wait, until the leader's own wait is over."""
        self._leading = True
        try:
            while True:
                self._changed = anyio.Event()
                seconds = await self._serve()
                if waiter.grant is not None or waiter.spent is not None:
                    return
                with anyio.move_on_after(seconds):
                    await self._changed.wait()
        finally:
            self._leading = False

    async def _serve(self) -> float | None:
        """Go through those who wait, in order; give the seconds until another round makes sense (None: at a change)."""
        waits: list[float] = []
        refused: dict[Claim, Refusal] = {}
        for _, _, waiter in tuple(self._line):
            if waiter.grant is not None:
                continue
            answer = refused.get(waiter.claim) or await self._ask(waiter.claim)
            if isinstance(answer, Grant):
                waiter.grant = answer
                waiter.news.set()
                continue
            refused[waiter.claim] = answer
            if answer.wait is not None:
                waits.append(answer.wait)
            if answer.resets_at is not None and self._on_quota == "raise":
                waiter.spent = (answer.limit, answer.resets_at)
                waiter.news.set()
            if answer.limit == "burst":
                break  # it holds for everybody behind as well
        return min(waits, default=None)

    async def _ask(self, claim: Claim) -> Grant | Refusal:
        wait = self._learned.pause(anyio.current_time())
        if wait > 0:
            return Refusal("burst", wait)
        wait = self._learned.start_pause(anyio.current_time())
        if claim.billable and wait > 0:
            return Refusal("uploads", wait)
        now = self._utc_now()
        for limit, resets_at in self._spent.items():
            if claim.counted and now < resets_at:
                return Refusal(limit, (resets_at - now).total_seconds(), resets_at)
        return await self.store.acquire(claim, self.limits)

    async def _hand_back(self, waiter: _Waiter) -> None:
        """Return what was granted in the very moment in which the waiter was cancelled."""
        if waiter.grant is not None:
            with anyio.CancelScope(shield=True):
                await self.store.settle(waiter.grant, reached=False)
                if waiter.grant.lease is not None:
                    await self.store.release(waiter.grant.lease)

    async def _learn(self, error: RateLimitError, grant: Grant, lease: SlotLease | None) -> None:
        """Take a lesson from a 429 (A11, A12, A13).

        Raises:
            QuotaExhaustedError: it says that the day's or the month's requests are spent.
        """
        known = merged(self._stated, self._fetched)
        limit = _calendar_limit(error, known.window_seconds)
        if limit is not None and grant.claim.counted:
            now = self._utc_now()
            resets_at = next_day(now) if limit == "daily" else next_month(now)
            if error.retry_after is not None:  # the service's clock may be behind ours at midnight
                resets_at = min(resets_at, now + timedelta(seconds=error.retry_after))
            self._spent[limit] = resets_at
            if self._on_quota == "raise":
                raise quota_exhausted(limit, resets_at) from error
            return
        if error.limit == "concurrency" and lease is not None:
            await self.release(lease)
        billable = grant.claim.billable
        self._learned.take(error, anyio.current_time(), self.store, known, billable=billable)


def _calendar_limit(error: RateLimitError, window: float) -> str | None:
    if error.limit in {"daily", "monthly"}:
        return error.limit
    # A burst is over within a window: who is told to stay away for ten has met something else.
    long = error.limit != "concurrency" and (error.retry_after or 0.0) > _LONG_WINDOWS * window
    return "daily" if long else None


def merged(first: Limits, second: Limits) -> Limits:
    """Give `first`, with what it leaves open taken from `second`.

    A rate goes with its window: where both give a rate, the longer window holds, which is the stricter.
    """
    default = Limits()
    given = {
        field.name: getattr(first, field.name)
        for field in attrs.fields(Limits)
        if field.name not in {"raw", "not_understood"} and getattr(first, field.name) != getattr(default, field.name)
    }
    rates = ("requests_per_window", "uploads_per_window")
    if any(rate in given for rate in rates):
        gives_rate_too = any(rate not in given and getattr(second, rate) is not None for rate in rates)
        given["window_seconds"] = max(first.window_seconds, second.window_seconds if gives_rate_too else 0.0)
    return attrs.evolve(second, **given)


def quota_exhausted(limit: str, resets_at: datetime) -> QuotaExhaustedError:
    """Make the error that says so."""
    period = "day's" if limit == "daily" else "month's"
    return QuotaExhaustedError(
        f"the {period} requests are spent; the counter starts anew at {resets_at:%Y-%m-%d %H:%M} UTC",
        resets_at=resets_at,
        limit=limit,
    )
