"""Text that is safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import Task, TaskStatus
from polyglot_async._cli._formatting import format_duration, redact_urls, scrub, task_fields, to_json

SAFE = st.text(st.characters(categories=["L", "N"]), min_size=1)


def test_no_credential_is_left(monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", "from-environment ")
    assert scrub("sk_abcdef123, session.jwt, from-environment", "session.jwt") == "sk_***, ***, ***"


@pytest.mark.parametrize("code", ["\x1b", "\x00", "\x9b", "\u202e", "\u2066"])
def test_control_characters_and_overrides_do_not_reach_the_terminal(code):
    assert scrub(f"a{code}[31mb\r\nc") == "a\N{REPLACEMENT CHARACTER}[31mb c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://x.test/a?key=1: refused", "GET https://x.test/a: refused"),
        ("(see HTTP://u:p@x.test:80/a).", "(see HTTP://x.test:80/a)."),
        ("'https://x.test/a?b=c' and \"https://y.test/#t\"", "'https://x.test/a' and \"https://y.test/\""),
        ("a@b.test is no URL, nor is x?y", "a@b.test is no URL, nor is x?y"),
    ],
)
def test_urls_lose_their_secrets_and_nothing_else_changes(text, shown):
    assert redact_urls(text) == shown


@given(SAFE, SAFE, SAFE)
def test_no_part_of_a_url_that_can_be_secret_is_left(user, password, query):
    text = redact_urls(f"before https://<{user}:<{password}@x.test/a.mp3?<{query} after".replace("<", "S-"))
    assert text == "before https://x.test/a.mp3 after"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0.0 s"), (59.94, "59.9 s"), (60, "1:00"), (123.4, "2:03"), (3723, "1:02:03")],
)
def test_durations_are_short(seconds, shown):
    assert format_duration(seconds) == shown


def test_unknown_fields_are_shown_and_never_replace_known_ones():
    task = Task(task_id="t1", status=TaskStatus.COMPLETED, extra={"status": "odd", "speakers": 2})
    assert (to_json(task)["status"], to_json(task)["speakers"]) == ("completed", 2)
    assert dict(task_fields(task)) == {"task id": "t1", "status": "completed", "speakers": "2"}
