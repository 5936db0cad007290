"""`verify` and `sign`: what passes, and above all what does not."""

import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message

import httpx
import pytest
import werkzeug.datastructures
from hypothesis import example, given
from hypothesis import strategies as st
from programs import require_program
from starlette.datastructures import Headers as StarletteHeaders

from polyglot_async import TaskStatus, WebhookVerificationError, webhooks

SECRET = "whsec-made-up-for-tests"
NOW = 1_800_000_000
BODY = b'{"event":"transcription.completed","task_id":"9b9c","status":"completed","model":"fast"}'
MAC = hmac.new(SECRET.encode(), BODY, hashlib.sha256).digest()
SIGNATURE = MAC.hex()


def headers(signature=SIGNATURE, timestamp=str(NOW)):
    return {"X-Polyglot-Signature": signature, "X-Polyglot-Timestamp": timestamp}


def refusal(body=BODY, head=None, secret=SECRET, **options):
    with pytest.raises(WebhookVerificationError) as caught:
        webhooks.verify(body, headers() if head is None else head, secret, **{"now": NOW, **options})
    assert SECRET not in str(caught.value)
    return caught.value.reason


def test_an_event_comes_out_whole(body, secret):
    event = webhooks.verify(body, webhooks.sign(body, secret), secret)
    assert event.event == "transcription.completed"
    assert event.task_id == "9b9c1b9a"
    assert event.status is TaskStatus.COMPLETED
    assert event.model == "fast"
    assert event.failure_reason is None
    assert event.has_transcript
    assert event.has_translation
    assert event.transcript_preview == "Привет, this is a sample..."


def test_what_the_service_adds_is_kept(make_body, secret):
    body = make_body(status="paused", cost=49)
    event = webhooks.verify(body, webhooks.sign(body, secret), secret)
    assert event.extra == {"cost": 49}
    assert event.status == "paused"


@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize(
    "written",
    [
        MAC.hex(),
        MAC.hex().upper(),
        base64.b64encode(MAC).decode(),
        base64.b64encode(MAC).decode().rstrip("="),
        base64.urlsafe_b64encode(MAC).decode(),
        base64.urlsafe_b64encode(MAC).decode().rstrip("="),
    ],
)
def test_every_encoding_of_the_signature_is_accepted(written, prefix):
    assert webhooks.verify(BODY, headers(prefix + written), SECRET, now=NOW)
    assert refusal(BODY + b" ", headers(prefix + written)) == "signature"


@pytest.mark.parametrize("seed", range(40))
def test_both_alphabets_of_base64_are_accepted_whatever_the_bytes(seed):
    body = BODY[:-1] + b',"n":%d}' % seed
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).digest()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert webhooks.verify(body, headers(encode(mac).decode()), SECRET, now=NOW)


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "sha256=", "sha256", MAC.hex()[:-1], MAC.hex()[:-2], MAC.hex() + "00", MAC.hex() + "=",
        f"{MAC.hex()}, {MAC.hex()}", f"sha1={MAC.hex()}", f"sha256=sha256={MAC.hex()}", f"SHA256={MAC.hex()}",
        " ".join(MAC.hex()[i : i + 2] for i in range(0, 64, 2)), "0x" + MAC.hex(), base64.b64encode(MAC).decode() + "=",
        base64.b64encode(MAC.hex().encode()).decode(), "v1," + base64.b64encode(MAC).decode(), "é" * 64, "\x00" * 64,
        hashlib.sha256(BODY).hexdigest(), hmac.new(b"", BODY, hashlib.sha256).hexdigest(), "None", "\udcff",
    ],
)  # fmt: skip
def test_nothing_else_is_accepted_as_a_signature(written):
    assert refusal(head=headers(written)) == "signature"


@pytest.mark.parametrize("algorithm", ["sha1", "sha512", "md5", "sha3_256"])
def test_no_other_algorithm_is_accepted(algorithm):
    assert refusal(head=headers(hmac.new(SECRET.encode(), BODY, algorithm).hexdigest())) == "signature"


def test_a_signature_by_openssl_verifies(body, secret):
    printed = subprocess.run(
        [require_program("openssl", "apt-get install openssl"), "dgst", "-sha256", "-hmac", secret],
        input=body,
        capture_output=True,
        check=True,
    ).stdout.decode()
    by_openssl = printed.rpartition("= ")[2].strip()
    assert webhooks.verify(body, headers(by_openssl), secret, now=NOW)
    assert webhooks.sign(body, secret)["X-Polyglot-Signature"] == by_openssl


# -- headers


def _message():
    message = Message()
    for name, value in headers().items():
        message[name] = value
    return message


@pytest.mark.parametrize(
    "head",
    [
        headers(),
        {name.upper(): value for name, value in headers().items()},
        {name.lower(): value.encode() for name, value in headers().items()},
        {name: f"  {value}\t" for name, value in headers().items()},
        list(headers().items()),
        [(name.lower().encode(), value.encode()) for name, value in headers().items()],
        iter([(name, value) for name, value in headers().items()]),
        httpx.Headers(headers()),
        StarletteHeaders(headers()),
        werkzeug.datastructures.Headers(headers()),
        _message(),
        {**headers(), 7: "not ours", "X-Other": ["not", "ours"]},
    ],
)
def test_headers_of_every_kind_are_read(head):
    assert webhooks.verify(BODY, head, SECRET, now=NOW)


_TWICE = [*headers().items(), ("x-polyglot-signature", "00")]


@pytest.mark.parametrize(
    "head",
    [
        _TWICE,
        _TWICE[::-1],
        [*headers().items(), *headers().items()],
        {**headers(), "x-polyglot-signature": MAC.hex()},
        StarletteHeaders(raw=[(name.lower().encode(), value.encode()) for name, value in _TWICE]),
        werkzeug.datastructures.Headers(_TWICE),
        [*headers().items(), ("X-POLYGLOT-TIMESTAMP", str(NOW))],
        {**headers(), "X-Polyglot-Signature": [MAC.hex()]},
        None,
        7,
        "X-Polyglot-Signature",
        [("X-Polyglot-Signature",)],
        [None],
        object(),
    ],
)
def test_headers_that_are_ambiguous_or_no_headers_are_refused(head):
    with pytest.raises(WebhookVerificationError) as caught:
        webhooks.verify(BODY, head, SECRET, now=NOW)
    assert caught.value.reason == "headers"


def test_duplicates_that_a_framework_has_joined_are_refused():
    assert refusal(head=httpx.Headers(_TWICE)) == "signature"


def test_a_headers_object_that_fails_is_refused():
    class Hostile(dict):
        def items(self):
            raise RuntimeError(SECRET)

    assert refusal(head=Hostile(headers())) == "headers"


def test_a_missing_signature_is_refused():
    assert refusal(head={"X-Polyglot-Timestamp": str(NOW)}) == "signature"
    assert refusal(head={}) == "signature"


# -- secrets and bodies


@pytest.mark.parametrize(
    "none", [None, "", "  \n", [], (), [""], ["", SECRET], [SECRET, ""], [None], [SECRET, None], b"x", 0, {"a": "b"},
             {SECRET}, iter([SECRET]), "\ud800", [b"x"], True, object()],
)  # fmt: skip
def test_nothing_passes_without_a_secret(none):
    for key in (b"", b"None", SECRET.encode(), b"x", b"a"):
        signature = hmac.new(key, BODY, hashlib.sha256).hexdigest()
        with pytest.raises(WebhookVerificationError) as caught:
            webhooks.verify(BODY, headers(signature), none, now=NOW)
        assert caught.value.reason == "secret"
    with pytest.raises(WebhookVerificationError):
        webhooks.sign(BODY, none)


def test_while_secrets_rotate_any_of_them_may_have_signed():
    for secrets in ([SECRET, "new"], ("new", SECRET)):
        assert webhooks.verify(BODY, headers(), secrets, now=NOW)
    assert refusal(secret=["new", "newer"]) == "signature"


@pytest.mark.parametrize("decoded", [BODY.decode(), {"task_id": "9b9c"}, None, 7, [], iter([BODY])])
def test_a_body_that_was_decoded_before_is_refused(decoded):
    assert refusal(decoded) == "body"
    with pytest.raises(WebhookVerificationError, match="raw bytes"):
        webhooks.sign(decoded, SECRET)


@pytest.mark.parametrize("raw", [bytearray(BODY), memoryview(BODY)])
def test_every_kind_of_bytes_is_a_body(raw):
    assert webhooks.verify(raw, headers(), SECRET, now=NOW)


@pytest.mark.parametrize(
    "malformed", [b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b"7", b'"x"', b"{}", b'{"task_id":"t"}',
                  b'{"event":" ","task_id":"t","status":5}', b'{"event":"e","task_id":" ","status":"failed"}',
                  b'{"event":"e","task_id":null,"status":"failed"}', b'{"event":"e","task_id":["t"],"status":"failed"}',
                  b"[" * 100_000, b"9" * 10_000, BODY + b"x"],
)  # fmt: skip
def test_a_malformed_body_is_refused_even_with_a_right_signature(malformed):
    assert refusal(malformed, webhooks.sign(malformed, SECRET, timestamp=NOW)) == "body"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"has_transcript": 1}, {"has_transcript": True}),
        ({"has_transcript": "true", "has_translation": "no"}, {"has_transcript": True, "has_translation": False}),
        ({"has_transcript": "maybe"}, {"has_transcript": False}),
        ({"task_id": 17}, {"task_id": "17"}),
        ({"status": "COMPLETED"}, {"status": TaskStatus.COMPLETED}),
        ({"status": None}, {"status": TaskStatus.COMPLETED}),
        ({"status": None, "event": "transcription.canceled"}, {"status": TaskStatus.CANCELLED}),
        ({"status": None, "event": "ping"}, {"status": "unknown"}),
        ({"event": 5}, {"event": "5", "status": TaskStatus.COMPLETED}),
        ({"event": {}, "status": "failed"}, {"event": "transcription.failed"}),
        ({"failure_reason": {"code": 1}, "model": False}, {"failure_reason": None, "model": None}),
        ({"task_id": None, "data": {"task_id": "t", "model": "fast"}}, {"task_id": "t", "model": "fast"}),
    ],
)
def test_an_odd_field_does_not_lose_a_signed_event(fields, expected):
    base = {"event": "transcription.completed", "task_id": "t", "status": "completed"}
    body = json.dumps({**base, **fields}).encode()

    event = webhooks.verify(body, webhooks.sign(body, SECRET, timestamp=NOW), SECRET, now=NOW)

    assert expected == {name: getattr(event, name) for name in expected}
    assert all(event.extra[name] == fields[name] for name, value in expected.items() if value is None)


# -- time


@pytest.mark.parametrize(
    "written",
    [
        "1800000000", "1800000000.0", "1800000000000", "1800000000123.5", "+1800000000", "2027-01-15T08:00:00Z",
        "2027-01-15T08:00:00+00:00", "2027-01-15T11:00:00+03:00", "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:00",
        "2027-01-15 08:00:00Z", "20270115T080000Z",
    ],
)  # fmt: skip
def test_every_form_of_the_timestamp_is_read(written):
    assert webhooks.verify(BODY, headers(timestamp=written), SECRET, now=NOW, tolerance=0.5)


@pytest.mark.parametrize(
    "written",
    [
        "", "now", "NaN", "nan", "inf", "-inf", "1e400", "1.8e9", "0x6b49d200", "1_800_000_000", "١٨٠٠٠٠٠٠٠٠",
        "9" * 5000, "9" * 20, "-1800000000", "2027-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
        "1800000000 1800000000", "1800000000,1800000000", "Fri, 15 Jan 2027 08:00:00 GMT", "é", b"\xff\xfe", "0",
    ],
)  # fmt: skip
def test_no_other_timestamp_is_fresh(written):
    assert refusal(head=headers(timestamp=written)) == "timestamp"
    assert webhooks.verify(BODY, headers(timestamp=written), SECRET, now=NOW, tolerance=None)


@pytest.mark.parametrize("off", [-300, -299.5, 0, 300])
def test_within_the_tolerance_both_ways_it_is_fresh(off):
    assert webhooks.verify(BODY, headers(timestamp=str(NOW + off)), SECRET, now=NOW)


@pytest.mark.parametrize("off", [-301, -300.001, 300.001, 86_400])
def test_beyond_the_tolerance_it_is_not(off):
    assert refusal(head=headers(timestamp=str(NOW + off))) == "timestamp"
    assert webhooks.verify(BODY, headers(timestamp=str(NOW + off)), SECRET, now=NOW, tolerance=86_400)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1])
def test_a_tolerance_that_is_none_lets_nothing_through(tolerance):
    with pytest.raises(ValueError, match="tolerance is"):
        webhooks.verify(BODY, headers(), SECRET, now=NOW, tolerance=tolerance)


def test_a_missing_timestamp_is_refused_unless_it_is_not_looked_at():
    head = {"X-Polyglot-Signature": MAC.hex()}
    assert refusal(head=head) == "timestamp"
    assert webhooks.verify(BODY, head, SECRET, tolerance=None)


def test_a_wrong_signature_is_told_before_the_timestamp():
    assert refusal(head=headers("00", "0")) == "signature"


def test_the_present_may_be_a_datetime():
    moment = datetime.fromtimestamp(NOW, UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=-7)))
    assert webhooks.verify(BODY, headers(), SECRET, now=elsewhere, tolerance=0)
    assert webhooks.sign(BODY, SECRET, timestamp=elsewhere)["X-Polyglot-Timestamp"] == str(NOW)
    assert webhooks.sign(BODY, SECRET, timestamp=NOW + 0.5)["X-Polyglot-Timestamp"] == f"{NOW}.5"
    with pytest.raises(ValueError, match="time zone"):
        webhooks.verify(BODY, headers(), SECRET, now=moment.replace(tzinfo=None))


# -- whatever comes in


_texts = st.one_of(st.text(), st.binary(), st.sampled_from([MAC.hex(), str(NOW), "sha256=" + MAC.hex()]))
_names = st.one_of(_texts, st.sampled_from(["x-polyglot-signature", b"X-Polyglot-Timestamp", "X-POLYGLOT-SIGNATURE"]))
_anything = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(), _texts),
    lambda inner: st.lists(inner) | st.dictionaries(_names, inner),
)
_headers = st.one_of(st.lists(st.tuples(_names, _texts)), st.dictionaries(_names, _texts), _anything)


@given(
    body=st.one_of(st.binary(), _anything), head=_headers, secret=st.one_of(st.text(), st.lists(st.text()), _anything)
)
@example(body=b"", head={"x-polyglot-signature": hmac.new(b"", b"", "sha256").hexdigest()}, secret="")
def test_whatever_comes_in_there_is_one_error(body, head, secret):
    with pytest.raises(WebhookVerificationError) as caught:
        webhooks.verify(body, head, secret, tolerance=None)
    assert caught.value.reason in {"secret", "signature", "timestamp", "headers", "body"}


@given(body=st.binary(), secret=st.text(min_size=1).filter(str.strip))
def test_whatever_is_signed_gets_past_the_signature(body, secret):
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    with pytest.raises(WebhookVerificationError) as caught:
        webhooks.verify(body, webhooks.sign(body, secret), secret)
    assert caught.value.reason == "body"  # arbitrary bytes are no event


@given(stamp=_texts)
def test_whatever_the_timestamp_is_there_is_one_error(stamp):
    reason = None
    try:
        webhooks.verify(BODY, headers(timestamp=stamp), SECRET, now=NOW)
    except WebhookVerificationError as error:
        reason = error.reason
    assert reason in {None, "timestamp"}


# -- mutation: one bit flipped anywhere


def flips(data):
    for position in range(len(data)):
        for bit in range(8):
            yield position, bit, data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def test_no_flipped_bit_of_the_body_gets_through(body):
    signed = webhooks.sign(body, SECRET)
    tried = [refusal(flipped, signed, now=None) for _, _, flipped in flips(body)]
    assert tried == ["signature"] * 8 * len(body)


def test_no_flipped_bit_of_the_secret_gets_through():
    # As text: a flipped eighth bit is another character, and so it is written in a user's settings.
    tried = [refusal(secret=flipped.decode("latin-1")) for _, _, flipped in flips(SECRET.encode())]
    assert tried == ["signature"] * 8 * len(SECRET)


@pytest.mark.parametrize("prefix", [b"", b"sha256="])
@pytest.mark.parametrize(
    "written",
    [
        MAC.hex().encode(), MAC.hex().upper().encode(), base64.b64encode(MAC), base64.b64encode(MAC).rstrip(b"="),
        base64.urlsafe_b64encode(MAC), base64.urlsafe_b64encode(MAC).rstrip(b"="),
    ],
)  # fmt: skip
def test_no_flipped_bit_of_the_signature_gets_through(written, prefix):
    """Bit 5 of a letter is its case, and both cases of hex are the same MAC: those flips, and no others, still pass."""
    for position, bit, flipped in flips(prefix + written):
        at = position - len(prefix)
        same_mac = len(written) == 64 and at >= 0 and bit == 5 and chr(written[at]).isalpha()
        head = headers(flipped)
        if same_mac:
            assert bytes.fromhex(flipped.removeprefix(prefix).decode()) == MAC
            assert webhooks.verify(BODY, head, SECRET, now=NOW)
        else:
            assert refusal(head=head) == "signature"


def test_every_key_and_every_encoding_is_compared_whichever_fits(monkeypatch):
    """The constant time of the whole: no early way out tells an attacker which key or encoding was close."""
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda left, right: compared.append(len(left)) or real(left, right))
    counts = set()
    for signature in (MAC.hex(), base64.b64encode(MAC).decode(), "0" * 64, "x"):
        compared.clear()
        with contextlib.suppress(WebhookVerificationError):
            webhooks.verify(BODY, headers(signature), [SECRET, "second", "third"], now=NOW)
        counts.add(len(compared))
    assert counts == {15}


def test_a_secret_of_bytes_is_called_so():
    with pytest.raises(WebhookVerificationError, match="a secret is a bytes and not a str") as caught:
        webhooks.verify(b"{}", {}, b"secret")
    assert "secret" == caught.value.reason
