"""All ten calls against what an answer may be, over real sockets, with the requests and the started tasks counted.

Which status is raised as which error, and what is retried, stands in `tests/calls`.
"""

import contextlib
import wave

import pytest

from polyglot_async import (
    ApiConnectionError,
    BadRequestError,
    Limits,
    NotFoundError,
    PolyglotError,
    ResponseDecodeError,
    ServerError,
    SubmissionUncertainError,
    Task,
    TaskStatus,
    Transcript,
    UrlValidation,
)

pytestmark = pytest.mark.anyio

COLUMNS = ("success", "400", "404", "500", "garbage", "dropped")

# What comes out, and how many requests the server saw. `max_retries` is 2, so 3 is a first attempt and two more.
# - What starts work is sent again after a 500 because the empty list proves that nothing was started. Where the answer
#   is lost, the bytes of the source prove which task it is ("found"); a URL has no bytes to compare ("Unc").
# - A 400 is validate_url's way to say no (A3).
# - An answer that cannot be read is asked for once more. Files may hold anything, so garbage is as good a file as any.
TABLE = """
upload         ok1  Bad1  NotF1  Serv3  found1  found1
from_url       ok1  Bad1  NotF1  Serv3  Unc1    Unc1
validate_url   ok1  no1   NotF1  Serv3  Dec2    Conn3
list           ok1  Bad1  NotF1  Serv3  Dec2    Conn3
get            ok1  Bad1  NotF1  Serv3  Dec2    Conn3
result         ok1  Bad1  NotF1  Serv3  Dec2    Conn3
download       ok1  Bad1  NotF1  Serv3  ok1     Conn3
source         ok1  Bad1  NotF1  Serv3  ok1     Conn3
convert_audio  ok1  Bad1  NotF1  Serv3  ok1     Conn3
limits         ok2  Bad1  NotF1  Serv3  Dec2    Conn3
"""

ERRORS = {
    "Bad": BadRequestError,
    "NotF": NotFoundError,
    "Serv": ServerError,
    "Dec": ResponseDecodeError,
    "Conn": ApiConnectionError,
    "Unc": SubmissionUncertainError,
}
WORDS = b"This is a scripted transcript of talk.mp3."
AUDIO = b"some bytes of audio"
BILLABLE = {"upload", "from_url"}

CELLS = [
    pytest.param(backend, call, column, cell, id=f"{call}-{column}-{backend}")
    for call, *cells in map(str.split, TABLE.strip().splitlines())
    for column, cell in zip(COLUMNS, cells, strict=True)
    for backend in ("asyncio", *(("trio",) if column in {"success", "dropped"} else ()))
]


@pytest.fixture
def world(sandbox, serve, tmp_path):
    """What the calls are about: a media URL, a recording."""
    recording = tmp_path / "tone.wav"
    with wave.open(str(recording), "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", ""))
        wav.writeframes(b"\0\0" * 800)
    media = serve(lambda _: (200, {"Content-Type": "audio/mpeg"}, AUDIO))
    return {
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
    return f"{kind} call={name} times=forever"


@pytest.mark.parametrize(("anyio_backend", "call", "column", "cell"), CELLS)
async def test_cell(anyio_backend, call, column, cell, sandbox, connect, start, world):
    outcome, requests = cell[:-1], int(cell[-1])
    if call not in BILLABLE:
        world["task"] = start(AUDIO)
    if wrong := fault(call, column):
        sandbox.faults.add(wrong)
    async with connect(max_retries=2) as client:
        raised = ERRORS.get(outcome)
        with pytest.raises(raised) if raised else contextlib.nullcontext() as caught:
            value = await CALLS[call](client, world)

    entries = sandbox.ledger.entries("documentation" if call == "limits" else call)
    assert requests == len(entries)
    assert sum(entry.started for entry in entries) == (call in BILLABLE and outcome in {"ok", "found", "Unc"})
    if call not in BILLABLE:
        assert requests == sandbox.ledger.count(), "nothing else was asked"
        assert (requests - 1 if requests > 1 and call + column != "limitssuccess" else 0) == len(client.sleeps)
    match outcome:
        case "ok" if column == "success":
            assert SUCCESSES[call](value, world)
        case "found":
            assert [value.task_id] == [entry.task_id for entry in entries]
        case "no":
            assert not value.valid
            assert "Fault injected" in value.reason
        case "Bad" | "NotF" | "Serv":
            assert (int(column), True) == (caught.value.status_code, "Fault injected" in caught.value.detail)
            assert entries[-1].request_id == caught.value.request_id
        case "Conn":
            assert caught.value.maybe_sent
        case "Unc":
            assert [entries[0].task_id] == [task.task_id for task in caught.value.candidates]
    if raised:
        assert isinstance(caught.value, PolyglotError)


async def test_a_refused_connection_is_tried_again_and_certainly_was_no_start(connect, free_port):
    async with connect(base_url=f"http://127.0.0.1:{free_port}") as client:
        with pytest.raises(ApiConnectionError) as caught:
            await client.transcriptions.upload(b"audio")
        assert (False, 2) == (caught.value.maybe_sent, len(client.sleeps))
