"""Verify one delivery, and sign one for a test."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from .._api import signature
from .._api.decoding import decode_json
from .._api.decoding import read_event as decode_event
from .._api.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER
from .._arguments import check_number, check_seconds
from .._errors import WebhookVerificationError

if TYPE_CHECKING:
    from .._models import WebhookEvent

Headers: TypeAlias = Mapping[str, Any] | Iterable[tuple[str | bytes, str | bytes]]
"""A mapping, pairs (as in an ASGI scope), or the headers object of any framework that has `items()`."""

DEFAULT_TOLERANCE = 300.0


def verify(
    body: bytes,
    headers: Headers,
    secret: str | Sequence[str],
    *,
    tolerance: float | None = DEFAULT_TOLERANCE,
    now: float | datetime | None = None,
) -> WebhookEvent:
    """Verify that a delivery comes from the service, and return its event (contract: "Webhook").

    Signatures are accepted as hex or base64, with or without `sha256=` before them. No I/O is done, so it can be called
    from sync and async code alike.

    Args:
        body: the raw bytes of the request. JSON that was decoded and encoded again is other bytes, and does not verify.
        headers: names in any case. A header that occurs twice is refused.
        secret: the webhook's secret; several while one replaces another, any of which may have signed.
        tolerance: seconds that the timestamp may lie in the past or in the future; None: it is not checked. The
            signature does not cover it, so that this stops a lazy replay only: see the module's text.
        now: Unix seconds or an aware datetime to use as the present, for tests.

    Raises:
        WebhookVerificationError: the delivery is not verified. Its `reason` is "secret" (there is none: this never
            passes), "body" (not bytes, or not an event), "headers" (unreadable or ambiguous), "signature" (missing or
            wrong) or "timestamp" (missing, unreadable or too far off).
        TypeError: `now` or `tolerance` is no number.
        ValueError: `now` is a naive datetime or not finite, or `tolerance` is negative or not finite.
    """
    check_seconds("tolerance", tolerance)
    data, keys = check_body(body), check_secrets(secret)
    present = to_unix("now", now)
    read = read_headers(headers)
    check_signature(data, read, keys)
    if tolerance is not None:
        check_age(timestamp_age(read, present), tolerance)
    return read_event(data)


def sign(body: bytes, secret: str, *, timestamp: float | datetime | None = None) -> dict[str, str]:
    """Return the headers that the service would send with `body`, for tests of code that receives webhooks.

    Args:
        body: the bytes that will be sent.
        secret: the webhook's secret.
        timestamp: Unix seconds or an aware datetime; None: the present.

    Raises:
        WebhookVerificationError: no secret, or the body is not bytes.
        TypeError: `timestamp` is no number.
        ValueError: `timestamp` is a naive datetime or not finite.
    """
    data, keys = check_body(body), check_secrets(secret)
    moment = to_unix("timestamp", timestamp)
    return {
        "Content-Type": "application/json",
        TIMESTAMP_HEADER: str(int(moment) if timestamp is None or moment.is_integer() else moment),
        SIGNATURE_HEADER: signature.compute(data, keys[0]).hex(),
    }


def check_body(body: object) -> bytes:
    """Return the body as bytes; anything that was decoded already is a mistake of the caller's."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise WebhookVerificationError(
        f"the body is a {type(body).__name__}: the signature is over the raw bytes of the request, before any decoding",
        reason="body",
    )


def check_secrets(secret: object) -> tuple[bytes, ...]:
    """Return the secrets as keys. An empty one is refused among others too: anybody can sign with it."""
    secrets = (secret,) if isinstance(secret, str | bytes) else secret
    if not isinstance(secrets, Sequence) or not secrets:
        raise WebhookVerificationError(
            "no secret: pass the webhook's secret as a str, or a list of them; without one nothing can be verified",
            reason="secret",
        )
    return tuple(map(_key, secrets))


def read_headers(headers: Headers) -> signature.Headers:
    """Read the headers once: an iterator of pairs cannot be read twice."""
    try:
        return signature.Headers(headers)
    except ValueError as error:
        raise WebhookVerificationError(str(error), reason="headers") from None


def check_signature(body: bytes, headers: signature.Headers, keys: Sequence[bytes]) -> None:
    """Raise unless one of the keys made the signature in the headers."""
    claimed = _header(headers, SIGNATURE_HEADER, reason="signature")
    # Every key is tried, so that the time taken does not depend on which one it was.
    matched = [signature.match(claimed, signature.compute(body, key)) for key in keys]
    if not any(matched):
        raise WebhookVerificationError("the signature does not match the body", reason="signature")


def timestamp_age(headers: signature.Headers, now: float) -> float:
    """Return the seconds since the timestamp in the headers; negative if it lies in the future."""
    value = _header(headers, TIMESTAMP_HEADER, reason="timestamp")
    try:
        return now - signature.read_timestamp(value)
    except (ValueError, OverflowError):
        raise WebhookVerificationError(
            "the timestamp is neither Unix seconds nor ISO 8601", reason="timestamp"
        ) from None


def check_age(age: float, tolerance: float) -> None:
    """Raise if a delivery is too old, or from the future."""
    if not abs(age) <= tolerance:  # NaN fails as well
        way = "old" if age > 0 else "ahead of this clock"
        raise WebhookVerificationError(
            f"the timestamp is {abs(age):.0f} s {way}, and {tolerance:g} s are allowed: check this machine's clock",
            reason="timestamp",
        )


def read_event(body: bytes) -> WebhookEvent:
    """Decode the body of a delivery whose signature is right."""
    try:
        return decode_event(decode_json(body))
    except ValueError as error:
        raise WebhookVerificationError(
            f"the signature is right, but the body is no event: {error}", reason="body"
        ) from None


def to_unix(name: str, moment: float | datetime | None) -> float:
    """Return Unix seconds; None is the present. Raise for what is no moment, which argument `name` holds."""
    if moment is None:
        return time.time()
    if not isinstance(moment, datetime):
        check_number(name, moment)
        return float(moment)
    if moment.tzinfo is None:
        raise ValueError(f"{name}: a datetime without a time zone could be any moment of a day: pass an aware one")
    return signature.to_unix(moment)


def _key(secret: object) -> bytes:
    if not isinstance(secret, str):
        problem = f"is a {type(secret).__name__} and not a str"
    elif not secret.strip():
        problem = "is empty"
    else:
        try:
            return secret.encode()
        except UnicodeEncodeError:
            problem = "cannot be written as UTF-8"
    raise WebhookVerificationError(f"a secret {problem}: nothing can be verified with it", reason="secret")


def _header(headers: signature.Headers, name: str, *, reason: str) -> bytes:
    try:
        value = headers.get(name)
    except ValueError as error:
        raise WebhookVerificationError(str(error), reason="headers") from None
    if not value:
        raise WebhookVerificationError(f"{name} is missing", reason=reason)
    return value
