"""The stores of handled events."""

import multiprocessing
import sqlite3
import time

import anyio
import pytest

from polyglot_async import ConfigurationError, Runtime, webhooks
from polyglot_async.webhooks import DedupeState, MemoryDedupeStore, SqliteDedupeStore

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path, clock):
    return (
        MemoryDedupeStore()
        if request.param == "memory"
        else SqliteDedupeStore(tmp_path / "webhooks.db", runtime=Runtime(unix_time=clock))
    )


async def test_a_key_is_new_then_busy_then_done(store):
    assert await store.claim("a") is DedupeState.NEW
    assert await store.claim("a") is DedupeState.BUSY
    assert await store.claim("b") is DedupeState.NEW
    await store.confirm("a")
    assert await store.claim("a") is DedupeState.DONE
    assert await store.claim("b") is DedupeState.BUSY


async def test_a_key_that_is_given_back_is_new_again(store):
    await store.claim("a")
    await store.release("a")
    assert await store.claim("a") is DedupeState.NEW


async def test_what_is_done_cannot_be_given_back(store):
    await store.claim("a")
    await store.confirm("a")
    await store.release("a")
    assert await store.claim("a") is DedupeState.DONE


async def test_of_many_who_ask_at_once_one_gets_it(store):
    claims = []

    async def ask():
        claims.append(await store.claim("a"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert sorted(claim.name for claim in claims) == ["BUSY"] * 19 + ["NEW"]


async def test_of_many_who_ask_for_many_at_once_one_gets_each(tmp_path):
    stores, claims = [SqliteDedupeStore(tmp_path / "webhooks.db") for _ in range(8)], []
    await stores[0].claim("the table is there from now on")

    async def ask(store):
        claims.extend([await store.claim(str(number)) for number in range(25)])

    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(ask, store)
    assert claims.count(DedupeState.NEW) == 25
    assert claims.count(DedupeState.BUSY) == 7 * 25


async def test_memory_forgets_the_oldest_and_never_what_is_being_handled():
    store = MemoryDedupeStore(capacity=2)
    assert await store.claim("held") is DedupeState.NEW
    for key in "abc":
        await store.claim(key)
        await store.confirm(key)
    assert await store.claim("held") is DedupeState.BUSY
    assert await store.claim("b") is DedupeState.DONE  # and is the youngest now
    await store.claim("d")
    await store.confirm("d")
    assert [await store.claim(key) for key in "bcd"] == [DedupeState.DONE, DedupeState.NEW, DedupeState.DONE]


async def test_sqlite_remembers_after_a_restart(tmp_path):
    store = SqliteDedupeStore(tmp_path / "webhooks.db")
    await store.claim("a")
    await store.confirm("a")
    assert await SqliteDedupeStore(tmp_path / "webhooks.db").claim("a") is DedupeState.DONE


async def test_the_claim_of_a_process_that_died_expires(tmp_path, clock):
    path = tmp_path / "webhooks.db"
    dead, next_one = (
        SqliteDedupeStore(path, runtime=Runtime(unix_time=clock)),
        SqliteDedupeStore(path, runtime=Runtime(unix_time=clock), claim_seconds=60),
    )
    await dead.claim("a")
    clock.now += 59
    assert await next_one.claim("a") is DedupeState.BUSY
    clock.now += 1
    assert await next_one.claim("a") is DedupeState.NEW
    await dead.release("a")  # it was not dead, only slow: the claim is no longer its own
    assert await next_one.claim("a") is DedupeState.BUSY
    await dead.confirm("a")  # yet if it did the work, it is done
    assert await next_one.claim("a") is DedupeState.DONE


async def test_a_clock_that_was_set_back_does_not_block_a_key_for_ever(tmp_path, clock):
    store = SqliteDedupeStore(tmp_path / "webhooks.db", runtime=Runtime(unix_time=clock))
    await store.claim("a")
    clock.now -= 86_400
    assert await store.claim("a") is DedupeState.NEW


async def test_sqlite_forgets_after_a_time(tmp_path, clock):
    store = SqliteDedupeStore(tmp_path / "webhooks.db", runtime=Runtime(unix_time=clock), keep_seconds=100)
    for key in "ab":
        await store.claim(key)
        await store.confirm(key)
        clock.now += 80
    await store.claim("c")
    await store.confirm("c")
    assert [await store.claim(key) for key in "abc"] == [DedupeState.NEW, DedupeState.DONE, DedupeState.DONE]


async def test_sqlite_shares_its_file_with_other_tables(tmp_path):
    path = tmp_path / "mine.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE seen (x)")
    database.commit()
    database.close()
    assert await SqliteDedupeStore(str(path)).claim("a") is DedupeState.NEW


def _compete(path, start, won):
    store = SqliteDedupeStore(path)
    start.wait()
    claims = [store._claim(str(number)) for number in range(20)]
    won.put([number for number, claim in enumerate(claims) if claim is DedupeState.NEW])


async def test_of_several_processes_one_gets_each_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, won = context.Event(), context.Queue()
    path = str(tmp_path / "webhooks.db")
    processes = [context.Process(target=_compete, args=(path, start, won)) for _ in range(3)]

    def race():
        for process in processes:
            process.start()
        start.set()
        keys = [key for _ in processes for key in won.get(timeout=60)]
        for process in processes:
            process.join()
        return keys

    assert sorted(await anyio.to_thread.run_sync(race)) == list(range(20))


async def test_what_is_no_database_fails_as_sqlite_says(tmp_path):
    path = tmp_path / "webhooks.db"
    path.write_text("a diary, not a database " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        await SqliteDedupeStore(path).claim("a")
    with pytest.raises(sqlite3.OperationalError):
        await SqliteDedupeStore(tmp_path / "nowhere" / "webhooks.db").claim("a")


def test_impossible_stores_are_refused():
    for make in (lambda: MemoryDedupeStore(0), lambda: SqliteDedupeStore(":memory:"), lambda: SqliteDedupeStore("")):
        with pytest.raises(ConfigurationError):
            make()


async def test_a_store_is_quick_enough(tmp_path):
    store = SqliteDedupeStore(tmp_path / "webhooks.db")
    started = time.monotonic()
    for number in range(20):
        await store.claim(str(number))
        await store.confirm(str(number))
    assert time.monotonic() - started < 5


def test_both_stores_are_stores():
    stores: list[webhooks.DedupeStore] = [MemoryDedupeStore(), SqliteDedupeStore("webhooks.db")]
    assert all(callable(store.claim) for store in stores)
