"""Start paid work at most once: send it, and where the answer does not tell whether it was accepted, prove it.

Every call that starts work comes through `Submitter.submit`: `upload`, `from_url`, `transcribe` and each item of a
batch. What a failure means is decided by the table in `_http.retry`, what became of an ambiguous one by `proof`, and
each step is noted in the item's record before the next is taken. `resolve` does for a crashed run what `submit` does.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

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
from .._uploads.fingerprint import content_of_key, key_of_url
from .known_tasks import SentMedia
from .outage import CALL_TIMEOUT, OutageGate
from .pagination import TaskPages
from .proof import COMPARED_WHOLE, Proof, Submission, late_seconds
from .prover import Prover
from .sightings import OwnTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._api.messages import ApiRequest
    from .._http.transport import RequestBody, Transport
    from .._limits.limiter import TaskSlotLease
    from .._models import Task
    from .known_tasks import KnownTasks

_OK = 200


@attrs.frozen(eq=False)
class _Call:
    """A call that starts work, on its way.

    Attributes:
        began: when it was made, Unix seconds.
    """

    transport: Transport
    request: ApiRequest
    body: RequestBody
    item: Item
    attempts: Attempts
    task_slot: TaskSlotLease | None
    began: float

    def submission(self, *, content: tuple[int, str] | None = None, late_seconds: float = 0.0) -> Submission:
        """Return what its task would be recognised by."""
        json = self.request.json
        return Submission(
            name=self.item.record.name,
            since=self.began,
            options=self.item.record.options,
            digest=self.body.digest,
            content=content,
            url_key=None if json is None else _url_key(json),
            late_seconds=late_seconds,
        )


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
        body.on_first_byte, body.on_last_byte = partial(item.move, State.LEAVING), partial(item.move, State.LEFT)
        attempts = attempts or Attempts(transport.max_retries)
        call = _Call(transport, request, body, item, attempts, task_slot, transport.runtime.unix_time())
        while True:
            if self.gate.outage_ended is not None:
                await self.gate.wait()
            try:
                raw = await self._send(call)
            except PolyglotError as error:
                if next_action(error, request, body_complete=body.complete) is not Action.PROVE:
                    await _not_accepted(item)
                    raise
                proof = await self._prove(call, error, outage_timeout)
                if proof.task is None:
                    if attempts.made > attempts.retries or stops_batch(error) or not body.can_be_sent:
                        raise
                    continue
                raw = _as_answer(proof.task, error)
            except BaseException:  # cancelled, or the source raised: what was not whole was not accepted
                if not body.complete:
                    await _not_accepted(item)
                raise
            await self._accepted(call, raw.parse())
            return raw

    async def _send(self, call: _Call) -> RawResponse[Task]:
        ended = self.prover.under_way[call.body] = anyio.Event()
        try:
            raw = await call.transport.call(
                call.request, endpoints.parse_started, call.body, attempts=call.attempts, task_slot=call.task_slot
            )
            task_id = raw.parse().task_id
            if task_id in self.known.own or task_id in self.known.seen:
                await self._require_own(call, raw)
        except anyio.get_cancelled_exc_class() as cancelled:
            vars(cancelled)["maybe_sent"] = call.body.complete  # for the sync client, whose caller sees no cancellation
            raise
        else:
            return raw
        finally:
            del self.prover.under_way[call.body]
            ended.set()

    async def _require_own(self, call: _Call, raw: RawResponse[Task]) -> None:
        """Raise ResponseDecodeError if an answer names a known task of other media: it is an answer to another call.

        A service that has the media already may name the task that it was sent with.
        """
        task, sent = raw.parse(), call.submission()
        is_others = self.known.is_of_other_media(
            task.task_id, digest=sent.digest, url_key=sent.url_key, since=sent.since
        )
        if is_others is False or (is_others is None and await self.prover.is_made_from(task, sent)):
            return
        # Without the answer's body: it is not the service's answer to this call, which may come yet.
        error = ResponseDecodeError(
            f"the answer names task {task.task_id}, which was started before with other media",
            status_code=raw.status_code,
            method=call.request.endpoint.method,
            url=call.transport.base_url + call.request.path,
            request_id=raw.request_id,
        )
        call.attempts.failed(error)
        raise error

    async def _accepted(self, call: _Call, task: Task) -> None:
        """Note that a task is the item's, even if the call is being cancelled."""
        runtime, item, digest = call.transport.runtime, call.item, call.body.digest
        since = call.began if item.record.submitted_at is None else item.record.submitted_at
        media = None if digest is None else SentMedia(item.record.name, digest.size, digest)
        url_key = None if call.request.json is None else _url_key(call.request.json)
        self.known.add_own(task.task_id, OwnTask(runtime.unix_time(), since, url_key), media)
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

    async def _prove(self, call: _Call, error: PolyglotError, timeout: float) -> Proof:
        """Return the proof of a task or of absence; raise if there is neither."""
        item = call.item
        waited = max(0.0, item.unix_time() - item.record.updated_at)
        await item.move(State.AMBIGUOUS, error=str(error))
        try:
            content = await _content_of(item, call.body)
            submission = call.submission(content=content, late_seconds=_late_seconds(error, waited))
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
    """Return size and SHA-256 of what was sent: two editions may be equal almost everywhere."""
    if body.media is None or body.digest is None or body.digest.size > COMPARED_WHOLE:
        return None
    return content_of_key(item.record.key) or await body.media.content(body.digest)


def _url_key(document: Mapping[str, Any]) -> str:
    return key_of_url(str(document.get("url")).strip(), {})


def _late_seconds(error: PolyglotError, waited: float) -> float:
    """Return for how long a task may yet come after a failure: the service's own answer comes when it is there."""
    is_answer = isinstance(error, ApiStatusError | ResponseDecodeError) and not is_late(error)
    if is_answer and answered_by(getattr(error, "body", b"")) is AnsweredBy.SERVICE:
        return 0.0
    return late_seconds(waited=waited, gave_up=is_late(error))


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
