"""What is known of an account's tasks: which are ours or older, how the list is ordered, what its times tell. Pure.

A time only rules a task out (A17). A naive time of another zone looks like any other, so how far the service's clock is
ahead is known from tasks of our own alone.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from pathlib import PurePath
from typing import TYPE_CHECKING

import attrs

from .._uploads.fingerprint import is_same_digest
from .sightings import RECENT_SECONDS, OwnTask, Reading, Sightings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._models import Task
    from .._uploads.fingerprint import MediaDigest

_REMEMBERED_TASKS = 1_200
"""More than one reading of the list goes through for a few submissions, see `prover`."""
_REMEMBERED_MEDIA = 256
FAR = 1_000
"""Tasks of a list after which its order by time is believed, though nothing of it shows that."""
_MOST_OLDER_BY_TIME = 10
_CLOCK_SPREAD = 120.0
_CLOCK_SLACK = 65 * 60.0
"""A local time without a zone goes back by an hour once a year."""
_TICK = 2.0
"""Times may come in whole seconds."""
_ANY_ZONE_SECONDS = 26 * 3600.0
"""Local times of two places differ by no more than this."""


@attrs.frozen
class SentMedia:
    """What one of our tasks was made from: what its source shows tells whether the service keeps such media (A18).

    Attributes:
        name: of the file.
        size: bytes.
        digest: where known.
    """

    name: str
    size: int
    digest: MediaDigest | None = None


@attrs.frozen
class ServiceClock:
    """How many seconds the service's `created_at` is ahead of our clock: at least, and at most where that is known."""

    low: float
    high: float | None = None


@attrs.define(eq=False, repr=False)
class KnownTasks:
    """Tasks that are no candidates: ours already, or seen in the list before a submission began.

    Attributes:
        own: our tasks by id, the latest last.
        media: what the latest of them were made from, by id.
        seen: tasks that the list showed before they were known to be ours, if they are, by id: when it first did, Unix
            seconds.
        sightings: when the list showed our tasks.
        has_seen_list: whether the list was read before.
        clock_went_back: whether our clock was set back, so that no time shows what is older.
    """

    own: OrderedDict[str, OwnTask] = attrs.field(factory=OrderedDict, init=False)
    media: OrderedDict[str, SentMedia] = attrs.field(factory=OrderedDict, init=False)
    seen: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)
    sightings: Sightings = attrs.field(factory=Sightings, init=False)
    has_seen_list: bool = attrs.field(default=False, init=False)
    clock_went_back: bool = attrs.field(default=False, init=False)
    _latest: float = attrs.field(default=0.0, init=False)

    def add_own(self, task_id: str, own: OwnTask, media: SentMedia | None = None) -> None:
        """Note a task of ours."""
        self.own[task_id] = own
        own.shown_at = self.seen.get(task_id)
        if len(self.own) > _REMEMBERED_TASKS:
            self.own.popitem(last=False)
        if media is not None:
            self.media[task_id] = media
            if len(self.media) > _REMEMBERED_MEDIA:
                self.media.popitem(last=False)

    def forget(self, task_id: str) -> None:
        """Forget a task of ours: whoever was to have it could not note it."""
        self.own.pop(task_id, None)
        self.media.pop(task_id, None)
        self.seen.pop(task_id, None)  # the same media, sent anew, may have it

    def check_clock(self, now: float, since: float = 0.0) -> None:
        """Compare the time with the times that were noted, and with that of an earlier submission."""
        self._latest = max(self._latest, since)
        self.clock_went_back |= now < self._latest
        self._latest = max(self._latest, now)

    def ended(self, task_id: str, now: float) -> None:
        """Note that a task was seen at its end `now`, Unix seconds: a list that does not show it then is late."""
        own = self.own.get(task_id)
        if own is not None and own.ended is None:
            own.ended = now

    def record_page(self, reading: Reading, tasks: Sequence[Task], now: float, *, is_end: bool) -> None:
        """Note a page that has come just `now`, Unix seconds; `is_end`: nothing comes after it."""
        self.has_seen_list = True
        self.check_clock(now)
        by = [own.by if (own := self.own.get(task.task_id)) else self.seen.get(task.task_id, now) for task in tasks]
        self.sightings.record_page(reading, tasks, self.own, oldest=min(by, default=now), is_end=is_end)
        for task in reversed(tasks):  # what is forgotten first is the oldest
            if task.task_id not in self.own:
                self.seen.setdefault(task.task_id, now)
        while len(self.seen) > _REMEMBERED_TASKS:
            self.seen.popitem(last=False)

    def is_older(self, task_id: str, since: float) -> bool:
        """Return whether a task is known to be older than a submission that began at `since`."""
        own = self.own.get(task_id)
        return (own is not None and own.by < since) or self.seen.get(task_id, math.inf) < since

    def shown_at(self, task_id: str) -> float:
        """Return when the list first showed a task, Unix seconds; infinity if it did not, as far as is known."""
        own = self.own.get(task_id)
        shown_at = self.seen.get(task_id) if own is None else own.shown_at
        return math.inf if shown_at is None else shown_at

    def is_of_other_media(
        self, task_id: str, *, digest: MediaDigest | None, url_key: str | None, since: float
    ) -> bool | None:
        """Return whether a known task certainly was not made from these media; None: its source has to show it.

        Args:
            task_id: of the task.
            digest: of media that were sent, where known.
            url_key: of a URL, without options.
            since: when their first byte left, Unix seconds.
        """
        own, sent = self.own.get(task_id), self.media.get(task_id)
        own_url_key = None if own is None else own.url_key
        if url_key is not None:
            return sent is not None or own_url_key not in {None, url_key}
        if own_url_key is not None:
            return True
        if digest is None:
            return sent is not None
        if sent is not None and sent.digest is not None:
            return not is_same_digest(sent.digest, digest)
        return None if self.is_older(task_id, since) else False


def media_kind(name: str) -> str:
    """Return the suffix of a file's name: a service may keep one kind of media and transcode another."""
    return PurePath(name).suffix.lower()


@attrs.define(eq=False, repr=False)
class Listing:
    """The list of tasks as far as it was read, newest first, and what its times are worth.

    Attributes:
        known: tasks that are ours or older.
        skew: seconds by which the service's clock is ahead of ours, by the `Date` of its answers; 0 or less.
        tasks: all of them so far.
        clock: see `service_clock`.
    """

    known: KnownTasks
    skew: float = 0.0
    tasks: list[Task] = attrs.field(factory=list, init=False)
    clock: ServiceClock | None = attrs.field(default=None, init=False)

    def is_believed(self, since: float, reading: Reading) -> bool:
        """Return whether a reading proves something about a submission at `since` by what it does not show.

        It has to show the task that we last had before that: one that is stale would not.
        """
        if self.known.clock_went_back or not self.known.sightings.is_believed(reading):
            return False
        before = [(own.by, key) for key, own in self.known.own.items() if since - RECENT_SECONDS < own.by < since]
        last = max(before, default=(0.0, None))[1]
        return last is None or any(task.task_id == last for task in self.tasks)

    def add(self, page: Sequence[Task]) -> None:
        """Append a page."""
        self.tasks += page
        self.clock = service_clock(self.tasks, self.known.own)

    def is_older(self, task: Task, since: float) -> bool:
        """Return whether a task is certainly older than a submission that began at `since`."""
        if self.known.clock_went_back:
            return False
        return self.known.is_older(task.task_id, since) or is_before(task, since, self.clock, skew=self.skew)

    def reaches_back(self, page: Sequence[Task], since: float) -> bool:
        """Return whether what comes after `page` is certainly older than `since`.

        A list that may begin with finished tasks is read further: behind them a new one may stand.
        """
        sightings = self.known.sightings
        if not (sightings.shows_unfinished_first or len(self.tasks) >= FAR):
            return False
        is_ordered = sightings.is_ordered and is_newest_first(self.tasks, self.known.own)
        return is_ordered and any(self.is_older(task, since) for task in page)

    def candidates(self, since: float) -> list[Task]:
        """Return the tasks that are not known to be ours or older than `since`."""
        return [task for task in self.tasks if task.task_id not in self.known.own and not self.is_older(task, since)]

    def newness(self) -> Callable[[Task, float], bool]:
        """Return a function: whether a task was not there before a moment, or when the list was last read before that.

        Either the service's clock shows it, or the task stands above what was read then, in a list from new to old.
        """
        shown_at = [self.known.shown_at(task.task_id) for task in self.tasks]
        first = min(shown_at, default=math.inf)
        if not (self.known.sightings.is_ordered and is_newest_first(self.tasks, self.known.own)):
            first = math.inf
        above = dict(zip([task.task_id for task in self.tasks], itertools.accumulate(shown_at, min), strict=True))

        def is_new(task: Task, since: float) -> bool:
            return is_after(task, since, self.clock) or first < since <= above.get(task.task_id, -math.inf)

        return is_new

    def older_by_time(self, since: float) -> list[Task]:
        """Return tasks that nothing but their times rules out, the newest of them: the service may date one wrong."""
        older = (
            task
            for task in self.tasks
            if not self.known.is_older(task.task_id, since)
            and task.task_id not in self.known.own
            and self.is_older(task, since)
        )
        return list(itertools.islice(older, _MOST_OLDER_BY_TIME))


def service_clock(tasks: Iterable[Task], own: Mapping[str, OwnTask]) -> ServiceClock | None:
    """Return how far the service's clock is ahead, from tasks of our own; None: it cannot be trusted."""
    pairs = [
        (task.created_at.timestamp(), own[task.task_id])
        for task in tasks
        if task.created_at is not None and task.task_id in own
    ]
    low = [created - ours.by for created, ours in pairs]
    if not low or max(low) - min(low) > _CLOCK_SPREAD:
        return None
    high = [created - ours.since for created, ours in pairs if ours.since is not None]
    return ServiceClock(min(low), max(high, default=None))


def is_before(task: Task, since: float, clock: ServiceClock | None, *, skew: float = 0.0) -> bool:
    """Return whether a task was certainly created before `since`, Unix seconds of our clock.

    Where the service's clock is not known, its times may be those of any zone on earth; `skew`: see `Listing`.
    """
    if task.created_at is None:
        return False
    created = task.created_at.timestamp()
    return created < since + skew - _ANY_ZONE_SECONDS if clock is None else created - clock.low < since - _CLOCK_SLACK


def is_after(task: Task, since: float, clock: ServiceClock | None) -> bool:
    """Return whether a task was certainly created after `since`, Unix seconds of our clock."""
    if task.created_at is None or clock is None or clock.high is None:
        return False
    return task.created_at.timestamp() - clock.high >= since - _TICK


def is_newest_first(tasks: Sequence[Task], own: Mapping[str, OwnTask]) -> bool:
    """Return whether the list certainly goes from new to old (A4), as far as its times, or tasks of our own, show.

    Without that, a task that is known to be older is no sign that the rest of the list is older too.
    """
    times = [task.created_at.timestamp() for task in tasks if task.created_at is not None]
    if len(times) < 2:  # noqa: PLR2004 - an order is one of two
        times = [own[task.task_id].by for task in tasks if task.task_id in own]
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    # Parallel uploads may end in another order than they were begun in, but not by much.
    return sum(step < 0 for step in steps) > sum(step > 0 for step in steps) and max(steps) <= _CLOCK_SPREAD
