"""Answers that are lost, replaced by a proxy's, or cut, before and after the task was made: nothing is paid for twice.

Each batch meets every such fault once, against each kind of list and of sources. The judge is the sandbox's ledger: how
often work was started for each content, and from what each task was made.
"""

import hashlib

import anyio
import pytest

from polyglot_async import AsyncPolyglot, PollSchedule, Runtime, SubmissionUncertainError
from polyglot_async.sandbox import ScriptedEngine

pytestmark = pytest.mark.anyio

STATUSES = (500, 501, 502, 503, 504, 507, 520, 522, 524, 530, 598, 599)
FAULTS = [
    *(f"status call=upload status={status} when=after body=html" for status in STATUSES),
    *(f"status call=upload status={status} when=before" for status in STATUSES[::4]),
    "status call=upload status=200 when=after body=html detail='Sign in'",
    "status call=upload status=200 when=before body=html detail='Down for maintenance'",
    "status call=upload status=200 when=after body=empty",
    "reset_before_body call=upload",
    "reset_during_body call=upload at_bytes=1000",
    "close_before_body call=upload",
    "close_during_body call=upload at_bytes=1000",
    "reset_after_body call=upload",
    "close_after_body call=upload",
    "reset_response call=upload at_bytes=0",
    "truncate call=upload",
    "wrong_length call=upload",
    "garbage call=upload",
    "stall call=upload",
    "rewrite call=upload drop=task_id",
    "rewrite call=upload set='task_id:\"\"'",
    "rewrite call=upload set=task_id:null",
]
LISTS = {
    "as documented": [],
    "no names and times": ["rewrite call=list,get drop=file_name,created_at times=forever"],
    "naive local times": ["rewrite call=list,get utc_offset=3 times=forever"],
    "lags": ["lag call=list seconds=0.2 times=forever"],
    "short pages": ["rewrite call=list drop=total times=forever"],
}
SOURCES = {
    "true": [],
    "not there yet": ["status call=source status=404 within=0.2 times=forever"],
    "without ranges": ["ignore_range times=forever"],
    "transcoded": ["transcode times=forever"],
    "refused": ["status call=source status=403 times=forever"],
}
TRUE = {"true", "not there yet", "without ranges"}


async def sleep(seconds):
    """Shorten pauses; the one before a second look stays longer than what lags."""
    await anyio.sleep(0.4 if seconds >= 5 else min(seconds, 0.01))


RUNTIME = Runtime(sleep=sleep, poll_schedule=PollSchedule(min_interval=0.05, max_interval=0.2))


def sources(count):
    """Return files of which always two have the same name; some are larger than what is compared of a file's end."""
    return [(f"{number // 2}.mp3", b"%d " % number * (100 if number % 5 else 40_000)) for number in range(count)]


@pytest.mark.parametrize(
    ("anyio_backend", "listed", "source"),
    [
        *(("asyncio", listed, source) for listed in LISTS for source in ("true", "transcoded")),
        *(("trio", "no names and times", source) for source in SOURCES if source not in {"true", "transcoded"}),
    ],
)
async def test_no_fault_makes_a_batch_pay_twice_or_take_anothers_words(
    anyio_backend, polyglot_sandbox_factory, listed, source
):
    engine = ScriptedEngine("{file_name}", seconds=0.05)
    sandbox = polyglot_sandbox_factory(engine=engine, faults=[*LISTS[listed], *SOURCES[source]])
    files = sources(len(FAULTS) + 6)
    async with AsyncPolyglot(
        sandbox.api_key, base_url=sandbox.url, runtime=RUNTIME, timeout=0.7, max_retries=4
    ) as client:
        async with client.batch(files[:2]) as outcomes:
            assert [True, True] == [outcome.ok async for outcome in outcomes]
        for fault in FAULTS:
            sandbox.faults.add(f"{fault} times=1")
        async with client.batch(files[2:], concurrency=8) as outcomes:
            ended = [outcome async for outcome in outcomes]
    sent = {entry.task_id: entry.file_sha256 for entry in sandbox.ledger.entries("upload") if entry.started}
    assert len(files) - 2 == len(ended)
    assert {1} == set(sandbox.ledger.starts().values()), "none twice"
    wrong = [
        outcome.name
        for outcome in ended
        if outcome.ok and sent[outcome.task.task_id] != hashlib.sha256(outcome.source[1]).hexdigest()
    ]
    assert [] == wrong
    failed = [outcome.error for outcome in ended if not outcome.ok]
    assert all(isinstance(error, SubmissionUncertainError) for error in failed), failed
    if source in TRUE:
        assert [] == failed
    pending = [fault.kind for fault in sandbox.faults.pending() if fault.times is not None]
    assert [] == pending, "each fault was met"
