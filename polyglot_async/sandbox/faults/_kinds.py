"""The kinds of faults, the options that each takes, and the faults that tests often need."""

from __future__ import annotations

from dataclasses import dataclass

CALLS = (
    "upload",
    "from_url",
    "validate_url",
    "list",
    "get",
    "result",
    "download",
    "source",
    "convert_audio",
    "documentation",
    "other",
)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a kind of fault does, and the options that it takes beside those of every fault.

    A modifier goes together with any other fault; of the others one hits a request.
    """

    help: str
    options: frozenset[str] = frozenset()
    required: str | None = None
    modifier: bool = False


def _kind(text: str, options: str = "", *, required: str | None = None, modifier: bool = False) -> FaultKind:
    return FaultKind(text, frozenset(options.split()), required, modifier)


KINDS = {
    "status": _kind(
        "answers `status`, `when` before the request is processed, after it (a task IS started), or early, when"
        " `at_bytes` of its body (default 0) were read; `body` is json, html or empty with `detail` as its text, or the"
        " document `json`; `retry_after` seconds; `header` 'Name: value'; `then` (after an early answer) keep_reading,"
        " close, reset or stop_reading",
        "status when at_bytes body detail json retry_after header then",
    ),
    "accept_early": _kind(
        "starts a task and answers with its id when `at_bytes` of the upload's body (default 65536) were read;"
        " `then` as above",
        "at_bytes then",
    ),
    "reset_before_body": _kind("resets the connection as soon as the head arrives"),
    "reset_during_body": _kind("resets it after `at_bytes` of the request's body (default 65536)", "at_bytes"),
    "reset_after_body": _kind("processes the request (a task IS started), then resets instead of answering"),
    "reset_response": _kind("resets after `at_bytes` of the answer's body (default: half of it)", "at_bytes"),
    "close_before_body": _kind("closes the connection as soon as the head arrives"),
    "close_during_body": _kind("closes it after `at_bytes` of the request's body (default 65536)", "at_bytes"),
    "close_after_body": _kind("processes the request (a task IS started), then closes instead of answering"),
    "truncate": _kind("closes after `at_bytes` of the answer's body (default: half of it)", "at_bytes"),
    "wrong_length": _kind("answers under a Content-Length of `at_bytes` (default: 7 too few)", "at_bytes"),
    "garbage": _kind("processes the request, then answers 200 with a body that is no JSON"),
    "stall": _kind(
        "stops after `at_bytes` of the answer (default 0) for `seconds` (default: until the client leaves)",
        "at_bytes seconds",
    ),
    "latency": _kind("waits `seconds` before anything else", "seconds", required="seconds", modifier=True),
    "slow": _kind("answers at `bytes_per_second`", "bytes_per_second", required="bytes_per_second", modifier=True),
    "lag": _kind(
        "hides a task, in the list and by its id, for `seconds` after it was started",
        "seconds",
        required="seconds",
        modifier=True,
    ),
    "rewrite": _kind(
        "changes a good JSON answer, and each task of a list: `set` field:json, `drop` field,field, `utc_offset` hours"
        " (times become naive local ones); only where `where` field:json holds; a.0.b and a.*.b reach into a field",
        "set drop utc_offset where",
        modifier=True,
    ),
    "transcode": _kind("serves a source of other bytes and size than were uploaded", modifier=True),
    "ignore_range": _kind("answers a Range with 200 and the whole source", modifier=True),
}
RECIPES = {
    "a list without names and times": "rewrite drop=file_name,created_at times=forever",
    "naive local times, 3 hours east of UTC": "rewrite utc_offset=3 times=forever",
    "a list and tasks that lag behind an upload": "lag seconds=3 times=forever",
    "a source that is not there yet": "status call=source status=404 within=3 times=forever",
    "a source that was transcoded": "transcode times=forever",
    "a source without ranges": "ignore_range times=forever",
    "limits that nobody may read (a key never may)": (
        "status call=documentation status=401 credential=none times=forever"
    ),
    "a gateway's error, the task was started": "status call=upload status=502 when=after body=html",
    "a gateway's error, it was not": "status call=upload status=502 body=html",
    "maintenance": "status status=200 body=html detail='Down for maintenance' times=forever",
    "a refusal while the body is under way": "status call=upload status=413 when=early at_bytes=65536 then=close",
    "an acceptance while the body is under way": "accept_early at_bytes=65536 then=stop_reading",
    "a redirect": "status call=upload status=307 header='Location: /api/v1/transcriptions/upload'",
    "odd fields": "rewrite call=upload set=task_id:17 set=confidence:'\"n/a\"' drop=status",
    "another spelling of a status": "rewrite where='status:\"completed\"' set='status:\"COMPLETED\"' times=forever",
}
"""What tests often need, and the fault that makes it."""


def describe_faults() -> str:
    """Return a help text: each kind of fault with its options, and the faults that tests often need."""
    every = "Every fault takes call=CALL,CALL, credential=key|token|none, within=SECONDS, after=N and times=N|forever."
    kinds = [f"  {name}: {kind.help}" for name, kind in KINDS.items()]
    recipes = [f"  {name}:\n    {text}" for name, text in RECIPES.items()]
    calls = f"Calls are {', '.join(CALLS)}."
    return "\n".join(["Kinds of faults:", *kinds, "", every, calls, "", "Often needed:", *recipes])
