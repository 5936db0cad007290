"""What became of a submission that was sent whole and got no usable answer: live, for one; after a crash, for all at once.

The list is read from now back past the submission. A task in it is ours if its bytes are: `/source` with a Range gives the
size and the last 64 KiB in one request. Names and times never prove anything. A time only rules a task out, and only where
the service's clock is known from tasks of our own (A17); whether the service keeps the bytes that were sent is known from
such tasks too (A18).

| verdict | when | what follows |
|---|---|---|
| ours    | a task has the same size and end, and its options do not contradict | adopted |
| absent  | the list is complete back past the submission and every task in it is certainly another's, twice | sent again |
| unknown | the list cannot be read, or a task remains that may be ours | `SubmissionUncertainError` |

Failed and cancelled tasks are never adopted. While the service cannot be reached, the question waits (see `outage`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from .._api import endpoints
from .._downloads.ranges import parse_content_range
from .._errors import PolyglotError, RangeError, ServiceUnavailableError
from .._http.retry import is_outage
from .._uploads.fingerprint import TAIL_BYTES, MediaDigest, Tail
from .pagination import TaskPages

if TYPE_CHECKING:
    from .._api.messages import ApiRequest
    from .._http.transport import StreamedResponse, Transport
    from .._models import Task
    from .outage import OutageGate

SECOND_LOOK_SECONDS = 10.0
"""Absence is asked for twice, so far apart: a replica of the list may lag, and what a dead process's kernel, or a proxy,
still holds of the request may yet arrive (A19)."""
_MOST_CANDIDATES = 50
_MOST_FAILURES = 3
_WHOLE_ANSWER_BYTES = 256 << 10
_REMEMBERED_TASKS = 10_000
_CLOCK_SPREAD = 120.0
_CLOCK_SLACK = 5.0
_ANY_ZONE_SECONDS = 26 * 3600.0
"""Local times of two places differ by no more than this."""
_SHOWN_CANDIDATES = 20
_WITHOUT_RESULT = frozenset({"failed", "cancelled"})
_PARTIAL = 206


@attrs.frozen(kw_only=True)
class Doubt:
    """A submission whose fate is unknown, and what its task would be recognised by.

    Attributes:
        name: for messages.
        since: when its first byte left, Unix seconds.
        options: options as sent.
        digest: of the media that was sent, where known.
        content: size and hexadecimal SHA-256 of the media, where known.
        is_source_url: for a URL, whether another URL is the same.
    """

    name: str
    since: float
    options: Mapping[str, Any] = attrs.field(factory=dict)
    digest: MediaDigest | None = None
    content: tuple[int, str] | None = None
    is_source_url: Callable[[str], bool] | None = None

    @property
    def size(self) -> int | None:
        """Bytes of the media, where known."""
        return self.digest.size if self.digest else self.content[0] if self.content else None


@attrs.frozen(kw_only=True)
class Proof:
    """What became of a submission: a task that is ours, proven absence, or neither.

    Attributes:
        task: ours.
        absent: it was certainly not accepted.
        candidates: tasks that may be the one, where that stays unknown.
        reason: why it stays unknown.
    """

    task: Task | None = None
    absent: bool = False
    candidates: tuple[Task, ...] = ()
    reason: str = ""
    error: PolyglotError | None = None


@attrs.frozen
class OwnTask:
    """A task that certainly is ours: what was sent, and the time (Unix seconds) by which the service had it."""

    by: float
    digest: MediaDigest | None = None
    size: int | None = None


@attrs.define
class KnownTasks:
    """Tasks that are no candidates: ours already, or seen in the list before a submission began."""

    own: OrderedDict[str, OwnTask] = attrs.field(factory=OrderedDict, init=False)
    _seen: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)

    def add_own(self, task_id: str, by: float, digest: MediaDigest | None = None, size: int | None = None) -> None:
        """Note a task of ours, which the service had by `by`, Unix seconds."""
        self.own[task_id] = OwnTask(by, digest, digest.size if digest is not None else size)
        if len(self.own) > _REMEMBERED_TASKS:
            self.own.popitem(last=False)

    def saw(self, tasks: Iterable[Task], now: float) -> None:
        """Note tasks that stand in the list at `now`, Unix seconds."""
        for task in tasks:
            self._seen.setdefault(task.task_id, now)
        while len(self._seen) > _REMEMBERED_TASKS:
            self._seen.popitem(last=False)

    def is_older(self, task_id: str, since: float) -> bool:
        """Return whether a task is known to be older than a submission that began at `since`."""
        own = self.own.get(task_id)
        return (own is not None and own.by < since) or self._seen.get(task_id, since) < since


@attrs.frozen
class Source:
    """What `/source` shows of a task: its size, the SHA-256 of its end and of the whole, each where it was read."""

    size: int | None
    tail_sha256: bytes | None = None
    sha256: str | None = None


@attrs.define(eq=False)
class Prover:
    """Finds out what became of submissions; see the head of the module."""

    _transport: Transport = attrs.field(repr=False)
    _gate: OutageGate = attrs.field(repr=False)
    known: KnownTasks = attrs.field(repr=False)
    _sources: dict[str, Source] = attrs.field(factory=dict, init=False, repr=False)
    _lock: anyio.Lock | None = attrs.field(default=None, init=False, repr=False)

    async def prove(self, doubts: Sequence[Doubt], *, timeout: float) -> list[Proof]:
        """Return what became of each; waits for the list for up to `timeout` seconds while the service is down.

        Raises:
            ServiceUnavailableError: the service did not come back in that time.
        """
        self._lock = self._lock or anyio.Lock()  # made here: a lock belongs to the event loop that waits for it
        async with self._lock:
            proofs = await self._look(doubts, timeout)
            open_ones = [index for index, proof in enumerate(proofs) if proof.task is None]
            if open_ones:
                await self._transport.runtime.sleep(SECOND_LOOK_SECONDS)
                again = await self._look([doubts[index] for index in open_ones], timeout)
                for index, proof in zip(open_ones, again, strict=True):
                    proofs[index] = proof
            for doubt, proof in zip(doubts, proofs, strict=True):
                if proof.task is not None:
                    now = self._transport.runtime.unix_time()
                    self.known.add_own(proof.task.task_id, now, doubt.digest, doubt.size)
            return proofs

    async def _look(self, doubts: Sequence[Doubt], timeout: float) -> list[Proof]:
        since = min(doubt.since for doubt in doubts)
        most = _MOST_CANDIDATES + 2 * len(doubts)
        failures = 0
        while True:
            try:
                tasks, complete = await self._list_back_to(since, most=20 * most)
                break
            except ServiceUnavailableError:
                raise
            except PolyglotError as error:
                failures += not (is_outage(error) and await self._gate.wait_out(error, timeout=timeout))
                if failures >= _MOST_FAILURES or not is_outage(error):
                    reason = f"the list of tasks cannot be read ({error})"
                    return [Proof(reason=reason, error=error) for _ in doubts]
        clock = service_clock(tasks, self.known.own)
        strangers = [
            task
            for task in tasks
            if task.task_id not in self.known.own
            and not self.known.is_older(task.task_id, since)
            and not is_before(task, since, clock)
        ]
        complete = complete and len(strangers) <= most
        strangers = strangers[:most]
        if strangers:
            await self._read_sources(tasks, strangers, doubts)
        return decide(doubts, strangers, self._sources, complete=complete, keeps_bytes=self._keeps_bytes(doubts))

    async def _list_back_to(self, since: float, *, most: int) -> tuple[list[Task], bool]:
        """Read the list until it shows a task that is older than `since`; return it, and whether it goes that far."""
        tasks: list[Task] = []
        pages = TaskPages(self._transport)
        async for page in pages:
            tasks += page.items
            clock = service_clock(tasks, self.known.own)
            if is_newest_first(tasks, self.known.own) and any(
                self.known.is_older(task.task_id, since) or is_before(task, since, clock) for task in page.items
            ):
                return tasks, not pages.skipped  # an entry that cannot be read may be the task in question
            if len(tasks) > most:
                return tasks, False
        return tasks, pages.complete and not pages.skipped

    async def _read_sources(self, tasks: Sequence[Task], strangers: Sequence[Task], doubts: Sequence[Doubt]) -> None:
        """Read what the candidates were made from, and one task of our own to know whether bytes are kept."""
        measured = [task for task in tasks if (own := self.known.own.get(task.task_id)) and own.size is not None]
        if measured:
            await self._read_source(measured[0], ())
        names = {doubt.name for doubt in doubts}
        open_ones = [doubt for doubt in doubts if doubt.is_source_url is None]
        for task in sorted(strangers, key=lambda task: task.file_name not in names):
            if not open_ones:
                return
            if task.status not in _WITHOUT_RESULT:
                source = await self._read_source(task, open_ones)
                matched = next((doubt for doubt in open_ones if source is not None and _has_bytes(doubt, source)), None)
                if matched is not None:
                    open_ones.remove(matched)

    async def _read_source(self, task: Task, doubts: Sequence[Doubt]) -> Source | None:
        if task.task_id in self._sources:
            return self._sources[task.task_id]
        request = endpoints.source(task.task_id)
        try:
            async with self._transport.stream(request, headers={"range": f"bytes=-{TAIL_BYTES}"}) as response:
                source = await _measured(response)
            for doubt in doubts:
                # Only the whole tells where a Range is ignored, or where only the hash of the whole is known.
                tail_tells = doubt.digest is not None and source is not None and source.tail_sha256 is not None
                if source and not tail_tells and doubt.content is not None and doubt.content[0] == source.size:
                    source = await self._whole(request)
                    break
        except ServiceUnavailableError:
            raise
        except PolyglotError:
            return None  # not there yet, or never: it is asked once more with the second look
        if source is not None:
            self._sources[task.task_id] = source
        return source

    async def _whole(self, request: ApiRequest) -> Source:
        digest, tail = hashlib.sha256(), Tail()
        async with self._transport.stream(request) as response, aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                tail.update(chunk)
        return Source(tail.size, tail.digest().tail_sha256, digest.hexdigest())

    def _keeps_bytes(self, doubts: Sequence[Doubt]) -> bool | None:
        """Return whether sources are kept as they were sent, as far as tasks that are known to be ours show (A18)."""
        for task_id, own in self.known.own.items():
            source = self._sources.get(task_id)
            if source is not None:
                same_end = own.digest is None or source.tail_sha256 in {None, own.digest.tail_sha256}
                return source.size == own.size and same_end
        return any(_has_bytes(doubt, source) for doubt in doubts for source in self._sources.values()) or None


async def _measured(response: StreamedResponse) -> Source | None:
    """Read the size and the end of a source from the answer to a request for its last bytes."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return None
    tail = Tail()
    if response.status_code == _PARTIAL:
        try:
            content = parse_content_range(response.headers.get("content-range", ""))
        except RangeError:
            return None
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                tail.update(chunk)
                if tail.size > TAIL_BYTES:
                    break
        total = content.total
        whole_end = total is not None and content.stop == total and tail.size == min(total, TAIL_BYTES)
        return Source(total, tail.digest().tail_sha256 if whole_end else None)
    length = response.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else None
    ended = True
    async with aclosing(response.chunks()) as chunks:
        async for chunk in chunks:
            tail.update(chunk)
            if tail.size > _WHOLE_ANSWER_BYTES:  # the Range was ignored: the rest of a film is not read
                ended = False
                break
    if ended and size in {None, tail.size}:
        return Source(tail.size, tail.digest().tail_sha256)
    return Source(size, None)


def _has_bytes(doubt: Doubt, source: Source) -> bool:
    """Return whether a source certainly is the doubted submission's media."""
    if doubt.content is not None and source.sha256 is not None:
        return (source.size, source.sha256) == doubt.content
    return doubt.digest is not None and (source.size, source.tail_sha256) == attrs.astuple(doubt.digest)


def _is_of_url(doubt: Doubt, task: Task) -> bool:
    """Return whether a task shows the very URL of the doubted submission."""
    assert doubt.is_source_url is not None  # noqa: S101 - for the type checkers: asked of URLs only
    urls = [task.file_name, *(task.extra.get(name) for name in ("url", "source_url", "media_url"))]
    return any(isinstance(url, str) and "://" in url and doubt.is_source_url(url) for url in urls)


def decide(
    doubts: Sequence[Doubt],
    strangers: Sequence[Task],
    sources: Mapping[str, Source],
    *,
    complete: bool,
    keeps_bytes: bool | None,
) -> list[Proof]:
    """Return the proof of each doubt, from the unknown tasks and what their sources show. Pure.

    Args:
        doubts: the submissions in question.
        strangers: tasks that are not known to be ours or older, newest first.
        sources: what was read of tasks' sources, by task id.
        complete: whether `strangers` are all that there are since the first of the submissions.
        keeps_bytes: whether the service keeps what was sent; None: not known.
    """
    live = [task for task in strangers if task.status not in _WITHOUT_RESULT]
    index = _index(live, sources)
    taken: set[str] = set()
    found: dict[int, Task] = {}
    contradicted: dict[int, list[Task]] = {}
    for number, doubt in enumerate(doubts):
        same = [task for task in _same_media(doubt, index, live) if task.task_id not in taken]
        ours = next((task for task in same if _options_agree(doubt.options, task)), None)
        if ours is None:
            contradicted[number] = same
        else:
            found[number] = ours
            taken.add(ours.task_id)
    rest = [task for task in live if task.task_id not in taken]
    # What such a task was made from cannot be seen, or proves nothing: it may be anybody's.
    open_to_all = [
        task for task in rest if not keeps_bytes or (source := sources.get(task.task_id)) is None or source.size is None
    ]
    proofs = []
    for number, doubt in enumerate(doubts):
        if number in found:
            proofs.append(Proof(task=found[number]))
            continue
        possible = rest if doubt.is_source_url else open_to_all
        if more := [*contradicted[number], *index.get(("size", doubt.size, None), ())]:
            possible = [*possible, *(task for task in more if task.task_id not in taken and task not in possible)]
        proofs.append(_unproven(possible, complete=complete))
    return proofs


def _unproven(possible: Sequence[Task], *, complete: bool) -> Proof:
    if complete and not possible:
        return Proof(absent=True)
    if not possible:
        return Proof(reason="the list of tasks cannot be read back to the submission")
    return Proof(candidates=tuple(possible[:_SHOWN_CANDIDATES]), reason="a task in the list may be the one")


_Index = Mapping[tuple[str, int | None, object], Sequence["Task"]]


def _index(live: Sequence[Task], sources: Mapping[str, Source]) -> _Index:
    """Return the tasks by what their sources show, the oldest first, so that nothing is compared pair by pair."""
    index: dict[tuple[str, int | None, object], list[Task]] = {}
    for task in reversed(live):
        source = sources.get(task.task_id)
        if source is None:
            continue
        if source.sha256 is not None:
            index.setdefault(("sha256", source.size, source.sha256), []).append(task)
        if source.tail_sha256 is not None:
            index.setdefault(("tail", source.size, source.tail_sha256), []).append(task)
        else:
            index.setdefault(("size", source.size, None), []).append(task)
    return index


def _same_media(doubt: Doubt, index: _Index, live: Sequence[Task]) -> Sequence[Task]:
    if doubt.is_source_url is not None:
        return [task for task in reversed(live) if _is_of_url(doubt, task)]
    if doubt.content is not None and (same := index.get(("sha256", *doubt.content))):
        return same
    return index.get(("tail", doubt.digest.size, doubt.digest.tail_sha256), ()) if doubt.digest else ()


def _options_agree(sent: Mapping[str, Any], task: Task) -> bool:
    for name in ("model", "input_language", "output_language"):
        wanted, shown = sent.get(name), getattr(task, name)
        if wanted is not None and shown is not None and str(getattr(wanted, "value", wanted)) != shown:
            return False
    return True


def service_clock(tasks: Iterable[Task], own: Mapping[str, OwnTask]) -> float | None:
    """Return how many seconds the service's `created_at` is ahead of our clock at the least; None: it cannot be trusted.

    Known from tasks of our own alone: a naive time of another zone looks like any other time.
    """
    ahead = [
        task.created_at.timestamp() - own[task.task_id].by
        for task in tasks
        if task.created_at is not None and task.task_id in own
    ]
    if not ahead or max(ahead) - min(ahead) > _CLOCK_SPREAD:
        return None
    return min(ahead)


def is_before(task: Task, since: float, clock: float | None) -> bool:
    """Return whether a task was certainly created before `since`, Unix seconds of our clock.

    Where the service's clock is not known, its times may be those of any zone on earth.
    """
    if task.created_at is None:
        return False
    created = task.created_at.timestamp()
    return created - clock < since - _CLOCK_SLACK if clock is not None else created < since - _ANY_ZONE_SECONDS


def is_newest_first(tasks: Sequence[Task], own: Mapping[str, OwnTask]) -> bool:
    """Return whether the list certainly goes from new to old (A4), as far as its times, or tasks of our own, show.

    Without that, a task that is known to be older is no sign that the rest of the list is older too.
    """
    times = [task.created_at.timestamp() for task in tasks if task.created_at is not None]
    if len(times) < 2:  # noqa: PLR2004 - an order is one of two
        times = [own[task.task_id].by for task in tasks if task.task_id in own]
    falls = sum(later < earlier for earlier, later in itertools.pairwise(times))
    rises = sum(later > earlier for earlier, later in itertools.pairwise(times))
    return falls > rises  # parallel uploads may end in another order than they were begun in
