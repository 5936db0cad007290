"""The journal's file: who may write it, what it takes for a journal, and what it survives."""

import contextlib
import os
import resource
import signal
import sqlite3
import threading
from contextlib import closing

import anyio
import pytest

from polyglot_async import JournalError
from polyglot_async._state.usage import Usage
from polyglot_async._state.journal import Entry, Place, State, locked_journal, read_journal

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend():
    """One loop but where it is said: the core ones run on both."""
    return "asyncio"


PLACE = Place(path="/a/talk.mp3", size=7, modified_ns=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.db"


@pytest.fixture
def journal(path, anyio_backend):
    with locked_journal(path) as journal:
        yield journal


def states(path):
    return {entry.key: entry.state for entry in read_journal(path)[0]}


async def test_an_item_goes_through_its_states_and_each_is_on_the_disk_at_once(journal, path):
    await journal.add("k", "talk.mp3", PLACE, "")
    assert {"k": State.NEW} == states(path)
    await journal.submitting("k", "talk.mp3")
    assert {"k": State.SUBMITTING} == states(path)
    await journal.uncertain("k", "the line went dead")
    assert {"k": State.UNCERTAIN} == states(path)
    await journal.running("k", "t-1")
    entry = await journal.entry("k")
    assert ("t-1", None, 1) == (entry.task_id, entry.error, entry.attempts)
    await journal.failed("k", "no speech")
    assert ("no speech", State.FAILED) == ((entry := await journal.entry("k")).error, entry.state)
    await journal.submitting("k", "talk.mp3")
    await journal.not_submitted("k")
    await journal.submitting("k", "talk.mp3")
    await journal.running("k", "t-2")
    await journal.done("k", ("/out/talk.srt",))
    [entry], _ = read_journal(path)
    assert isinstance(entry, Entry)
    assert (State.DONE, "t-2", 3, ("/out/talk.srt",), "/a/talk.mp3", 7) == (
        entry.state,
        entry.task_id,
        entry.attempts,
        entry.files,
        entry.path,
        entry.size,
    )
    assert entry.submitted_at <= entry.updated_at
    assert await journal.entry("another") is None


async def test_what_is_unsettled_bears_the_name_under_which_it_left(journal):
    """A renamed file, or one of two with the same content, is in the service's list under the name it was sent with."""
    await journal.add("k", "old.mp3", PLACE, "")
    await journal.submitting("k", "old.mp3")
    await journal.add("k", "new.mp3", None, "")
    assert ["old.mp3"] == [entry.name for entry in await journal.unsettled()]
    await journal.submitting("k", "new.mp3")
    assert ["new.mp3"] == [entry.name for entry in await journal.unsettled()]
    await journal.running("k", "t-1")
    assert ("new.mp3", None) == (await journal.name_of_task("t-1"), await journal.name_of_task("t-2"))


async def test_a_file_is_known_by_its_place_only_while_it_looks_the_same(journal):
    await journal.add("k", "talk.mp3", PLACE, "ru")
    assert "k" == await journal.key_at(PLACE, "ru")
    assert await journal.key_at(PLACE, "en") is None
    for change in ({"path": "/b/talk.mp3"}, {"size": 8}, {"modified_ns": 2}):
        other = Place(**{"path": PLACE.path, "size": 7, "modified_ns": 1, **change})
        assert await journal.key_at(other, "ru") is None


async def test_names_that_are_no_utf8_are_kept_as_they_are_sent(journal):
    await journal.add("k", os.fsdecode(b"t\xffalk.mp3"), None, "")
    await journal.submitting("k", os.fsdecode(b"t\xffalk.mp3"))
    await journal.failed("k", os.fsdecode(b"t\xffalk.mp3: no speech"))
    assert "t?alk.mp3" == (await journal.entry("k")).name


async def test_the_count_of_requests_is_kept_with_every_step(path, anyio_backend):
    usage = Usage("2026-05-24", 41, "2026-05", 99)
    with locked_journal(path) as journal:
        assert Usage() == await journal.usage()
        journal.keep_usage(lambda: usage)
        await journal.add("k", "a", None, "")
    with locked_journal(path) as journal:
        assert usage == await journal.usage()
        journal.keep_usage(Usage)
        await journal.save_usage()
    assert Usage() == read_journal(path)[1]


@on_both_loops
async def test_a_step_is_noted_even_if_its_caller_is_cancelled(anyio_backend, journal, path):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.add("k", "a", None, "")
    assert {"k": State.NEW} == states(path)


@on_both_loops
async def test_many_at_once_take_turns(anyio_backend, journal, path):
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(journal.add, f"k{number}", "a", None, "")
    assert 50 == len(states(path))


async def test_it_can_be_read_while_it_is_written(journal, path):
    failures, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                read_journal(path)
            except JournalError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(100):
            await journal.add(f"k{number}", "a", None, "")
    finally:
        stop.set()
        reader.join()
    assert [] == failures


HOLDER = """
import sys, time
from polyglot_async._state.journal import locked_journal
with locked_journal(sys.argv[1]):
    print("holding", flush=True)
    time.sleep(60)
"""


async def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(path, script, anyio_backend):
    holder = script(HOLDER, path)
    assert "holding\n" == holder.stdout.readline()
    with pytest.raises(JournalError, match="another batch is writing"), locked_journal(path):
        pass
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(JournalError, match="another batch"), locked_journal(link):
        pass
    read_journal(path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked_journal(path) as journal:
        await journal.add("k", "a", None, "")


async def test_a_second_batch_of_the_same_process_is_refused_too(journal, path):
    with pytest.raises(JournalError, match="another batch"), locked_journal(path):
        pass


@pytest.mark.parametrize("opener", [locked_journal, lambda path: contextlib.nullcontext(read_journal(path))])
class TestNotAJournal:
    def opens(self, opener, path, match):
        with pytest.raises(JournalError, match=match), opener(path):
            pass

    def test_one_of_a_newer_version(self, opener, path):
        with locked_journal(path):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 2")
        self.opens(opener, path, "newer version")

    def test_no_database(self, opener, path):
        path.write_bytes(b"this is my diary. " * 1000)
        self.opens(opener, path, "not a database")
        assert path.read_bytes().startswith(b"this is my diary")

    def test_another_programs_database(self, opener, path):
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE songs (name)")
        before = path.read_bytes()
        self.opens(opener, path, "no journal")
        assert before == path.read_bytes()

    def test_a_folder(self, opener, path):
        path.mkdir()
        self.opens(opener, path, r"unable to open|no such journal")

    def test_a_folder_that_is_not_there(self, opener, path):
        self.opens(opener, path / "deep" / "down.db", r"unable to open|no such journal")

    def test_one_that_something_else_wrote_into(self, opener, path):
        with locked_journal(path):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO items VALUES ('k','n','p',1,1,'','asleep','t',0,'','[]',0,0)")
            database.commit()
        if opener is not locked_journal:
            self.opens(opener, path, "cannot be used")


FULL = """
import resource, sys
import anyio
from polyglot_async import JournalError
from polyglot_async._state.journal import locked_journal
async def main():
    with locked_journal(sys.argv[1]) as journal:
        await journal.add("first", "a", None, "")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            for number in range(10_000):
                await journal.add(f"k{number}", "a" * 1000, None, "")
        except JournalError as error:
            print(number, error)
anyio.run(main)
"""


async def test_a_full_disk_is_an_error_and_what_was_noted_before_stays(path, script, anyio_backend):
    full = script(FULL, path)
    out, err = full.communicate(timeout=30)
    assert "the journal cannot be used" in out, err
    noted = int(out.split()[0])
    with locked_journal(path) as journal:
        assert State.NEW == (await journal.entry("first")).state
        assert noted + 1 == len(states(path))
        await journal.running("first", "t")


def test_the_test_of_the_full_disk_does_not_bind_this_process():
    assert resource.RLIM_INFINITY == resource.getrlimit(resource.RLIMIT_FSIZE)[0]


WRITER = """
import itertools, sys
import anyio
from polyglot_async._state.journal import locked_journal
async def main():
    with locked_journal(sys.argv[1]) as journal:
        for number in itertools.count():
            await journal.add(f"k{number}", "a", None, "")
            await journal.submitting(f"k{number}", "a")
            print(number, flush=True)
anyio.run(main)
"""


@pytest.mark.parametrize("lines", [1, 50])
async def test_kill_9_of_a_writer_leaves_all_that_it_had_noted(path, script, anyio_backend, lines):
    writer = script(WRITER, path)
    for _ in range(lines):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = int((writer.stdout.read().split() or [last])[-1])
    writer.wait()
    assert {State.SUBMITTING} == {states(path)[f"k{number}"] for number in range(last + 1)}, "it can be read at once"
    with locked_journal(path) as journal:
        await journal.running("k0", "t")
    assert State.RUNNING == states(path)["k0"]
