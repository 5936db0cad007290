"""When to look at tasks again: late enough to spend few requests, early enough to lose little time.

Pure arithmetic: seconds of one clock are handed in. How long tasks take is learned from brackets: a task was seen
unfinished after `low` seconds and finished after `high`, so it took something between.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED_TASKS = 32
NARROW = 0.04
"""A bracket no wider than this share of its upper end is as good as a measurement."""
LOW_DECAY = 0.995
"""Each finished task lets the lower end sink a little, so that tasks which become faster are found out."""
GROWTH = 0.3
"""While nothing is known, the time between looks grows with the time waited by this share."""
STEP = 0.1
"""Past the expected end, the time between looks is this share of the expected duration."""
SLACK = 0.05
"""How long, as a share of the expected duration, a look is put off to catch tasks that end a little later as well."""


@attrs.define
class Bracket:
    """What one number is, learned from lower and upper bounds."""

    _highs: deque[float] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED_TASKS), init=False)
    _low: float = attrs.field(default=0.0, init=False)

    def above(self, low: float) -> None:
        """It was more than `low` once."""
        self._low = max(self._low, low)

    def below(self, high: float) -> None:
        """It was at most `high` once."""
        self._low *= LOW_DECAY
        self._highs.append(high)

    def guess(self) -> float | None:
        """What it will be next; None while nothing bounds it from above."""
        if not self._highs:
            return None
        high = statistics.median(self._highs)
        low = min(self._low, high)
        # Halving a wide bracket finds the true number in a few steps; a narrow one stays as it is.
        return high if high - low <= NARROW * high else (low + high) / 2


@attrs.define
class Durations:
    """How long tasks take: in seconds, and in seconds per second of audio where that is known."""

    _plain: Bracket = attrs.field(factory=Bracket, init=False)
    _per_audio_second: Bracket = attrs.field(factory=Bracket, init=False)

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

    def expected(self, audio_seconds: float | None = None) -> float | None:
        """Seconds that a task will take; None while no task has ended."""
        rate = self._per_audio_second.guess() if audio_seconds else None
        return rate * audio_seconds if rate is not None and audio_seconds else self._plain.guess()


@attrs.frozen
class Pace:
    """The bounds of the rhythm: seconds between two looks, at least and at most."""

    floor: float = 0.5
    ceiling: float = 30.0

    def next_look(self, started: float, looked: float | None, now: float, expected: float | None) -> float:
        """When to look at a task next that was started at `started` and last seen unfinished at `looked`."""
        waited = now - started
        if expected is None:
            step = GROWTH * waited
        elif looked is None or looked < started + expected:
            return max(started + expected, (looked or started) + self.floor)
        else:
            # The later it is, the less the expectation says.
            step = max(STEP * expected, GROWTH * (waited - expected))
        return (looked if looked is not None else started) + min(self.ceiling, max(self.floor, step))


def joint_look(looks: Iterable[float], slack: float) -> float:
    """One look for several tasks: when the first is due, put off by at most `slack` to catch those due right after."""
    dues = sorted(looks)
    return max(due for due in dues if due <= dues[0] + slack)
