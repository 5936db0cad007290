"""`polyglot webhook verify`: why a signature fails."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from programs import require_program

from polyglot_async import webhooks

SECRET = "whsec_of_the_tests"
BODY = b'{"event":"transcription.completed","task_id":"t1","status":"completed"}'


@pytest.fixture
def verify(polyglot, no_environment, monkeypatch):
    """Call it on a body; the secret is in the environment."""
    monkeypatch.setenv("POLYGLOT_WEBHOOK_SECRET", SECRET)

    def call(*arguments: object, body: bytes = BODY):
        (no_environment / "body.json").write_bytes(body)
        ended = polyglot("webhook", "verify", "body.json", *arguments)
        assert SECRET not in ended.out + ended.err
        return ended

    return call


def given(headers: dict[str, str]) -> list[str]:
    return [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]


def test_a_matching_signature_is_verified(verify):
    ended = verify(*given(webhooks.sign(BODY, SECRET)))
    fields = dict(line.split("\t") for line in ended.out.splitlines())
    assert (ended.code, ended.err, fields["verdict"], fields["matches as"]) == (0, "", "verified", "hex")
    assert fields["event"] == "transcription.completed t1 completed"
    signed = webhooks.sign(BODY, SECRET)
    short = ("--signature", signed["X-Polyglot-Signature"], "--timestamp", signed["X-Polyglot-Timestamp"])
    assert verify(*short).code == 0


def test_a_signature_by_openssl_is_verified(verify, no_environment):
    (no_environment / "body.json").write_bytes(BODY)
    command = [
        require_program("openssl", "apt-get install openssl"),
        "dgst",
        "-sha256",
        "-hmac",
        SECRET,
        "-hex",
        "body.json",
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    assert verify("--signature", f"sha256={made}", "--any-age").code == 0


def test_a_body_that_an_editor_changed_is_explained(verify):
    ended = verify(*given(webhooks.sign(BODY, SECRET)), body=BODY + b"\n")
    assert ended.code == 1
    assert "verdict\tthe signature does not match the body\n" in ended.out
    assert "the body without the line break at its end" in ended.out
    assert f"body\t{len(BODY) + 1} bytes, SHA-256 " in ended.out


def test_an_old_delivery_says_that_only_its_age_is_wrong(verify):
    old = given(webhooks.sign(BODY, SECRET, timestamp=1_700_000_000))
    ended = verify(*old)
    assert (ended.code, "--any-age" in ended.out) == (1, True)
    assert verify(*old, "--any-age").code == 0


def test_the_secret_is_not_printed_even_if_it_is_given_as_the_signature(verify):
    ended = verify("--signature", f"sha256={SECRET}", "--timestamp", SECRET)
    assert (ended.code, "signature\tsha256=***\n" in ended.out) == (1, True)
    assert "hint\tthe secret was given as the signature\n" in ended.out
    assert SECRET not in verify("--json", "--signature", SECRET).out


def test_of_several_secrets_the_matching_one_is_named(verify):
    ended = verify("--secret", "old", "--secret", SECRET, *given(webhooks.sign(BODY, SECRET)))
    assert ended.code == 0
    assert "computed with secret 2\t" in ended.out
    assert "matches as\thex, secret 2\n" in ended.out


def test_as_json(verify):
    document = json.loads(verify("--json", *given(webhooks.sign(BODY, SECRET))).out)
    assert (document["verified"], document["event"]["task_id"], document["encoding"]) == (True, "t1", "hex")
    document = json.loads(verify("--json").out)
    assert (document["verified"], document["reason"], document["event"]) == (False, "signature", None)


def test_the_body_may_come_from_stdin(polyglot, no_environment, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(BODY)))
    arguments = ["--secret", SECRET, *given(webhooks.sign(BODY, SECRET))]
    assert polyglot("webhook", "verify", "-", *arguments).code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--signature", ""],
        ["--signature", "é\x00\x1b[31m" * 100],
        ["--signature", "ab", "--timestamp", "9" * 400],
        ["--signature", "ab", "--signature", "ab", "-H", "X-Polyglot-Signature: ab"],
        ["--signature", "ab", "--timestamp", "nan"],
        ["--header", "X-Polyglot-Signature:"],
    ],
)
def test_garbage_is_not_verified(verify, arguments):
    for body in (b"", b"\x00\xff", b"[" * 100_000, BODY):
        ended = verify(*arguments, body=body)
        assert (ended.code, ended.err) == (1, "")
        assert "\x1b" not in ended.out


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.json", "--secret", "x"], "missing.json: cannot be read: No such file"),
        ([".", "--secret", "x"], ".: cannot be read: Is a directory"),
        (["/dev/zero", "--secret", "x"], "not the body of a webhook"),
        (["/dev/null"], "no webhook secret: set POLYGLOT_WEBHOOK_SECRET, or use --secret"),
        (["/dev/null", "--secret", " "], "a secret is empty"),
        (["/dev/null", "--secret", "x", "--header", "no colon"], "invalid --header: write 'NAME: VALUE'"),
        (["/dev/null", "--secret", "x", "--header", ": no name"], "invalid --header: write 'NAME: VALUE'"),
        ([], "Missing argument 'FILE'"),
    ],
)
def test_invalid_input_is_2_and_one_line(polyglot, monkeypatch, arguments, says):
    monkeypatch.delenv("POLYGLOT_WEBHOOK_SECRET", raising=False)
    ended = polyglot("webhook", "verify", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


def test_without_a_subcommand_the_help_comes_and_2(polyglot):
    ended = polyglot("webhook")
    assert (ended.code, ended.out, "verify" in ended.err) == (2, "", True)
