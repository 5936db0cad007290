"""Read the list and the sources, and have `proof` decide from them what became of ambiguous submissions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api.status_errors import http_date
from .._errors import PolyglotError, RateLimitError, ServiceUnavailableError
from .._http.retry import LONGEST_RETRY_AFTER, delay, is_outage
from .inquiry import Inquiry
from .known_tasks import FAR, KnownTasks, Listing, SentMedia, media_kind
from .pagination import PAGE_SIZE, TaskPages
from .proof import Proof, Submission, decide, is_same_media, kept_kinds
from .sightings import OwnTask
from .sources import SourceReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._http.transport import RequestBody, Transport
    from .._models import Task
    from .outage import OutageGate

logger = logging.getLogger("polyglot_async")

_MOST_CANDIDATES = 50
_MOST_FAILURES = 3
_LONGEST_ANSWER = 60.0
_LONGEST_LISTING = 600.0
"""The limits may make a long list wait for minutes."""
_SHOWN_NAMES = 3


@attrs.define(eq=False, repr=False)
class Prover:
    """Finds out what became of submissions; see `proof`. Callers at the same time share each look at the list.

    Attributes:
        known: tasks that are ours or older.
        under_way: what is being sent, with an event that is set when that has ended.
    """

    _transport: Transport
    _gate: OutageGate
    known: KnownTasks
    under_way: dict[RequestBody, anyio.Event] = attrs.field(factory=dict, init=False)
    _reader: SourceReader = attrs.field(init=False)
    _waiting: list[Inquiry] = attrs.field(factory=list, init=False)
    _is_looking: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = SourceReader(self._transport)

    async def prove(self, submissions: Sequence[Submission], *, timeout: float) -> list[Proof]:
        """Return what became of each; waits for the list for up to `timeout` seconds while the service is down.

        Raises:
            ServiceUnavailableError: the service did not come back in that time.
        """
        inquiry = Inquiry(submissions, timeout)
        self._waiting.append(inquiry)
        try:
            while not inquiry.is_answered:
                if self._is_looking:
                    await inquiry.changed.wait()
                    inquiry.changed = anyio.Event()
                else:
                    await self._look_for_all(inquiry)
        except BaseException:
            self._give_back(inquiry)
            raise
        finally:
            self._waiting.remove(inquiry)
            if not self._is_looking and (left := self._unanswered()):
                left[0].changed.set()  # it takes over
        if inquiry.outage is not None:
            self._give_back(inquiry)
            raise ServiceUnavailableError(str(inquiry.outage)) from inquiry.outage
        return [proof for proof in inquiry.proofs if proof is not None]

    async def is_made_from(self, task: Task, submission: Submission) -> bool:
        """Return whether a task certainly was made from a submission's media."""
        source = await self._reader.read_one(task, submission)
        return source is not None and is_same_media(submission, source) is True

    def _give_back(self, inquiry: Inquiry) -> None:
        """Forget what was found for a caller who does not get it."""
        for proof in inquiry.proofs:
            if proof is not None and proof.task is not None:
                self.known.forget(proof.task.task_id)

    async def _look_for_all(self, own: Inquiry) -> None:
        """Look at the list for all who wait, until the caller's own inquiry is answered."""
        self._is_looking = True
        try:
            while True:
                inquiries, complete = await self._look_once(own.timeout)
                # How late the list may be is asked after the look: the look itself may have shown that it is later.
                list_delay = self.known.sightings.recheck_delay
                pauses = [inquiry.look_ended(complete=complete, list_delay=list_delay) for inquiry in inquiries]
                if own.is_answered:
                    return
                left = [inquiry for inquiry in inquiries if not inquiry.is_answered]
                await self._pause(left, seconds := min(filter(None, pauses)))
                for inquiry in left:
                    inquiry.passed(seconds)
                self._reader.forget_all_but(self.known.own)
        except ServiceUnavailableError as outage:
            for inquiry in self._unanswered():
                if inquiry.timeout <= own.timeout:  # it has waited for as long as it would by itself
                    inquiry.fail(outage)
        finally:
            self._is_looking = False

    def _unanswered(self) -> list[Inquiry]:
        return [inquiry for inquiry in self._waiting if not inquiry.is_answered]

    async def _pause(self, inquiries: Sequence[Inquiry], seconds: float) -> None:
        names = [submission.name for inquiry in inquiries for submission in inquiry.submissions]
        logger.info(
            "%s may or may not have been accepted: looking again in %.0f s", ", ".join(names[:_SHOWN_NAMES]), seconds
        )
        await self._transport.runtime.sleep(seconds)

    async def _look_once(self, timeout: float) -> tuple[list[Inquiry], bool]:
        """Look once for all that was not found yet; return the inquiries, and whether the list was complete."""
        inquiries = self._unanswered()
        left = _not_found(inquiries)
        proofs, complete = await self._look([submission for _, _, submission in left], timeout)
        has_found_own = any(proof.task and proof.task.task_id in self.known.own for proof in proofs)
        found = [submission for (_, _, submission), proof in zip(left, proofs, strict=True) if proof.task]
        if await self._wait_for_equals(found) or has_found_own:
            # Their answers have come during the look, or are lost too: then a task that was found may be theirs.
            inquiries = self._unanswered()
            left = _not_found(inquiries)
            proofs, complete = await self._look([submission for _, _, submission in left], timeout)
        for (inquiry, number, submission), proof in zip(left, proofs, strict=True):
            inquiry.proofs[number] = proof
            if proof.task is not None and inquiry in self._waiting:  # else whoever asked has left
                size, now = submission.size, self._transport.runtime.unix_time()
                media = None if size is None else SentMedia(submission.name, size, submission.digest)
                self.known.add_own(proof.task.task_id, OwnTask(now, submission.since, submission.url_key), media)
        return inquiries, complete

    async def _wait_for_equals(self, found: Sequence[Submission]) -> bool:
        """Wait for answers to submissions of the same media, and return whether there are any.

        A task that was found may be theirs.
        """
        media = {submission.digest for submission in found} - {None}
        equals = [ended for body, ended in self.under_way.items() if body.complete and body.digest in media]
        with anyio.move_on_after(_LONGEST_ANSWER):
            for ended in equals:
                await ended.wait()
        return bool(equals)

    async def _look(self, submissions: Sequence[Submission], timeout: float) -> tuple[list[Proof], bool]:
        """Read the list and the sources once; return the proofs, and whether the list was complete."""
        since = min(submission.since for submission in submissions)
        latest = max(submission.since for submission in submissions)
        self.known.check_clock(self._transport.runtime.unix_time(), latest)
        most_candidates = _MOST_CANDIDATES + 2 * len(submissions)
        most_listed = max(FAR + PAGE_SIZE, 20 * most_candidates)
        try:
            listing, complete = await self._read_list(since, most=most_listed, timeout=timeout)
        except ServiceUnavailableError:
            raise
        except PolyglotError as error:
            reason = f"the list of tasks cannot be read ({error})"
            return [Proof(reason=reason, error=error) for _ in submissions], False
        candidates = listing.candidates(since)
        complete = complete and len(candidates) <= most_candidates
        candidates = candidates[:most_candidates]
        kinds = {media_kind(submission.name) for submission in submissions if submission.size is not None}
        dated_before = listing.older_by_time(since) if kinds else []
        if candidates and kinds:
            await self._reader.calibrate(listing.tasks, self.known.media, kinds)
        if kinds:
            await self._reader.read([*candidates, *dated_before], submissions)
        proofs = decide(
            submissions,
            [self._reader.details.get(task.task_id, task) for task in candidates],
            self._reader.sources,
            complete=complete,
            kept=kept_kinds(self.known.media, self._reader.sources),
            clock=listing.clock,
            is_new=listing.newness(),
            dated_before=dated_before,
        )
        return proofs, complete

    async def _read_list(self, since: float, *, most: int, timeout: float) -> tuple[Listing, bool]:
        """As `_list_back_to`, through outages, limits and passing failures."""
        runtime, failures = self._transport.runtime, 0
        while True:
            try:
                return await self._list_back_to(since, most=most)
            except PolyglotError as error:
                failures += not (is_outage(error) and await self._gate.wait_out(error, timeout=timeout))
                if failures >= _MOST_FAILURES or not (is_outage(error) or isinstance(error, RateLimitError)):
                    raise
                if not is_outage(error):
                    seconds = delay(failures, error, random=runtime.random())
                    await runtime.sleep(min(seconds, LONGEST_RETRY_AFTER))

    async def _list_back_to(self, since: float, *, most: int) -> tuple[Listing, bool]:
        """Read the list until it shows a task that is older than `since`; return it, and whether it goes that far."""
        listing, reaches_back = Listing(self.known), False
        pages = TaskPages(self._transport, known=self.known)
        with anyio.move_on_after(_LONGEST_LISTING) as scope:
            async for page in pages:
                moment = http_date(pages.date)
                if moment is not None:
                    # Only if our own clock is fast: a `Date` ahead of us, of a proxy perhaps, must rule out no task.
                    listing.skew = min(0.0, moment.timestamp() - self._transport.runtime.unix_time())
                listing.add(page.items)
                reaches_back = listing.reaches_back(page.items, since)
                if (reaches_back and listing.is_believed(since, pages.reading)) or len(listing.tasks) > most:
                    break
        # An entry that cannot be read may be the task in question.
        complete = (reaches_back or pages.reached_end) and not pages.skipped and not scope.cancelled_caught
        return listing, complete and listing.is_believed(since, pages.reading)


def _not_found(inquiries: Sequence[Inquiry]) -> list[tuple[Inquiry, int, Submission]]:
    """Return the submissions that have no task yet, each with its inquiry and its number there."""
    return [
        (inquiry, number, inquiry.submissions[number])
        for inquiry in inquiries
        for number, proof in enumerate(inquiry.proofs)
        if proof is None or proof.task is None
    ]
