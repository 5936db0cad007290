"""Start paid work at most once: send it, and where the answer does not tell whether it was accepted, prove it.

Every call that starts work comes through `Submitter.submit`: `upload`, `from_url`, `transcribe` and each item of a
batch. What a failure means is decided by the table in `_http.retry`, what became of an ambiguous one by `proof`, and
each step is noted in the item's record before the next is taken. `resolve` does for a crashed run what `submit` does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._api.messages import AnsweredBy, ApiResponse, RawResponse, answered_by
from .._errors import (
    ApiStatusError,
    PolyglotError,
    ResponseDecodeError,
    ServiceUnavailableError,
    SubmissionUncertainError,
)
from .._http.retry import Action, Attempts, is_late, next_action, stops_batch
from .._state.items import Item, State
from .._uploads.fingerprint import content_of_key, is_same_digest, key_of_url
from .known_tasks import SentMedia
from .outage import CALL_TIMEOUT, OutageGate
from .pagination import TaskPages
from .proof import COMPARED_WHOLE, LATE_SECONDS, Proof, Submission
from .prover import Prover
from .sightings import LONGEST_SECONDS, OwnTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._api.messages import ApiRequest
    from .._http.transport import RequestBody, Transport
    from .._limits.limiter import TaskSlotLease
    from .._models import Task
    from .._uploads.fingerprint import MediaDigest
    from .known_tasks import KnownTasks

_OK = 200


@attrs.define(eq=False, repr=False)
class Submitter:
    """Starts the tasks of a client, and knows which ones it has started.

    Attributes:
        gate: holds new work back while the service cannot be reached.
        prover: finds out what became of ambiguous submissions.
        known: tasks that are known to be ours, or older.
    """

    gate: OutageGate
    prover: Prover
    known: KnownTasks
    _on_start: Callable[[str, float], None]

    @classmethod
    def over(cls, transport: Transport, known: KnownTasks, on_start: Callable[[str, float], None]) -> Submitter:
        """Return one that asks over `transport`, and calls `on_start` with id and time of each task that it starts."""
        gate = OutageGate(transport)
        return cls(gate, Prover(transport, gate, known), known, on_start)

    async def submit(
        self,
        transport: Transport,
        request: ApiRequest,
        body: RequestBody,
        item: Item,
        *,
        task_slot: TaskSlotLease | None = None,
        attempts: Attempts | None = None,
        outage_timeout: float = CALL_TIMEOUT,
    ) -> RawResponse[Task]:
        """Send a call that starts work until it is accepted once, is refused, or may not be sent again.

        Raises:
            SubmissionUncertainError: it was sent whole, and it cannot be found out whether it was accepted.
            PolyglotError: as the tree of errors says; no work was started.
        """
        attempts = attempts or Attempts(transport.max_retries)
        body.on_first_byte, body.on_last_byte = partial(item.move, State.LEAVING), partial(item.move, State.LEFT)
        began = transport.runtime.unix_time()
        while True:
            if self.gate.outage_ended is not None:
                await self.gate.wait()
            try:
                raw = await self._send(transport, request, body, item, attempts, task_slot)
            except PolyglotError as error:
                if next_action(error, request, body_complete=body.complete) is not Action.PROVE:
                    await _not_accepted(item)
                    raise
                proof = await self._prove(error, request, body, item, began, outage_timeout)
                if proof.task is None:
                    if attempts.made > attempts.retries or stops_batch(error) or not body.can_be_sent:
                        raise
                    continue
                raw = _as_answer(proof.task, error)
            except BaseException as error:  # cancelled, or the source raised: what was not whole was not accepted
                vars(error)["maybe_sent"] = body.complete  # for who was cut off
                if not body.complete:
                    await _not_accepted(item)
                raise
            await self._accepted(transport, item, body.digest, raw.parse(), began)
            return raw

    async def _send(
        self,
        transport: Transport,
        request: ApiRequest,
        body: RequestBody,
        item: Item,
        attempts: Attempts,
        task_slot: TaskSlotLease | None,
    ) -> RawResponse[Task]:
        ended, began = anyio.Event(), transport.runtime.unix_time()
        self.prover.under_way[body] = ended
        try:
            raw = await transport.call(request, endpoints.parse_started, body, attempts=attempts, task_slot=task_slot)
            task = raw.parse()
            if task.task_id in self.known.own or task.task_id in self.known.seen:
                submission = Submission(name=item.record.name, since=began, digest=body.digest)
                if not await self._may_have_started(task, submission):
                    message = f"the answer names task {task.task_id}, which was started before with other media"
                    error = ResponseDecodeError(message, method=request.endpoint.method, url=request.path)
                    attempts.failed(error)
                    raise error
            return raw
        finally:
            del self.prover.under_way[body]
            ended.set()

    async def _may_have_started(self, task: Task, submission: Submission) -> bool:
        """Return whether an answer that names a known task may be this submission's, and not one to another call.

        A service that has the media already may name the task that it was sent with.
        """
        sent, digest = self.known.media.get(task.task_id), submission.digest
        if sent is not None:
            return digest is not None and (sent.digest is None or is_same_digest(sent.digest, digest))
        if digest is None or not self.known.is_older(task.task_id, submission.since):
            return True
        return await self.prover.is_made_from(task, submission)

    async def _accepted(
        self, transport: Transport, item: Item, digest: MediaDigest | None, task: Task, began: float
    ) -> None:
        """Note that a task is the item's, even if the call is being cancelled."""
        runtime, since = transport.runtime, item.record.submitted_at
        media = None if digest is None else SentMedia(item.record.name, digest.size, digest)
        own = OwnTask(runtime.unix_time(), began if since is None else since)
        self.known.add_own(task.task_id, own, media)
        try:
            with anyio.CancelScope(shield=True):
                await item.move(State.RUNNING, task_id=task.task_id)
        except BaseException as error:
            self.known.forget(task.task_id)  # the record does not have it, so a later run has to find it
            if isinstance(error, PolyglotError):
                error.task = task
            raise
        self._on_start(task.task_id, runtime.monotonic())

    async def note_older_tasks(self, transport: Transport) -> None:
        """Note which tasks there are before the first submission of many: none of them can be one of ours later.

        One request, once for a client, without which an ambiguous one of the first could not be told from older tasks.
        """
        if self.known.has_seen_list:
            return
        try:
            await anext(TaskPages(transport, known=self.known), None)
        except PolyglotError as error:
            if stops_batch(error):
                raise

    async def resolve(self, items: list[tuple[Item, Submission]], *, outage_timeout: float) -> list[Proof]:
        """Find out what became of submissions that a crash interrupted, and move their items accordingly.

        Raises:
            ServiceUnavailableError: the service did not come back within `outage_timeout` seconds.
        """
        proofs = await self.prover.prove([submission for _, submission in items], timeout=outage_timeout)
        resolved = list(zip([item for item, _ in items], proofs, strict=True))
        try:
            with anyio.CancelScope(shield=True):
                for item, proof in resolved:
                    await _move_by(item, proof)
        except BaseException:
            for item, proof in resolved:  # what the record does not have, a later run has to find
                if proof.task is not None and item.record.state is not State.RUNNING:
                    self.known.forget(proof.task.task_id)
            raise
        return proofs

    async def _prove(
        self, error: PolyglotError, request: ApiRequest, body: RequestBody, item: Item, began: float, timeout: float
    ) -> Proof:
        """Return the proof of a task or of absence; raise if there is neither."""
        waited = max(0.0, item.unix_time() - item.record.updated_at)
        await item.move(State.AMBIGUOUS, error=str(error))
        try:
            submission = Submission(
                name=item.record.name,
                since=began,
                options=item.record.options,
                digest=body.digest,
                content=await _content_of(item, body),
                late_seconds=_late_seconds(error, waited),
                url_key=None if request.json is None else key_of_url(str(request.json.get("url")).strip(), {}),
            )
            (proof,) = await self.prover.prove([submission], timeout=timeout)
        except ServiceUnavailableError as outage:
            raise uncertain_error(item, Proof(reason=str(outage)), error) from outage
        except anyio.get_cancelled_exc_class() as cancelled:
            vars(cancelled)["maybe_sent"] = True
            raise
        if proof.absent:
            await item.move(State.NEW)
        elif proof.task is None:
            raise uncertain_error(item, proof, error) from error
        return proof


async def _content_of(item: Item, body: RequestBody) -> tuple[int, str] | None:
    """Return size and SHA-256 of what was sent: what tells two editions apart that are equal almost everywhere."""
    if body.media is None or body.digest is None or body.digest.size > COMPARED_WHOLE:
        return None
    return content_of_key(item.record.key) or await body.media.content(body.digest)


def _late_seconds(error: PolyglotError, waited: float) -> float:
    """Return for how long a task may yet come after a failure: the service's own answer comes when it is there."""
    is_answer = isinstance(error, ApiStatusError | ResponseDecodeError) and not is_late(error)
    if is_answer and answered_by(getattr(error, "body", b"")) is AnsweredBy.SERVICE:
        return 0.0
    return min(max(LATE_SECONDS, 2 * waited), LONGEST_SECONDS)


async def _not_accepted(item: Item) -> None:
    if item.record.state in {State.LEAVING, State.LEFT}:
        with anyio.CancelScope(shield=True):
            await item.move(State.NEW)


async def _move_by(item: Item, proof: Proof) -> None:
    if proof.task is not None:
        await item.move(State.RUNNING, task_id=proof.task.task_id)
    elif proof.absent:
        await item.move(State.NEW)
    else:
        await item.move(State.AMBIGUOUS, error=proof.reason)


def uncertain_error(item: Item, proof: Proof, error: PolyglotError | None = None) -> SubmissionUncertainError:
    """Return the error of a submission of which it cannot be found out whether it was accepted."""
    record = item.record
    cause = f" ({error})" if error is not None else ""
    return SubmissionUncertainError(
        f"{record.name} may or may not have been accepted{cause}, and {proof.reason}. It was not sent again: that "
        "could be paid for twice. Look for it among your tasks, on the site or with transcriptions.list(), before you "
        "send it again",
        source_name=record.name,
        size=record.size,
        candidates=proof.candidates,
    )


def _as_answer(task: Task, error: PolyglotError) -> RawResponse[Task]:
    """Return a task that was found in the list in the form of the answer that was lost."""
    url, method = getattr(error, "url", ""), getattr(error, "method", "")
    status = getattr(error, "status_code", None) or _OK
    return RawResponse(ApiResponse(status_code=status, headers={}, body=b"", method=method, url=url), task)
