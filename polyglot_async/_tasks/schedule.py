"""When to poll tasks: late enough to spend few requests, early enough to lose little time; and when after a failure.

Pure arithmetic: seconds of one clock are handed in. How long tasks take is learned from brackets: a task was seen
unfinished after `low` seconds and finished after `high`, so it took something between.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import attrs

from .._api import endpoints
from .._api.messages import AnsweredBy, answered_by
from .._arguments import check_seconds
from .._errors import ResponseDecodeError
from .._http.retry import LONGEST_RETRY_AFTER, Action, delay, is_outage, next_action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._errors import PolyglotError

REMEMBERED_TASKS = 32
NARROW = 0.02
"""A bracket no wider than this share of its upper end is as good as a measurement."""
LOW_DECAY = 2e-5
"""The lower end sinks by this share, times the tasks that ended since one was last seen unfinished: tasks that become
faster are found out, and where nothing changes it is tried out rarely."""
GROWTH = 0.3
"""While nothing is known, the time between polls grows with the time waited by this share."""
FIRST_STEPS = 3
"""Meanwhile the polls after the first are at least this many times the shortest interval apart."""
STEP = 0.1
"""Past the expected end, the time between polls is this share of the expected duration."""
SLACK = 0.05
"""How long, as a share of the expected duration, a poll is put off to catch tasks that end a little later as well."""
MOST_UNREADABLE_ANSWERS = 5
"""So many in a row, and no repetition mends them: what the service cannot write it may never write."""


@attrs.frozen
class Expectation:
    """How long something will take.

    Attributes:
        seconds: the best guess.
        at_most: what it is not above, as a rule.
    """

    seconds: float
    at_most: float


@attrs.define(eq=False, repr=False)
class DurationEstimate:
    """What one number is, learned from lower and upper bounds."""

    _highs: deque[float] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED_TASKS), init=False)
    _low: float = attrs.field(default=0.0, init=False)
    _since_above: int = attrs.field(default=0, init=False)

    def above(self, low: float) -> None:
        """It was more than `low` once."""
        if low >= self._low:
            self._low = low
            self._since_above = 0

    def below(self, high: float) -> None:
        """It was at most `high` once."""
        self._since_above += 1
        self._low *= 1 - min(0.5, LOW_DECAY * self._since_above)
        self._highs.append(high)

    def guess(self) -> Expectation | None:
        """Return what it will be next; None while nothing bounds it from above."""
        if not self._highs:
            return None
        highs = sorted(self._highs)
        high = (highs[len(highs) // 2] + highs[(len(highs) - 1) // 2]) / 2  # the median; `statistics` loads slowly
        low = min(self._low, high)
        # Halving a wide bracket finds the true number in a few steps; a narrow one stays as it is.
        return Expectation(high if high - low <= NARROW * high else (low + high) / 2, high)


@attrs.define(eq=False, repr=False)
class TaskDurations:
    """How long tasks take: in seconds, and in seconds per second of audio where that is known."""

    _plain: DurationEstimate = attrs.field(factory=DurationEstimate, init=False)
    _per_audio_second: DurationEstimate = attrs.field(factory=DurationEstimate, init=False)

    def unfinished(self, after: float, audio_seconds: float | None) -> None:
        """A task was seen unfinished `after` so many seconds."""
        self._plain.above(after)
        if audio_seconds:
            self._per_audio_second.above(after / audio_seconds)

    def finished(self, after: float, audio_seconds: float | None) -> None:
        """A task was seen finished `after` so many seconds."""
        self._plain.below(after)
        if audio_seconds:
            self._per_audio_second.below(after / audio_seconds)

    def expected(self, audio_seconds: float | None = None) -> Expectation | None:
        """Return how long a task will take; None while no task has ended."""
        if audio_seconds and (rate := self._per_audio_second.guess()) is not None:
            return Expectation(rate.seconds * audio_seconds, rate.at_most * audio_seconds)
        return self._plain.guess()


@attrs.frozen
class PollSchedule:
    """When to poll a task next, and the bounds: seconds between two polls, at least and at most.

    Attributes:
        min_interval: the least number of seconds between two polls.
        max_interval: the most.

    Raises:
        TypeError: an interval is no number.
        ValueError: an interval is not above 0, or the most is less than the least.
    """

    min_interval: float = 0.5
    max_interval: float = 30.0

    def __attrs_post_init__(self) -> None:
        check_seconds("min_interval", self.min_interval, above=True, needed=True)
        check_seconds("max_interval", self.max_interval, above=True, needed=True)
        if self.max_interval < self.min_interval:
            raise ValueError(f"max_interval is {self.max_interval}: pass at least min_interval, {self.min_interval}")

    def next_poll_at(self, started: float, polled: float | None, now: float, expected: Expectation | None) -> float:
        """Return when to poll a task next that was started at `started` and last seen unfinished at `polled`."""
        last = polled if polled is not None else started
        if expected is None:
            # What ends at once is seen at once; what does not is not polled again soon.
            later = max(FIRST_STEPS * self.min_interval, GROWTH * (now - started))
            step = self.min_interval if polled is None else later
        else:
            for due in (started + expected.seconds, started + expected.at_most):
                if last < due:
                    return max(due, last + self.min_interval)
            # The later it is, the less the expectation says.
            step = max(STEP * expected.seconds, GROWTH * (now - started - expected.seconds))
        return last + min(self.max_interval, max(self.min_interval, step))


def coalesce(polls: Sequence[float], slack: float) -> float:
    """Return one time for the polls of several tasks: the first due one, or up to `slack` later to poll more at once.

    Without tasks it is infinity.
    """
    last = first = min(polls, default=math.inf)
    for due in polls:
        if last < due <= first + slack:
            last = due
    return last


@attrs.define(eq=False, repr=False)
class PollFailures:
    """The polls that failed since the last one that succeeded.

    Attributes:
        last: the last failure.
        count: failures that a repetition may mend.
    """

    last: PolyglotError | None = None
    count: int = 0
    _down_since: float | None = attrs.field(default=None, init=False)
    _unreadable: int = attrs.field(default=0, init=False)

    def pause_after(self, error: PolyglotError, now: float, *, random: float) -> float | None:
        """Count a failed poll; return the seconds to wait before the next one, or None if no repetition mends it.

        What a proxy answers with while the service is away passes; see `delay` for `random`.
        """
        self.last = error
        if isinstance(error, ResponseDecodeError) and answered_by(error.body) is not AnsweredBy.PROXY:
            self._unreadable += 1
            if self._unreadable >= MOST_UNREADABLE_ANSWERS:
                return None
        elif next_action(error, endpoints.PROBE, body_complete=True) is not Action.RETRY:
            return None
        self.count += 1
        if not is_outage(error):
            self._down_since = None
        elif self._down_since is None:
            self._down_since = now
        return min(LONGEST_RETRY_AFTER, delay(self.count, error, random=random))

    def down_for(self, now: float) -> float:
        """Return for how many seconds the service has not answered polls."""
        return 0.0 if self._down_since is None else now - self._down_since
