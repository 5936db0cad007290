"""The seam for tests: clock, sleep and randomness of a client, in one object that its parts are handed.

No part reads a clock, sleeps or rolls dice by itself. A test passes `AsyncPolyglot(runtime=Runtime(sleep=...))`, or
runs under Trio's MockClock, which `anyio.current_time` and `anyio.sleep` follow.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio
import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._tasks.schedule import PollSchedule


_UTC_NOW = partial(datetime.now, UTC)


@attrs.frozen(kw_only=True)
class Runtime:
    """Clock, sleep and randomness of a client; replace them in tests.

    Attributes:
        monotonic: seconds of a clock that only grows; durations and windows are measured with it. It must keep running
            while the event loop waits: what waits for a permit or for the next poll wakes up by the loop's own clock.
        utc_now: the present as an aware UTC datetime; calendar quotas and `Retry-After` dates are read with it.
        unix_time: the present in Unix seconds; a journal's entries are stamped with it.
        sleep: waits for so many seconds.
        random: a number from 0 up to, not including, 1; spreads retries in time.
        poll_schedule: when tasks are polled; None: the usual one.
    """

    monotonic: Callable[[], float] = anyio.current_time
    utc_now: Callable[[], datetime] = _UTC_NOW
    unix_time: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random: Callable[[], float] = random.random
    poll_schedule: PollSchedule | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("monotonic", "utc_now", "unix_time", "sleep", "random"):
            value = getattr(self, name)
            if not callable(value):
                raise TypeError(f"{name} is {value!r:.60}: pass a function")


def checked_runtime(runtime: object) -> Runtime:
    """Return the runtime that was given, or the usual one.

    Raises:
        TypeError: it is none.
    """
    if runtime is not None and not isinstance(runtime, Runtime):
        raise TypeError(f"runtime is {runtime!r:.60}: pass a polyglot_async.Runtime, or None")
    return runtime or Runtime()
