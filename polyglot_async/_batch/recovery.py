"""Resolve submissions that a crash interrupted, at the beginning of a run and before anything else is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from .._errors import MediaError
from .._http.retry import stops_batch
from .._state.items import Item, ItemRecord, State, storable_ns
from .._tasks.known_tasks import SentMedia
from .._tasks.outage import BATCH_TIMEOUT
from .._tasks.proof import Proof, Submission, late_seconds
from .._tasks.sightings import OwnTask
from .._tasks.sources import MEASURED_TASKS
from .._uploads.fingerprint import MediaDigest, content_of_key, digest_of_file, url_key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._runtime import Runtime
    from .._state.journal import Journal
    from .._tasks.submit import Submitter


async def recover(journal: Journal, submitter: Submitter, runtime: Runtime) -> Mapping[str, Proof]:
    """Find out what became of all submissions whose process died, and move their items; return the proofs by key.

    Raises:
        ServiceUnavailableError: the service cannot be reached.
        PolyglotError: what would fail every item alike, such as a credential that is not accepted.
    """
    records = await journal.ambiguous()
    if not records:
        return {}
    measured = 0
    for known in await journal.with_tasks():
        digest = await _digest(known) if measured < MEASURED_TASKS else None
        measured += digest is not None
        media = None if known.size is None else SentMedia(known.name, known.size, digest)
        own = OwnTask(known.accepted_at or runtime.unix_time(), known.submitted_at)
        submitter.known.add_own(known.task_id or "", own, media)
    now = runtime.unix_time()
    items = [(Item(runtime.unix_time, record, journal), await _submission_of(record, now)) for record in records]
    proofs = await submitter.resolve(items, outage_timeout=BATCH_TIMEOUT)
    for proof in proofs:
        if proof.error is not None and stops_batch(proof.error):
            raise proof.error
    return {record.key: proof for record, proof in zip(records, proofs, strict=True)}


async def _submission_of(record: ItemRecord, now: float) -> Submission:
    content = content_of_key(record.key)
    return Submission(
        name=record.name,
        since=record.submitted_at or 0.0,
        options=record.options,
        digest=await _digest(record),
        content=content,
        url_key=url_key_of(record.key) if content is None else None,
        late_seconds=late_seconds(gave_up=record.state is State.AMBIGUOUS, since=now - record.updated_at),
    )


async def _digest(record: ItemRecord) -> MediaDigest | None:
    """Return the digest of an item's file, if that is still the one that was sent."""
    if record.path is None:
        return None
    return await to_thread.run_sync(_digest_of_unchanged, Path(record.path), record.size, record.modified_ns)


def _digest_of_unchanged(path: Path, size: int | None, modified_ns: int | None) -> MediaDigest | None:
    try:
        found = path.stat()
        is_unchanged = (found.st_size, storable_ns(found.st_mtime_ns)) == (size, modified_ns)
        return digest_of_file(path) if is_unchanged else None
    except (OSError, ValueError, MediaError):
        return None
