"""A submission that was sent whole and got no usable answer: found by its bytes, proven absent, or left uncertain.

Here it is a single call; the table of answers is in `test_money_table.py`, batches in the modules of batches.
"""

import hashlib
import io
import os
import random
import time
from functools import partial

import anyio
import anyio.lowlevel
import attrs
import httpcore
import httpx
import pytest
from journal_states import states
from money_server import ALMOST, CLOSE, DRAIN, KEEP, RESET, SILENCE, Step, http, local_times

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    AuthenticationError,
    BadRequestError,
    MediaError,
    NotFoundError,
    PermissionDeniedError,
    PollSchedule,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
    ServerError,
    ServiceUnavailableError,
    SubmissionUncertainError,
)

pytestmark = pytest.mark.anyio

HOUR = 3600
SMALL = b"ID3 a few bytes of audio"
OTHER = b"ID3 the words of another"
KNOWN = ("known.mp3", b"ID3 what has been sent before")
LARGE = random.Random(1).randbytes(9 << 20)
LOST = Step(makes=True, then=RESET)
NOT_MADE = Step(then=RESET)
PAGE = http(503, b"<html><title>Down for maintenance</title></html>", Content_Type="text/html", Server="nginx")


async def upload(client, data=SMALL, name="talk.mp3", **options):
    return await client.transcriptions.upload((name, data), **options)


async def uncertain(client, *arguments, **options):
    with pytest.raises(SubmissionUncertainError) as caught:
        await upload(client, *arguments, **options)
    return caught.value


def made_from(server, task):
    """The bytes that a task was truly made from."""
    return next(made.media for made in server.made if made.id == task.task_id)


async def together(client, sources, **options):
    """Upload all at once; return tasks and errors in the order of the sources."""
    outcomes = [None] * len(sources)

    async def one(index, source):
        try:
            outcomes[index] = await client.transcriptions.upload(source, **options)
        except SubmissionUncertainError as error:
            outcomes[index] = error

    async with anyio.create_task_group() as tasks:
        for index, source in enumerate(sources):
            tasks.start_soon(one, index, source)
    return outcomes


# -- what proves


@pytest.mark.parametrize("age", [0, HOUR, 3 * HOUR, 11 * HOUR])
@pytest.mark.parametrize("zone", [-12, 0, 1, 3, 14])
async def test_a_task_of_the_same_name_is_never_adopted_whatever_its_time_seems_to_be(
    misbehaving, client_of, age, zone
):
    """Its time is shown without a zone, so that one of an hour ago may look like one of now."""
    server = misbehaving(NOT_MADE)
    server.add(OTHER, "talk.mp3", created=time.time() - age)
    server.shows = partial(local_times, hours=zone)
    async with client_of(server) as client:
        error = await uncertain(client)
    assert ([], 1) == ([made for made in server.made if made.media == SMALL], server.bodies)
    assert ["task-1"] == [task.task_id for task in error.candidates]


@pytest.mark.parametrize("zone", [0, 3])
async def test_where_a_task_of_our_own_shows_that_bytes_are_kept_another_proves_absence(misbehaving, client_of, zone):
    """Two clients of one account: A/talk.mp3 is in the list, B/talk.mp3 was refused by a proxy. B is sent again."""
    server = misbehaving()
    server.shows = partial(local_times, hours=zone)
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.steps.append(Step(answer=http(502), then=KEEP))
        server.add(OTHER, "talk.mp3")
        task = await upload(client)
    assert SMALL == made_from(server, task)
    assert (3, 3) == (len(server.made), server.bodies)


async def test_two_of_one_name_at_once_are_never_taken_for_each_other(misbehaving, client_of):
    server = misbehaving()
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.steps += [LOST, NOT_MADE]
        sources = [("talk.mp3", SMALL), ("talk.mp3", OTHER)]
        tasks = await together(client, sources)
    assert [SMALL, OTHER] == [made_from(server, task) for task in tasks]
    assert 3 == len(server.made)


@pytest.mark.parametrize("steps", [[LOST, LOST], [LOST, NOT_MADE], [NOT_MADE, NOT_MADE], [LOST], [NOT_MADE]], ids=len)
async def test_two_equal_submissions_have_two_tasks(misbehaving, client_of, steps):
    server = misbehaving(*steps)
    async with client_of(server) as client:
        tasks = await together(client, [("talk.mp3", SMALL)] * 2)
    assert {"task-1", "task-2"} == {task.task_id for task in tasks} == {made.id for made in server.made}


@pytest.mark.parametrize("count", [20])
async def test_many_lost_answers_share_the_looks_at_the_list(misbehaving, client_of, passing_time, count):
    """A redeploy that loses the answers of all costs each of them no more than the pause of one."""
    server = misbehaving(*[LOST, NOT_MADE] * (count // 2))
    async with client_of(server, max_retries=3) as client:
        sources = [(f"{number}.mp3", b"ID3 %d" % number) for number in range(count)]
        tasks = await together(client, sources)
    assert [data for _, data in sources] == [made_from(server, task) for task in tasks]
    assert count == len(server.made)
    assert 6 * 10 > sum(seconds for seconds in passing_time.sleep if seconds == 10)


TRACKS = {
    "equal length and a silent end": (LARGE[:100_000] + bytes(1 << 17), LARGE[-100_000:] + bytes(1 << 17)),
    "another beginning": (b"one " + LARGE[: 1 << 20], b"two " + LARGE[: 1 << 20]),
    "another beginning of a film": (b"one " + LARGE, b"two " + LARGE),
    "a film that is silent at both ends": tuple(bytes(1 << 17) + part + bytes(9 << 20) for part in (SMALL, OTHER)),
}


@pytest.mark.parametrize("kind", TRACKS)
async def test_recordings_that_are_alike_are_told_apart(misbehaving, client_of, kind):
    """The tracks of a podcast are of equal length, and silent where another speaks."""
    ours, theirs = TRACKS[kind]
    assert len(ours) == len(theirs)
    server = misbehaving()
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.add(theirs, "talk.mp3")
        server.steps += [NOT_MADE, LOST]
        task = await upload(client, ours)
    assert ours == made_from(server, task)
    assert (3, 3) == (len(server.made), server.bodies)


NAMES = ['a "quoted" talk.mp3', "two\nlines.mp3", "back\\slash.mp3", "%22.mp3", "речь.mp3", "x" * 200 + ".mp3"]


@pytest.mark.parametrize("is_listed", ["as framed", "not at all", "otherwise"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_file_is_found_whatever_the_list_makes_of_its_name(misbehaving, client_of, name, is_listed):
    server = misbehaving(LOST)
    changes = {"as framed": {}, "not at all": {"file_name": None}, "otherwise": {"file_name": "upload.bin"}}[is_listed]
    server.shows = lambda task: {**task, **changes}
    async with client_of(server) as client:
        assert "task-1" == (await upload(client, name=name)).task_id
    assert 1 == server.bodies


@pytest.fixture
def path_that_is_no_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp3")
    path.write_bytes(SMALL)
    return path


async def test_a_file_whose_name_is_no_utf8_is_found(misbehaving, client_of, path_that_is_no_utf8):
    server = misbehaving(LOST)
    async with client_of(server) as client:
        assert "task-1" == (await client.transcriptions.upload(path_that_is_no_utf8)).task_id
    assert 1 == server.bodies


@pytest.mark.parametrize("shows", [lambda task: task, lambda task: {"task_id": task["task_id"], "status": "queued"}])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_one_look_at_the_list_and_a_source_are_enough(misbehaving, client_of, data, shows):
    server = misbehaving(LOST)
    for number in range(3):
        server.add(b"ID3 %d" % number, "talk.mp3", status="failed")
    server.shows = shows
    async with client_of(server) as client:
        assert data == made_from(server, await upload(client, data))
    assert 1 == server.requests["list"]
    assert server.requests["source"] <= 4 + 1


async def test_a_failed_task_of_the_same_bytes_is_not_adopted(misbehaving, client_of):
    server = misbehaving(NOT_MADE)
    for status in ("failed", "cancelled"):
        server.add(SMALL, "talk.mp3", status=status)
    async with client_of(server) as client:
        assert "task-3" == (await upload(client)).task_id
    assert 2 == server.bodies


@pytest.mark.parametrize(("newest", "pages", "looks"), [("completed", 10, 2), ("processing", 1, 2)])
async def test_a_large_account_is_not_read_to_its_end(misbehaving, client_of, newest, pages, looks):
    """An unfinished task above finished ones shows that no new one stands behind them; else the list is read far."""
    server = misbehaving()
    for number in range(1500):
        status = newest if number == 1499 else "completed"
        server.add(b"ID3 %d" % number, "talk.mp3", status=status, created=time.time() - 48 * HOUR + number)
    async with client_of(server) as client:
        server.steps.append(NOT_MADE)
        assert SMALL == made_from(server, await upload(client))
    assert 1501 == len(server.made)
    assert looks * pages == server.requests["list"]
    assert looks * 10 >= server.requests["source"], "of tasks that their times rule out, the newest are compared"


async def test_too_many_tasks_that_may_be_it_leave_it_uncertain(misbehaving, client_of):
    server = misbehaving(NOT_MADE)
    for number in range(60):
        server.add(b"ID3 %d" % number)
    async with client_of(server) as client:
        error = await uncertain(client)
    assert 20 == len(error.candidates)
    assert 4 * 60 > server.requests["source"], "each is read once a look"
    assert 1 == server.bodies


# -- sources that are odd


def of_source(server, *answers):
    """Let the first requests for sources be answered so; None is what is right."""
    left = list(answers)
    server.on_get = lambda kind, _: left.pop(0) if kind == "source" and left else None


NO_MEDIA = {
    "404": http(404),
    "409": http(409),
    "503": http(503, Retry_After="0"),
    "a page": http(200, b"<!doctype html><title>Sign in</title>", Content_Type="text/html"),
    "a message": http(200, {"detail": "not ready"}),
    "an empty file": http(200, b"", Content_Type="audio/mpeg"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "being prepared": http(202, b"soon", Content_Type="audio/mpeg"),
    "an unknown size": http(206, SMALL, Content_Range=f"bytes 0-{len(SMALL) - 1}/*"),
    "an odd range": http(206, SMALL, Content_Range="bytes all"),
    "another encoding": http(200, b"zzz", Content_Encoding="zstd", Content_Type="audio/mpeg"),
}


@pytest.mark.parametrize("what", NO_MEDIA)
async def test_a_source_that_is_not_there_yet_is_asked_for_again(misbehaving, client_of, what):
    server = misbehaving(LOST)
    of_source(server, NO_MEDIA[what])
    async with client_of(server, max_retries=0) as client:
        assert "task-1" == (await upload(client)).task_id
    assert 1 == server.bodies


@pytest.mark.parametrize("what", NO_MEDIA)
async def test_what_is_no_media_proves_no_absence(misbehaving, client_of, what):
    """A page that a proxy shows in the place of the file must not be taken for a file of another."""
    server = misbehaving()
    async with client_of(server, max_retries=1) as client:
        await upload(client, *KNOWN[::-1])
        server.steps.append(LOST)
        server.on_get = lambda kind, path: NO_MEDIA[what] if kind == "source" and "task-2" in path else None
        error = await uncertain(client)
    assert (["task-2"], 2) == ([task.task_id for task in error.candidates], server.bodies)


@pytest.mark.parametrize("ranges", ["ignored", "ignored, and no length", "none from the end"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_service_without_ranges_shows_its_sources_all_the_same(misbehaving, client_of, data, ranges):
    server = misbehaving(LOST, NOT_MADE)
    if "ignored" in ranges:
        server.ranges, server.lengths = False, ranges == "ignored"
    else:
        unsatisfied = http(416, Content_Range=f"bytes */{len(data)}")
        server.on_source = lambda headers: unsatisfied if "=-" in headers.get("range", "") else None
    async with client_of(server) as client:
        assert data == made_from(server, await upload(client, data))
        assert OTHER == made_from(server, await upload(client, OTHER))
    assert (2, 3) == (len(server.made), server.bodies)


@pytest.mark.parametrize("step", [LOST, NOT_MADE], ids=["made", "not made"])
async def test_a_service_that_transcodes_leaves_it_uncertain(misbehaving, client_of, step):
    server = misbehaving()
    server.source = lambda media: b"OggS" + hashlib.sha256(media).digest()
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.add(OTHER, "talk.mp3")
        server.steps.append(step)
        error = await uncertain(client)
    assert "a task in the list may be the one" in str(error)
    assert 2 == server.bodies


async def test_a_service_that_transcodes_some_kinds_of_media_is_not_trusted_with_others(misbehaving, client_of):
    server = misbehaving()
    server.source = lambda media: media if media.startswith(b"ID3") else b"OggS" + media
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.steps.append(LOST)
        error = await uncertain(client, b"RIFF video", "film.avi")
    assert ["task-2"] == [task.task_id for task in error.candidates]
    assert 2 == len(server.made)


# -- lists that are odd


async def test_a_list_that_lags_is_asked_again_before_anything_is_sent(misbehaving, client_of):
    server = misbehaving(LOST)
    pages = [http(200, {"items": [], "total": 0})]
    server.on_get = lambda kind, _: pages.pop() if kind == "list" and pages else None
    async with client_of(server) as client:
        assert "task-1" == (await upload(client)).task_id
    assert (2, 1) == (server.requests["list"], server.bodies)


@pytest.mark.parametrize("failure", [http(429, Retry_After="0"), http(503), Step(then=RESET), http(200, b"<html>")])
@pytest.mark.parametrize("step", [LOST, NOT_MADE], ids=["made", "not made"])
async def test_a_list_that_fails_once_is_asked_again(misbehaving, client_of, step, failure):
    """Without retries too: to look at the list is no attempt to send."""
    server = misbehaving(step)
    failures = [failure]
    server.on_get = lambda kind, _: failures.pop() if kind == "list" and failures else None
    async with client_of(server, max_retries=0) as client:
        if step is LOST:
            assert "task-1" == (await upload(client)).task_id
        else:
            with pytest.raises(ApiConnectionError):
                await upload(client)
    assert server.requests["list"] >= 2 + (step is NOT_MADE)
    assert 1 == server.bodies


async def test_absence_takes_two_looks_at_a_list_that_can_be_read(misbehaving, client_of):
    server = misbehaving(NOT_MADE)
    refusals = [http(403)]
    server.on_get = lambda kind, _: refusals.pop() if kind == "list" and refusals else None
    async with client_of(server) as client:
        await upload(client)
    assert (3, 2, 1) == (server.requests["list"], server.bodies, len(server.made))


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_list_that_is_refused_leaves_it_uncertain(misbehaving, client_of, status):
    server = misbehaving(LOST)
    server.on_get = lambda kind, _: http(status) if kind == "list" else None
    async with client_of(server) as client:
        error = await uncertain(client)
    assert ("talk.mp3", len(SMALL), ()) == (error.source_name, error.size, error.candidates)
    assert f"the list of tasks cannot be read (GET {server.url}/transcriptions: {status}" in str(error)
    assert isinstance(error.__cause__, ApiConnectionError)
    assert 1 == server.bodies


async def test_an_entry_of_the_list_that_cannot_be_read_may_be_ours(misbehaving, client_of):
    server = misbehaving(LOST)
    odd = {"items": [{"status": "queued"}, {"task_id": "t", "status": "failed"}]}
    server.on_get = lambda kind, _: http(200, odd) if kind == "list" else None
    async with client_of(server) as client:
        await uncertain(client)
    assert 1 == server.bodies


async def test_a_list_that_goes_from_old_to_new_is_read_to_its_end(misbehaving, client_of):
    """An old task on its first page is no sign that all later ones are old."""
    server = misbehaving()
    async with client_of(server) as client:
        for number in range(3):
            await upload(client, b"ID3 %d" % number)
        page = server.page_of
        server.page_of = lambda tasks, first, size: page(tasks[::-1], first, min(size, 2))
        server.steps.append(LOST)
        assert "task-4" == (await upload(client)).task_id
    assert 4 == server.bodies


# -- options


def list_without_options(server):
    """The list shows ids and statuses alone."""
    page, names = server.page_of, ("task_id", "status")
    server.page_of = lambda *which: [{name: task[name] for name in names} for task in page(*which)]


@pytest.mark.parametrize("hidden", [False, True], ids=["in the list", "in the task alone"])
async def test_the_same_file_with_other_options_is_not_adopted(misbehaving, client_of, hidden):
    """Another client has it translated to English. Ours was to be Russian, and may be there or not: it stays open."""
    server = misbehaving(NOT_MADE)
    server.add(SMALL, "talk.mp3", output_language="en")
    if hidden:
        list_without_options(server)
    async with client_of(server) as client:
        error = await uncertain(client, output_language="ru")
    assert (["task-1"], 1) == ([task.task_id for task in error.candidates], server.bodies)


@pytest.mark.parametrize("hidden", [False, True], ids=["in the list", "in the task alone"])
async def test_the_same_file_with_our_options_is(misbehaving, client_of, hidden):
    server = misbehaving(LOST)
    server.add(SMALL, "talk.mp3", output_language="en")
    if hidden:
        list_without_options(server)
    async with client_of(server) as client:
        task = await upload(client, output_language="ru", model="fast")
    assert ("task-2", 1) == (task.task_id, server.bodies)


async def test_one_file_with_two_languages_at_once_has_a_task_of_each(misbehaving, client_of):
    server = misbehaving(LOST, LOST)
    tasks = {}

    async def one(language):
        tasks[language] = await upload(client, output_language=language)

    async with client_of(server) as client, anyio.create_task_group() as group:
        for language in ("ru", "en"):
            group.start_soon(one, language)
    made = {made.id: made.fields["output_language"] for made in server.made}
    assert {"ru": "ru", "en": "en"} == {language: made[task.task_id] for language, task in tasks.items()}
    assert 2 == server.bodies


# -- URLs


URL = "https://user:secret@media.example/latest.mp3?signature=secret"


async def test_a_url_is_found_where_a_task_of_our_own_shows_the_services_clock(misbehaving, client_of):
    server = misbehaving()
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.steps.append(LOST)
        assert "task-2" == (await client.transcriptions.from_url(URL)).task_id
    assert 2 == len(server.made)


async def test_the_same_url_an_hour_ago_may_have_been_another_recording(misbehaving, client_of):
    server = misbehaving()
    server.shows = partial(local_times, hours=1)
    async with client_of(server) as client:
        await upload(client, *KNOWN[::-1])
        server.add(None, "latest.mp3", created=time.time() - HOUR + 60, url=URL)
        server.steps.append(NOT_MADE)
        with pytest.raises(SubmissionUncertainError) as caught:
            await client.transcriptions.from_url(URL)
    assert ["task-2"] == [task.task_id for task in caught.value.candidates]
    assert "secret" not in str(caught.value)
    assert "https://media.example/latest.mp3 may or may not have been accepted" in str(caught.value)
    assert 2 == server.bodies


# -- outages


@pytest.mark.parametrize("failure", [PAGE, http(200, b"<html>Sign in", Content_Type="text/html"), Step(then=RESET)])
@pytest.mark.parametrize("step", [LOST, NOT_MADE, Step(answer=PAGE)], ids=["made", "not made", "a page"])
async def test_a_front_that_is_down_for_a_while_costs_nothing(misbehaving, client_of, passing_time, step, failure):
    server = misbehaving(step)
    began = sum(passing_time.sleep)
    server.on_get = lambda *_: failure if sum(passing_time.sleep) < began + 30 else None
    async with client_of(server) as client:
        assert SMALL == made_from(server, await upload(client))
    assert 1 == len(server.made)


async def test_nothing_new_is_sent_while_the_service_is_down(misbehaving, client_of, passing_time, caplog):
    server = misbehaving(LOST)
    heads = []

    def on_get(*_):
        is_down = sum(passing_time.sleep) < 60
        if is_down and "cannot be reached" in caplog.text:
            heads.append(server.heads)
        return PAGE if is_down else None

    async def another():
        while not heads:  # at first nobody knows that it is more than one failure
            await anyio.sleep(0.001)
        await upload(client, OTHER)

    server.on_get = on_get
    async with client_of(server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(another)
        await upload(client)
    assert {1} == set(heads)
    assert [SMALL, OTHER] == [made.media for made in server.made]


async def test_a_service_that_stays_down_leaves_it_uncertain_with_what_it_says(misbehaving, client_of, passing_time):
    server = misbehaving(LOST)
    server.on_get = lambda *_: PAGE
    async with client_of(server) as client:
        error = await uncertain(client)
    assert "the service could not be reached for 120 s" in str(error)
    assert "Down for maintenance" in str(error)
    assert isinstance(error.__cause__, ServiceUnavailableError)
    assert 110 <= sum(passing_time.sleep) < 150


async def test_many_callers_do_not_wait_for_a_dead_service_one_after_the_other(misbehaving, client_of, passing_time):
    server = misbehaving(*[LOST] * 10)
    server.on_get = lambda *_: PAGE
    async with client_of(server) as client:
        outcomes = await together(client, [(f"{number}.mp3", b"ID3 %d" % number) for number in range(10)])
    assert all(isinstance(outcome, SubmissionUncertainError) for outcome in outcomes)
    assert 3 * 150 > sum(passing_time.sleep)


# -- cancelled


# -- the media and the way of its bytes


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


async def test_a_stream_that_can_be_read_once_is_never_sent_again_with_an_empty_body(misbehaving, client_of):
    server = misbehaving(Step(reads="in the middle of the body", then=RESET))
    async with client_of(server) as client:
        with pytest.raises(ApiConnectionError) as caught:
            await client.transcriptions.upload(pieces(LARGE), name="a.mp3")
    assert (False, 1, 0) == (caught.value.maybe_sent, server.heads, len(server.made))


async def test_media_that_breaks_midway_is_no_retry_and_starts_nothing(misbehaving, client_of):
    async def chunks():
        yield SMALL
        raise OSError("the microphone was unplugged")

    server = misbehaving()
    async with client_of(server) as client:
        with pytest.raises(OSError, match="unplugged"):
            await client.transcriptions.upload(chunks(), name="a.mp3")
        with pytest.raises(MediaError, match="ended after"):
            await client.transcriptions.upload(iter([SMALL]), name="a.mp3", size=1000)
    assert (0, []) == (server.bodies, server.made)
    assert 2 >= server.heads


async def test_progress_starts_from_zero_again_when_an_upload_is_retried(misbehaving, client_of):
    server = misbehaving(Step(reads=ALMOST, then=RESET))
    seen = []
    async with client_of(server) as client:
        await upload(client, LARGE, on_progress=lambda *numbers: seen.append(numbers))
    sent = [done for done, _ in seen]
    assert (2, len(LARGE)) == (sent.count(0), sent[-1])
    assert {len(LARGE)} == {total for _, total in seen}


ALIKE = (
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.InvalidURL("no URL"),
    httpcore.ReadError("reset"),
    httpcore.WriteError("reset"),
    httpcore.ConnectionNotAvailable(),
    UnicodeError("no text"),
    RateLimitError("too many", status_code=429),
    ServerError("down", status_code=503),
    OSError("gone"),
)


@pytest.mark.parametrize("error", ALIKE, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("client_is", ["ours", "the caller's"])
async def test_what_the_callers_own_code_raises_is_no_failure_of_the_call(misbehaving, client_of, error, at, client_is):
    """It is raised as it is, and the file is not sent again for it."""

    def on_progress(done, _):
        if (done > 0) == at:
            raise error

    async def source():
        if at:
            yield LARGE[: 1 << 20]
        raise error

    server = misbehaving()
    async with httpx.AsyncClient() as own:
        client = client_of(server, **({} if client_is == "ours" else {"http_client": own}))
        async with client:
            for attempt in (
                upload(client, LARGE, on_progress=on_progress),
                client.transcriptions.upload(source(), name="a.mp3"),
            ):
                with pytest.raises(type(error)) as caught, anyio.fail_after(5):
                    await attempt
                assert caught.value is error
    assert server.heads <= 2
    assert [] == server.made


class FileThatBreaks(io.BytesIO):
    """A file that could be read again, whose reads fail as a service does."""

    def read(self, size=-1):
        if size > 1 << 16:  # what is read to be sent, and not to learn its kind
            raise ServerError("down", status_code=503)
        return super().read(size)


async def test_a_file_whose_first_read_fails_like_the_service_is_read_once(misbehaving, client_of, passing_time):
    server = misbehaving()
    async with client_of(server) as client:
        with pytest.raises(ServerError, match="down"):
            await client.transcriptions.upload(FileThatBreaks(LARGE))
    assert (0, 0) == (server.bodies, len(passing_time.sleep))


# -- early answers


EARLY = {
    "100 and 413": b"HTTP/1.1 100 Continue\r\n\r\n" + http(413, {"detail": "too large"}),
    "102 twice and 401": b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + http(401),
    "302": http(302, Location="https://login.example/"),
    "303": http(303, Location="/elsewhere"),
    "400 in two parts": http(400, {"detail": "no audio"}),
}


@pytest.mark.parametrize("what", EARLY)
async def test_an_early_refusal_ends_the_upload(misbehaving, client_of, what):
    """The rest of 9 MiB is not sent: the server goes on reading, and is left."""
    server = misbehaving(Step(reads="after the head", answer=EARLY[what], then=DRAIN))
    async with client_of(server) as client:
        with pytest.raises(ApiStatusError):
            await upload(client, LARGE)
    assert (1, 0) == (server.heads, server.bodies)


async def test_a_task_that_an_early_answer_names_is_the_task_though_the_rest_is_not_taken(misbehaving, client_of):
    step = Step(
        reads="in the middle of the body",
        makes=True,
        answer=lambda task_id: b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, {"task_id": task_id}),
        then=SILENCE,
    )
    server = misbehaving(step)
    async with client_of(server, timeout=0.25) as client:
        assert "task-1" == (await upload(client, LARGE)).task_id
    assert (1, 1) == (server.heads, len(server.made))


def accepting_early(then=DRAIN):
    return Step(reads="after the head", makes=True, answer=lambda task_id: http(200, {"task_id": task_id}), then=then)


async def breaking_off(server):
    """Media whose source fails when the service has accepted it."""
    yield LARGE[:1000]
    while not server.answered:
        await anyio.sleep(0.001)
    raise OSError("the microphone was unplugged")


@pytest.mark.parametrize("size", [None, len(LARGE)])
async def test_a_task_that_an_early_answer_names_is_the_task_though_the_source_fails(misbehaving, client_of, size):
    server = misbehaving(accepting_early())
    async with client_of(server) as client:
        task = await client.transcriptions.upload(breaking_off(server), name="a.mp3", size=size)
        assert "words" == (await client.transcriptions.result(task)).text
    assert ("task-1", 1, 1) == (task.task_id, server.heads, len(server.made))


async def test_an_early_task_whose_call_is_cancelled_stays_on_record(misbehaving, client_of, tmp_path):
    server = misbehaving(accepting_early(SILENCE))
    async with client_of(server) as client:
        with anyio.move_on_after(30) as scope:
            async with (
                client.batch([("a.mp3", LARGE)], journal=tmp_path / "journal.db") as outcomes,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(anext, outcomes)
                while {"a.mp3": "left"} != states(tmp_path / "journal.db"):
                    await anyio.sleep(0.01)
                scope.cancel()
    assert scope.cancelled_caught
    assert {"a.mp3": "left"} == states(tmp_path / "journal.db")


# -- errors that tell what to do


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("call", ["upload", "from_url", "get", "list"])
async def test_a_redirect_to_another_host_says_to_set_base_url(misbehaving, client_of, status, call):
    """The apex to www, http to https: the key is not sent there, and is not called wrong."""
    paths = {"upload": "/upload", "from_url": "/from-url", "get": "/task-1", "list": ""}
    answer = http(status, Location=f"https://www.example.com/api/v1/transcriptions{paths[call]}")
    server = misbehaving(Step(answer=answer, then=KEEP))
    server.on_get = lambda *_: answer
    async with client_of(server) as client:
        calls = {
            "upload": lambda: upload(client),
            "from_url": lambda: client.transcriptions.from_url(URL),
            "get": lambda: client.transcriptions.get("task-1"),
            "list": client.transcriptions.with_raw_response.list,
        }
        with pytest.raises(
            RedirectError, match=r"the key is not sent: set base_url to https://www\.example\.com/api/v1,"
        ):
            await calls[call]()
    assert 1 == server.requests.total()


@pytest.mark.parametrize("status", [307, 308])
async def test_a_circle_of_redirects_sends_the_file_round_once(misbehaving, client_of, status):
    path = "/api/v1/transcriptions/upload"
    steps = [Step(answer=http(status, Location=f"{path}{end}"), then=KEEP) for end in ("/", "", "/", "")]
    server = misbehaving(*steps)
    async with client_of(server) as client:
        with pytest.raises(RedirectError, match=r"the redirects do not end .*check base_url"):
            await upload(client)
    assert 2 == server.bodies


PROXIES_SAY = {
    "413 in HTML": (
        http(
            413, b"<html><title>413 Request Entity Too Large</title></html>", Content_Type="text/html", Server="nginx"
        ),
        BadRequestError,
        r"413 Request Entity Too Large \(text/html, Server: nginx\)",
    ),
    "400 without a certificate": (
        http(400, b"<title>400 No required SSL certificate was sent</title>", Content_Type="text/html", Server="nginx"),
        BadRequestError,
        r"400 No required SSL certificate was sent",
    ),
    "401 of a gateway": (
        http(401, b"<html><body><h1>Corporate gateway</h1>log in</body>", Content_Type="text/html", Server="squid"),
        AuthenticationError,
        r"Corporate gateway log in \(text/html, Server: squid\)",
    ),
    "403 in plain text": (
        http(403, b"Blocked by policy 17\nsecond line", Content_Type="text/plain", Server="envoy"),
        PermissionDeniedError,
        r"403 Blocked by policy 17 \(text/plain, Server: envoy\)",
    ),
}


@pytest.mark.parametrize("what", PROXIES_SAY)
async def test_what_a_proxy_says_is_shown(misbehaving, client_of, what):
    answer, cls, words = PROXIES_SAY[what]
    server = misbehaving(Step(answer=answer, then=KEEP))
    async with client_of(server) as client:
        with pytest.raises(cls, match=words):
            await upload(client)
    assert 1 == server.bodies


async def test_a_page_in_the_place_of_an_answer_is_shown_by_its_title(misbehaving, client_of):
    page = http(200, b"<html><title>Sign in to Wi-Fi</title></html>", Content_Type="text/html", Server="portal")
    server = misbehaving(Step(answer=page, then=KEEP))
    async with client_of(server, max_retries=0) as client:
        with pytest.raises(ResponseDecodeError, match=r'a web page, "Sign in to Wi-Fi" \(text/html, Server: portal\)'):
            await upload(client)
        server.on_get = lambda *_: page
        with pytest.raises(ResponseDecodeError, match="Sign in to Wi-Fi"):
            await client.transcriptions.get("task-1")


# -- after the start


AFTER_THE_START = {
    "502 on the result": ("result", http(502), ServerError),
    "404 on the result": ("result", http(404), NotFoundError),
    "a page as the result": ("result", http(200, b"<html>", Content_Type="text/html"), ResponseDecodeError),
    "a closed connection": ("result", Step(then=CLOSE), ApiConnectionError),
    "404 on the task": ("get", http(404), NotFoundError),
    "401 on the task": ("get", http(401), AuthenticationError),
    "a redirect of the task": ("get", http(302, Location="https://login.example/"), RedirectError),
}


@pytest.mark.parametrize("what", AFTER_THE_START)
@pytest.mark.parametrize("source", [("talk.mp3", SMALL), "https://media.example/talk.mp3"], ids=["a file", "a URL"])
async def test_an_error_after_the_start_carries_the_task(misbehaving, client_of, passing_time, what, source):
    """It was paid for: it can be waited for and fetched."""
    call, answer, cls = AFTER_THE_START[what]
    server = misbehaving()
    server.shows = lambda task: {**task, "status": "completed"}

    def on_get(kind, _):
        # A result may be missing for a while just after the end.
        return answer if kind == call else None

    server.on_get = on_get
    # A 404 has to last for a minute of this clock.
    schedule = PollSchedule(min_interval=0.05, max_interval=0.1)
    runtime = attrs.evolve(passing_time, monotonic=lambda: 200 * anyio.current_time(), poll_schedule=schedule)
    async with client_of(server, runtime=runtime) as client:
        with pytest.raises(cls) as caught:
            await client.transcribe(source)
        assert "task-1" == caught.value.task.task_id
        server.on_get = lambda *_: None
        assert "words" == (await client.transcriptions.result(caught.value.task)).text
    assert 1 == len(server.made)
