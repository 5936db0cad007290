"""kill -9 of a batch, in every phase and at random moments: no file is lost, none paid for twice, none left in doubt.

`benchmarks/kill.py` does it a hundred times.
"""

import hashlib
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from journal_states import rows

from polyglot_async.sandbox import Plan, ScriptedEngine

CHILD = Path(__file__).with_name("kill_child.py")
ENGINE, PLAN = ScriptedEngine(seconds=0.2), Plan(name="test", max_concurrent_tasks=None)
PHASES = ("leaving", "last_byte", "left", "answer", "running", "ended", "fetched")
LISTS = {"as documented": [], "no names and times": ["rewrite call=list,get drop=file_name,created_at times=forever"]}
# A while between the arrival of a submission and its acceptance, in which its sender may die.
SLOW_ACCEPTANCE = "latency call=upload seconds=0.2 times=forever"


class Archive:
    """Files, or URLs of files, with a content each; a quarter of the names occur twice, in different folders."""

    def __init__(self, folder, count):
        self.folder, self.contents, paths = folder, {}, []
        for number in range(count):
            place = folder / ("a" if number < count // 2 else "b")
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{number % (count // 2) if number % 4 == 0 else number}.mp3"
            self.contents[f"/{path.relative_to(folder)}"] = b"%d " % number * 20_000
            path.write_bytes(b"%d " % number * 20_000)
            paths.append(str(path))
        self.list = folder / "list.txt"
        self.list.write_text("\n".join(paths))
        self.expected = {hashlib.sha256(content).hexdigest() for content in self.contents.values()}

    def as_urls(self, root):
        """List the files as URLs below `root` instead."""
        self.expected = {root + path for path in self.contents}
        self.list.write_text("\n".join(sorted(self.expected)))


def start(sandbox, journal, archive, *death):
    return subprocess.Popen(
        [sys.executable, str(CHILD), sandbox.url, sandbox.api_key, str(journal), str(archive.list), *map(str, death)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_in_phase(sandbox, journal, archive, phase, number):
    """Let a run die in a phase; return whether it did."""
    child = start(sandbox, journal, archive, phase, number)
    _output, errors = child.communicate(timeout=120)
    assert child.returncode in {0, -9}, errors
    return child.returncode == -9


def kill_at_random(sandbox, journal, archive, dice, *, number):
    """Kill a run at some moment; return whether it was still running."""
    child = start(sandbox, journal, archive)
    if number % 4:  # while it sends and waits
        before, deadline = sandbox.ledger.count(call="upload"), time.monotonic() + 5
        while sandbox.ledger.count(call="upload") == before and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.4)
    else:  # any moment at all: while it starts, settles what is open, ends
        time.sleep(dice.random() * 2.0)
    in_time = child.poll() is None
    child.kill()
    child.communicate()
    return in_time


def verdict(sandbox, journal, archive):
    """Let the last run end; return what the sandbox and the journal say of it all."""
    child = start(sandbox, journal, archive)
    output, errors = child.communicate(timeout=300)
    assert child.returncode == 0, errors
    starts = sandbox.ledger.starts()
    in_the_end = Counter(state for (state,) in rows(journal, "state"))
    return {
        "files": len(archive.expected),
        "paid twice": sum(count - 1 for count in starts.values()),
        "lost": len(archive.expected - starts.keys()),
        "left in doubt": in_the_end["ambiguous"] + in_the_end["left"],
        "done": in_the_end["done"],
        "errors": [line for line in output.splitlines() if not line.endswith(" None")],
    }


def all_well(found):
    return found | {"paid twice": 0, "lost": 0, "left in doubt": 0, "done": found["files"], "errors": []}


def kill_again_and_again(sandbox, folder, *, kills, files, seed):
    """Kill a batch in all phases in turn and at random moments; return the verdict, and how often it came in time."""
    archive, journal, dice = Archive(folder / "media", files), folder / "archive.db", random.Random(seed)
    in_time = Counter()
    for number in range(kills):
        if number % 2:
            phase = PHASES[number // 2 % len(PHASES)]
            in_time[phase] += kill_in_phase(sandbox, journal, archive, phase, dice.randint(1, 4))
        else:
            in_time["random"] += kill_at_random(sandbox, journal, archive, dice, number=number // 2)
    return {"kills in time": dict(in_time)} | verdict(sandbox, journal, archive)


@pytest.mark.parametrize("listed", LISTS)
def test_a_batch_that_is_killed_once_in_every_phase_sends_each_file_once(polyglot_sandbox_factory, tmp_path, listed):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=PLAN, faults=LISTS[listed])
    archive, journal = Archive(tmp_path / "media", 40), tmp_path / "archive.db"
    assert [] == [phase for phase in PHASES if not kill_in_phase(sandbox, journal, archive, phase, 2)]
    found = verdict(sandbox, journal, archive)
    assert all_well(found) == found


def test_a_batch_that_is_killed_at_random_moments_sends_each_file_once(polyglot_sandbox_factory, tmp_path):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=PLAN, faults=[SLOW_ACCEPTANCE])
    found = kill_again_and_again(sandbox, tmp_path, kills=9, files=60, seed=7)
    assert all_well(found) == found


@pytest.fixture
def file_server(tmp_path):
    """Serves the files of a folder; returns its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = (tmp_path / "media" / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "audio/mpeg")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815 - http.server's naming

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_of_urls_only_those_are_in_doubt_whose_request_was_out_and_unanswered(
    polyglot_sandbox_factory, tmp_path, file_server
):
    """The list shows no URLs, so that nothing tells whose a task is. All that waited for a permit were not sent."""
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=PLAN)
    archive, journal = Archive(tmp_path / "media", 24), tmp_path / "archive.db"
    archive.as_urls(file_server)
    sure = ("last_byte", "running", "ended", "fetched")
    assert [] == [phase for phase in sure if not kill_in_phase(sandbox, journal, archive, phase, 2)]
    found = verdict(sandbox, journal, archive)
    assert (0, 0) == (found["paid twice"], found["lost"] - found["left in doubt"])
    assert found["left in doubt"] <= 6 * len(sure), "as many as were under way at once"
    assert found["done"] + found["left in doubt"] == found["files"]
