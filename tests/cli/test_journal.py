"""`polyglot transcribe --journal`, which goes on where an earlier run stopped, and `polyglot journal`."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

from polyglot_async import Polyglot
from polyglot_async._batch.outcomes import BatchProgress, Upload
from polyglot_async._cli import _files
from polyglot_async._cli._live import Live, counts, eta
from polyglot_async._state.journal import locked_journal

JOURNAL = ("--journal", "j.db")


@pytest.fixture
def faults(sandbox):
    yield sandbox.faults
    sandbox.faults.clear()


@pytest.fixture
def submitted(sandbox):
    """Count the submissions since the test began."""
    before = sandbox.ledger.count("upload")
    return lambda: sandbox.ledger.count("upload") - before


@pytest.fixture
def distinct(media, environment):
    """Make a file whose content is its own: a journal knows files by their content."""

    def make(path: str) -> Path:
        made = media(path)
        made.write_bytes(made.read_bytes() + path.encode())
        return made

    return make


def states(polyglot) -> dict[str, str]:
    items = json.loads(polyglot("journal", "j.db", "--json").out)["items"]
    return {item["name"]: item["state"] for item in items}


def test_a_second_run_sends_nothing_and_replaces_nothing(polyglot, environment, distinct, submitted):
    paths = [distinct("a.wav"), distinct("b.wav")]
    assert polyglot("transcribe", *JOURNAL, *paths).code == 0
    written = {path: path.stat().st_mtime_ns for path in environment.glob("*.srt")}
    again = polyglot("transcribe", *JOURNAL, *paths)
    assert (again.code, again.out) == (0, "")
    assert again.err.startswith("0 done; 2 skipped, done before; ")
    assert {path: path.stat().st_mtime_ns for path in environment.glob("*.srt")} == written
    assert (len(written), submitted()) == (2, 2)


def test_a_renamed_file_is_known_by_its_content(polyglot, environment, distinct, submitted):
    first = distinct("a.wav")
    assert polyglot("transcribe", *JOURNAL, first).code == 0
    for path in environment.glob("a.*"):
        path.rename(path.with_name(path.name.replace("a.", "renamed.")))
    assert polyglot("transcribe", *JOURNAL, "renamed.wav").code == 0
    assert submitted() == 1


def test_a_file_that_is_there_is_not_replaced_for_new_content(polyglot, environment, distinct, submitted):
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 0
    Path("a.wav").write_bytes(b"RIFF other content")
    ended = polyglot("transcribe", *JOURNAL, "a.wav")
    assert (ended.code, "exists already" in ended.err, submitted()) == (2, True, 1)


def test_other_wishes_are_other_work(polyglot, environment, distinct, submitted):
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 0
    ended = polyglot("transcribe", *JOURNAL, "a.wav", "--translate-to", "ru")
    assert (ended.code, "a.srt and 1 more: exists already" in ended.err, submitted()) == (2, True, 1)
    assert polyglot("transcribe", *JOURNAL, "a.wav", "--translate-to", "ru", "--out", "ru").code == 0
    assert submitted() == 2


def test_with_no_journal_yet_a_file_that_is_there_ends_it_and_none_is_made(polyglot, environment, distinct):
    (environment / "a.srt").write_text("corrected by hand")
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 2
    assert sorted(path.name for path in environment.iterdir()) == ["a.srt", "a.wav"]


def test_what_could_not_be_written_is_fetched_again_and_not_paid_again(
    polyglot, environment, distinct, submitted, monkeypatch
):
    def full(path: Path, text: str, *, overwrite: bool) -> None:
        raise OSError(28, "No space left on device", str(path))

    paths = [distinct("a.wav"), distinct("b.wav")]
    with monkeypatch.context() as patched:
        patched.setattr("polyglot_async._cli.commands.transcribe.put", full)
        ended = polyglot("transcribe", *JOURNAL, *paths)
    assert (ended.code, "No space left on device (task " in ended.err) == (1, True)
    assert set(states(polyglot).values()) == {"running"}
    assert polyglot("transcribe", *JOURNAL, *paths).code == 0
    assert sorted(path.name for path in environment.glob("*.srt")) == ["a.srt", "b.srt"]
    assert submitted() == 2


def test_files_of_a_run_that_died_before_noting_them_do_not_stand_in_the_way(polyglot, environment, distinct):
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 0
    set_back(polyglot)
    assert polyglot("transcribe", *JOURNAL, "a.wav").code == 0
    assert states(polyglot) == {"a.wav": "done"}


def test_a_result_changed_by_hand_meanwhile_is_kept_and_not_lost(polyglot, environment, distinct, submitted):
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 0
    set_back(polyglot)
    (environment / "a.txt").write_text("corrected by hand")
    ended = polyglot("transcribe", *JOURNAL, "a.wav")
    assert (ended.code, "failed a.wav: a.txt: exists already (--overwrite replaces it)" in ended.err) == (1, True)
    assert (environment / "a.txt").read_text() == "corrected by hand"
    assert states(polyglot) == {"a.wav": "running"}
    assert polyglot("transcribe", *JOURNAL, "a.wav", "--overwrite").code == 0
    assert (environment / "a.txt").read_text() == "words of a.wav\n"
    assert submitted() == 1


def set_back(polyglot) -> None:
    """Have the journal know only that the tasks run, as after a kill -9 in the wrong moment."""
    import anyio

    items = json.loads(polyglot("journal", "j.db", "--json").out)["items"]
    with locked_journal("j.db") as journal:
        for item in items:
            anyio.run(journal.running, item["key"], item["task_id"])


def test_what_failed_before_is_told_and_tried_again_when_asked(polyglot, environment, distinct, submitted):
    paths = [distinct("bad.wav"), distinct("good.wav")]
    assert polyglot("transcribe", *JOURNAL, *paths).code == 1
    again = polyglot("transcribe", *JOURNAL, *paths)
    assert again.code == 1
    assert "failed before bad.wav: task " in again.err
    assert "hint: --retry-failed" in again.err
    assert "1 of 2 failed: 0 done; 1 skipped, done before; 1 skipped, failed before; " in again.err
    assert submitted() == 2
    retried = polyglot("transcribe", *JOURNAL, "--retry-failed", *paths)
    assert (retried.code, submitted()) == (1, 3)
    assert "failed bad.wav" in retried.err


def test_skipped_sources_are_documents_too(polyglot, environment, distinct):
    paths = [distinct("bad.wav"), distinct("good.wav")]
    polyglot("transcribe", *JOURNAL, *paths)
    again = polyglot("transcribe", *JOURNAL, "--json", *paths)
    records = {record["source"]: record for record in map(json.loads, again.out.splitlines())}
    assert {record["state"] for record in records.values()} == {"skipped"}
    assert records["good.wav"]["error"] is None
    assert records["good.wav"]["task_id"]
    assert "no speech in it" in records["bad.wav"]["error"]["message"]
    assert json.loads(again.err)["error"]["summary"]["failed_before"] == 1


def test_a_skipped_file_without_its_result_is_told_with_the_way_to_get_it(polyglot, environment, distinct):
    polyglot("transcribe", *JOURNAL, distinct("a.wav"), distinct("b.wav"))
    (environment / "a.srt").unlink()
    again = polyglot("transcribe", *JOURNAL, "a.wav", "b.wav")
    told = again.err.splitlines()[0]
    assert told.startswith("skipped a.wav: done before, but a.srt is not there (get it: polyglot result ")
    command = told.partition("get it: polyglot ")[2].removesuffix(")")
    assert polyglot(*command.split()).code == 0
    assert (environment / "a.srt").exists()


def test_files_with_the_same_content_are_paid_for_once_and_each_gets_its_files(polyglot, environment, media, submitted):
    paths = [media("same-1.wav"), media("same-2.wav")]
    assert polyglot("transcribe", *JOURNAL, *paths).code == 0
    assert len(list(environment.glob("*.srt"))) == 2
    assert submitted() == 1
    assert polyglot("transcribe", *JOURNAL, *paths).err.startswith("0 done; 2 skipped, done before; ")


def test_an_uncertain_one_is_parked_with_a_hint_and_sent_again_when_asked(
    polyglot, environment, distinct, faults, monkeypatch
):
    monkeypatch.setattr("polyglot_async._tasks.recovery.SETTLING_SECONDS", 0.0)
    path = distinct("unsure.wav")
    faults.add("reset_after_body call=upload times=1")
    faults.add("status call=list status=500 times=9")
    ended = polyglot("transcribe", *JOURNAL, "--max-retries", 0, path)
    assert ended.code == 1
    assert "1 uncertain" in ended.err
    assert "hint: see with `polyglot list`" in ended.err
    assert states(polyglot) == {"unsure.wav": "uncertain"}
    again = polyglot("transcribe", *JOURNAL, "--max-retries", 0, "--json", path)
    assert json.loads(again.out)["state"] == "uncertain"
    faults.clear()
    assert polyglot("transcribe", *JOURNAL, "--on-uncertain", "retry", path).code == 0


def test_raise_stops_at_the_first_uncertain_one(polyglot, environment, distinct, faults):
    faults.add("reset_after_body call=upload times=1")
    faults.add("status call=list status=500 times=9")
    path = distinct("unsure.wav")
    ended = polyglot("transcribe", *JOURNAL, "--max-retries", 0, "--on-uncertain", "raise", path)
    assert ended.code == 1
    assert "could be paid for twice" in ended.err.splitlines()[-2]


def test_what_would_fail_all_alike_ends_it_and_says_how_far_it_came(polyglot, environment, distinct, faults):
    faults.add("status call=result status=401 times=9")
    ended = polyglot("transcribe", *JOURNAL, distinct("a.wav"))
    where, error, _hint = ended.err.splitlines()
    assert (ended.code, where.startswith("0 of 1 done"), "401" in error) == (1, True, True)
    faults.clear()
    assert polyglot("transcribe", *JOURNAL, "a.wav").code == 0


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (["--journal", "."], (2, "is a folder; name a file")),
        (["--journal", "no/folder/j.db"], (2, "there is no such folder")),
        (["--journal", "a.wav"], (1, "a.wav: the journal cannot be used: file is not a database")),
        (["--journal", "j.db", "--sandbox"], (2, "leave --journal or --sandbox away")),
        (["--retry-failed"], (2, "--retry-failed needs --journal")),
        (["--on-uncertain", "bogus"], (2, "--on-uncertain")),
        (["--concurrency", "0"], (2, "--concurrency")),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_sent(polyglot, distinct, submitted, arguments, ends):
    code, says = ends
    path = distinct("a.wav")
    content = path.read_bytes()
    ended = polyglot("transcribe", *arguments, path)
    assert (ended.code, ended.out, says in ended.err, ended.err.count("\n")) == (code, "", True, 1)
    assert (submitted(), path.read_bytes()) == (0, content)


def test_a_journal_that_another_process_writes_is_refused(polyglot, environment, distinct):
    with locked_journal("j.db"):
        ended = polyglot("transcribe", *JOURNAL, distinct("a.wav"))
    assert ended.code == 1
    assert ended.err.startswith("error: j.db: another ")
    assert ended.err.endswith(" is writing this journal\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_broken_off_goes_on_without_paying_again(process, polyglot, distinct, sandbox, number):
    before = sandbox.ledger.count("upload")
    paths = [distinct(name) for name in ("quick-1.wav", "slow-j1.wav", "slow-j2.wav")]
    running = process("transcribe", *JOURNAL, *paths)
    assert running.stdout.readline()  # a file was written
    deadline = time.monotonic() + 15
    while list(states(polyglot).values()).count("running") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # while a batch writes it
    running.send_signal(number)
    _, err = running.communicate(timeout=10)
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert "at the service, or may be: slow-j" in err
        assert "the same command again goes on" in err
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        unfinished = [task for task in client.transcriptions.list() if (task.file_name or "").startswith("slow-j")]
    for task in unfinished:
        if not task.status.is_final:
            sandbox.cancel(task.task_id)
    again = polyglot("transcribe", *JOURNAL, *paths)
    assert again.code == 1  # cancelled at the service
    assert again.err.count("was cancelled") == 2
    assert Path("quick-1.srt").exists()
    assert sandbox.ledger.count("upload") - before == 3


def test_a_journal_is_told_in_a_pipe_as_lines_and_counts(polyglot, environment, distinct):
    polyglot("transcribe", *JOURNAL, distinct("bad.wav"), distinct("a.wav"))
    told = polyglot("journal", "j.db")
    assert told.code == 0
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in told.out.splitlines()}
    assert (rows["a.wav"][0], rows["a.wav"][2:]) == ("done", ["1", ""])
    assert (rows["bad.wav"][0], "no speech" in rows["bad.wav"][3]) == ("failed", True)
    assert told.err.startswith("1 done; 1 failed; ")
    assert len(polyglot("journal", "j.db", "--state", "failed", "--state", "new").out.splitlines()) == 1
    document = json.loads(polyglot("journal", "j.db", "--json").out)
    assert document["counts"] == {"new": 0, "submitting": 0, "running": 0, "done": 1, "failed": 1, "uncertain": 0}
    assert document["requests_today"] > 0


def test_a_journal_is_a_table_on_a_terminal(on_a_terminal, polyglot, distinct):
    polyglot("transcribe", *JOURNAL, distinct("bad.wav"), distinct("a.wav"))
    code, shown = on_a_terminal("journal", "j.db", env={"COLUMNS": "80", "NO_COLOR": "1"})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert (code, lines[0].startswith("1 done; 1 failed; ")) == (0, True)
    assert lines[2].split() == ["state", "task", "tries", "what"]
    assert max(map(len, lines)) <= 80
    assert "bad.wav: failed: no" in shown


@pytest.mark.usefixtures("no_environment")
def test_what_is_no_journal_is_one_line():
    from polyglot_async._cli import main

    Path("text").write_text("this is no database, and longer than its header would be" * 3)
    Path("empty").touch()
    for name in ("text", "empty", "missing", "."):
        assert main(["journal", name]) == 1
    assert not Path("missing").exists()


def test_counts_and_the_time_left():
    progress = BatchProgress(taken=9, processing=2, done=3, failed=2, uncertain=1, skipped=4)
    assert counts(progress, 20) == {
        "waiting": 9,
        "uploading": 0,
        "processing": 2,
        "done": 3,
        "failed": 1,
        "uncertain": 1,
        "skipped": 4,
    }
    assert eta(progress, 20, 10.0) == 22.0
    assert eta(BatchProgress(), 20, 10.0) is None
    assert eta(BatchProgress(done=1), 1, 10.0) is None


@pytest.mark.parametrize("width", [20, 80])
def test_the_block_of_a_run_fits_the_terminal_and_shows_each_upload(width):
    live = Live(20, wanted=False)
    uploads = tuple(Upload(name=f"\x1b[31m{'long' * 20}-{n}.wav", sent=n * 10**6, total=10**8) for n in range(20))
    live.show(BatchProgress(taken=20, uploading=uploads, done=3, failed=1, requests_today=12_345))
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(live)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert "\x1b" not in shown
    if width == 80:
        assert "waiting 0  uploading 20  processing 0  done 3  failed 1" in shown
        assert "4 of 20   12345 requests today   ETA" in shown
        assert "-7.wav" in shown
        assert "7.0 MB of 100.0 MB" in shown
        assert "and 12 more" in shown


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(number: int) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.txt").write_text("old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            _files.put(tmp_path / "a.txt", "new", overwrite=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(FileExistsError):
        _files.put(tmp_path / "a.txt", "new", overwrite=False)
    _files.put(tmp_path / "a.txt", "old", overwrite=False)
    _files.put(tmp_path / "a.txt", "new\ud800", overwrite=True)
    assert (tmp_path / "a.txt").read_text() == "new?"
