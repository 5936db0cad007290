"""`polyglot` as a process: real recognition, signals, pipes, terminals."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import time
from difflib import SequenceMatcher

import pytest

from polyglot_async import Polyglot

NUMBERS = itertools.count()
WORDS = "unless to be rather cold hearted and rather selfish is to be ill disposed"


@pytest.fixture
def started(process, media, sandbox):
    """Start a transcription that takes a minute; return the process and the task's id once the server has it."""

    def start(*options: str, **how: object) -> tuple[subprocess.Popen[str], str]:
        name = f"slow-{next(NUMBERS)}.wav"
        running = process("transcribe", *options, media(name), **how)
        deadline = time.monotonic() + 15
        with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
            while time.monotonic() < deadline:
                found = [task.task_id for task in client.transcriptions.list() if task.file_name == name]
                if found:
                    time.sleep(0.4)  # the answer still has to reach the process
                    return running, found[0]
                time.sleep(0.05)
        raise AssertionError(f"{name} did not arrive")

    return start


def test_the_demo_recognises_most_of_a_real_recording(process, no_environment):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx has no wheel for this Python")
    running = process("demo")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    heard = next(line for line in out.splitlines() if " - " in line).split("  ")[-1].split()
    blocks = SequenceMatcher(a=WORDS.split(), b=heard, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in blocks) >= 9
    assert f'The speaker says: "{WORDS}".' in out
    assert "Subtitles: austen-0890.srt" in out
    assert "US English only" in out
    assert "polyglot transcribe" in out.splitlines()[-1]
    assert (no_environment / "austen-0890.srt").read_text().startswith("1\n00:00:00,")


def test_the_demo_leaves_a_file_of_its_name_alone(process, no_environment):
    (no_environment / "austen-0890.srt").write_text("mine")
    pytest.importorskip("pocketsphinx", reason="pocketsphinx has no wheel for this Python")
    running = process("demo", "--json")
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert json.loads(out)["files"] == ["austen-0890-2.srt"]
    assert (no_environment / "austen-0890.srt").read_text() == "mine"


def ignore_ctrl_c() -> None:
    """Do as a shell does for its background jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("number", "before", "ends"),
    [
        (signal.SIGINT, None, (130, "interrupted")),
        (signal.SIGTERM, None, (143, "terminated")),
        (signal.SIGTERM, ignore_ctrl_c, (143, "terminated")),
        (signal.SIGHUP, None, (143, "terminated")),
    ],
)
def test_a_signal_ends_it_with_one_line_that_names_the_tasks_left(started, number, before, ends):
    running, task_id = started(preexec_fn=before)
    running.send_signal(number)
    out, err = running.communicate(timeout=10)
    code, word = ends
    assert (running.returncode, out) == (code, "")
    name = f"slow-{next(NUMBERS) - 1}.wav"
    assert err == f"{word}: 0 of 1 done; submitted, or possibly: {name} ({task_id}) (check: polyglot list)\n"


@pytest.mark.usefixtures("environment")
def test_a_terminal_that_is_closed_sends_its_signal_more_than_once(started):
    """The kernel does, and then the shell."""
    running, task_id = started()
    for _ in range(20):
        running.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    _, err = running.communicate(timeout=10)
    assert running.returncode == 143
    assert task_id in err


def ignore_hangups() -> None:
    """Do as nohup does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.usefixtures("environment")
def test_under_nohup_it_goes_on_when_the_terminal_is_closed(started):
    running, _ = started(preexec_fn=ignore_hangups)
    running.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.5)
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130


@pytest.mark.usefixtures("environment")
def test_ctrl_c_with_json_is_json(started):
    running, task_id = started("--json")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=10)
    assert (running.returncode, out) == (130, "")
    error = json.loads(err)["error"]
    assert error["type"] == "Interrupted"
    assert error["unreturned_tasks"] == {task_id: f"slow-{next(NUMBERS) - 1}.wav"}


def test_the_sandbox_prints_what_to_paste_and_serves_until_ctrl_c(process, no_environment, polyglot, monkeypatch):
    running = process("sandbox", "--port", 0, "--engine", "scripted")
    lines = "".join(running.stdout.readline() for _ in range(3))
    names = ("POLYGLOT_BASE_URL", "POLYGLOT_API_KEY", "POLYGLOT_WEBHOOK_SECRET")
    shown = "".join(f'echo "${name}"\n' for name in names)
    pasted = subprocess.run(["/bin/sh"], input=lines + shown, capture_output=True, text=True, check=True)
    exports = [(name, value) for name, value in zip(names, pasted.stdout.splitlines(), strict=True)]
    for name, value in exports:
        assert value
        monkeypatch.setenv(name, value)
    assert "pro" in polyglot("limits").out
    port = exports[0][1].split(":")[2].split("/")[0]
    taken = polyglot("sandbox", "--port", port)
    assert (taken.code, taken.err) == (1, f"error: 127.0.0.1:{port}: Address already in use\n")
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130


def test_a_reader_that_goes_away_ends_it_quietly(process, completed):
    running = process("result", completed, "--json")
    running.stdout.close()
    assert running.wait(10) == 141
    assert running.stderr.read() == ""


def test_files_are_written_even_if_nobody_reads_the_lines(process, environment, media):
    running = process("transcribe", media("a.wav"), media("b.wav"), "--concurrency", 1)
    running.stdout.close()
    assert running.wait(10) == 0
    assert running.stderr.read() == ""
    assert (environment / "a.srt").exists()
    assert (environment / "b.srt").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_under_stdout_is_an_error(process, completed):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        running = process("get", completed, stdout=full)
        _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (1, "error: standard output: No space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_files_are_written_even_if_the_disk_under_stdout_is_full(process, environment, media):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        running = process("transcribe", media("a.wav"), media("b.wav"), "--concurrency", 1, stdout=full)
        _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (1, "error: standard output: No space left on device\n")
    assert (environment / "a.srt").exists()
    assert (environment / "b.srt").exists()


def test_a_closed_stdout_does_not_fail(process, completed):
    running = process("get", completed, stdout=None, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.close(1))
    assert running.wait(10) == 0


def test_pipes_get_neither_colours_nor_boxes_nor_bars(process, completed):
    running = process("list", env={"FORCE_COLOR": "1", "COLUMNS": "20", "TERM": "xterm"})
    out, err = running.communicate(timeout=10)
    assert err == ""
    assert "\x1b" not in out
    assert out.splitlines()[0].split("\t")[0] == completed


def test_json_is_ascii_where_the_pipe_is(process, environment, media):
    running = process("transcribe", "--json", media("é😀.wav"), env={"PYTHONIOENCODING": "ascii"})
    out, _ = running.communicate(timeout=10)
    assert json.loads(out)["source"] == "é😀.wav"


def test_a_terminal_gets_a_table_and_colours_only_if_wanted(on_a_terminal, completed):
    code, shown = on_a_terminal("list", "--limit", 1)
    assert code == 0
    assert "task" in shown.splitlines()[0]
    assert "\x1b[1m" in shown
    _, plain = on_a_terminal("list", "--limit", 1, env={"NO_COLOR": "1"})
    assert "\x1b[3" not in plain


def test_bars_are_shown_on_a_terminal_and_gone_at_the_end(on_a_terminal, environment, media):
    code, shown = on_a_terminal("transcribe", media("a.wav"), media("bad.wav"))
    assert code == 1
    assert "of 2" in shown
    assert "a.wav -> a.srt, a.txt" in shown
    assert "failed bad.wav" in shown
    assert shown.rstrip().endswith(" requests today")
    assert "error: 1 of 2 done; 1 failed; " in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_piped_result_stays_apart_from_the_bars_on_the_terminal(environment, media, process):
    leader, follower = pty.openpty()
    running = process("transcribe", media("a.wav"), stderr=follower, env={"TERM": "xterm"})
    os.close(follower)
    assert running.stdout.read() == "a.wav\ta.srt\na.wav\ta.txt\n"
    assert b"of 1" in os.read(leader, 65536)
    os.close(leader)
