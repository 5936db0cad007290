"""Every row of the table in `_http/retry.py`, over sockets: no phase, answer or kind of call starts work twice."""

import contextlib
import itertools
import socket
from collections import Counter

import attrs
import httpx
import pytest
from money_server import (
    ACCEPT,
    ALMOST,
    BEHAVE,
    CLOSE,
    DRAIN,
    HEAD,
    KEEP,
    MIDDLE,
    RESET,
    SILENCE,
    MoneyServer,
    Step,
    http,
)

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
    ServerError,
    SubmissionUncertainError,
)

pytestmark = pytest.mark.anyio

SMALL = b"ID3 a few bytes of audio"
LARGE = bytes(range(256)) * (20 << 10)  # 5 MiB: more than the sockets hold, so that a server can stop it midway
URL = "https://media.example/talk.mp3"
ELSEWHERE = "http://localhost:1/api/v1/transcriptions/upload"
NO_WAIT = {"Retry_After": "0"}


@pytest.fixture
def anyio_backend():
    """Asyncio for all; what names another backend has it beside."""
    return "asyncio"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of files with such content."""
    folder = tmp_path_factory.mktemp("media")
    paths = {}
    for name, data in (("small.mp3", SMALL), ("large.mp3", LARGE)):
        paths[data] = folder / name
        paths[data].write_bytes(data)
    return paths


async def pieces(data):
    """A stream that can be read once."""
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


SENDERS = {
    "a path": lambda client, data, files: client.transcriptions.upload(files[data]),
    "bytes": lambda client, data, _: client.transcriptions.upload(("small.mp3", data)),
    "a stream": lambda client, data, _: client.transcriptions.upload(pieces(data), name="small.mp3"),
    "a sized stream": lambda client, data, _: client.transcriptions.upload(
        pieces(data), name="small.mp3", size=len(data)
    ),
    "a URL": lambda client, _data, _files: client.transcriptions.from_url(URL),
}
REPLAYABLE = {"a path", "bytes", "a URL"}


@attrs.frozen
class Row:
    """One row of the table: what is sent, what happens to the first attempt, and what comes of it.

    The second attempt is served well. `error` is what is raised, or None for a task.
    """

    sender: str
    what: str
    step: Step
    data: bytes
    started: int
    attempts: int
    error: type[Exception] | None = None

    @property
    def sentence(self):
        outcome = "a task" if self.error is None else self.error.__name__
        made = ", after the task was made" if self.step.makes else ""
        return f"{self.sender}: {self.what} {self.step.reads}, then {self.step.then}{made} -> {outcome}"


def json_with(**fields):
    return lambda task_id: http(200, {"task_id": task_id, **fields})


ACCEPTED = {
    "200 with an id": json_with(status="queued"),
    "201 with an id": lambda task_id: http(201, {"task_id": task_id, "status": "queued"}),
    "202 with an id": lambda task_id: http(202, {"task_id": task_id, "status": "queued"}),
    "200 with odd fields": json_with(
        status="queued", confidence="n/a", audio_duration_seconds="", created_at=[], failure_reason={}, file_name=7
    ),
    "200 with an odd status": json_with(status=17),
    "200 without a status": json_with(),
    "200 with a null beside the id": json_with(status=None, model=None),
    "200 with the id as `id`": lambda task_id: http(200, {"id": task_id}),
    "200 with the id within": lambda task_id: http(200, {"data": {"task_id": task_id}}),
    "200 with a plain id beside a status": lambda task_id: http(200, {"id": task_id, "status": "queued", "ok": True}),
    "200 with a plain id alone within": lambda task_id: http(200, {"ok": True, "data": {"id": task_id}}),
    "202 with the id in the Location": lambda task_id: http(
        202, {"id": "a request's", "ok": True}, Location=f"/api/v1/transcriptions/{task_id}"
    ),
    "303 to the task": lambda task_id: http(303, Location=f"/api/v1/transcriptions/{task_id}"),
    "303 to the task beside the call": lambda task_id: http(303, Location=f"{task_id}?created=1"),
    "301 to the task": lambda task_id: http(301, Location=f"/api/v1/transcriptions/{task_id}"),
    "302 to the task": lambda task_id: http(302, Location=f"{task_id}"),
    "303 to the task's result": lambda task_id: http(
        303, b"<html>See other</html>", Location=f"/api/v1/transcriptions/{task_id}/result", Content_Type="text/html"
    ),
    "200 in plain text with an id": lambda task_id: http(
        200, b'{"task_id": "%s"}' % task_id.encode(), Content_Type="text/plain"
    ),
}
WITHOUT_ID = {
    "200 with an empty id": http(200, {"task_id": "", "status": "queued"}),
    "200 with a blank id": http(200, {"task_id": "  "}),
    "200 with a null id": http(200, {"task_id": None}),
    "200 with an odd id": http(200, {"task_id": ["a"]}),
    "200 with the id of its request": http(200, {"id": "r-1", "ok": True, "message": "Accepted", "request_id": None}),
    "200 with the id of its request and a word of success": http(200, {"id": "r-1", "status": "success"}),
    "200 with the id of its request within": http(200, {"data": {"id": "r-1", "message": "Accepted"}}),
    "200 with the id of its request beside a task": http(200, {"id": "r-1", "task": {"status": "queued"}}),
    "200 with an empty object": http(200, {}),
    "200 with an array": http(200, []),
    "200 with a web page": http(200, b"<html><title>Maintenance</title></html>", Content_Type="text/html"),
    "200 that is no JSON": http(200, b"OK", Content_Type="application/json"),
    "200 with half an object": http(200, b'{"task_id": "tas'),
    "200 without a body": http(200, b""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "200 in a broken encoding": http(200, b"no gzip", Content_Encoding="gzip"),
}
NO_URLS = ["http://[", "//[", "http://h:x/", "https://xn--/", "x:a", "http:////-]0h-", "/a\tb", "/" + "a" * 70_000]
SEE_OTHER = {
    "303 to another origin": http(303, Location="http://localhost:1/api/v1/transcriptions/task-1"),
    "303 to a page": http(303, Location="/sign-in"),
    "303 to the call": http(303, Location="/api/v1/transcriptions/upload/"),
    "303 to the list": http(303, Location="/api/v1/transcriptions"),
    "303 to another page of the host": http(303, Location="/help/transcriptions/faq"),
    "303 to another version of the API": http(303, Location="/api/v2/transcriptions/task-1"),
    **{f"303 to {location!r}": http(303, Location=location) for location in NO_URLS},
}
CUT = {
    "a status line cut off": b"HTTP/1.1 20",
    "a head cut off": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a body cut off": http(200, b'{"task_id": "t', Content_Length=100),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an interim answer alone": b"HTTP/1.1 100 Continue\r\n\r\n",
}
SERVER_ERRORS = [500, 501, 502, 503, 504, 505, 507, 508, *range(520, 531), 598, 599]
REFUSED = {
    **dict.fromkeys([400, 402, 405, 406, 409, 411, 412, 413, 414, 415, 416, 417, 418, 422, 423], BadRequestError),
    **dict.fromkeys([424, 426, 428, 431, 444, 451, 494, 495, 496, 497, 499], BadRequestError),
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    300: ApiStatusError,
    304: ApiStatusError,
}  # fmt: skip
TOO_MUCH = {
    "429 that the file is too large": (429, {"detail": "File too large: the maximum is 10 MB"}),
    "429 that the audio is too long": (429, {"detail": "audio duration exceeds 4 hours per file"}),
    "403 that the file is too large": (403, {"detail": "Upload size exceeds the plan's limit of 2 GB"}),
    "413 that the file is too large": (413, {"detail": "file too large"}),
    "429 that the file is too long, in Russian": (429, {"detail": "Файл слишком длинный"}),
}
NOT_ACCEPTED = {
    "421": (421, b"", BadRequestError),
    "425": (425, b"", BadRequestError),
    "429": (429, b"", RateLimitError),
    "429 of the burst": (429, {"detail": "Too many requests per minute"}, RateLimitError),
    "429 of concurrent tasks": (429, {"detail": "Too many concurrent tasks"}, RateLimitError),
    "429 of uploads": (429, {"detail": "upload rate exceeded"}, RateLimitError),
    "403 of concurrent tasks": (403, {"detail": "Too many concurrent tasks on your plan"}, RateLimitError),
}


def ambiguous(sender, what, step, error):
    """The row of what leaves open whether the work was started: made or not, it is started once in the end."""
    if step.makes and sender == "a URL":
        yield Row(sender, what, step, SMALL, started=1, attempts=1, error=SubmissionUncertainError)
    elif step.makes:
        yield Row(sender, what, step, SMALL, started=1, attempts=1)
    else:
        yield from not_accepted(sender, what, step, error)


def not_accepted(sender, what, step, error, data=SMALL):
    """The row of what was certainly not accepted: sent again, if it can be."""
    if sender in REPLAYABLE:
        yield Row(sender, what, step, data, started=1, attempts=2)
    else:
        yield Row(sender, what, step, data, started=0, attempts=1, error=error)


def rows_after_the_body(sender):
    """The rows of a request that has left whole."""
    for what, answer in ACCEPTED.items():
        yield Row(sender, what, Step(makes=True, answer=answer, then=KEEP), SMALL, 1, 1)
    for makes in (False, True):
        for status in SERVER_ERRORS:
            step = Step(makes=makes, answer=http(status), then=KEEP)
            yield from ambiguous(sender, f"{status}", step, ServerError)
        for what, answer in WITHOUT_ID.items():
            step = Step(makes=makes, answer=answer, then=KEEP)
            yield from ambiguous(sender, what, step, ResponseDecodeError)
        for what, answer in SEE_OTHER.items():
            step = Step(makes=makes, answer=answer, then=KEEP)
            if makes:
                yield from ambiguous(sender, what, step, RedirectError)
            else:  # a redirect to elsewhere is mended by no repetition
                yield Row(sender, what, step, SMALL, started=0, attempts=1, error=RedirectError)
        yield from ambiguous(sender, "408", Step(makes=makes, answer=http(408), then=KEEP), BadRequestError)
        yield from ambiguous(sender, "303 to nowhere", Step(makes=makes, answer=http(303), then=KEEP), ApiStatusError)
        for what, answer in CUT.items():
            yield from ambiguous(sender, what, Step(makes=makes, answer=answer), ApiConnectionError)
        for then in (CLOSE, RESET):
            yield from ambiguous(sender, "no answer", Step(makes=makes, then=then), ApiConnectionError)
        yield from ambiguous(sender, "no answer", Step(makes=makes, then=SILENCE), ApiTimeoutError)
    for status, error in REFUSED.items():
        step = Step(answer=http(status), then=KEEP)
        yield Row(sender, f"{status}", step, SMALL, started=0, attempts=1, error=error)
    for what, (status, detail) in TOO_MUCH.items():
        step = Step(answer=http(status, detail), then=KEEP)
        yield Row(sender, what, step, SMALL, started=0, attempts=1, error=BadRequestError)
    for what, (status, detail, error) in NOT_ACCEPTED.items():
        step = Step(answer=http(status, detail, **NO_WAIT), then=KEEP)
        yield from not_accepted(sender, what, step, error)
    yield Row(sender, "401", Step(answer=http(401), then=KEEP), SMALL, 0, 1, AuthenticationError)
    yield Row(sender, "407", Step(answer=http(407), then=KEEP), SMALL, 0, 1, BadRequestError)
    yield from redirects(sender)


def redirects(sender):
    """The rows of redirects: those that keep the method are followed on the same origin, and nowhere else."""
    path = "/api/v1/transcriptions/from-url" if sender == "a URL" else "/api/v1/transcriptions/upload"
    for status in (307, 308):
        step = Step(answer=http(status, Location=f"{path}/"), then=KEEP)
        yield from not_accepted(sender, f"{status} to the same origin", step, RedirectError)
        yield Row(
            sender, f"{status} without a target", Step(answer=http(status), then=KEEP), SMALL, 0, 1, ApiStatusError
        )
    for status in (301, 302, 307, 308):
        step = Step(answer=http(status, Location=ELSEWHERE), then=KEEP)
        yield Row(sender, f"{status} to another origin", step, SMALL, 0, 1, RedirectError)
    for status in (301, 302):
        step = Step(answer=http(status, Location=f"{path}/"), then=KEEP)
        yield Row(sender, f"{status} to the same origin", step, SMALL, 0, 1, RedirectError)
    for status, location in itertools.product((301, 302, 307, 308), NO_URLS):
        step = Step(answer=http(status, Location=location), then=KEEP)
        yield Row(sender, f"{status} to {location!r}", step, SMALL, 0, 1, RedirectError)
    for what, target in {"another scheme": "ftp://127.0.0.1/x", "itself": path, "nothing": ""}.items():
        step = Step(answer=http(307, Location=target), then=KEEP)
        yield Row(sender, f"307 to {what}", step, SMALL, 0, 1, RedirectError)


def rows_before_the_last_byte(sender):
    """The rows of a body of which the client has sent all, and the server has not read all."""
    for then in (CLOSE, RESET):
        yield from ambiguous(sender, "no answer", Step(reads=ALMOST, then=then), ApiConnectionError)
        yield from ambiguous(sender, "no answer", Step(reads=ACCEPT, then=then), ApiConnectionError)
    yield from ambiguous(sender, "503", Step(reads=ALMOST, answer=http(503), then=SILENCE), ServerError)
    yield Row(sender, "400", Step(reads=ALMOST, answer=http(400), then=SILENCE), SMALL, 0, 1, BadRequestError)
    step = Step(reads=ALMOST, makes=True, answer=json_with(), then=SILENCE)
    yield Row(sender, "200 with an id", step, SMALL, 1, 1)


def rows_within_the_body(sender):
    """The rows of a body that never left whole: nothing but an id is a sign that it was accepted."""
    for reads in (HEAD, MIDDLE):
        for then in (CLOSE, RESET):
            yield from not_accepted(sender, "no answer", Step(reads=reads, then=then), ApiConnectionError, LARGE)
        yield from not_accepted(sender, "no answer", Step(reads=reads, then=SILENCE), ApiTimeoutError, LARGE)
        for status in (500, 502, 503, 504, 524, 599):
            step = Step(reads=reads, answer=http(status), then=SILENCE)
            yield from not_accepted(sender, f"{status}", step, ServerError, LARGE)
        interim = Step(reads=reads, answer=b"HTTP/1.1 100 Continue\r\n\r\n" + http(502), then=SILENCE)
        yield from not_accepted(sender, "100 and 502", interim, ServerError, LARGE)
        for status, error in ((400, BadRequestError), (401, AuthenticationError), (413, BadRequestError)):
            step = Step(reads=reads, answer=http(status), then=SILENCE)
            yield Row(sender, f"{status}", step, LARGE, started=0, attempts=1, error=error)
        step = Step(reads=reads, answer=http(429, **NO_WAIT), then=SILENCE)
        yield from not_accepted(sender, "429", step, RateLimitError, LARGE)
        step = Step(reads=reads, answer=http(408), then=SILENCE)
        yield from not_accepted(sender, "408", step, BadRequestError, LARGE)
        step = Step(reads=reads, answer=http(302, Location=ELSEWHERE), then=SILENCE)
        yield Row(sender, "302 to another origin", step, LARGE, started=0, attempts=1, error=RedirectError)
        if reads == HEAD:  # of the other half all may be in the sockets by then
            step = Step(reads=reads, answer=http(303, Location="/sign-in"), then=SILENCE)
            yield Row(sender, "303 to a page", step, LARGE, started=0, attempts=1, error=RedirectError)
        step = Step(reads=reads, makes=True, answer=ACCEPTED["303 to the task"], then=SILENCE)
        yield Row(sender, "303 to the task", step, LARGE, started=1, attempts=1)
        step = Step(reads=reads, answer=http(307, Location="/api/v1/transcriptions/upload/"), then=SILENCE)
        yield from not_accepted(sender, "307 to the same origin", step, RedirectError, LARGE)
        for then in (SILENCE, DRAIN):
            step = Step(reads=reads, makes=True, answer=json_with(status="queued"), then=then)
            yield Row(sender, "200 with an id", step, LARGE, started=1, attempts=1)
        step = Step(reads=reads, answer=WITHOUT_ID["200 with a web page"], then=SILENCE)
        yield from not_accepted(sender, "200 with a web page", step, ResponseDecodeError, LARGE)


ROWS = [row for sender in SENDERS for row in rows_after_the_body(sender)]
ROWS += [row for sender in SENDERS for row in rows_before_the_last_byte(sender)]
ROWS += [row for sender in SENDERS if sender != "a URL" for row in rows_within_the_body(sender)]
BY_SENTENCE = {row.sentence: row for row in ROWS}


async def follow(row, misbehaving, client_of, files, *, shows=lambda task: task, earlier=None):
    """Make the call of a row, after one that is served well if `earlier` makes one; check what it starts and raises."""
    server = misbehaving(row.step) if earlier is None else misbehaving(BEHAVE, row.step)
    server.shows = shows
    before = 0 if earlier is None else 1
    async with client_of(server, timeout=0.25 if row.step.then == SILENCE else 5.0) as client:
        if earlier is not None:
            await earlier(client)
        if row.error is None:
            task = await SENDERS[row.sender](client, row.data, files)
            assert server.made[-1].id == task.task_id
        else:
            with pytest.raises(row.error) as caught:
                await SENDERS[row.sender](client, row.data, files)
            assert row.error is type(caught.value)
            if row.error is RedirectError:
                assert f"{caught.value.status_code} to" in row.what
            if row.error is SubmissionUncertainError:
                started = [made.id for made in server.made[before:]]
                assert started == [task.task_id for task in caught.value.candidates]
    assert before + row.started == len(server.made)
    sent = server.requests["upload"] + server.requests["from-url"]
    assert before + row.attempts == sent + (row.step.reads == ACCEPT)


@pytest.mark.parametrize("sentence", BY_SENTENCE)
async def test_no_row_starts_work_twice(sentence, misbehaving, client_of, files):
    await follow(BY_SENTENCE[sentence], misbehaving, client_of, files)


# Where a body cannot be decoded, httpx leaves its generators behind, and Trio warns of that.
TRIO_SAMPLE = [sentence for sentence in list(BY_SENTENCE)[::13] if "broken encoding" not in sentence]


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("sentence", TRIO_SAMPLE)
async def test_trio_follows_the_same_table(sentence, anyio_backend, misbehaving, client_of, files):
    await follow(BY_SENTENCE[sentence], misbehaving, client_of, files)


# A transport that does not look for early answers cannot know of a task that is made before the body is whole.
SEEN_BY_ANY_CLIENT = [
    sentence for sentence, row in BY_SENTENCE.items() if not (row.step.makes and row.step.reads in {HEAD, MIDDLE})
]


@pytest.mark.parametrize("sentence", SEEN_BY_ANY_CLIENT[::7])
async def test_over_a_client_of_the_callers_own_nothing_is_started_twice_either(
    sentence, misbehaving, client_of, files
):
    """Its transport does not see early refusals, so some calls end otherwise than over ours; none is paid for twice."""
    row = BY_SENTENCE[sentence]
    server = misbehaving(row.step)
    outcome = None
    async with httpx.AsyncClient() as http_client:
        client = client_of(server, http_client=http_client, timeout=0.25 if row.step.then == SILENCE else 5.0)
        with contextlib.suppress(ApiStatusError, ApiConnectionError, ResponseDecodeError, SubmissionUncertainError):
            outcome = (await SENDERS[row.sender](client, row.data, files)).task_id
    is_uncertain = row.error is SubmissionUncertainError
    assert [outcome] * (outcome is not None) == [made.id for made in server.made if not is_uncertain]


@pytest.mark.parametrize("makes", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("sender", SENDERS)
async def test_the_id_of_a_known_task_of_other_media_is_no_answer_to_this_call(
    sender, makes, misbehaving, client_of, files
):
    """A cache or a mixed-up proxy gives the answer to the call before: its words are of another recording."""

    async def earlier(client):
        if sender == "a URL":
            await client.transcriptions.from_url("https://media.example/another.mp3")
        else:
            await client.transcriptions.upload(("another.mp3", b"ID3 of another recording"))

    step = Step(makes=makes, answer=http(200, {"task_id": "task-1", "status": "queued"}), then=KEEP)
    (row,) = ambiguous(sender, "200 with the id of another task", step, ResponseDecodeError)
    if sender == "a URL" and makes:  # the earlier one has shown that the list names URLs
        row = attrs.evolve(row, error=None)
    await follow(row, misbehaving, client_of, files, earlier=earlier)


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_a_batch_whose_base_url_is_wrong_stops_and_sends_its_files_once_that_is_right(
    status, misbehaving, client_of, tmp_path
):
    """The path of an upload names no file, so none of them has failed for good."""
    contents = [(f"{number}.mp3", b"ID3 recording %d" % number) for number in range(3)]
    server = misbehaving(Step(answer=http(status, {"detail": "Not Found"}), then=KEEP))
    server.shows = lambda task: {**task, "status": "completed"}

    async def run():
        options = {"journal": tmp_path / "j.db", "concurrency": 1}
        async with client_of(server) as client, client.batch(contents, **options) as outcomes:
            return [outcome async for outcome in outcomes]

    with pytest.raises(ApiStatusError, match="check base_url") as caught:
        await run()
    assert (status, 0) == (caught.value.status_code, len(server.made))
    assert {name for name, _ in contents} == {outcome.name for outcome in await run() if outcome.ok}
    assert {data for _, data in contents} == {made.media for made in server.made}
    assert [] == await run()


def documented_fields(task):
    """What the documentation names: neither names nor times."""
    return {name: value for name, value in task.items() if name not in {"file_name", "created_at"}}


@pytest.mark.parametrize("makes", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599, None])
@pytest.mark.parametrize("sender", ["a path", "bytes", "a stream"])
async def test_a_list_without_names_and_times_is_enough(sender, status, makes, misbehaving, client_of, files):
    step = Step(makes=makes, answer=None if status is None else http(status))
    error = ApiConnectionError if status is None else ServerError
    (row,) = ambiguous(sender, f"{status}", step, error)
    await follow(row, misbehaving, client_of, files, shows=documented_fields)


@pytest.mark.parametrize("sender", SENDERS)
async def test_a_refused_port_is_tried_again(sender, misbehaving, client_of, files, passing_time):
    server = misbehaving()
    server.shut()

    async def sleep(seconds):
        await passing_time.sleep(seconds)
        server.open()

    async with client_of(server, runtime=attrs.evolve(passing_time, sleep=sleep)) as client:
        if sender in REPLAYABLE:
            await SENDERS[sender](client, SMALL, files)
        else:
            with pytest.raises(ApiConnectionError) as caught:
                await SENDERS[sender](client, SMALL, files)
            assert not caught.value.maybe_sent
    assert (sender in REPLAYABLE) == len(server.made) == len(passing_time.sleep)


# -- attempts are counted once


FAILURES = {
    "a 503 before the body is whole": Step(reads=HEAD, answer=http(503), then=DRAIN),
    "a 503 after it": Step(answer=http(503), then=KEEP),
    "a lost answer": Step(then=RESET),
    "a web page": Step(answer=WITHOUT_ID["200 with a web page"], then=KEEP),
    "a 429": Step(answer=http(429, **NO_WAIT), then=KEEP),
    "a 408": Step(answer=http(408), then=KEEP),
}


@pytest.mark.parametrize("retries", [0, 1, 2, 4])
@pytest.mark.parametrize("failures", [*((name,) for name in FAILURES), tuple(FAILURES)], ids=" and ".join)
@pytest.mark.parametrize("sender", ["a path", "bytes", "a URL"])
async def test_max_retries_counts_all_attempts_whatever_they_fail_with(
    sender, failures, retries, misbehaving, client_of, files
):
    steps = list(itertools.islice(itertools.cycle(FAILURES[name] for name in failures), retries + 1))
    server = misbehaving(*steps)
    data = SMALL if sender == "a URL" else LARGE
    async with client_of(server, max_retries=retries) as client:
        with pytest.raises((ApiStatusError, ApiConnectionError, ResponseDecodeError)):
            await SENDERS[sender](client, data, files)
        assert (retries + 1, 0) == (server.heads, len(server.made))
        await SENDERS[sender](client, data, files)
        assert (retries + 2, 1) == (server.heads, len(server.made))


@pytest.mark.parametrize("retries", [0, 2])
async def test_no_retries_still_find_what_was_accepted(retries, misbehaving, client_of, files):
    """To look for it is no attempt: nothing is sent."""
    server = misbehaving(Step(makes=True, answer=http(503)))
    async with client_of(server, max_retries=retries) as client:
        assert "task-1" == (await SENDERS["a path"](client, SMALL, files)).task_id
    assert (1, 1) == (server.heads, len(server.made))


async def test_the_last_of_several_lost_answers_is_looked_for_as_the_first_is(misbehaving, client_of, files):
    server = misbehaving(Step(answer=http(503)), Step(then=RESET), Step(makes=True, answer=http(520)))
    async with client_of(server) as client:
        assert "task-1" == (await SENDERS["a path"](client, SMALL, files)).task_id
    assert (3, 1) == (server.bodies, len(server.made))


# -- free calls


FREE = {
    "list": lambda client: client.transcriptions.with_raw_response.list(),
    "get": lambda client: client.transcriptions.get("task-1"),
    "result": lambda client: client.transcriptions.result("task-1"),
}
PASSING = {
    **{f"{status}": http(status, **NO_WAIT) for status in (408, 421, 425, 429, *SERVER_ERRORS)},
    "a closed connection": Step(then=CLOSE),
    "a reset": Step(then=RESET),
    "silence": Step(then=SILENCE),
    **{what: Step(answer=answer, then=CLOSE) for what, answer in CUT.items()},
}
LASTING = {
    **{f"{status}": (http(status), 1) for status in (400, 401, 403, 404, 407, 409, 410, 422)},
    "a web page": (WITHOUT_ID["200 with a web page"], 2),
    "no JSON": (WITHOUT_ID["200 that is no JSON"], 2),
    "a redirect elsewhere": (http(302, Location="https://login.example/"), 1),
}


def failing(server, answer, times):
    """Let the server answer each kind of GET so a few times; return how often each was asked for."""
    asked = Counter()

    def on_get(kind, _path):
        asked[kind] += 1
        return answer if asked[kind] <= times else None

    server.on_get = on_get
    return asked


@pytest.mark.parametrize("retries", [0, 1, 2])
@pytest.mark.parametrize("what", PASSING)
@pytest.mark.parametrize("call", FREE)
async def test_a_free_call_is_repeated_as_often_as_max_retries_says(call, what, retries, misbehaving, client_of):
    server = misbehaving()
    server.add(SMALL)
    timeout = 0.1 if what == "silence" else 5.0
    asked = failing(server, PASSING[what], retries)
    async with client_of(server, max_retries=retries, timeout=timeout) as client:
        await FREE[call](client)
        assert 1 + retries == asked[call]
        asked = failing(server, PASSING[what], retries + 1)
        with pytest.raises((ApiStatusError, ApiConnectionError)):
            await FREE[call](client)
        assert 1 + retries == asked[call]


@pytest.mark.parametrize("what", LASTING)
@pytest.mark.parametrize("call", FREE)
async def test_a_free_call_is_not_repeated_where_that_does_not_help(call, what, misbehaving, client_of):
    server = misbehaving()
    answer, attempts = LASTING[what]
    asked = failing(server, answer, 10)
    async with client_of(server, max_retries=5) as client:
        with pytest.raises((ApiStatusError, ResponseDecodeError)):
            await FREE[call](client)
    assert attempts == asked[call]


def test_no_port_is_open_twice():
    """The server opens the port again that it has shut, so nobody else may have it."""
    server = MoneyServer()
    try:
        server.shut()
        server.open()
        with socket.create_connection(("127.0.0.1", server.port), 5):
            pass
    finally:
        server.close()
