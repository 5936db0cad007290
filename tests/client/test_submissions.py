"""Never pay twice, never lose what was started: uploads whose connection breaks before, in or after the body."""

import hashlib
import socket

import anyio
import pytest

from polyglot_async import ApiConnectionError, ApiTimeoutError, MediaError, SubmissionUncertainError

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * (48 << 10)  # 12 MiB: more than the sockets between client and server hold
SMALL = b"a few bytes of audio"


@pytest.fixture
def tasks(sandbox):
    """Counts the tasks that the server has started."""
    return lambda: sum(sandbox.state()["tasks"].values())


@pytest.mark.parametrize("kind", ["reset_before_body", "reset_during_body"])
async def test_a_reset_before_the_whole_body_left_is_retried(sandbox, client, tasks, kind):
    """No server can have taken half a request for a whole one."""
    sandbox.faults.add(f"{kind} call=upload times=2")
    task = await client.transcriptions.upload(("a.mp3", LARGE))
    first, second, last = sandbox.ledger.entries("upload")
    assert (kind, kind, None) == (first.fault, second.fault, last.fault)
    assert (task.task_id, hashlib.sha256(LARGE).hexdigest()) == (last.task_id, last.file_sha256)
    assert (1, 0) == (tasks(), sandbox.ledger.count("list"))


async def test_resets_that_go_on_end_in_an_error_that_says_that_nothing_was_started(sandbox, client, tasks):
    sandbox.faults.add("reset_during_body call=upload times=forever")
    with pytest.raises(ApiConnectionError) as caught:
        await client.transcriptions.upload(("a.mp3", LARGE))
    assert not caught.value.maybe_sent
    assert (3, 0) == (sandbox.ledger.count("upload"), tasks())


@pytest.mark.parametrize(
    "kind", ["reset_after_body", "truncate", "reset_response", "garbage", "wrong_length", "truncate at_bytes=0"]
)
@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_a_lost_answer_is_looked_for_in_the_list_and_found(sandbox, client, tasks, kind, body):
    sandbox.faults.add(f"{kind} call=upload times=forever")
    task = await client.transcriptions.upload(("a.mp3", body))
    [entry] = sandbox.ledger.entries("upload")
    assert entry.task_id == task.task_id
    assert (1, 1) == (tasks(), sandbox.ledger.count("list"))


async def test_an_answer_that_does_not_come_in_time_is_looked_for_too(sandbox, connect, tasks):
    sandbox.faults.add("stall call=upload times=forever")
    async with connect(timeout=0.3) as client:
        task = await client.transcriptions.upload(("a.mp3", SMALL))
    [entry] = sandbox.ledger.entries("upload")
    assert (entry.task_id, 1) == (task.task_id, tasks())


async def test_a_one_shot_iterator_is_never_sent_again_with_an_empty_body(sandbox, client, tasks):
    """The first attempt has used it up, so the error is raised and nothing else is sent."""
    sandbox.faults.add("reset_during_body call=upload times=1")

    async def chunks():
        for at in range(0, len(LARGE), 1 << 20):
            yield LARGE[at : at + (1 << 20)]

    with pytest.raises(ApiConnectionError) as caught:
        await client.transcriptions.upload(chunks(), name="a.mp3")
    assert (False, 1, 0) == (caught.value.maybe_sent, sandbox.ledger.count("upload"), tasks())


async def test_a_one_shot_iterator_whose_answer_is_lost_is_found(sandbox, client, tasks):
    sandbox.faults.add("reset_after_body call=upload times=1")
    task = await client.transcriptions.upload(iter([SMALL, SMALL]), name="a.mp3")
    [entry] = sandbox.ledger.entries("upload")
    assert (entry.task_id, 2 * len(SMALL), 1) == (task.task_id, entry.file_size, tasks())


async def test_media_that_breaks_midway_is_no_retry_and_starts_nothing(sandbox, client, tasks):
    async def chunks():
        yield LARGE
        raise OSError("the microphone was unplugged")

    with pytest.raises(OSError, match="unplugged"):
        await client.transcriptions.upload(chunks(), name="a.mp3")
    with pytest.raises(MediaError, match="ended after"):
        await client.transcriptions.upload(iter([SMALL]), name="a.mp3", size=1000)
    assert 2 >= sandbox.ledger.count("upload")
    assert 0 == tasks()


async def test_progress_starts_from_zero_again_when_an_upload_is_retried(sandbox, client):
    sandbox.faults.add("reset_before_body call=upload times=1")
    seen = []
    await client.transcriptions.upload(("a.mp3", LARGE), on_progress=lambda *numbers: seen.append(numbers))
    sent = [done for done, _ in seen]
    assert (2, len(LARGE)) == (sent.count(0), sent[-1])
    assert {len(LARGE)} == {total for _, total in seen}


async def together(client, sources):
    """Upload all at once; give the tasks and the errors, in the order of the sources."""
    outcomes = [None] * len(sources)

    async def one(index, source):
        try:
            outcomes[index] = await client.transcriptions.upload(source)
        except SubmissionUncertainError as error:
            outcomes[index] = error

    async with anyio.create_task_group() as tasks:
        for index, source in enumerate(sources):
            tasks.start_soon(one, index, source)
    return outcomes


async def test_two_of_one_name_at_once_are_never_taken_for_each_other(sandbox, client, tasks):
    """Only one of the two was accepted and both answers are lost: each ends with a task of its own media."""
    sandbox.faults.add("reset_after_body call=upload times=1")
    sandbox.faults.add("reset_during_body call=upload at_bytes=1000000 times=1")  # read whole, then dropped
    media = {b"one " + SMALL, b"two " + SMALL}
    first, second = await together(client, [("a.mp3", data) for data in sorted(media)])
    assert first.task_id != second.task_id
    assert dict.fromkeys((hashlib.sha256(data).hexdigest() for data in media), 1) == sandbox.ledger.starts()
    assert 2 == tasks()


async def test_two_of_one_name_at_once_of_which_one_is_answered_are_told_apart_or_left_uncertain(sandbox, client):
    sandbox.faults.add("reset_after_body call=upload times=1")
    outcomes = await together(client, [("a.mp3", b"one " + SMALL), ("a.mp3", b"two " + SMALL)])
    digests = {entry.task_id: entry.file_sha256 for entry in sandbox.ledger.entries("upload")}
    for outcome, word in zip(outcomes, (b"one ", b"two "), strict=True):
        if not isinstance(outcome, SubmissionUncertainError):
            assert digests[outcome.task_id] == hashlib.sha256(word + SMALL).hexdigest()


async def test_two_names_at_once_do_not_disturb_each_other(sandbox, client, tasks):
    sandbox.faults.add("reset_after_body call=upload times=2")
    first, second = await together(client, [("a.mp3", SMALL), ("b.mp3", SMALL)])
    assert ("a.mp3", "b.mp3") == tuple(sandbox.task(task.task_id)["file_name"] for task in (first, second))
    assert 2 == tasks()


async def test_a_task_that_this_client_has_already_is_not_taken_again(sandbox, client):
    """The second one, of equal media, was not accepted: it is sent again and gets a task of its own."""
    first = await client.transcriptions.upload(("a.mp3", SMALL))
    sandbox.faults.add("reset_during_body call=upload at_bytes=1000000 times=1")
    second = await client.transcriptions.upload(("a.mp3", SMALL))
    assert first.task_id != second.task_id
    assert {hashlib.sha256(SMALL).hexdigest(): 2} == sandbox.ledger.starts()


async def test_a_timeout_while_the_body_goes_out_is_no_start(serve, connect):
    """The server takes no bytes, so the body never leaves whole."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        async with connect(base_url=f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.2, max_retries=1) as client:
            with pytest.raises(ApiTimeoutError) as caught:
                await client.transcriptions.upload(("a.mp3", LARGE * 2))
            assert (False, 1) == (caught.value.maybe_sent, len(client.sleeps))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_servers_error_after_a_whole_upload_is_looked_up_before_anything_is_sent(sandbox, client, status, when):
    """Whether the work was started before the error or not, it is started once."""
    sandbox.faults.add(f"status call=upload status={status} when={when}")
    await client.transcriptions.upload(("a.mp3", SMALL))
    assert {hashlib.sha256(SMALL).hexdigest(): 1} == sandbox.ledger.starts()
