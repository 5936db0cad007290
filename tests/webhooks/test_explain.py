"""`explain`: why a signature fails."""

import base64
import hashlib
import hmac
import json

import pytest

from polyglot_async import WebhookVerificationError, webhooks

SECRET = "whsec-made-up-for-tests"
NOW = 1_800_000_000
BODY = b'{"event": "transcription.completed", "task_id": "9b9c", "status": "completed", "x": "\xd0\x96"}'


def head(body=BODY, secret=SECRET):
    return webhooks.sign(body, secret, timestamp=NOW - 5)


def test_a_good_delivery_is_explained():
    found = webhooks.explain(BODY, head(), ["other", SECRET], now=NOW)
    assert found.verified
    assert found.verdict == "verified"
    assert found.event.task_id == "9b9c"
    assert found.body_bytes == len(BODY)
    assert found.body_sha256 == hashlib.sha256(BODY).hexdigest()
    assert found.computed[1] == found.signature == hmac.new(SECRET.encode(), BODY, "sha256").hexdigest()
    assert (found.encoding, found.secret_index, found.timestamp, found.timestamp_age) == ("hex", 1, str(NOW - 5), 5.0)
    assert found.hints == ()
    assert "sha256=base64url" in found.encodings_tried


def test_the_encoding_that_matched_is_named():
    mac = hmac.new(SECRET.encode(), BODY, "sha256").digest()
    for written, name in ((mac.hex().upper(), "hex"), (base64.b64encode(mac).decode(), "base64")):
        found = webhooks.explain(BODY, head() | {"X-Polyglot-Signature": f"sha256={written}"}, SECRET, now=NOW)
        assert found.encoding == f"sha256={name}"


@pytest.mark.parametrize(
    ("signed", "hint"),
    [
        (BODY + b"\n", "line break"),
        (b"", "read before"),
        (json.dumps(json.loads(BODY), separators=(",", ":")).encode(), "decoded and encoded"),
        (str(NOW - 5).encode() + b"." + BODY, "signs the timestamp"),
        (str(NOW - 5).encode() + BODY, "signs the timestamp"),
    ],
)
def test_a_body_that_was_touched_is_recognised(signed, hint):
    found = webhooks.explain(BODY, head(signed), SECRET, now=NOW)
    assert not found.verified
    assert found.reason == "signature"
    assert any(hint in text for text in found.hints)


def test_what_an_editor_does_to_a_file_is_recognised():
    lines = b'{\n"event": "e"}'
    for saved, signed in ((lines + b"\r\n", lines), (b"\xef\xbb\xbf" + lines, lines),
                          (lines, lines.replace(b"\n", b"\r\n")), (lines.replace(b"\n", b"\r\n"), lines)):  # fmt: skip
        assert webhooks.explain(saved, head(signed), SECRET, now=NOW).hints


@pytest.mark.parametrize(
    ("configured", "signing"),
    [(f"{SECRET}\n", SECRET), ("6b6579", "key"), (base64.b64encode(b"a key").decode(), "a key")],
)
def test_a_secret_that_was_written_differently_is_recognised(configured, signing):
    found = webhooks.explain(BODY, head(secret=signing), configured, now=NOW)
    assert found.hints
    assert found.hints[0].startswith("it matches the secret")


def test_other_failures_are_explained():
    stale = webhooks.explain(BODY, head(), SECRET, now=NOW + 10_000)
    assert (stale.reason, stale.timestamp_age, stale.encoding) == ("timestamp", 10_005.0, "hex")
    assert webhooks.explain(BODY, head(), SECRET, now=NOW + 10_000, tolerance=None).verified
    bare = webhooks.explain(BODY, {}, SECRET)
    assert (bare.reason, bare.signature, bare.timestamp, bare.timestamp_age) == ("signature", None, None, None)
    twice = webhooks.explain(BODY, [*head().items(), *head().items()], SECRET)
    assert (twice.reason, twice.signature) == ("headers", None)
    assert webhooks.explain(b"[]", head(b"[]"), SECRET, now=NOW).reason == "body"
    odd = webhooks.explain(b"\xff" * 9, {"X-Polyglot-Signature": b"\xff" * 900}, SECRET)
    assert odd.signature == ("\\xff" * 900)[:200]


def test_with_nothing_to_compute_it_raises():
    for body, secret in ((BODY, None), (BODY, ""), (BODY.decode(), SECRET)):
        with pytest.raises(WebhookVerificationError):
            webhooks.explain(body, head(), secret)


def test_the_secret_is_in_no_explanation():
    for found in (webhooks.explain(BODY, head(), SECRET), webhooks.explain(BODY, head(b"other"), [SECRET, "x y z"])):
        assert SECRET not in repr(found)
        assert "x y z" not in repr(found)


def test_explain_and_verify_agree():
    for body in (BODY, BODY + b" ", b"", b"[]"):
        for headers in (
            head(),
            head(body),
            {},
            [("x-polyglot-signature", b"\xff")],
            head(body) | {"x-polyglot-timestamp": "0"},
        ):
            for tolerance in (300, None):
                found = webhooks.explain(body, headers, SECRET, now=NOW, tolerance=tolerance)
                try:
                    event, reason = webhooks.verify(body, headers, SECRET, now=NOW, tolerance=tolerance), None
                except WebhookVerificationError as error:
                    event, reason = None, error.reason
                assert (found.event, found.reason) == (event, reason)
