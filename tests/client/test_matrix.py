"""All ten calls against everything that an answer may be, over real sockets, with the requests counted."""

import contextlib
import wave

import pytest

from polyglot_async import (
    ApiConnectionError,
    AuthenticationError,
    BadRequestError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    PolyglotError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    SubmissionUncertainError,
    Task,
    TaskStatus,
    Transcript,
    UrlValidation,
)

pytestmark = pytest.mark.anyio

COLUMNS = ("success", "400", "401", "403", "404", "429", "500", "garbage", "dropped")

# What comes out, and how many requests the server saw. `max_retries` is 2, so 3 is a first attempt and two more.
# - What starts work is sent again only after a 429. Where the answer is lost, the list of tasks has it: "found".
# - A 400 is validate_url's way to say no (A3).
# - Files may hold anything, so garbage is as good a file as any.
# - An `sk_` key may not read the limits: refused with 401 or 403, they are asked for without it (A16).
TABLE = """
upload         ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv1  found1  found1
from_url       ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv1  found1  found1
validate_url   ok1  no1   Auth1  Perm1  NotF1  Rate3  Serv3  Dec1    Conn3
list           ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  Dec1    Conn3
get            ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  Dec1    Conn3
result         ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  Dec1    Conn3
download       ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  ok1     Conn3
source         ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  ok1     Conn3
convert_audio  ok1  Bad1  Auth1  Perm1  NotF1  Rate3  Serv3  ok1     Conn3
limits         ok2  Bad1  Auth2  Perm2  NotF1  Rate3  Serv3  Dec1    Conn3
"""

ERRORS = {
    "Bad": BadRequestError,
    "Auth": AuthenticationError,
    "Perm": PermissionDeniedError,
    "NotF": NotFoundError,
    "Rate": RateLimitError,
    "Serv": ServerError,
    "Dec": ResponseDecodeError,
    "Conn": ApiConnectionError,
}
WORDS = b"This is a scripted transcript of talk.mp3."
AUDIO = b"some bytes of audio"
RETRY_AFTER = 7.0

CELLS = [
    pytest.param(backend, call, column, cell, id=f"{call}-{column}-{backend}")
    for call, *cells in map(str.split, TABLE.strip().splitlines())
    for column, cell in zip(COLUMNS, cells, strict=True)
    for backend in ("asyncio", *(("trio",) if column in {"success", "429", "dropped"} else ()))
]


@pytest.fixture
def world(sandbox, serve, start, tmp_path):
    """What the calls are about: a task, a media URL, a recording."""
    recording = tmp_path / "tone.wav"
    with wave.open(str(recording), "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", ""))
        wav.writeframes(b"\0\0" * 800)
    media = serve(lambda _: (200, {"Content-Type": "audio/mpeg"}, AUDIO))
    return {
        "task": start(AUDIO),
        "url": f"{media.url}/films/a%20film.mp4?part=1",
        "recording": recording,
        "folder": tmp_path,
    }


async def source(client, task):
    async with client.transcriptions.source(task) as stream:
        return b"".join([chunk async for chunk in stream])


CALLS = {
    "upload": lambda client, world: client.transcriptions.upload(("lecture.mp3", AUDIO)),
    "from_url": lambda client, world: client.transcriptions.from_url(world["url"]),
    "validate_url": lambda client, world: client.transcriptions.validate_url(world["url"]),
    "list": lambda client, world: anext(aiter(client.transcriptions.list())),
    "get": lambda client, world: client.transcriptions.get(world["task"]),
    "result": lambda client, world: client.transcriptions.result(world["task"]),
    "download": lambda client, world: client.transcriptions.download(world["task"], "txt"),
    "source": lambda client, world: source(client, world["task"]),
    "convert_audio": lambda client, world: client.transcriptions.convert_audio(
        world["recording"], world["folder"] / "tone.flac"
    ),
    "limits": lambda client, world: client.limits(),
}

SUCCESSES = {
    "upload": lambda value, world: isinstance(value, Task) and value.status == TaskStatus.QUEUED,
    "from_url": lambda value, world: isinstance(value, Task) and value.status == TaskStatus.QUEUED,
    "validate_url": lambda value, world: isinstance(value, UrlValidation) and value.valid,
    "list": lambda value, world: isinstance(value, Task) and value.task_id == world["task"],
    "get": lambda value, world: isinstance(value, Task) and value.status == TaskStatus.COMPLETED,
    "result": lambda value, world: isinstance(value, Transcript) and value.text == WORDS.decode(),
    "download": lambda value, world: value == WORDS + b"\n",
    "source": lambda value, world: value == AUDIO,
    "convert_audio": lambda value, world: value.read_bytes()[:4] == b"fLaC",
    "limits": lambda value, world: isinstance(value, Limits) and value.plan == "unlimited",
}


def fault(call, column):
    name = "documentation" if call == "limits" else call
    if column == "success":
        return None
    kind = {"garbage": "garbage", "dropped": "reset_after_body"}.get(column, f"status status={column}")
    retry_after = f" retry_after={RETRY_AFTER:g}" if column == "429" else ""
    return f"{kind} call={name} times=forever{retry_after}"


@pytest.mark.parametrize(("anyio_backend", "call", "column", "cell"), CELLS)
async def test_cell(anyio_backend, call, column, cell, sandbox, connect, world):
    outcome, requests = cell[:-1], int(cell[-1])
    if wrong := fault(call, column):
        sandbox.faults.add(wrong)
    async with connect(max_retries=2) as client:
        raised = ERRORS.get(outcome)
        with pytest.raises(raised) if raised else contextlib.nullcontext() as caught:
            value = await CALLS[call](client, world)

    entries = sandbox.ledger.entries("documentation" if call == "limits" else call)
    assert requests == len(entries)
    assert (1 if outcome == "found" else requests) >= sandbox.ledger.count() - requests, "nothing else but a look"
    # Between attempts it waited, and after a 429 no less than it was told to.
    waits = 2 if requests == 3 else 0
    assert waits == len(client.naps)
    assert all(nap >= RETRY_AFTER for nap in client.naps) or column != "429"
    match outcome:
        case "ok" if column == "success":
            assert SUCCESSES[call](value, world)
        case "found":
            started = [entry.task_id for entry in entries]
            assert [value.task_id] == started
            assert sandbox.ledger.count("list") == 1
        case "no":
            assert not value.valid
            assert "Fault injected" in value.reason
        case "Bad" | "Auth" | "Perm" | "NotF" | "Rate" | "Serv":
            assert (int(column), True) == (caught.value.status_code, "Fault injected" in caught.value.detail)
            assert entries[-1].request_id == caught.value.request_id
        case "Conn":
            assert caught.value.maybe_sent
    if raised:
        assert isinstance(caught.value, PolyglotError)


@pytest.mark.parametrize("call", ["upload", "from_url"])
@pytest.mark.parametrize("kind", ["status status=200 detail=nonsense", "reset_during_body at_bytes=1000000"])
async def test_lost_start_that_the_list_does_not_have_is_uncertain_and_not_sent_again(
    call, kind, sandbox, client, world
):
    sandbox.faults.add(f"{kind} call={call} times=forever")
    with pytest.raises(SubmissionUncertainError) as caught:
        await CALLS[call](client, world)
    assert (1, 1) == (sandbox.ledger.count(call), sandbox.ledger.count("list"))
    assert () == caught.value.candidates
    assert caught.value.source_name in {"lecture.mp3", world["url"]}


@pytest.mark.parametrize("call", ["upload", "from_url"])
async def test_503_is_no_acceptance_and_sent_again(call, sandbox, client, world):
    sandbox.faults.add(f"status call={call} status=503 times=2")
    task = await CALLS[call](client, world)
    assert [503, 503, 200] == [entry.status for entry in sandbox.ledger.entries(call)]
    assert task.task_id == sandbox.ledger.entries(call)[-1].task_id


async def test_a_refused_connection_is_tried_again_and_certainly_was_no_start(connect, free_port):
    async with connect(base_url=f"http://127.0.0.1:{free_port}") as client:
        with pytest.raises(ApiConnectionError) as caught:
            await client.transcriptions.upload(b"audio")
        assert (False, 2) == (caught.value.maybe_sent, len(client.naps))
