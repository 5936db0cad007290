"""How an exception is shown."""

from __future__ import annotations

import click
import pytest

from polyglot_async import (
    ApiStatusError,
    AuthenticationError,
    ConfigurationError,
    MediaError,
    ServerError,
    SubmissionUncertainError,
    Task,
    TaskFailedError,
    TaskStatus,
    WaitTimeoutError,
)
from polyglot_async._cli._error_report import IncompleteError, InputError, attach_tasks, describe_error

TASK = Task(task_id="t1", status=TaskStatus.PROCESSING)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("no credential"), 2),
        (InputError("missing"), 2),
        (click.UsageError("what?"), 2),
        (MediaError("changed while it was read"), 1),
        (OSError(28, "No space left on device", "x.srt"), 1),
        (ValueError("no"), 1),
        (WaitTimeoutError("late", task=TASK), 1),
        (KeyError("a bug"), 1),
        (ExceptionGroup("two", [ConfigurationError("no credential")]), 2),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(error, code):
    report = describe_error(error)
    assert report.exit_code == code
    assert report.message
    assert "\n" not in report.message


def test_an_error_of_the_disk_names_the_file():
    assert describe_error(OSError(28, "No space left on device", "x.srt")).message == "x.srt: No space left on device"


def test_an_uncertain_submission_comes_with_a_hint():
    error = SubmissionUncertainError("lost", source_name="a.mp3", candidates=[TASK])
    report = describe_error(error)
    assert report.hint == "it may be t1: polyglot get ID"
    assert report.to_json()["candidates"] == ["t1"]


def test_a_wait_that_timed_out_says_how_to_fetch_the_result():
    assert "polyglot result t1" in str(describe_error(WaitTimeoutError("late", task=TASK)).hint)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ServerError("bad gateway", status_code=502), "fetch it later: polyglot result t1"),
        (
            AuthenticationError("expired", status_code=401),
            "make a new one in your profile on the site; the task is paid",
        ),
        (TaskFailedError("no speech", task=TASK), None),
    ],
)
def test_after_the_start_of_a_task_the_hint_says_how_to_fetch_it(error, hint):
    error.task = TASK
    report = describe_error(error)
    assert report.to_json()["task_id"] == "t1"
    assert report.hint is None if hint is None else hint in report.hint


def test_a_status_error_has_fields_for_scripts():
    error = ApiStatusError("x", status_code=418, detail="teapot", request_id="r1", retry_after=2.0)
    fields = {"status_code": 418, "detail": "teapot", "request_id": "r1", "retry_after": 2.0}
    assert describe_error(error).to_json() == {"type": "ApiStatusError", "message": "x", "hint": None, **fields}


def test_no_credential_is_shown(monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", "from-environment ")
    report = describe_error(
        AuthenticationError("bad sk_abcdef123, session.jwt and from-environment", status_code=401), secret="session.jwt"
    )
    assert report.message == "bad sk_***, *** and ***"


def test_no_secret_of_a_url_is_shown():
    error = SubmissionUncertainError("lost https://user:pass@x.test/a.mp3?sig=1", source_name="https://u:p@x.test/?s=1")
    report = describe_error(error)
    assert report.message == "lost https://x.test/a.mp3"
    assert report.to_json()["source_name"] == "https://x.test/"


def test_no_secret_is_shown_inside_lists_and_objects():
    error = SubmissionUncertainError(
        "lost", source_name="a.mp3", candidates=[Task(task_id="sk_abcdef123", status=TASK.status)]
    )
    attach_tasks(error, {"t-hush": "https://u:p@x.test/a.mp3?s=1"})
    fields = describe_error(error, secret="hush").to_json()
    assert fields["candidates"] == ["sk_***"]
    assert fields["unreturned_tasks"] == {"t-***": "https://x.test/a.mp3"}
    summary = {"failed": [{"message": "bad sk_abcdef123"}]}
    assert describe_error(IncompleteError("1 failed", summary)).to_json()["summary"] == {
        "failed": [{"message": "bad sk_***"}]
    }


def test_notes_are_no_fields():
    """What a note says of tasks, a field holds."""
    error = MediaError("gone")
    error.add_note("1 of its tasks was started")
    assert describe_error(error).to_json() == {"type": "MediaError", "message": "gone", "hint": None}


def test_a_bug_is_called_unexpected_and_says_how_to_see_more():
    assert (
        describe_error(KeyError("x")).message == "unexpected KeyError: 'x' (run again with --verbose for the traceback)"
    )
