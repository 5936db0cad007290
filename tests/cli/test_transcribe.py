"""`polyglot transcribe` against a real server with a scripted engine."""

from __future__ import annotations

import json

import pytest


def test_two_files_become_four(polyglot, environment, media):
    ended = polyglot("transcribe", media("a.wav"), media("b.mp3"))
    assert (ended.code, ended.err) == (0, "")
    pairs = {tuple(line.split("\t")) for line in ended.out.splitlines()}
    assert pairs == {("a.wav", "a.srt"), ("a.wav", "a.txt"), ("b.mp3", "b.srt"), ("b.mp3", "b.txt")}
    assert (environment / "b.txt").read_text() == "words of b.mp3\n"
    assert (environment / "a.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:02,400\nwords of a.wav\n")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_file_that_is_named_more_than_once_is_sent_once(polyglot, environment, media, submitted, options):
    (environment / "link.wav").symlink_to(media("a.wav"))
    ended = polyglot("transcribe", "a.wav", "./a.wav", ".", *options)
    assert (ended.code, submitted()) == (0, 1)
    assert ended.err == ("" if options else "./a.wav and 2 more: named more than once, and sent once\n")


def test_a_folder_keeps_its_shape_below_out(polyglot, environment, media):
    media("in/a.wav")
    media("in/s/a.wav")
    assert polyglot("transcribe", "in", "--out", "out/new", "--format", "json").code == 0
    written = sorted(
        path.relative_to(environment / "out/new").as_posix() for path in environment.glob("out/new/**/*.*")
    )
    assert written == ["a.json", "s/a.json"]


def test_one_failure_stops_nothing_else(polyglot, environment, media):
    ended = polyglot("transcribe", media("bad.wav"), media("good.wav"), media("good2.wav"), "--concurrency", 1)
    assert ended.code == 1
    assert ended.out.count("\n") == 4
    failed, error = ended.err.splitlines()
    assert failed.startswith("failed bad.wav: task ")
    assert failed.endswith("no speech in it")
    assert error.startswith("error: 2 of 3 done; 1 failed; ")
    assert error.endswith(" requests today")


def test_with_json_each_source_is_a_document(polyglot, environment, media):
    ended = polyglot("transcribe", "--json", media("bad.wav"), media("good.wav"))
    records = {record["source"]: record for record in map(json.loads, ended.out.splitlines())}
    assert records["good.wav"]["text"] == "words of good.wav"
    assert records["good.wav"]["files"] == ["good.srt", "good.txt"]
    assert records["good.wav"]["error"] is None
    assert records["bad.wav"]["error"]["type"] == "TaskFailedError"
    assert records["bad.wav"]["task_id"]
    error = json.loads(ended.err)["error"]
    assert error["message"].startswith("1 of 2 done; 1 failed; ")
    assert (error["summary"]["done"], error["summary"]["failed"]) == (1, 1)


def test_nothing_is_sent_if_any_file_is_missing(polyglot, environment, media, submitted):
    ended = polyglot("transcribe", media("a.wav"), "missing.wav")
    assert (ended.code, ended.out) == (2, "")
    assert submitted() == 0


def test_nothing_is_sent_if_a_result_is_there_already(polyglot, environment, media, submitted):
    media("a.wav")
    (environment / "a.srt").write_text("corrected by hand")
    ended = polyglot("transcribe", "a.wav")
    assert ended.code == 2
    assert "a.srt: already exists (--overwrite replaces it); nothing was sent" in ended.err
    assert (environment / "a.srt").read_text() == "corrected by hand"
    assert submitted() == 0
    assert polyglot("transcribe", "a.wav", "--overwrite").code == 0


def test_options_arrive_and_a_translation_gets_a_file_of_its_own(polyglot, environment, media):
    arguments = ["--language", "de", "--translate-to", "ru", "--model", "fast", "--format", "srt"]
    assert polyglot("transcribe", media("a.wav"), *arguments).code == 0
    assert (environment / "a.ru.txt").read_text() == "[ru] words of a.wav\n"
    task = json.loads(polyglot("list", "--json", "--limit", 1).out)
    assert (task["input_language"], task["output_language"], task["model"]) == ("de", "ru", "fast")


def test_a_url_is_transcribed_into_the_current_folder(polyglot, environment, completed, sandbox):
    # The one media URL at hand is the sandbox's own source, which wants a credential: the task fails, and says so.
    ended = polyglot("transcribe", f"{sandbox.url}/transcriptions/{completed}/source", "--json")
    record = json.loads(ended.out)
    assert ended.code == 1
    assert record["source"].endswith("/source")
    assert record["error"]["message"]


def test_an_uncertain_upload_is_reported_with_a_hint(polyglot, environment, media, unprovable, hurried):
    ended = polyglot("transcribe", "--max-retries", 0, media("unsure.wav"), runtime=hurried)
    assert ended.code == 1
    assert "1 uncertain" in ended.err
    assert "polyglot list" in ended.err


@pytest.mark.parametrize("url", ["HTTP://u:p@127.0.0.1:9/a.mp3?sig=s3cret", " http://127.0.0.1:9/a.mp3?sig=s3cret"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--journal", "j.db"]])
def test_a_url_in_any_writing_is_sent_and_shown_without_its_secrets(polyglot, environment, submitted, url, options):
    ended = polyglot("transcribe", url, *options)
    assert (ended.code, submitted()) == (1, 1)
    assert "http://127.0.0.1:9/a.mp3" in ended.out + ended.err
    shown = ended.out + ended.err + (polyglot("journal", "j.db").out if "j.db" in options else "")
    assert "s3cret" not in shown
    assert "u:p" not in shown


def test_a_url_of_another_scheme_is_refused_without_its_secrets(polyglot, environment, submitted):
    ended = polyglot("transcribe", "ftp://u:p@x.test/a.mp3?sig=s3cret")
    assert (ended.code, submitted()) == (2, 0)
    assert "'ftp://x.test/a.mp3' is not an http or https URL" in ended.err
    assert "s3cret" not in ended.err


def test_it_works_where_nobody_may_read_the_limits(polyglot, environment, media, faults):
    faults.add("status call=documentation status=403 times=forever")
    ended = polyglot("transcribe", media("a.wav"))
    assert (ended.code, ended.err) == (0, "")
    assert (environment / "a.srt").exists()


def test_strange_names_are_taken_as_they_are(polyglot, environment, media):
    names = ["речь 😀.wav", "[red]x.wav", "a\tb\nc.wav", "-dash.wav"]
    ended = polyglot("transcribe", "--", *(media(name).name for name in names))
    assert (ended.code, ended.err) == (0, "")
    assert {path.name for path in environment.glob("*.srt")} == {name.replace(".wav", ".srt") for name in names}
    assert len(ended.out.splitlines()) == 8


@pytest.mark.parametrize("as_json", [True, False])
def test_what_ends_a_run_without_a_journal_leaves_the_ids_of_paid_tasks(polyglot, environment, media, faults, as_json):
    faults.add("status call=result status=401 times=9")
    ended = polyglot("transcribe", media("a.wav"), *(["--json"] if as_json else []))
    assert ended.code == 1
    task_id = polyglot("list").out.split("\t")[0].splitlines()[0]
    if as_json:
        assert json.loads(ended.err)["error"]["unreturned_tasks"] == {task_id: "a.wav"}
    else:
        assert f"a.wav ({task_id})" in ended.err
        assert [line.partition(":")[0] for line in ended.err.splitlines()][:2] == ["stopped", "error"]


def test_an_upload_without_an_answer_is_named_beside_a_task_of_the_same_name(polyglot, environment, media, faults):
    media("in/x/1.wav")
    (environment / "in/y").mkdir()
    (environment / "in/y/1.wav").write_bytes(media("in/x/1.wav").read_bytes() + bytes(2))
    faults.add("latency call=upload seconds=30")
    faults.add("status call=result status=401 times=9")
    ended = polyglot("transcribe", "in", "--concurrency", 2)
    [stopped] = [line for line in ended.err.splitlines() if line.startswith("stopped: ")]
    assert (ended.code, stopped.count("1.wav")) == (1, 2)
    assert stopped.endswith("), 1.wav (check: polyglot list)")
