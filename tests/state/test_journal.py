"""The journal's file: who may write it, what is refused as no journal, and what it survives."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import anyio
import pytest

from polyglot_async import JournalError
from polyglot_async._state.journal import ItemRecord, State, Usage, locked_journal, read_journal, storable_path

pytestmark = pytest.mark.anyio
on_both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend():
    """One event loop except where both are named."""
    return "asyncio"


AT = {"path": "/a/talk.mp3", "size": 7, "modified_ns": 1}


def record(key="k", state=State.NEW, name="talk.mp3", **facts):
    return ItemRecord(key=key, state=state, name=name, **facts)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.db"


@pytest.fixture
def journal(path, anyio_backend):
    with locked_journal(path) as journal:
        yield journal


@pytest.fixture
def script():
    """Starts Python on a program's text, in a process; what still runs at the end is killed."""
    started = []

    def start(program, *arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, text=True, **pipes))
        return started[-1]

    yield start
    for running in started:
        running.kill()
        running.communicate()


def states(path):
    return {item.key: item.state for item in read_journal(path)[0]}


async def test_a_record_comes_back_as_it_was_written(journal, path):
    written = record(
        state=State.DONE,
        **AT,
        options={"model": "fast", "extra": {"speakers": 2}},
        task_id="t-1",
        attempts=3,
        error=None,
        files=("/out/talk.srt", "/out/talk.txt"),
        submitted_at=1.5,
        accepted_at=2.5,
        updated_at=3.5,
    )
    await journal.write(written)
    assert written == await journal.record("k")
    assert [written] == read_journal(path)[0]
    assert await journal.record("another") is None


@pytest.mark.parametrize("state", State)
async def test_each_state_is_on_the_disk_at_once_as_a_later_run_has_to_see_it(journal, path, state):
    """Leaving is new: no whole request has left. What has a task and no end yet is running."""
    await journal.write(record(state=state, task_id="t-1"))
    seen = {State.LEAVING: State.NEW, State.ENDED: State.RUNNING, State.FETCHED: State.RUNNING}.get(state, state)
    assert {"k": seen} == states(path)
    ambiguous = [item.key for item in await journal.ambiguous()]
    assert (["k"] if state in {State.LEFT, State.AMBIGUOUS} else []) == ambiguous


async def test_a_later_write_of_a_key_replaces_the_record(journal, path):
    await journal.write(record(**AT))
    await journal.write(record(state=State.FAILED, name="new name.mp3", error="no speech"))
    [item] = read_journal(path)[0]
    assert ("new name.mp3", State.FAILED, "no speech", None) == (item.name, item.state, item.error, item.path)


async def test_items_with_tasks_are_found(journal):
    await journal.write(record("a", State.RUNNING, task_id="t-1"))
    await journal.write(record("b", State.FAILED, task_id="t-2"))
    await journal.write(record("c"))
    assert {"a": "t-1", "b": "t-2"} == {item.key: item.task_id for item in await journal.with_tasks()}


async def test_a_file_is_known_by_its_path_only_while_it_looks_the_same(journal):
    await journal.write(record(**AT, options={"output_language": "ru", "model": None}))
    assert "k" == await journal.key_at(*AT.values(), {"output_language": "ru"})
    assert await journal.key_at(*AT.values(), {"output_language": "en"}) is None
    for change in ({"path": "/b/talk.mp3"}, {"size": 8}, {"modified_ns": 2}):
        assert await journal.key_at(*{**AT, **change}.values(), {"output_language": "ru"}) is None


async def test_names_that_are_no_utf8_are_stored_readably_and_their_paths_stay_apart(journal, tmp_path):
    one, other = (os.fsdecode(b"t%balk.mp3" % byte) for byte in (b"\xff", b"\xfe"))
    await journal.write(record(name=one, path=storable_path(tmp_path / one), size=1, modified_ns=1, error=one))
    assert ("t?alk.mp3", "t?alk.mp3") == ((item := await journal.record("k")).name, item.error)
    assert storable_path(tmp_path / one) != storable_path(tmp_path / other)
    assert "k" == await journal.key_at(storable_path(tmp_path / one), 1, 1, {})


async def test_only_the_owner_can_read_it(journal, path):
    """Names and paths of recordings stand in it."""
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    await journal.write(record())
    beside = [file.stat() for file in path.parent.glob(f"{path.name}-*")]
    assert [0o600] == [stat.S_IMODE(found.st_mode) for found in beside], "records pass through the rollback journal too"


async def test_the_count_of_requests_is_kept_with_every_step(path, anyio_backend):
    usage = Usage("2026-05-24", 41, "2026-05", 99)
    with locked_journal(path) as journal:
        assert Usage() == await journal.usage()
        journal.keep_usage(lambda: usage)
        await journal.write(record())
    with locked_journal(path) as journal:
        assert usage == await journal.usage()
        journal.keep_usage(Usage)
        await journal.save_usage()
    assert Usage() == read_journal(path)[1]


@on_both_loops
async def test_a_write_is_done_even_if_its_caller_is_cancelled(anyio_backend, journal, path):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await journal.write(record())
    assert {"k": State.NEW} == states(path)


@on_both_loops
async def test_many_at_once_take_turns(anyio_backend, journal, path):
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(journal.write, record(f"k{number}"))
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
            await journal.write(record(f"k{number}"))
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
        await journal.write(record())


@pytest.mark.parametrize("folder", [".", "elsewhere"])
async def test_a_journal_with_another_name_is_refused_under_each_of_them(path, script, anyio_backend, folder):
    """What mends it after a kill stands beside the name by which it was opened, and so does the lock."""
    holder = script(HOLDER, path)
    assert "holding\n" == holder.stdout.readline()
    link = path.parent / folder / "other.db"
    link.parent.mkdir(exist_ok=True)
    link.hardlink_to(path)
    second = script(HOLDER, link)
    out, err = second.communicate(timeout=30)
    assert "has 2 names (hard links)" in err
    assert not out
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    for name in (path, link):
        with pytest.raises(JournalError, match=r"Delete the other names, or make a copy"), locked_journal(name):
            pass
    link.unlink()
    with locked_journal(path) as journal:
        await journal.write(record())


@pytest.mark.parametrize("what", ["moved", "deleted", "replaced", "folder moved"])
async def test_a_journal_that_is_no_longer_in_its_place_ends_the_run_that_writes_it(tmp_path, anyio_backend, what):
    """A run that opens the path now would know nothing of what this one writes."""
    path = tmp_path / "folder" / "archive.db"
    path.parent.mkdir()
    aside = path.with_name("aside.db")
    with locked_journal(path) as journal:
        await journal.write(record("first", State.LEFT))
        if what == "folder moved":
            path.parent.rename(tmp_path / "another")
            aside = tmp_path / "another" / path.name
        elif what == "deleted":
            path.unlink()
        else:
            path.rename(aside)
            if what == "replaced":
                path.write_bytes(b"")
        for key in ("second", "third"):
            with pytest.raises(JournalError, match=r"moved, deleted or replaced.*; if it is deleted, look up"):
                await journal.write(record(key, State.LEFT))
    if what != "deleted":
        assert State.LEFT == states(aside)["first"], "nothing that was written is lost"


ON_DEMAND = """
import sys
import anyio
from polyglot_async import JournalError
from polyglot_async._state.journal import ItemRecord, State, locked_journal
async def main():
    with locked_journal(sys.argv[1]) as journal:
        print("ready", flush=True)
        for key in sys.stdin:
            try:
                await journal.write(ItemRecord(key=key.strip(), state=State.LEFT))
                print("written", flush=True)
            except JournalError as error:
                print(error, flush=True)
anyio.run(main)
"""


@pytest.fixture
def writer(script, path):
    """Writes a record when it is asked to, in a process, and returns what it says of it."""
    running = script(ON_DEMAND, path)
    assert "ready\n" == running.stdout.readline()

    def write(key):
        running.stdin.write(f"{key}\n")
        running.stdin.flush()
        return running.stdout.readline()

    write.process = running
    return write


async def test_a_writer_whose_lock_was_deleted_ends_before_it_writes_over_a_second_one(path, writer, anyio_backend):
    """Its next item's last byte is not sent then: that waits for the write."""
    assert "written\n" == writer("mine")
    path.with_name(f"{path.name}.lock").unlink()
    assert "written\n" == writer("alone still")
    with locked_journal(path) as journal:
        assert State.LEFT == (await journal.record("alone still")).state, "the second one knows what the first has sent"
        await journal.write(record("theirs", State.RUNNING, task_id="t-1"))
        for key in ("theirs", "another"):
            assert "another batch has begun to write this journal" in writer(key)
        await journal.write(record("last", State.DONE))
    assert {"mine": State.LEFT, "alone still": State.LEFT, "theirs": State.RUNNING, "last": State.DONE} == states(path)


def renamed(path):
    return path.rename(path.with_name("elsewhere.db"))


def copied_alone(path):
    return shutil.copy(path, path.with_name("copy.db"))


def all_beside_it_deleted(path):
    for file in path.parent.glob(f"{path.name}?*"):
        file.unlink()
    return path


def untouched(path):
    return path


@pytest.mark.parametrize("treated", [renamed, copied_alone, all_beside_it_deleted])
async def test_what_a_killed_process_has_written_stands_in_the_file_alone(path, writer, anyio_backend, treated):
    assert ["written\n"] * 3 == [writer(key) for key in "abc"]
    writer.process.send_signal(signal.SIGKILL)
    writer.process.wait()
    path = treated(path)
    assert dict.fromkeys("abc", State.LEFT) == states(path)
    with locked_journal(path) as journal:
        assert State.LEFT == (await journal.record("c")).state


OF_AN_EARLIER_VERSION = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("DELETE FROM notes")
database.commit()
database.execute("PRAGMA journal_mode = WAL")
database.execute("UPDATE items SET state = 'left'")
database.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("treated", [renamed, copied_alone, all_beside_it_deleted, untouched])
async def test_one_with_a_write_ahead_log_is_converted(path, script, anyio_backend, treated):
    with locked_journal(path) as journal:
        await journal.write(record())
    script(OF_AN_EARLIER_VERSION, path).wait()
    assert path.with_name(f"{path.name}-wal").stat().st_size
    assert {"k": State.LEFT} == states(path)
    with locked_journal(path) as journal:
        assert [] == [*path.parent.glob("*-wal"), *path.parent.glob("*-shm")]
        path = treated(path)
        assert {"k": State.LEFT} == states(path)


IN_THE_MIDDLE = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the end
database.execute("UPDATE items SET name = hex(zeroblob(1000)), state = 'left'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("first", [read_journal, lambda path: locked_journal(path).__enter__()])
async def test_what_a_killed_process_was_in_the_middle_of_writing_is_undone(path, script, anyio_backend, first):
    with locked_journal(path) as journal:
        for number in range(50):
            await journal.write(record(f"k{number}"))
    before = path.read_bytes()
    script(IN_THE_MIDDLE, path).wait()
    assert before != path.read_bytes()
    first(path)
    assert {State.NEW} == set(states(path).values())


async def test_another_current_folder_does_not_move_a_journal(tmp_path, monkeypatch, anyio_backend):
    monkeypatch.chdir(tmp_path)
    with locked_journal("archive.db") as journal:
        (tmp_path / "deeper").mkdir()
        monkeypatch.chdir(tmp_path / "deeper")
        await journal.write(record())
    assert {"k": State.NEW} == states(tmp_path / "archive.db")


async def test_a_second_batch_of_the_same_process_is_refused_too(journal, path):
    with pytest.raises(JournalError, match="another batch"), locked_journal(path):
        pass


@pytest.mark.parametrize("opener", [locked_journal, lambda path: contextlib.nullcontext(read_journal(path))])
class TestNotAJournal:
    def opens(self, opener, path, match):
        with pytest.raises(JournalError, match=match), opener(path):
            pass

    @pytest.mark.parametrize("version", [1, 3])
    def test_one_of_another_version(self, opener, path, version):
        with locked_journal(path):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"PRAGMA user_version = {version}")
        self.opens(opener, path, f"format {version}, this one reads 2")

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

    @pytest.mark.parametrize(("column", "value"), [("state", "asleep"), ("options", "{"), ("files", "[")])
    async def test_one_that_something_else_wrote_into(self, opener, path, column, value, anyio_backend):
        with locked_journal(path) as journal:
            await journal.write(record())
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"UPDATE items SET {column} = ?", (value,))
            database.commit()
        if opener is not locked_journal:
            self.opens(opener, path, "cannot be used")
        else:
            with locked_journal(path) as journal, pytest.raises(JournalError, match="cannot be used"):
                await journal.record("k")


FULL = """
import resource, sys
import anyio
from polyglot_async import JournalError
from polyglot_async._state.journal import ItemRecord, State, locked_journal
async def main():
    with locked_journal(sys.argv[1]) as journal:
        await journal.write(ItemRecord(key="first"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            for number in range(10_000):
                await journal.write(ItemRecord(key=f"k{number}", name="a" * 1000))
        except JournalError as error:
            print(number, error)
anyio.run(main)
"""


async def test_a_full_disk_is_an_error_and_what_was_written_before_stays(path, script, anyio_backend):
    full = script(FULL, path)
    out, err = full.communicate(timeout=30)
    assert "the journal cannot be used" in out, err
    noted = int(out.split()[0])
    with locked_journal(path) as journal:
        assert State.NEW == (await journal.record("first")).state
        assert noted + 1 == len(states(path))
        await journal.write(record("first", State.RUNNING))


def test_the_test_of_the_full_disk_does_not_bind_this_process():
    assert resource.RLIM_INFINITY == resource.getrlimit(resource.RLIMIT_FSIZE)[0]


WRITER = """
import itertools, sys
import anyio
from polyglot_async._state.journal import ItemRecord, State, locked_journal
async def main():
    with locked_journal(sys.argv[1]) as journal:
        for number in itertools.count():
            await journal.write(ItemRecord(key=f"k{number}"))
            await journal.write(ItemRecord(key=f"k{number}", state=State.LEFT))
            print(number, flush=True)
anyio.run(main)
"""


@pytest.mark.parametrize("lines", [1, 50])
async def test_kill_9_of_a_writer_leaves_all_that_it_had_written(path, script, anyio_backend, lines):
    writer = script(WRITER, path)
    for _ in range(lines):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = int((writer.stdout.read().split() or [last])[-1])
    writer.wait()
    assert {State.LEFT} == {states(path)[f"k{number}"] for number in range(last + 1)}, "it can be read at once"
    with locked_journal(path) as journal:
        await journal.write(record("k0", State.RUNNING))
    assert State.RUNNING == states(path)["k0"]
