"""Where permits are counted: the protocol of a store, and the one in this process.

The protocol is drawn so that a store may be shared by many machines: `acquire` decides over burst windows, day, month
and task slot in one step and never waits; `settle` stamps at the answer; a slot's lease carries its task's id and is
renewed, so that a survivor can take over what a dead holder left.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import anyio
import attrs

from .._state.usage import Usage, next_day, next_month
from .windows import SlidingLog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .._models import Limits


@attrs.frozen
class Claim:
    """What a request needs a permit for.

    Attributes:
        billable: whether the rule for uploads applies too.
        counted: whether the day's and the month's counters apply: requests with an `sk_` key.
        slot: whether a task slot is wanted with it.
    """

    billable: bool = False
    counted: bool = True
    slot: bool = False


@attrs.frozen
class Grant:
    """A permit.

    Attributes:
        claim: what it was given for.
        lease: the id of the slot that came with it, or None.
    """

    claim: Claim
    lease: str | None = None


@attrs.frozen
class Refusal:
    """No permit now.

    Attributes:
        limit: "burst", "uploads", "concurrency", "daily" or "monthly".
        wait: seconds until asking again makes sense; None: not before something is settled or released.
        resets_at: for a calendar counter, when it starts anew.
    """

    limit: str
    wait: float | None = None
    resets_at: datetime | None = None


class LimitStore(Protocol):
    """Counts the permits of one account. One step a call, atomic against every other user of the store."""

    @property
    def usage(self) -> Usage:
        """Requests made today and this month, as far as the store knows."""
        ...

    @property
    def recent_requests(self) -> int:
        """Requests answered within the last window, as far as the store knows."""
        ...

    @property
    def recent_uploads(self) -> int:
        """Of those, the ones that start work."""
        ...

    @property
    def slots_held(self) -> int:
        """Task slots that are held, as far as the store knows."""
        ...

    async def acquire(self, claim: Claim, limits: Limits) -> Grant | Refusal:
        """Give a permit or say why not, at once."""
        ...

    async def settle(self, grant: Grant, *, reached: bool) -> None:
        """The answer came, or the failure; `reached` is False where the request certainly never left."""
        ...

    async def bind(self, lease: str, task_id: str) -> None:
        """Say which task a slot is held for, so that a survivor could wait for it."""
        ...

    async def release(self, lease: str) -> None:
        """Give a slot back: its task is final, or was never started."""
        ...

    async def renew(self, leases: Collection[str]) -> Collection[tuple[str, str]]:
        """Show that the holder of `leases` lives; take over (lease, task id) of holders that do not."""
        ...

    async def restore(self, usage: Usage) -> None:
        """Add what an earlier run knew of the day's and the month's counters."""
        ...


class MemoryLimitStore:
    """The store of one process.

    `clock` gives seconds that only grow, `utc_now` an aware UTC time; tests hand in others.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = anyio.current_time,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._utc_now = utc_now
        self._requests = SlidingLog(None, 60.0)
        self._uploads = SlidingLog(None, 60.0)
        self._usage = Usage()
        self._leases: dict[str, str | None] = {}
        self._numbers = itertools.count(1)

    @property
    def usage(self) -> Usage:
        """Requests made today and this month by this process, and by earlier runs that were restored."""
        return self._usage.at(self._utc_now())

    @property
    def recent_requests(self) -> int:
        """Requests answered within the last window."""
        return self._requests.recent(self._clock())

    @property
    def recent_uploads(self) -> int:
        """Of those, the ones that start work."""
        return self._uploads.recent(self._clock())

    @property
    def slots_held(self) -> int:
        """Task slots held."""
        return len(self._leases)

    async def acquire(self, claim: Claim, limits: Limits) -> Grant | Refusal:
        """Give a permit or say why not, at once."""
        refusal = self._refusal(claim, limits)
        if refusal is not None:
            return refusal
        self._requests.enter()
        if claim.billable:
            self._uploads.enter()
        if claim.counted:
            # Counted when it leaves: a request that is lost on the way back was counted by the service.
            self._usage = self._usage.plus(1, self._utc_now())
        lease = None
        if claim.slot:
            lease = str(next(self._numbers))
            self._leases[lease] = None
        return Grant(claim, lease)

    async def settle(self, grant: Grant, *, reached: bool) -> None:
        """Stamp the entries; an unreached request is taken off the counters again."""
        now = self._clock()
        self._requests.settle(now, reached=reached)
        if grant.claim.billable:
            self._uploads.settle(now, reached=reached)
        if grant.claim.counted and not reached:
            self._usage = self._usage.plus(-1, self._utc_now())

    async def bind(self, lease: str, task_id: str) -> None:
        """Note which task a slot is held for."""
        self._leases[lease] = task_id

    async def release(self, lease: str) -> None:
        """Give a slot back."""
        self._leases.pop(lease, None)

    async def renew(self, leases: Collection[str]) -> Collection[tuple[str, str]]:
        """Nothing to do: the slots of a process die with it."""
        del leases
        return ()

    async def restore(self, usage: Usage) -> None:
        """Take the larger counts."""
        self._usage = self._usage.merged(usage, self._utc_now())

    def _refusal(self, claim: Claim, limits: Limits) -> Refusal | None:
        now = self._clock()
        if claim.counted and (refusal := self._quota_refusal(limits)) is not None:
            return refusal
        if claim.slot and limits.max_concurrent_tasks is not None and self.slots_held >= limits.max_concurrent_tasks:
            return Refusal("concurrency")
        self._requests.limit, self._requests.window = limits.requests_per_window, limits.window_seconds
        self._uploads.limit, self._uploads.window = limits.uploads_per_window, limits.window_seconds
        wait = self._requests.wait(now)
        if wait != 0.0:
            return Refusal("burst", wait)
        if claim.billable and (wait := self._uploads.wait(now)) != 0.0:
            return Refusal("uploads", wait)
        return None

    def _quota_refusal(self, limits: Limits) -> Refusal | None:
        now, usage = self._utc_now(), self.usage
        if limits.requests_per_month is not None and usage.month_requests >= limits.requests_per_month:
            resets_at, limit = next_month(now), "monthly"
        elif limits.requests_per_day is not None and usage.day_requests >= limits.requests_per_day:
            resets_at, limit = next_day(now), "daily"
        else:
            return None
        return Refusal(limit, (resets_at - now).total_seconds(), resets_at)
