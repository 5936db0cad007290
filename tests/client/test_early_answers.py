"""Answers that come before a request was sent whole, or before any of it was: what is accepted is never paid for twice.

The refusals among them are in `test_submissions.py`.
"""

import contextlib

import anyio
import anyio.lowlevel
import httpx
import pytest
from journal_states import states
from money_server import CLOSE, HEAD, KEEP, MIDDLE, RESET, SILENCE, Step, http

from polyglot_async import RedirectError, SubmissionUncertainError

pytestmark = pytest.mark.anyio

SMALL = b"ID3 a few bytes of audio"
LARGE = bytes(range(256)) * (36 << 10)  # 9 MiB: more than the sockets hold
URL = "https://media.example/talk.mp3"


def accepting(then, reads=HEAD):
    return Step(reads=reads, makes=True, answer=lambda task_id: http(200, {"task_id": task_id}), then=then)


async def run_batch(client, journal, sources):
    async with client.batch(sources, journal=journal, results="task") as outcomes:
        return [outcome async for outcome in outcomes]


# -- cancelled, or cut off, after an early success


async def test_an_early_task_whose_call_is_cancelled_at_once_is_not_paid_for_again(misbehaving, client_of, tmp_path):
    """The answer lies unread in the socket when the cancellation comes."""
    server = misbehaving(accepting(SILENCE))
    journal = tmp_path / "journal.db"
    async with client_of(server) as client:
        with anyio.CancelScope() as scope:
            async with (
                client.batch([("a.mp3", LARGE)], journal=journal) as outcomes,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(anext, outcomes)
                while not server.answered:
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
    assert scope.cancelled_caught
    assert {"a.mp3": "left"} == states(journal)
    server.made[0].media, server.made[0].status = LARGE, "completed"
    async with client_of(server) as client:
        (outcome,) = await run_batch(client, journal, [("a.mp3", LARGE)])
    assert (1, 1) == (server.heads, len(server.made))
    assert isinstance(outcome.error, SubmissionUncertainError) or "task-1" == outcome.task.task_id


CUT_OFF = {
    "the status line": lambda _: b"HTTP/1.1 200 OK\r\n",
    "the head": lambda task_id: http(200, {"task_id": task_id}).partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
    "half the body": lambda task_id: http(200, {"task_id": task_id})[:-4],
}


@pytest.mark.parametrize("reads", [HEAD, MIDDLE])
@pytest.mark.parametrize("what", CUT_OFF)
async def test_an_early_success_that_is_reset_is_not_paid_for_again(misbehaving, client_of, what, reads):
    server = misbehaving(Step(reads=reads, makes=True, answer=CUT_OFF[what], then=RESET))
    server.shows = lambda task: {**task, "file_name": "talk.mp3"}
    async with client_of(server) as client:
        with contextlib.suppress(SubmissionUncertainError):
            assert "task-1" == (await client.transcriptions.upload(("talk.mp3", LARGE))).task_id
    assert (1, 1) == (server.heads, len(server.made))


# -- before a byte of the body


class AnswersUnread(httpx.AsyncBaseTransport):
    """A transport that does not ask for the body before it answers."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), 0

    async def handle_async_request(self, request):
        self.requests += request.method == "POST"
        return self.answers.pop(0)


SENDERS = {
    "upload": lambda client: client.transcriptions.upload(("talk.mp3", SMALL)),
    "from_url": lambda client: client.transcriptions.from_url(URL),
}


@pytest.mark.parametrize("call", SENDERS)
async def test_a_transport_may_answer_without_the_body(misbehaving, client_of, call):
    transport = AnswersUnread(httpx.Response(200, json={"task_id": "task-1"}))
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = client_of(misbehaving(), http_client=http_client)
        assert "task-1" == (await SENDERS[call](client)).task_id
    assert 1 == transport.requests


async def test_a_batch_notes_the_task_that_a_transport_answers_with_before_the_body(misbehaving, client_of, tmp_path):
    journal = tmp_path / "journal.db"
    documentation = httpx.Response(404)
    page = httpx.Response(200, json=[])
    started, ended = ({"task_id": "task-1", "status": status} for status in ("queued", "completed"))
    answers = {
        "/developer/documentation": [documentation] * 3,
        "/transcriptions": [page, *[httpx.Response(200, json=[ended])] * 9],
        "/transcriptions/upload": [httpx.Response(200, json=started)],
    }

    class ByPath(AnswersUnread):
        async def handle_async_request(self, request):
            self.answers = answers.get(request.url.path.removeprefix("/api/v1")) or [httpx.Response(200, json=ended)]
            return await super().handle_async_request(request)

    transport = ByPath()
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = client_of(misbehaving(), http_client=http_client)
        (outcome,) = await run_batch(client, journal, [("talk.mp3", SMALL)])
    assert ("task-1", None, 1) == (outcome.task.task_id, outcome.error, transport.requests)


# -- redirects to what is no URL


@pytest.mark.parametrize("makes", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("status", [301, 303, 308])
@pytest.mark.parametrize("location", ["http://h:x/", "https://xn--/", "/a\tb"])
async def test_over_a_client_of_the_callers_own_a_redirect_to_no_url_is_proven(
    misbehaving, client_of, status, location, makes
):
    """Its status is lost: nobody knows whether the call was carried out."""
    server = misbehaving(Step(makes=makes, answer=http(status, Location=location), then=KEEP))
    async with httpx.AsyncClient() as http_client:
        client = client_of(server, http_client=http_client)
        if makes:
            assert "task-1" == (await SENDERS["upload"](client)).task_id
        else:
            with pytest.raises(RedirectError, match="check base_url"):
                await SENDERS["upload"](client)
    assert (1, makes) == (server.heads, len(server.made))


@pytest.mark.parametrize("ours", [True, False], ids=["our client", "the caller's"])
async def test_a_batch_never_pays_again_for_what_a_303_to_no_url_has_started(misbehaving, client_of, tmp_path, ours):
    """Each run of it used to."""
    journal = tmp_path / "journal.db"
    answer = http(303, Location="http://h:x/")
    server = misbehaving(*[Step(makes=True, answer=answer, then=CLOSE)] * 2)
    server.shows = lambda task: {**task, "status": "completed"}
    found = []
    for _ in range(2):
        async with httpx.AsyncClient() as own, client_of(server, **({} if ours else {"http_client": own})) as client:
            found += await run_batch(client, journal, [("talk.mp3", SMALL)])
    assert ("task-1", None) == (found[0].task.task_id, found[0].error)
    assert (1, 1) == (server.heads, len(server.made))
