"""Explain why a signature fails: what was computed over which bytes, and what would have matched."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

import attrs

from .._api import signature
from .._api.decoding import decode_json
from .._arguments import check_seconds
from .._errors import WebhookVerificationError
from ._verify import (
    DEFAULT_TOLERANCE,
    Headers,
    check_age,
    check_body,
    check_secrets,
    check_signature,
    read_event,
    read_headers,
    timestamp_age,
    to_unix,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from .._models import WebhookEvent

_SHOWN_CHARACTERS = 200


@attrs.frozen(kw_only=True)
class Explanation:
    """What `verify` compared. It holds no secret, but `computed` is a valid signature of this body: keep it private.

    Attributes:
        verdict: "verified", or what is wrong, in a sentence.
        reason: None if verified, else the word of `WebhookVerificationError.reason`.
        event: the event, if verified.
        body_bytes: length of the body that the MAC was computed over.
        body_sha256: the body's plain SHA-256 in hex, to compare with the sender's.
        computed: the MAC in lower-case hex, for each secret in the order in which they were passed.
        signature: what the header holds, at most 200 characters of it, or None.
        encodings_tried: the names of the encodings; hex was tried in any case, base64 with and without padding.
        encoding: the one that matched, or None.
        secret_index: which of the secrets matched, from 0, or None.
        timestamp: what the header holds, at most 200 characters of it, or None.
        timestamp_age: seconds since it, negative if it lies in the future; None if it is missing or unreadable.
        hints: what would have matched instead, in sentences; often that a tool has changed the body.
    """

    verdict: str
    reason: str | None
    event: WebhookEvent | None
    body_bytes: int
    body_sha256: str
    computed: tuple[str, ...]
    signature: str | None
    encodings_tried: tuple[str, ...]
    encoding: str | None
    secret_index: int | None
    timestamp: str | None
    timestamp_age: float | None
    hints: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether `verify` would accept it."""
        return self.reason is None


def explain(
    body: bytes,
    headers: Headers,
    secret: str | Sequence[str],
    *,
    tolerance: float | None = DEFAULT_TOLERANCE,
    now: float | datetime | None = None,
) -> Explanation:
    """Verify like `verify`, and return what was compared with what instead of raising.

    Arguments are those of `verify`. It is for debugging: it is slow, and its time is not constant.

    Raises:
        WebhookVerificationError: there is nothing to compute: no secret, no bytes, or no headers.
        TypeError: `now` or `tolerance` is no number.
        ValueError: `now` is a naive datetime or not finite, or `tolerance` is negative or not finite.
    """
    check_seconds("tolerance", tolerance)
    data, keys = check_body(body), check_secrets(secret)
    read, present = read_headers(headers), to_unix("now", now)
    macs = [signature.compute(data, key) for key in keys]
    held, stamp = _held(read, signature.SIGNATURE_HEADER), _held(read, signature.TIMESTAMP_HEADER)
    fits = [signature.match(held or b"", mac) for mac in macs]
    index = next((number for number, encoding in enumerate(fits) if encoding), None)
    age, event, error = None, None, None
    with contextlib.suppress(WebhookVerificationError):
        age = timestamp_age(read, present)
    try:
        check_signature(data, read, keys)
        if tolerance is not None:
            check_age(timestamp_age(read, present), tolerance)
        event = read_event(data)
    except WebhookVerificationError as problem:
        error = problem
    return Explanation(
        verdict="verified" if error is None else error.message,
        reason=None if error is None else error.reason,
        event=event,
        body_bytes=len(data),
        body_sha256=hashlib.sha256(data).hexdigest(),
        computed=tuple(mac.hex() for mac in macs),
        signature=_shown(held),
        encodings_tried=tuple(prefix + name for prefix in ("", signature.PREFIX) for name in signature.ENCODINGS),
        encoding=None if index is None else fits[index],
        secret_index=index,
        timestamp=_shown(stamp),
        timestamp_age=age,
        hints=tuple(_hints(data, held, stamp, keys)) if held and index is None else (),
    )


def _held(headers: signature.Headers, name: str) -> bytes | None:
    try:
        return headers.get(name)
    except ValueError:
        return None


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode("ascii", "backslashreplace")[:_SHOWN_CHARACTERS]


def _hints(body: bytes, held: bytes, stamp: bytes | None, keys: Sequence[bytes]) -> Iterator[str]:
    for what, other in _other_bodies(body, stamp):
        if other != body and any(signature.match(held, signature.compute(other, key)) for key in keys):
            yield f"it matches {what}"
    for key in keys:
        for what, other in _other_keys(key):
            if other != key and signature.match(held, signature.compute(body, other)):
                yield f"it matches the secret {what}"


def _other_bodies(body: bytes, stamp: bytes | None) -> Iterator[tuple[str, bytes]]:
    yield "the body without the line break at its end: was it saved by an editor?", body.rstrip(b"\r\n")
    yield "the body with a line break at its end", body + b"\n"
    yield "the body with LF for CRLF: was it changed by a tool?", body.replace(b"\r\n", b"\n")
    yield "the body with CRLF for LF: was it changed by a tool?", body.replace(b"\n", b"\r\n")
    yield "the body without its byte order mark", body.removeprefix(b"\xef\xbb\xbf")
    yield "an empty body: was it read before?", b""
    if stamp is not None:
        # The documentation says otherwise (A9), yet many services do it so.
        yield "the timestamp, a dot and the body: the service signs the timestamp too", stamp + b"." + body
        yield "the timestamp and the body: the service signs the timestamp too", stamp + body
    with contextlib.suppress(ValueError, RecursionError):
        value = decode_json(body)
        for separators in ((",", ":"), (", ", ": ")):
            for ascii_only in (False, True):
                text = json.dumps(value, ensure_ascii=ascii_only, separators=separators)
                yield "the same JSON written differently: was it decoded and encoded again?", text.encode()


def _other_keys(key: bytes) -> Iterator[tuple[str, bytes]]:
    yield "without the white space around it", key.strip()
    with contextlib.suppress(ValueError):
        yield "decoded from hex", bytes.fromhex(key.decode())
    with contextlib.suppress(ValueError):
        yield "decoded from base64", base64.b64decode(key, validate=True)
