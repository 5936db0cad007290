"""What a service shows and is not so: late tasks, old answers, half sources, wrong times. Nothing is paid for twice.

Each world in virtual time has the same end: every file was started once, what a client got was made from its own bytes,
and what cannot be known is said to be uncertain.
"""

import itertools
import math
from collections import Counter
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel
import httpx
import pytest
from virtual import StubService, in_virtual_time

from polyglot_async import ResponseDecodeError, SubmissionUncertainError

BLOCK = 64 << 10


def media(number, size=300_000):
    return (b"%06d" % number * (size // 6 + 1))[:size]


def transcribe_all(service, sources, *, own_first=2):
    """Transcribe some sources after others whose answers are not disturbed; return a task or an error for each."""
    ended = {}

    async def main():
        async with service.client(max_retries=2) as client:
            service.disturbed = not own_first

            async def transcribe(number, source):
                try:
                    ended[number] = await client.transcriptions.wait(await client.transcriptions.upload(source))
                except SubmissionUncertainError as error:
                    ended[number] = error

            for part in (range(own_first), range(own_first, len(sources))):
                async with anyio.create_task_group() as group:
                    for number in part:  # two at once are waited for by the list, which shows how prompt it is
                        group.start_soon(transcribe, number, sources[number])
                service.disturbed = True

    in_virtual_time(main)
    for number, source in enumerate(sources):
        task = ended[number]
        if not isinstance(task, Exception):
            assert source == service.tasks[task.task_id].media, "words of another recording"
    twice = {content[:6]: count for content, count in Counter(t.media for t in service.tasks.values()).items()}
    assert 1 >= max((twice[source[:6]] for source in sources if source[:6] in twice), default=0), "paid for twice"
    return [ended[number] for number in range(len(sources))]


class LosingService(StubService):
    """Loses the answer to each upload once it is `disturbed`: the first time that the bytes come."""

    def __init__(self, *arguments, accepts=True, answer=None, **options):
        super().__init__(*arguments, **options)
        self.disturbed = False
        self.accepts, self.answer = accepts, answer or (lambda: httpx.ReadError("connection lost"))
        self.lost = set()
        self.after = self.lose

    def start(self, name="a.mp3", media=b"", fields=None):
        if self.disturbed and media not in self.lost and not self.accepts:
            self.lost.add(media)
            return None
        return super().start(name, media, fields)

    def lose(self, call, _, answer):
        if call != "upload" or not self.disturbed:
            return answer
        if answer is None:
            return self.answer()
        newest = self.tasks[self.order[0]].media
        if newest in self.lost:
            return answer
        self.lost.add(newest)
        return self.answer()


def hide_late_tasks(service, seconds):
    """Have the list and the sources lack tasks of lost answers for so long, as if they came that much later."""

    def is_there(task_id):
        task = service.tasks[task_id]
        return task.media not in service.lost or task.began + seconds <= anyio.current_time()

    service.page = lambda ids, first, size: itertools.islice(filter(is_there, ids), first, first + size)
    service.hook = lambda call, request: (
        httpx.Response(404, json={"detail": "no such task"})
        if call in {"get", "source"} and not is_there(request.url.path.split("/")[4])
        else None
    )


@pytest.mark.parametrize("own_first", [0, 2])
@pytest.mark.parametrize("seconds", [5, 15, 50])
def test_a_task_that_comes_long_after_its_connection_broke_is_found(seconds, own_first):
    service = LosingService()
    hide_late_tasks(service, seconds)
    ended = transcribe_all(service, [media(number) for number in range(3)], own_first=own_first)
    assert [] == [error for error in ended if isinstance(error, Exception)]


def test_what_a_proxy_waited_a_minute_for_may_come_two_minutes_later():
    async def slow_timeout(call, _, answer):
        if call == "upload" and service.disturbed and service.tasks[service.order[0]].media not in service.lost:
            service.lost.add(service.tasks[service.order[0]].media)
            await anyio.sleep(60)
            return httpx.Response(504, html="<html>Gateway Timeout</html>")
        return answer

    service = LosingService()
    service.after = slow_timeout
    hide_late_tasks(service, 60 + 110)
    ended = transcribe_all(service, [media(number) for number in range(3)])
    assert [] == [error for error in ended if isinstance(error, Exception)]


@pytest.mark.parametrize("accepts", [True, False])
def test_an_answer_that_names_a_task_of_other_media_is_not_taken(accepts):
    service = LosingService(accepts=accepts)
    first = httpx.Response(200, json={"task_id": "task-1", "status": "queued"})
    service.answer = lambda: first
    ended = transcribe_all(service, [media(number) for number in range(3)])
    assert [] == [error for error in ended if isinstance(error, Exception)]


@pytest.mark.parametrize("accepts", [True, False])
def test_an_answer_that_names_an_older_task_of_others_is_not_taken(accepts):
    service = LosingService(accepts=accepts)
    service.answer = lambda: httpx.Response(200, json={"task_id": "task-1", "status": "queued"})
    ended = []

    async def main():
        service.start("old.mp3", media(9))
        await anyio.sleep(100)
        async with service.client() as client:
            for number in range(3):  # the first ones show that the service keeps what it was sent
                service.disturbed = number == 2
                async with client.batch([media(number)]) as outcomes:
                    ended.extend([outcome.task async for outcome in outcomes])

    in_virtual_time(main)
    assert [True] * 3 == [media(number) == service.tasks[task.task_id].media for number, task in enumerate(ended)]
    assert {1} == set(service.starts.values())


def test_a_service_may_answer_with_the_task_that_it_has_of_the_same_media():
    service = StubService()
    ended = []

    async def main():
        service.start("old.mp3", media(1))
        service.hook = lambda call, _: (
            httpx.Response(200, json={"task_id": "task-1", "status": "completed"}) if call == "upload" else None
        )
        await anyio.sleep(100)
        async with service.client() as client, client.batch([media(1), media(1)]) as outcomes:
            ended.extend([outcome.task async for outcome in outcomes])

    in_virtual_time(main)
    assert ["task-1", "task-1"] == [task.task_id for task in ended]
    assert 2 == service.calls["upload"]


def test_a_source_that_is_shown_in_part_until_the_end_rules_no_task_out():
    service = LosingService(lambda number: 10.0 if number < 3 else 600.0)

    def in_part(call, request):
        if call != "source":
            return None
        task = service.tasks[request.url.path.split("/")[4]]
        shown = task.media if task.public()["status"] == "completed" else task.media[: len(task.media) // 2]
        tail = shown[-BLOCK:]
        headers = {"content-range": f"bytes {len(shown) - len(tail)}-{len(shown) - 1}/{len(shown)}"}
        return httpx.Response(206, content=tail, headers=headers)

    service.hook = in_part
    *others, last = transcribe_all(service, [media(number) for number in range(3)])
    assert ["completed", "completed"] == [task.status for task in others]
    assert isinstance(last, SubmissionUncertainError), "its source is shown whole when it has long been asked for"


def dated(service, shift):
    """Have the service date tasks wrong: by so many hours, by their number."""

    def shown(task):
        began = datetime.fromisoformat(task["created_at"])
        return {**task, "created_at": (began + timedelta(hours=shift(int(task["task_id"][5:])))).isoformat()}

    service.shown = shown


@pytest.mark.parametrize("own_first", [0, 2])
@pytest.mark.parametrize(
    "shift", [lambda _: -72, lambda number: -2 * (number % 3 == 0), lambda number: -72 * (number % 3 == 0)]
)
def test_no_time_rules_out_the_very_bytes(shift, own_first):
    service = LosingService()
    dated(service, shift)
    ended = transcribe_all(service, [media(number) for number in range(3)], own_first=own_first)
    lost = ended[own_first:]
    assert lost == [one for one in lost if isinstance(one, SubmissionUncertainError) or one.status == "completed"]
    assert len(lost) == len(service.lost)


@pytest.mark.parametrize("tells_total", [True, False])
def test_a_new_task_may_stand_behind_all_finished_ones(tells_total):
    service = LosingService(lambda number: 10.0 if number <= 300 else 600.0)
    service.tells_total = tells_total

    def finished_first(ids, first, size):
        ends = sorted(ids, key=lambda task_id: service.tasks[task_id].ends > anyio.current_time())
        return ends[first : first + size]

    service.page = finished_first
    ended = []

    async def main():
        for number in range(300):
            service.start(f"old{number}.mp3", b"old %d" % number)
            await anyio.sleep(3600)
        service.disturbed = True
        async with service.client() as client:
            ended.append(await client.transcriptions.upload(media(1)))

    in_virtual_time(main)
    assert "task-301" == ended[0].task_id
    assert 1 == service.starts[media(1)]


def test_an_empty_page_that_names_a_next_one_is_no_end_of_the_list():
    service = LosingService()

    def by_cursor(call, request):
        if call != "list":
            return None
        number = int(request.url.params.get("cursor", "0"))
        ids = [[], [], list(service.order)][number]
        document = {"items": [service.tasks[task_id].public() for task_id in ids]}
        return httpx.Response(200, json={**document, **({"next_cursor": str(number + 1)} if number < 2 else {})})

    service.hook = by_cursor
    ended = transcribe_all(service, [media(number) for number in range(3)], own_first=0)
    assert [] == [error for error in ended if isinstance(error, Exception)]


class Drip(httpx.AsyncByteStream):
    """A body that never ends, a byte every 20 seconds."""

    async def __aiter__(self):
        while True:
            yield b"["
            await anyio.sleep(20)


@pytest.mark.parametrize("dripping", ["source", "list"])
def test_an_answer_that_never_ends_holds_up_nobody_for_ever(dripping):
    service = LosingService()
    service.hook = lambda call, _: httpx.Response(200, stream=Drip()) if call == dripping else None
    ended = transcribe_all(service, [media(number) for number in range(4)], own_first=0)
    assert all(isinstance(error, SubmissionUncertainError) for error in ended)


def test_two_editions_that_differ_in_a_second_of_sound_are_not_taken_for_each_other():
    plain = media(1, 3 << 20)
    at = (2 << 20) + BLOCK // 2
    beeped = plain[:at] + b"beep" + plain[at + 4 :]
    service = LosingService(accepts=True)
    service.start = lambda name="a.mp3", sent=b"", fields=None: (  # the plain one is never accepted at first
        LosingService.start(service, name, sent, fields)
        if sent == beeped or sent in service.lost or not service.disturbed
        else service.lost.add(sent)
    )
    ended = []

    async def main():
        async with service.client() as client:
            service.disturbed = True
            sources = [("plain.mp3", plain), ("beeped.mp3", beeped)]
            async with client.batch(sources) as outcomes:
                ended.extend([outcome async for outcome in outcomes])

    in_virtual_time(main)
    assert ["beeped.mp3", "plain.mp3"] == sorted(outcome.name for outcome in ended if outcome.ok)
    for outcome in ended:
        assert outcome.source[1] == service.tasks[outcome.task.task_id].media
    assert {1} == set(service.starts.values())


def test_old_answers_without_end_use_up_the_attempts():
    service = StubService()
    ended = []

    async def main():
        async with service.client(max_retries=2) as client:
            await client.transcriptions.upload(media(1))
            service.hook = lambda call, _: (
                httpx.Response(200, json={"task_id": "task-1", "status": "queued"}) if call == "upload" else None
            )
            with pytest.raises(ResponseDecodeError, match="task task-1, which was started before with other media"):
                await client.transcriptions.upload(media(2))
            ended.append(service.calls["upload"])

    in_virtual_time(main)
    assert [1 + 3] == ended


def test_an_old_answer_to_another_url_is_not_taken():
    service = StubService()
    first, second = (f"https://media.example/{name}.mp3" for name in "ab")
    ended = []

    async def main():
        async with service.client(max_retries=0) as client:
            task = await client.transcriptions.from_url(first)
            service.hook = lambda call, _: (
                httpx.Response(200, json={"task_id": task.task_id}) if call == "from_url" else None
            )
            ended.append(await client.transcriptions.from_url(first))
            with pytest.raises(ResponseDecodeError, match="started before with other media"):
                await client.transcriptions.from_url(second)

    in_virtual_time(main)
    assert ["task-1"] == [task.task_id for task in ended]


@pytest.mark.parametrize("seconds", [1, 8, 30])
def test_a_batch_that_is_run_again_soon_gives_a_late_task_its_time(tmp_path, seconds):
    service = LosingService()
    hide_late_tasks(service, 50)
    ended = []

    async def run(client, sources):
        async with client.batch(sources, journal=tmp_path / "journal.db") as outcomes:
            ended.extend([outcome async for outcome in outcomes])

    async def main():
        async with service.client() as client:
            await run(client, [media(0), media(1)])  # the list shows them soon
            service.disturbed = True
            with anyio.move_on_after(seconds):
                await run(client, [media(2)])
            await run(client, [media(2)])

    in_virtual_time(main)
    assert [True] * 3 == [outcome.ok for outcome in ended]
    assert {1} == set(service.starts.values())


class Endless(httpx.AsyncByteStream):
    """A body that never ends, as fast as it is read; counts its chunks."""

    def __init__(self):
        self.chunks = 0
        self.is_closed = False

    async def __aiter__(self):
        while not self.is_closed:
            self.chunks += 1
            yield bytes(BLOCK)
            await anyio.lowlevel.checkpoint()

    async def aclose(self):
        self.is_closed = True


def test_of_a_source_without_a_length_no_more_is_read_than_could_be_ours():
    service = LosingService()
    bodies = []

    def endless(call, _):
        if call != "source":
            return None
        bodies.append(Endless())
        return httpx.Response(200, stream=bodies[-1])

    service.hook = endless
    transcribe_all(service, [media(0, 3 * BLOCK)], own_first=0)
    assert bodies
    assert 3 + 2 >= max(body.chunks for body in bodies)


@pytest.mark.parametrize("where", ["first page", "second page"])
@pytest.mark.parametrize("options", [{"output_language": "ru"}, {"extra": {"diarize": "true"}}])
@pytest.mark.parametrize("as_batch", [True, False])
def test_an_older_task_of_the_same_file_is_not_taken_for_one_with_options(as_batch, options, where):
    """Nothing was accepted. What was made hours ago shows no options, as what was made without any does."""
    service = LosingService(accepts=False)
    ended = []

    async def main():
        service.start("old.mp3", media(1))
        for number in range(150 if where == "second page" else 10):
            service.start(f"other{number}.mp3", b"other %d" % number)
        await anyio.sleep(9 * 3600)
        service.disturbed = True
        async with service.client() as client:
            if as_batch:
                async with client.batch([media(1)], **options) as outcomes:
                    ended.extend([outcome.task or outcome.error async for outcome in outcomes])
                return
            try:
                ended.append(await client.transcriptions.upload(media(1), **options))
            except SubmissionUncertainError as error:
                ended.append(error)

    in_virtual_time(main)
    (one,) = ended
    assert isinstance(one, SubmissionUncertainError) or one.task_id != "task-1"
    assert 2 >= service.starts[media(1)], "the old one, and one of ours at most"


@pytest.mark.parametrize(("timeout", "seconds"), [(10, 75), (30, 100), (60, 200), (60, 290)])
def test_a_slow_service_goes_on_after_we_gave_up(timeout, seconds):
    """Its answer would come so many seconds after the body."""
    service = LosingService()
    hide_late_tasks(service, seconds)

    async def give_up(call, request, answer):
        answer = service.lose(call, request, answer)
        if isinstance(answer, Exception):
            await anyio.sleep(timeout)
        return answer

    service.after, service.answer = give_up, lambda: httpx.ReadTimeout("no answer")
    ended = transcribe_all(service, [media(number) for number in range(3)])
    assert [] == [error for error in ended if isinstance(error, Exception)]


@pytest.mark.parametrize("seconds", [70, 100])
def test_a_batch_that_is_interrupted_while_it_looks_goes_on_looking_when_it_is_run_again(tmp_path, seconds):
    service = LosingService(answer=lambda: httpx.Response(504, html="<html>Gateway Timeout</html>"))
    hide_late_tasks(service, 150)
    ended = []

    async def main():
        service.disturbed = True
        async with service.client() as client:
            for patience in (seconds, math.inf):
                with anyio.move_on_after(patience):
                    async with client.batch([media(2)], journal=tmp_path / "journal.db") as outcomes:
                        ended.extend([outcome async for outcome in outcomes])

    in_virtual_time(main)
    assert [True] == [outcome.ok for outcome in ended]
    assert {1} == set(service.starts.values())


@pytest.mark.parametrize("patience", [(1, 5), (1, 5, 5), (1, 30, 70)])
def test_what_was_found_for_a_run_that_was_interrupted_is_found_again(tmp_path, patience):
    """One of two lost submissions was accepted: it is found by the first look, and the other one needs more."""
    service = LosingService()
    start = service.start
    service.start = lambda name="a.mp3", sent=b"", fields=None: (
        start(name, sent, fields) if sent == media(0) or sent in service.lost else service.lost.add(sent)
    )
    ended = []

    async def hang(call, request, answer):
        answer = service.lose(call, request, answer)
        if isinstance(answer, Exception):
            await anyio.sleep(5)
        return answer

    service.after = hang

    async def main():
        service.disturbed = True
        async with service.client() as client:
            for seconds in (*patience, math.inf):
                with anyio.move_on_after(seconds):
                    async with client.batch([media(0), media(1)], journal=tmp_path / "journal.db") as outcomes:
                        async for outcome in outcomes:
                            ended.append(outcome)  # noqa: PERF401 - it may be cancelled on the way

    in_virtual_time(main)
    assert [True, True] == [outcome.ok for outcome in ended]
    assert {media(0): 1, media(1): 1} == dict(service.starts)


def lose_after(service, *delays):
    """Lose the answers to the uploads after the first two, each so many seconds after it was accepted."""
    seconds = iter(delays)

    async def after(call, _, answer):
        if call == "upload" and service.calls["upload"] > 2 and (delay := next(seconds, None)) is not None:
            await anyio.sleep(delay)
            return httpx.Response(504, html="<html>Gateway Timeout</html>")
        return answer

    service.after = after
    service.shown = lambda task: {"output_language": None, **task}


@pytest.mark.parametrize("delays", [(5, 30), (30, 5), (5, 6)])
def test_equal_media_whose_answers_are_lost_one_after_the_other_have_a_task_each(delays):
    """The newest task is the second one's, whose answer may come yet when the first one's is looked for."""
    service = StubService(lambda _: 600.0)
    lose_after(service, *delays)
    ended = []

    async def main():
        async with service.client() as client:
            own = [await client.transcriptions.upload(media(number)) for number in (8, 9)]

            async def upload(seconds):
                await anyio.sleep(seconds)
                ended.append(await client.transcriptions.upload(media(1)))

            async def read_the_list():
                with anyio.move_on_after(400):
                    async with anyio.create_task_group() as waits:
                        for task in own:
                            waits.start_soon(client.transcriptions.wait, task)

            async with anyio.create_task_group() as group:
                group.start_soon(read_the_list)
                group.start_soon(upload, 1)
                group.start_soon(upload, 4)

    in_virtual_time(main)
    assert ["task-3", "task-4"] == sorted(task.task_id for task in ended)
    assert 2 == service.starts[media(1)]


def test_a_newer_task_with_a_translation_that_was_not_asked_for_hides_no_task_of_ours():
    service = StubService(lambda _: 600.0)
    lose_after(service, 4)
    ended = []

    async def main():
        async with service.client() as client:
            for number in (8, 9):
                await client.transcriptions.upload(media(number))

            async def on_the_site():
                await anyio.sleep(3)
                service.start("site.mp3", media(1), {"output_language": "ru"})

            async with anyio.create_task_group() as group:
                group.start_soon(on_the_site)
                ended.append(await client.transcriptions.upload(media(1)))

    in_virtual_time(main)
    assert ["task-3"] == [task.task_id for task in ended]


def test_who_waits_for_an_answer_goes_on_looking_when_those_before_it_are_cancelled_together():
    ended = []

    async def main():
        service = LosingService(accepts=False)
        service.disturbed = True
        async with service.client() as client:

            async def upload(number):
                await anyio.sleep(number / 10)
                ended.append((await client.transcriptions.upload(media(number))).task_id)

            async def two_that_give_up():
                with anyio.move_on_after(5):
                    async with anyio.create_task_group() as group:
                        group.start_soon(upload, 0)
                        group.start_soon(upload, 1)

            with anyio.fail_after(3600):
                async with anyio.create_task_group() as group:
                    group.start_soon(two_that_give_up)
                    group.start_soon(upload, 2)

    for _ in range(5):
        in_virtual_time(main)
    assert 5 == len(ended)


def test_a_translation_that_only_the_task_itself_shows_is_not_taken_for_a_plain_transcript():
    """Nothing was accepted. The list does not show with which options the same file was transcribed hours ago."""
    service = LosingService(accepts=False)
    service.hook = lambda call, _: (
        httpx.Response(
            200,
            json=[
                {name: value for name, value in service.tasks[task_id].public().items() if name != "output_language"}
                for task_id in service.order
            ],
        )
        if call == "list"
        else None
    )
    ended = []

    async def main():
        service.start("old.mp3", media(1), {"output_language": "ru"})
        await anyio.sleep(9 * 3600)
        service.disturbed = True
        async with service.client() as client:
            try:
                ended.append((await client.transcriptions.upload(media(1))).task_id)
            except SubmissionUncertainError as error:
                ended.append([task.task_id for task in error.candidates])

    in_virtual_time(main)
    assert ended in (["task-2"], [["task-1"]])
