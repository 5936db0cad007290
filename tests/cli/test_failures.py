"""How an exception is told."""

from __future__ import annotations

import click
import pytest

from polyglot_async import (
    ApiStatusError,
    AuthenticationError,
    ConfigurationError,
    MediaError,
    SubmissionUncertainError,
    Task,
    TaskStatus,
    WaitTimeoutError,
)
from polyglot_async._cli._failures import InputError, failure_of, scrubbed

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
    failure = failure_of(error)
    assert failure.exit_code == code
    assert failure.message
    assert "\n" not in failure.message


def test_an_error_of_the_disk_names_the_file():
    assert failure_of(OSError(28, "No space left on device", "x.srt")).message == "x.srt: No space left on device"


def test_what_may_have_been_paid_for_comes_with_a_hint():
    error = SubmissionUncertainError("lost", source_name="a.mp3", candidates=[TASK])
    failure = failure_of(error)
    assert failure.hint == "it may be t1: polyglot get ID"
    assert failure.as_json()["candidates"] == ["t1"]


def test_a_wait_that_was_given_up_says_how_to_go_on():
    assert "polyglot result t1" in str(failure_of(WaitTimeoutError("late", task=TASK)).hint)


def test_a_status_error_gives_scripts_its_facts():
    error = ApiStatusError("x", status_code=418, detail="teapot", request_id="r1", retry_after=2.0)
    facts = {"status_code": 418, "detail": "teapot", "request_id": "r1", "retry_after": 2.0}
    assert failure_of(error).as_json() == {"type": "ApiStatusError", "message": "x", "hint": None, **facts}


def test_no_credential_gets_through(monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", "from-environment ")
    failure = failure_of(
        AuthenticationError("bad sk_abcdef123, session.jwt and from-environment", status_code=401), secret="session.jwt"
    )
    assert failure.message == "bad sk_***, *** and ***"


def test_control_characters_of_a_server_do_not_reach_the_terminal():
    assert scrubbed("a\x1b[31mb\r\nc\x9b") == "a\N{REPLACEMENT CHARACTER}[31mb c\N{REPLACEMENT CHARACTER}"
