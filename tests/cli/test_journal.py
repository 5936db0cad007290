"""`polyglot transcribe --journal`, which continues an earlier run, and `polyglot journal`."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import anyio
import pytest

from polyglot_async import AsyncPolyglot, Polyglot

JOURNAL = ("--journal", "j.db")
STARTED = {"running", "ended", "fetched"}


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
    assert again.err.startswith("outcome: 0 of 2 done; 2 skipped (done earlier); ")
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
    assert (ended.code, "already exists" in ended.err, submitted()) == (2, True, 1)


def test_other_options_are_other_work(polyglot, environment, distinct, submitted):
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 0
    ended = polyglot("transcribe", *JOURNAL, "a.wav", "--translate-to", "ru")
    assert (ended.code, "a.srt and 1 more: already exists" in ended.err, submitted()) == (2, True, 1)
    assert polyglot("transcribe", *JOURNAL, "a.wav", "--translate-to", "ru", "--out", "ru").code == 0
    assert submitted() == 2


def test_with_no_journal_yet_a_file_that_is_there_ends_it_and_none_is_made(polyglot, environment, distinct):
    (environment / "a.srt").write_text("corrected by hand")
    assert polyglot("transcribe", *JOURNAL, distinct("a.wav")).code == 2
    assert sorted(path.name for path in environment.iterdir()) == ["a.srt", "a.wav"]


def test_what_could_not_be_written_is_fetched_again_and_not_paid_again(polyglot, environment, distinct, submitted):
    name = f"{'x' * 251}.wav"  # with .json it is longer than a file name can be
    distinct(name)
    ended = polyglot("transcribe", *JOURNAL, "--format", "json", name)
    assert (ended.code, "File name too long (fetch it: polyglot result " in ended.err) == (1, True)
    assert states(polyglot)[name] in STARTED
    assert polyglot("transcribe", *JOURNAL, "--format", "srt", name).code == 0
    assert (environment / f"{'x' * 251}.srt").exists()
    assert submitted() == 1


@pytest.fixture
def unacknowledged(sandbox, environment):
    """Transcribe with a journal, save the results, and die before they are acknowledged, as by a kill -9."""

    async def transcribe(*paths: Path) -> None:
        async with (
            AsyncPolyglot(sandbox.api_key, base_url=sandbox.url) as client,
            client.batch(paths, journal="j.db") as outcomes,
        ):
            async for outcome in outcomes:
                for suffix in ("srt", "txt"):
                    outcome.transcript.save(environment / f"{outcome.name.removesuffix('.wav')}.{suffix}")
                outcomes.give_back()

    return lambda *paths: anyio.run(transcribe, *paths)


def test_files_of_a_run_that_died_before_noting_them_are_not_in_the_way(polyglot, unacknowledged, distinct):
    unacknowledged(distinct("a.wav"))
    assert states(polyglot)["a.wav"] in STARTED
    assert polyglot("transcribe", *JOURNAL, "a.wav").code == 0
    assert states(polyglot) == {"a.wav": "done"}


def test_a_result_changed_by_hand_meanwhile_is_kept_and_not_lost(
    polyglot, unacknowledged, environment, distinct, submitted
):
    unacknowledged(distinct("a.wav"))
    (environment / "a.txt").write_text("corrected by hand")
    ended = polyglot("transcribe", *JOURNAL, "a.wav")
    assert (ended.code, "failed a.wav: a.txt: already exists (--overwrite replaces it)" in ended.err) == (1, True)
    assert (environment / "a.txt").read_text() == "corrected by hand"
    assert states(polyglot)["a.wav"] in STARTED
    assert polyglot("transcribe", *JOURNAL, "a.wav", "--overwrite").code == 0
    assert (environment / "a.txt").read_text() == "words of a.wav\n"
    assert submitted() == 1


def test_what_failed_earlier_is_named_and_retried_when_asked(polyglot, environment, distinct, submitted):
    paths = [distinct("bad.wav"), distinct("good.wav")]
    assert polyglot("transcribe", *JOURNAL, *paths).code == 1
    again = polyglot("transcribe", *JOURNAL, *paths)
    assert again.code == 1
    assert "failed earlier: bad.wav: task " in again.err
    assert "hint: send them again with --retry-failed" in again.err
    assert "error: 0 of 2 done; 1 skipped (done earlier); 1 skipped (failed earlier); " in again.err
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


def test_a_skipped_file_without_its_result_is_named_with_the_way_to_fetch_it(polyglot, environment, distinct):
    polyglot("transcribe", *JOURNAL, distinct("a.wav"), distinct("b.wav"))
    (environment / "a.srt").unlink()
    again = polyglot("transcribe", *JOURNAL, "a.wav", "b.wav")
    note = again.err.splitlines()[0]
    assert note.startswith("skipped a.wav: done earlier, but a.srt does not exist (fetch it: polyglot result ")
    command = note.partition("fetch it: polyglot ")[2].removesuffix(")")
    assert polyglot(*command.split()).code == 0
    assert (environment / "a.srt").exists()


def test_files_with_the_same_content_are_paid_for_once_and_each_gets_its_files(polyglot, environment, media, submitted):
    paths = [media("same-1.wav"), media("same-2.wav")]
    assert polyglot("transcribe", *JOURNAL, *paths).code == 0
    assert len(list(environment.glob("*.srt"))) == 2
    assert submitted() == 1
    assert polyglot("transcribe", *JOURNAL, *paths).err.startswith("outcome: 0 of 2 done; 2 skipped (done earlier); ")


def test_an_uncertain_one_is_reported_with_a_hint_and_sent_again_when_asked(
    polyglot, environment, distinct, unprovable, hurried
):
    path = distinct("unsure.wav")
    ended = polyglot("transcribe", *JOURNAL, "--max-retries", 0, path, runtime=hurried)
    assert ended.code == 1
    assert "1 uncertain" in ended.err
    assert "hint: check with `polyglot list`" in ended.err
    assert "--on-uncertain retry" in ended.err
    assert states(polyglot) == {"unsure.wav": "ambiguous"}
    again = polyglot("transcribe", *JOURNAL, "--max-retries", 0, "--json", path, runtime=hurried)
    assert json.loads(again.out)["state"] == "uncertain"
    assert polyglot("transcribe", *JOURNAL, "--on-uncertain", "retry", path, runtime=hurried).code == 0


def test_raise_stops_at_the_first_uncertain_one(polyglot, environment, distinct, unprovable, hurried):
    ended = polyglot(
        "transcribe", *JOURNAL, "--max-retries", 0, "--on-uncertain", "raise", distinct("unsure.wav"), runtime=hurried
    )
    assert ended.code == 1
    assert ended.err.startswith("stopped: 0 of 1 done")


def test_a_fatal_error_stops_it_and_says_how_far_it_came(polyglot, environment, distinct, faults):
    faults.add("status call=result status=401 times=9")
    ended = polyglot("transcribe", *JOURNAL, distinct("a.wav"))
    where, error, _hint = ended.err.splitlines()
    assert (ended.code, where.startswith("stopped: 0 of 1 done"), "401" in error) == (1, True, True)
    faults.clear()
    assert polyglot("transcribe", *JOURNAL, "a.wav").code == 0


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (["--journal", "."], (2, "is a folder: name a file")),
        (["--journal", "no/folder/j.db"], (2, "no such folder")),
        (["--journal", "a.wav"], (1, "a.wav: the journal cannot be used: file is not a database")),
        (["--journal", "j.db", "--sandbox"], (2, "--journal cannot be combined with --sandbox")),
        (["--retry-failed"], (2, "--retry-failed needs --journal")),
        (["--on-uncertain", "bogus"], (2, "--on-uncertain")),
        (["--concurrency", "0"], (2, "--concurrency")),
    ],
)
def test_invalid_options_are_refused_before_anything_is_sent(polyglot, distinct, submitted, arguments, ends):
    code, says = ends
    path = distinct("a.wav")
    content = path.read_bytes()
    ended = polyglot("transcribe", *arguments, path)
    assert (ended.code, ended.out, says in ended.err, ended.err.count("\n")) == (code, "", True, 1)
    assert (submitted(), path.read_bytes()) == (0, content)


def test_a_journal_that_another_process_writes_is_refused(process, polyglot, environment, distinct):
    running = process("transcribe", *JOURNAL, distinct("slow-held.wav"))
    deadline = time.monotonic() + 15
    while not (Path("j.db").exists() and set(states(polyglot).values()) & STARTED) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = polyglot("transcribe", *JOURNAL, distinct("a.wav"))
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("error: j.db: ")
    assert running.poll() is None


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
        assert "submitted, or possibly: slow-j" in err
        assert "run the same command again to continue" in err
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


def test_a_journal_in_a_pipe_is_lines_and_counts(polyglot, environment, distinct):
    polyglot("transcribe", *JOURNAL, distinct("bad.wav"), distinct("a.wav"))
    ended = polyglot("journal", "j.db")
    assert ended.code == 0
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in ended.out.splitlines()}
    assert (rows["a.wav"][0], rows["a.wav"][2:]) == ("done", ["1", ""])
    assert (rows["bad.wav"][0], "no speech" in rows["bad.wav"][3]) == ("failed", True)
    assert ended.err.startswith("1 done; 1 failed; ")
    assert len(polyglot("journal", "j.db", "--state", "failed", "--state", "new").out.splitlines()) == 1
    document = json.loads(polyglot("journal", "j.db", "--json").out)
    assert {state: number for state, number in document["counts"].items() if number} == {"done": 1, "failed": 1}
    assert document["requests_today"] > 0


def test_a_journal_is_a_table_on_a_terminal(on_a_terminal, polyglot, distinct):
    polyglot("transcribe", *JOURNAL, distinct("bad.wav"), distinct("a.wav"))
    code, shown = on_a_terminal("journal", "j.db", env={"COLUMNS": "80", "NO_COLOR": "1"})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert (code, lines[0].startswith("1 done; 1 failed; ")) == (0, True)
    assert lines[2].split() == ["state", "task", "attempts", "name"]
    assert max(map(len, lines)) <= 80
    assert "bad.wav: failed: no" in shown


@pytest.mark.usefixtures("no_environment")
def test_what_is_no_journal_is_one_line(polyglot):
    Path("text").write_text("this is no database, and longer than its header would be" * 3)
    Path("empty").touch()
    for name in ("text", "empty", "missing", "."):
        ended = polyglot("journal", name)
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert not Path("missing").exists()
