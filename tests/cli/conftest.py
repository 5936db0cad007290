"""A scripted sandbox for the whole run, and two ways to call `polyglot`: in this process, and as a process."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import time
from pathlib import Path

import anyio
import attrs
import pytest

from polyglot_async import Polyglot, Runtime
from polyglot_async._cli import main
from polyglot_async.sandbox import Sandbox, ScriptedEngine

LAUNCH = [sys.executable, "-W", "error", "-m", "polyglot_async"]
SPEECH = b"RIFF" + (4036).to_bytes(4, "little") + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
SPEECH += b"data" + (4000).to_bytes(4, "little") + bytes(4000)


@attrs.frozen
class Ended:
    """How a call of `polyglot` ended."""

    code: int
    out: str
    err: str


def failure_reason(name: str, size: int) -> str | None:
    return "no speech in it" if name.startswith("bad") else None


def seconds(name: str, size: int) -> float:
    return 60.0 if name.startswith("slow") else 0.0


@pytest.fixture(scope="session")
def sandbox():
    engine = ScriptedEngine(text="words of {file_name}", seconds=seconds, fail=failure_reason)
    with Sandbox(engine=engine, plan="unlimited") as sandbox:
        yield sandbox


@pytest.fixture
def environment(sandbox, monkeypatch, tmp_path):
    """Point the environment at the sandbox, and stand in an empty folder."""
    monkeypatch.setenv("POLYGLOT_BASE_URL", sandbox.url)
    monkeypatch.setenv("POLYGLOT_API_KEY", sandbox.api_key)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_environment(monkeypatch, tmp_path):
    """No credential, no address, an empty folder."""
    monkeypatch.delenv("POLYGLOT_BASE_URL", raising=False)
    monkeypatch.delenv("POLYGLOT_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def polyglot(capfd):
    """Call `polyglot` in this process."""

    def call(*arguments: object, runtime: Runtime | None = None) -> Ended:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments], runtime=runtime)
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def hurried():
    """A clock that runs fifty times faster, for what waits and asks again."""
    return Runtime(
        monotonic=lambda: 50 * anyio.current_time(),
        sleep=lambda seconds: anyio.sleep(seconds / 50),
    )


@pytest.fixture
def process():
    """Start `polyglot` as a process; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
        command = [*LAUNCH, *map(str, arguments)]
        env = {**os.environ, **options.pop("env", {})}
        defaults = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=env, **{**defaults, **options}))
        return started[-1]

    yield start
    for running in started:
        if running.poll() is None:
            running.kill()
        running.communicate()


@pytest.fixture
def media():
    """Make a small file that looks like audio."""

    def make(path: str | Path) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SPEECH)
        return path

    return make


@pytest.fixture
def faults(sandbox):
    """The sandbox's faults, none of them left to the next test."""
    yield sandbox.faults
    sandbox.faults.clear()


@pytest.fixture
def submitted(sandbox):
    """Count the tasks that were started since the test began."""
    before = sandbox.ledger.count("upload") + sandbox.ledger.count("from_url")
    return lambda: sandbox.ledger.count("upload") + sandbox.ledger.count("from_url") - before


@pytest.fixture
def unprovable(faults):
    """Lose the answer to the next upload, and let nothing show whether it became a task.

    The list has no names and no times, and the sources have other bytes than were uploaded.
    """
    faults.add("reset_after_body call=upload times=1")
    faults.add("rewrite drop=file_name,created_at times=forever")
    faults.add("transcode times=forever")


@pytest.fixture
def completed(sandbox, media, environment):
    """The id of a completed task, whose file is named talk.wav."""
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        task_id = client.transcriptions.upload(media("made/talk.wav")).task_id
    # Asked of the sandbox itself: a client would poll less often.
    deadline = time.monotonic() + 10
    while sandbox.task(task_id)["status"] != "completed" and time.monotonic() < deadline:
        time.sleep(0.01)
    return task_id


@pytest.fixture
def on_a_terminal(process):
    """Run `polyglot` on a pseudo-terminal, as a person does; return the exit code and all that was shown."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str]:
        leader, follower = pty.openpty()
        running = process(
            *arguments, stdin=follower, stdout=follower, stderr=follower, env={"TERM": "xterm", **(env or {})}
        )
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # how Linux reports that the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(leader)
        return running.wait(20), shown.decode()

    return run
