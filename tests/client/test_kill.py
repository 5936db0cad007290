"""kill -9 at random moments: no file is lost, none submitted twice. `benchmarks/kill.py` does it a hundred times."""

import hashlib
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from polyglot_async._state.journal import State, read_journal
from polyglot_async.sandbox import Plan, ScriptedEngine

CHILD = Path(__file__).with_name("kill_child.py")
ENGINE, PLAN = ScriptedEngine(seconds=0.2), Plan(name="test", max_concurrent_tasks=None)
# A while between the arrival of a submission and its acceptance, in which its sender may die.
FAULT = "latency call=upload seconds=0.2 times=forever"


def make_files(folder, count):
    """Make files with a content each; a quarter of the names occur twice, in different folders. Give their hashes."""
    for number in range(count):
        place = folder / ("a" if number < count // 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        name = f"{number % (count // 2) if number % 4 == 0 else number}.mp3"
        (place / name).write_bytes(b"%d " % number * 20_000)
    return {hashlib.sha256(b"%d " % number * 20_000).hexdigest() for number in range(count)}


def start(sandbox, journal, folder):
    return subprocess.Popen(
        [sys.executable, str(CHILD), sandbox.url, sandbox.api_key, str(journal), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_again_and_again(sandbox, folder, *, kills, files, seed):
    """Kill a batch at random moments and let the last run end; give what the sandbox and the journal say of it."""
    wanted, journal, dice = make_files(folder / "media", files), folder / "archive.db", random.Random(seed)
    moments = Counter()
    for number in range(kills):
        child = start(sandbox, journal, folder / "media")
        if number % 4:  # some moment while it sends and waits
            before, deadline = sandbox.ledger.count(call="upload"), time.monotonic() + 5
            while (
                sandbox.ledger.count(call="upload") == before and child.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.002)
            time.sleep(dice.random() * 0.4)
        else:  # any moment at all: while it starts, settles what is open, ends
            time.sleep(dice.random() * 2.0)
        moments["in time" if child.poll() is None else "too late"] += 1
        child.kill()
        child.communicate()
        moments.update(f"left {entry.state}" for entry in (read_journal(journal)[0] if journal.exists() else ()))
    child = start(sandbox, journal, folder / "media")
    _output, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    accepted = Counter(
        entry.file_sha256 for entry in sandbox.ledger.entries(call="upload") if entry.task_id is not None
    )
    entries, _ = read_journal(journal)
    parked = {entry.key.split("-")[1] for entry in entries if entry.state is State.UNCERTAIN}
    return {
        "kills in time": moments["in time"],
        "found submitting": moments["left submitting"],
        "found running": moments["left running"],
        "files": files,
        "accepted": len(accepted),
        "doubled": sum(count - 1 for count in accepted.values()),
        "lost": len(wanted - set(accepted) - parked),
        "parked": len(parked),
        "parked though accepted": len(parked & set(accepted)),
        "other states": sum(entry.state not in {State.DONE, State.UNCERTAIN} for entry in entries),
    }


def test_a_batch_that_is_killed_again_and_again_submits_each_file_once(polyglot_sandbox_factory, tmp_path):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=PLAN, faults=[FAULT])
    told = kill_again_and_again(sandbox, tmp_path, kills=12, files=60, seed=7)
    assert (0, 0, 0) == (told["doubled"], told["lost"], told["other states"]), told
    # Same names in two folders cannot always be told apart in the list; others always can.
    assert told["parked"] <= 60 // 2, told
