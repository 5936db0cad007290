"""The commands that make one call each, against a real server."""

from __future__ import annotations

import json

import pytest

from polyglot_async.sandbox import Fault


def test_list_in_a_pipe_is_a_line_a_task(polyglot, completed):
    first, *_ = polyglot("list").out.splitlines()
    assert first.split("\t") == [completed, "completed", "2.4 s", "en", "talk.wav"]


def test_list_gives_as_many_as_asked_for(polyglot, completed):
    assert len(polyglot("list", "--limit", 1).out.splitlines()) == 1


def test_list_as_json_is_a_document_a_line(polyglot, completed):
    lines = polyglot("list", "--json").out.splitlines()
    assert json.loads(lines[0])["task_id"] == completed


def test_list_filters_even_if_the_service_does_not(polyglot, completed, media):
    assert polyglot("transcribe", media("bad.wav"), media("good.wav")).code == 1
    lines = polyglot("list", "--status", "failed").out.splitlines()
    assert lines
    assert all(line.split("\t")[1] == "failed" for line in lines)


@pytest.mark.parametrize("word", ["COMPLETED", "done", " success"])
def test_list_takes_a_status_in_other_spellings(polyglot, completed, word):
    assert polyglot("list", "--status", word).out.startswith(f"{completed}\tcompleted\t")


@pytest.fixture
def unfiltered(environment, faults):
    """A service that knows no filters and has a status of its own."""
    tasks = [{"task_id": "t1", "status": "paused"}, {"task_id": "t2", "status": "completed"}]
    faults.add(f"status call=list status=200 json='{json.dumps(tasks)}' times=forever")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("complted", "did you mean completed?"),
        ("Pausd", "did you mean paused?"),
        ("banana", "known are queued, processing, completed, failed, cancelled, paused"),
    ],
)
def test_list_names_the_statuses_where_nothing_has_an_unknown_one(polyglot, unfiltered, word, hint):
    ended = polyglot("list", "--status", word)
    assert (0, "", f"no tasks with the status '{word}': {hint}\n") == (ended.code, ended.out, ended.err)
    ended = polyglot("list", "--status", word, "--json")
    assert (0, "", "") == (ended.code, ended.out, ended.err)


def test_list_finds_a_status_that_only_the_service_knows(polyglot, unfiltered):
    assert polyglot("list", "--status", "paused").out.startswith("t1\tpaused\t")


def test_list_says_nothing_in_a_pipe_where_nothing_has_a_known_status(polyglot, unfiltered):
    ended = polyglot("list", "--status", "failed")
    assert (0, "", "") == (ended.code, ended.out, ended.err)


def test_list_shows_what_a_service_says_that_refuses_a_status(polyglot, environment):
    ended = polyglot("list", "--status", "banana")
    assert 1 == ended.code
    assert "one of queued, processing, completed, failed, cancelled" in ended.err


def test_get_shows_what_is_known(polyglot, completed):
    shown = dict(line.split("\t") for line in polyglot("get", completed).out.splitlines())
    assert (shown["task id"], shown["status"], shown["file name"]) == (completed, "completed", "talk.wav")
    assert json.loads(polyglot("get", completed, "--json").out)["status"] == "completed"


def test_an_unknown_task_is_one_line_and_1(polyglot, environment):
    ended = polyglot("get", "nope")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "404" in ended.err
    error = json.loads(polyglot("get", "nope", "--json").err)["error"]
    assert (error["type"], error["status_code"]) == ("NotFoundError", 404)


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ([], "words of talk.wav\n"),
        (["--format", "srt"], "1\n00:00:00,000 --> "),
        (["--format", "VTT"], "WEBVTT\n"),
        (["--json"], '{"task_id": '),
    ],
)
def test_result_is_shown_in_each_format(polyglot, completed, options, begins):
    assert polyglot("result", completed, *options).out.startswith(begins)


def test_result_shows_the_translation_too(polyglot, environment, media):
    record = polyglot("transcribe", media("a.wav"), "--translate-to", "ru", "--json")
    task_id = json.loads(record.out)["task_id"]
    assert polyglot("result", task_id).out == "words of a.wav\n\n[ru] words of a.wav\n"


def test_result_is_saved_by_suffix_and_never_over_another(polyglot, completed, environment):
    ended = polyglot("result", completed, "--out", "x.vtt")
    assert (ended.code, ended.out) == (0, "x.vtt\n")
    assert (environment / "x.vtt").read_text().startswith("WEBVTT")
    (environment / "x.vtt").write_text("mine")
    assert polyglot("result", completed, "--out", "x.vtt").code == 2
    assert (environment / "x.vtt").read_text() == "mine"
    assert polyglot("result", completed, "--out", "x.vtt", "--overwrite").code == 0
    assert polyglot("result", completed, "--out", "no/folder/x.vtt").code == 2


def test_download_goes_to_a_file_or_to_stdout(polyglot, completed, environment):
    ended = polyglot("download", completed, "srt")
    assert ended.out == f"{completed}.srt\n"
    assert polyglot("download", completed, "srt", "--out", "-").out == (environment / f"{completed}.srt").read_text()
    assert polyglot("download", completed, "srt").code == 2
    assert json.loads(polyglot("download", completed, "txt", "--json").out) == {"path": f"{completed}.txt"}


def test_source_comes_back_under_its_own_name(polyglot, completed, environment):
    ended = polyglot("source", completed, "--connections", 2)
    assert (ended.code, ended.out) == (0, "talk.wav\n")
    assert (environment / "talk.wav").read_bytes() == (environment / "made/talk.wav").read_bytes()
    again = polyglot("source", completed)
    assert (again.code, "already exists" in again.err) == (2, True)
    assert polyglot("source", completed, "--out", "-").code == 2


def test_convert_writes_another_format(polyglot, environment, media):
    media("a.wav")
    assert polyglot("convert", "a.wav", "b.flac").out == "b.flac\n"
    assert (environment / "b.flac").read_bytes()[:4] == b"fLaC"
    assert polyglot("convert", "a.wav", "a.wav", "--overwrite").code == 2
    assert polyglot("convert", "a.wav", "b").code == 2
    assert polyglot("convert", "a.wav", "b.bogus").code == 2


def test_validate_url_answers_with_its_exit_code(polyglot, environment, faults):
    ended = polyglot("validate-url", "http://127.0.0.1:9/a.mp3")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith("not usable: ")
    assert json.loads(polyglot("validate-url", "http://127.0.0.1:9/a.mp3", "--json").out)["valid"] is False


def test_limits_are_shown(polyglot, environment):
    assert "plan\tunlimited\n" in polyglot("limits").out
    assert json.loads(polyglot("limits", "--json").out)["plan"] == "unlimited"


@pytest.mark.parametrize("status", [401, 403])
def test_limits_that_nobody_may_read_are_an_error_that_says_so(polyglot, environment, faults, status):
    faults.add(f"status call=documentation status={status} times=forever")
    ended = polyglot("limits")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert f"the service does not show account limits to this key (HTTP {status}" in ended.err
    assert json.loads(polyglot("limits", "--json").err)["error"]["message"]


def test_names_that_the_service_sends_cannot_control_the_terminal(on_a_terminal, completed, faults):
    faults.add("rewrite call=get set='evil\x1b[2J\u202e:1' times=forever")
    code, shown = on_a_terminal("get", completed, env={"NO_COLOR": "1", "COLUMNS": "80"})
    assert code == 0
    assert "evil" in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("kind", ["garbage", "truncate", "reset_response", "wrong_length"])
@pytest.mark.parametrize("command", [["list"], ["get", "ID"], ["result", "ID"], ["download", "ID", "srt"], ["limits"]])
def test_whatever_the_service_does_ends_in_one_line(polyglot, completed, faults, kind, command):
    faults.add(Fault(kind=kind, times=None))
    ended = polyglot("--max-retries", 0, "--timeout", 5, *(completed if word == "ID" else word for word in command))
    assert ended.code in {0, 1}
    assert ended.code == (1 if ended.err else 0)
    assert ended.err.count("\n") == ended.err.count("error: ")
