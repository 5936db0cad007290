"""The list of tasks, however the service pages it (A4): everything once, nothing asked in vain, never a loop."""

import itertools
import json
from urllib.parse import parse_qsl

import pytest

from polyglot_async import ResponseDecodeError

pytestmark = pytest.mark.anyio


def tasks(start, stop):
    return [{"task_id": f"t{number}", "status": "queued"} for number in range(start, stop)]


def names(start, stop):
    return [f"t{number}" for number in range(start, stop)]


@pytest.fixture
def listing(serve, connect):
    """Iterates over what a service answers, given as a function of the query's parameters."""

    def listing(answer, **options):
        def respond(asked):
            return 200, {"Content-Type": "application/json"}, json.dumps(answer(dict(parse_qsl(asked.query)))).encode()

        server = serve(respond)

        async def collect():
            async with connect(base_url=server.url) as client:
                return [task.task_id async for task in client.transcriptions.list(**options)]

        return collect, server

    return listing


@pytest.fixture
def many(sandbox):
    """Puts tasks into the sandbox, each newer than the one before; returns their ids, newest first."""
    moment = itertools.count(1_000_000)

    def many(count):
        made = [sandbox.put_source(b"", name=f"{number}.mp3", created_at=next(moment)) for number in range(count)]
        return made[::-1]

    return many


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (99, 1), (100, 1), (101, 2), (350, 4)])
async def test_all_tasks_come_once_and_in_order_with_as_few_requests_as_there_are_pages(
    sandbox, client, many, count, requests
):
    ids = many(count)
    assert ids == [task.task_id async for task in client.transcriptions.list()]
    assert requests == sandbox.ledger.count()


async def test_the_list_comes_page_by_page_too_and_can_be_iterated_again(sandbox, client, many):
    ids = many(45)
    listing = client.transcriptions.list(page_size=20)
    assert 0 == sandbox.ledger.count(), "nothing is asked before it is iterated"
    for _ in range(2):
        pages = [page async for page in listing.pages()]
        assert [20, 20, 5] == [len(page.items) for page in pages]
        assert ids == [task.task_id for page in pages for task in page.items]
        assert {45} == {page.total for page in pages}


async def test_breaking_off_early_asks_for_no_further_page_and_leaves_nothing_open(sandbox, client, many):
    ids = many(300)
    async for task in client.transcriptions.list(page_size=50):
        if task.task_id == ids[60]:
            break
    assert 2 == sandbox.ledger.count()


async def test_filters_go_along_on_every_page(sandbox, client, many):
    many(120)
    assert 120 == len([task async for task in client.transcriptions.list(status="completed")])
    assert [] == [task async for task in client.transcriptions.list(status="failed")]
    assert all("status=" in entry.query for entry in sandbox.ledger.entries())


async def test_tasks_that_appear_while_the_list_is_read_shift_it_and_none_comes_twice(client, many):
    ids = many(100)
    seen = []
    async for task in client.transcriptions.list(page_size=30):
        if len(seen) in {10, 40}:
            many(7)
        seen.append(task.task_id)
    assert ids == seen


async def test_a_cap_below_the_size_asked_for_is_followed(listing):
    """The service gives 10 a page whatever is asked: a short page is not the last one."""
    collect, server = listing(lambda query: tasks(0, 35)[int(query.get("offset", 0)) :][:10])
    assert names(0, 35) == await collect()
    assert 5 == len(server.asked)


async def test_pages_of_any_sizes_are_read_to_an_empty_one(listing):
    """A page shorter than an earlier one is no end: filters and caps of the service cut them as they like."""
    sizes = iter([10, 9, 1, 9, 0])
    collect, server = listing(lambda query: tasks(0, 29)[int(query.get("offset", 0)) :][: next(sizes)])
    assert names(0, 29) == await collect()
    assert 5 == len(server.asked)


async def test_a_bare_array_without_paging_ends_after_it_repeats_itself(listing):
    collect, server = listing(lambda _: tasks(0, 7))
    assert names(0, 7) == await collect()
    assert 2 == len(server.asked)


@pytest.mark.parametrize("name", ["items", "tasks", "results", "transcriptions", "data"])
async def test_objects_may_hold_the_array_under_any_usual_name(listing, name):
    collect, server = listing(lambda query: {name: tasks(0, 7)[int(query.get("offset", 0)) :][:4], "total": 7})
    assert names(0, 7) == await collect()
    assert 2 == len(server.asked)


@pytest.mark.parametrize("key", ["next", "next_cursor"])
@pytest.mark.parametrize("link", ["https://elsewhere.example/list?after={}&limit=5", "/transcriptions?after={}"])
async def test_a_link_to_the_next_page_is_followed_on_our_own_server(listing, key, link):
    def answer(query):
        at = int(query.get("after", 0))
        return {"items": tasks(at, at + 5), key: link.format(at + 5) if at < 15 else None}

    collect, server = listing(answer)
    assert names(0, 20) == await collect()
    assert 4 == len(server.asked)


@pytest.mark.parametrize("cursor", ["opaque{}", "b3BhcXVl/{}==", "кириллица {}"])
async def test_an_opaque_cursor_is_sent_back_with_the_filters(listing, cursor):
    pages = {None: 0, **{cursor.format(number): number for number in range(1, 4)}}

    def answer(query):
        number = pages[query.get("cursor")]
        assert query["status"] == "failed"
        items = tasks(number * 3, number * 3 + 3)
        return {"items": items, **({"next_cursor": cursor.format(number + 1)} if number < 3 else {})}

    collect, server = listing(answer, status="failed", page_size=3)
    assert names(0, 12) == await collect()
    assert 4 == len(server.asked)
    assert all("limit=3" in asked.query for asked in server.asked), "a cursor does not drop the size of the pages"


async def test_pages_that_lead_in_a_circle_end(listing):
    def answer(query):
        at = int(query.get("after", 0)) % 3
        return {"items": tasks(at * 2, at * 2 + 2), "next": f"?after={at + 1}"}

    collect, server = listing(answer)
    assert names(0, 6) == await collect()
    assert 4 == len(server.asked)


async def test_a_page_that_leads_to_itself_ends(listing):
    collect, server = listing(lambda _: {"items": tasks(0, 2), "next_cursor": "same"})
    assert names(0, 2) == await collect()
    assert 2 == len(server.asked)


async def test_an_empty_page_with_a_next_is_no_end(listing):
    """What a role may not see is left out of a page, and the page is there all the same."""
    pages = [tasks(0, 2), [], [], tasks(2, 4)]

    def answer(query):
        at = int(query.get("after", 0))
        return {"items": pages[at], "next": f"?after={at + 1}" if at < 3 else None}

    collect, _ = listing(answer)
    assert names(0, 4) == await collect()


async def test_empty_pages_with_ever_new_cursors_end(listing):
    collect, server = listing(lambda query: {"items": [], "next": f"?after={int(query.get('after', 0)) + 1}"})
    assert [] == await collect()
    assert len(server.asked) < 50


async def test_a_task_that_stands_twice_on_one_page_comes_once(listing):
    collect, _ = listing(lambda query: [] if "offset" in query else [*tasks(0, 3), *tasks(1, 4)])
    assert names(0, 4) == await collect()


async def test_an_odd_entry_does_not_lose_the_others(listing):
    """Fields of an odd type are softened, and what is no task is skipped."""
    odd = [{"task_id": 17, "status": "COMPLETED", "confidence": "0.9"}, {"failure_reason": {}}, None, *tasks(0, 2)]
    collect, _ = listing(lambda query: {"items": [] if "offset" in query else odd})
    assert ["17", "t0", "t1"] == await collect()


@pytest.mark.parametrize("body", [{}, {"items": {}}, "text", None, 5], ids=str)
async def test_what_is_no_list_is_an_error_of_ours(listing, body):
    collect, _ = listing(lambda _: body)
    with pytest.raises(ResponseDecodeError):
        await collect()
