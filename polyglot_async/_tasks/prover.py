"""Read the list and the sources, and have `proof` decide from them what became of ambiguous submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._api.status_errors import http_date
from .._errors import PolyglotError, RateLimitError, ServiceUnavailableError
from .._http.retry import delay, is_outage
from .known_tasks import KnownTasks, Listing, OwnTask, media_kind
from .pagination import TaskPages
from .proof import (
    WITHOUT_RESULT,
    Doubt,
    Proof,
    Source,
    decide,
    hides_options,
    is_same_media,
    kept_kinds,
    options_agree,
)
from .sources import read_end, read_head, read_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._http.transport import RequestBody, Transport
    from .._models import Task
    from .outage import OutageGate

SECOND_LOOK_SECONDS = 10.0
"""Absence is asked for twice, so far apart: a replica of the list may lag, and what a proxy, or the kernel of a dead
process, still holds of the request may yet arrive (A19)."""
LATE_LOOK_SECONDS = 60.0
"""After a timeout the service may be at work still, so the looks are so far apart."""
_MOST_LOOKS = 3
_MOST_CANDIDATES = 50
_MOST_FAILURES = 3
_MEASURED_TASKS = 3
_COMPARED_WHOLE = 1 << 30
"""Up to this size media are compared whole: two editions of a show may have the same length, beginning and end."""
_LONGEST_ANSWER = 60.0
_REMEMBERED_SOURCES = 10_000


@attrs.define(eq=False)
class _Inquiry:
    """Submissions that one caller asks about, what is known of each so far, and how the inquiry ended."""

    doubts: Sequence[Doubt]
    timeout: float
    proofs: list[Proof | None] = attrs.field(init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    outage: ServiceUnavailableError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.proofs = [None] * len(self.doubts)


@attrs.define(eq=False)
class Prover:
    """Finds out what became of submissions; see `proof`. Callers at the same time share each look at the list.

    Attributes:
        known: tasks that are ours or older.
        under_way: what is being sent, with an event that is set when that has ended.
    """

    _transport: Transport = attrs.field(repr=False)
    _gate: OutageGate = attrs.field(repr=False)
    known: KnownTasks = attrs.field(repr=False)
    under_way: dict[RequestBody, anyio.Event] = attrs.field(factory=dict, init=False, repr=False)
    _sources: dict[str, Source] = attrs.field(factory=dict, init=False, repr=False)
    _details: dict[str, Task] = attrs.field(factory=dict, init=False, repr=False)
    _waiting: list[_Inquiry] = attrs.field(factory=list, init=False, repr=False)
    _lock: anyio.Lock | None = attrs.field(default=None, init=False, repr=False)

    async def prove(self, doubts: Sequence[Doubt], *, timeout: float) -> list[Proof]:
        """Return what became of each; waits for the list for up to `timeout` seconds while the service is down.

        Raises:
            ServiceUnavailableError: the service did not come back in that time.
        """
        self._lock = self._lock or anyio.Lock()  # made here: a lock belongs to the event loop that waits for it
        inquiry = _Inquiry(doubts, timeout)
        self._waiting.append(inquiry)
        try:
            async with self._lock:
                if not inquiry.is_answered:
                    await self._answer(list(self._waiting), timeout)
        except BaseException:
            self._give_back(inquiry)
            raise
        finally:
            self._waiting.remove(inquiry)
        if inquiry.outage is not None:
            self._give_back(inquiry)
            raise ServiceUnavailableError(str(inquiry.outage)) from inquiry.outage
        return [proof for proof in inquiry.proofs if proof is not None]

    def _give_back(self, inquiry: _Inquiry) -> None:
        """Forget what was found for a caller who does not get it."""
        for proof in inquiry.proofs:
            if proof is not None and proof.task is not None:
                self.known.forget(proof.task.task_id)

    async def _answer(self, inquiries: Sequence[_Inquiry], timeout: float) -> None:
        """Look at the list until every doubt has its proof; absence takes two looks at a complete list."""
        complete_looks = 0
        try:
            for look in range(_MOST_LOOKS):
                if look:
                    is_late = any(doubt.is_late for inquiry in inquiries for doubt in inquiry.doubts)
                    await self._transport.runtime.sleep(LATE_LOOK_SECONDS if is_late else SECOND_LOOK_SECONDS)
                    # What a young task was made from may not have been there whole: it is read again.
                    self._sources = {key: value for key, value in self._sources.items() if key in self.known.own}
                proofs, complete = await self._look_for(inquiries, timeout, is_confirmed=complete_looks > 0)
                complete_looks += complete
                absent = any(proof.absent for proof in proofs)
                if all(proof.task for proof in proofs) or (look and (complete_looks > 1 or not absent)):
                    break
        except ServiceUnavailableError as outage:
            for inquiry in inquiries:
                if inquiry.timeout <= timeout:  # it has waited for as long as it would by itself
                    inquiry.outage, inquiry.is_answered = outage, True
            return
        for inquiry in inquiries:
            inquiry.is_answered = True

    async def _look_for(
        self, inquiries: Sequence[_Inquiry], timeout: float, *, is_confirmed: bool
    ) -> tuple[list[Proof], bool]:
        """Look once for all that was not found yet; return the proofs, and whether the list was complete."""
        left = [
            (inquiry, number)
            for inquiry in inquiries
            for number, proof in enumerate(inquiry.proofs)
            if proof is None or proof.task is None
        ]
        doubts = [inquiry.doubts[number] for inquiry, number in left]
        proofs, complete = await self._look(doubts, timeout)
        has_found_own = any(proof.task and proof.task.task_id in self.known.own for proof in proofs)
        found = [doubt for doubt, proof in zip(doubts, proofs, strict=True) if proof.task]
        if await self._wait_for_equals(found) or has_found_own:  # its answer came during the look
            proofs, complete = await self._look(doubts, timeout)
        for (inquiry, number), proof in zip(left, proofs, strict=True):
            if proof.task is not None:
                doubt, now = inquiry.doubts[number], self._transport.runtime.unix_time()
                own = OwnTask(now, doubt.digest, doubt.size, doubt.name, doubt.since)
                self.known.add_own(proof.task.task_id, own)
            is_single = proof.absent and not is_confirmed
            inquiry.proofs[number] = Proof(reason="the list of tasks could be read only once") if is_single else proof
        return proofs, complete

    async def _wait_for_equals(self, found: Sequence[Doubt]) -> bool:
        """Wait for answers to submissions of the same media, and return whether there are any.

        A task that was found may be theirs.
        """
        media = {doubt.digest and attrs.astuple(doubt.digest) for doubt in found} - {None}
        equals = [
            ended
            for body, ended in self.under_way.items()
            if body.complete and body.digest is not None and attrs.astuple(body.digest) in media
        ]
        with anyio.move_on_after(_LONGEST_ANSWER):
            for ended in equals:
                await ended.wait()
        return bool(equals)

    async def _look(self, doubts: Sequence[Doubt], timeout: float) -> tuple[list[Proof], bool]:
        """Read the list and the sources once; return the proofs, and whether the list was complete."""
        since = min(doubt.since for doubt in doubts)
        most = _MOST_CANDIDATES + 2 * len(doubts)
        failures = 0
        while True:
            try:
                listing, complete = await self._list_back_to(since, most=20 * most)
                break
            except ServiceUnavailableError:
                raise
            except PolyglotError as error:
                failures += not (is_outage(error) and await self._gate.wait_out(error, timeout=timeout))
                passes = is_outage(error) or isinstance(error, RateLimitError)
                if failures >= _MOST_FAILURES or not passes:
                    reason = f"the list of tasks cannot be read ({error})"
                    return [Proof(reason=reason, error=error) for _ in doubts], False
                if not is_outage(error):
                    runtime = self._transport.runtime
                    await runtime.sleep(delay(failures, error, random=runtime.random()))
        strangers = listing.strangers(since)
        complete = complete and len(strangers) <= most
        strangers = strangers[:most]
        await self._read_sources(listing, strangers, doubts)
        strangers = [self._details.get(task.task_id, task) for task in strangers]
        kept = kept_kinds(self.known.own, self._sources)
        proofs = decide(doubts, strangers, self._sources, complete=complete, kept=kept, clock=listing.clock)
        return proofs, complete

    async def _list_back_to(self, since: float, *, most: int) -> tuple[Listing, bool]:
        """Read the list until it shows a task that is older than `since`; return it, and whether it goes that far."""
        listing = Listing(self.known)
        pages = TaskPages(self._transport)
        async for page in pages:
            moment = http_date(pages.date)
            if moment is not None:
                listing.skew = moment.timestamp() - self._transport.runtime.unix_time()
            listing.add(page.items)
            if listing.reaches_back(page.items, since) and listing.shows_own_of(since):
                return listing, not pages.skipped  # an entry that cannot be read may be the task in question
            if len(listing.tasks) > most:
                return listing, False
        return listing, pages.is_whole and not pages.skipped and listing.shows_own_of(since)

    async def _read_sources(self, listing: Listing, strangers: Sequence[Task], doubts: Sequence[Doubt]) -> None:
        """Read what the candidates were made from, and tasks of our own to know whether bytes are kept."""
        wanted = _Wanted([doubt for doubt in doubts if doubt.size is not None])
        if not wanted.doubts or not strangers:
            return
        await self._calibrate(listing.tasks, {media_kind(doubt.name) for doubt in wanted.doubts})
        names = {doubt.name for doubt in wanted.doubts}
        for task in sorted(strangers, key=lambda task: task.file_name not in names):
            if task.status in WITHOUT_RESULT:
                continue
            source = await self._source_of(task.task_id, wanted)
            if source is None:
                continue
            shown = self._details.get(task.task_id, task)
            matched = wanted.match(source, shown)
            if matched is not None and hides_options(matched.options, shown):
                matched = wanted.match(source, await self._read_details(shown))
            if matched is not None and wanted.settle(matched):
                return

    async def _calibrate(self, tasks: Sequence[Task], kinds: set[str]) -> None:
        """Read the source of a task of our own for each kind of media, where that has not been done."""
        tried = dict.fromkeys(kinds, 0)
        for task in tasks:
            own = self.known.own.get(task.task_id)
            kind = media_kind(own.name) if own is not None and own.size is not None else None
            if kind in tried and tried[kind] < _MEASURED_TASKS:
                source = await self._source_of(task.task_id, _Wanted([]))
                tried[kind] = _MEASURED_TASKS if source is not None else tried[kind] + 1

    async def _read_details(self, task: Task) -> Task:
        """Get a task by itself: the list may not show the options that it was started with."""
        try:
            task = (await self._transport.call(endpoints.get(task.task_id), endpoints.parse_task)).parse()
        except PolyglotError:
            return task
        self._details[task.task_id] = task
        if len(self._details) > _REMEMBERED_SOURCES:
            del self._details[next(iter(self._details))]
        return task

    async def _source_of(self, task_id: str, wanted: _Wanted) -> Source | None:
        """Return what a task was made from, read as far as it takes to compare it with what is wanted."""
        source = self._sources.get(task_id)
        request = endpoints.source(task_id)
        try:
            if source is None:
                source = await read_end(self._transport, request)
            if source is not None and wanted.needs_more_of(source):
                # The whole tells where a Range is ignored, or where the end may be that of many recordings.
                if source.is_distinctive and (source.size or 0) > _COMPARED_WHOLE and not wanted.hashes(source):
                    source = attrs.evolve(source, head_sha256=await read_head(self._transport, request))
                if wanted.needs_more_of(source):
                    source = await read_whole(self._transport, request)
        except ServiceUnavailableError:
            raise
        except PolyglotError:
            return None  # not there yet, or never: it is asked once more with the next look
        if source is None or source.size is None:
            return None
        self._sources[task_id] = source
        if len(self._sources) > _REMEMBERED_SOURCES:
            del self._sources[next(iter(self._sources))]
        return source


class _Wanted:
    """The media that is looked for among sources, by what sources show."""

    def __init__(self, doubts: Sequence[Doubt]) -> None:
        self.doubts = list(doubts)
        self._sizes = {doubt.size for doubt in doubts}
        self._hashed_sizes = {doubt.size for doubt in doubts if doubt.digest is None}
        self._by_key: dict[object, list[Doubt]] = {}
        self._left = len(self.doubts)
        for doubt in doubts:
            if doubt.content is not None:
                self._by_key.setdefault(doubt.content, []).append(doubt)
            if doubt.digest is not None:
                self._by_key.setdefault((doubt.digest.size, doubt.digest.tail_sha256), []).append(doubt)

    def _of(self, source: Source) -> Sequence[Doubt]:
        keys = ((source.size, source.sha256), (source.size, source.tail_sha256))
        return [doubt for key in keys for doubt in self._by_key.get(key, ())[:_MOST_CANDIDATES]]

    def hashes(self, source: Source) -> bool:
        """Return whether only the hash of the whole tells, for some media of this size."""
        return source.size in self._hashed_sizes

    def needs_more_of(self, source: Source) -> bool:
        """Return whether a source may be what is wanted, and more of it tells."""
        if source.size not in self._sizes or source.sha256 is not None:
            return False
        if source.tail_sha256 is None or self.hashes(source):
            return True
        return any(is_same_media(doubt, source) is None for doubt in self._of(source))

    def match(self, source: Source, task: Task) -> Doubt | None:
        """Return a doubt whose media a source is, for a task whose options do not contradict."""
        same = [doubt for doubt in self._of(source) if is_same_media(doubt, source)]
        return next((doubt for doubt in same if options_agree(doubt.options, task)), None)

    def settle(self, doubt: Doubt) -> bool:
        """Take a doubt off; return whether none is left."""
        for key in (doubt.content, doubt.digest and (doubt.digest.size, doubt.digest.tail_sha256)):
            if key is not None:
                self._by_key[key].remove(doubt)
        self._left -= 1
        return not self._left
