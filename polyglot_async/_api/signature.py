"""The signature of a webhook: HMAC-SHA256 over the raw body (contract: "Webhook"; A8, A9).

A signature that came in is never decoded. Instead the right MAC is encoded in each accepted way, and what came is
compared with each of these texts in constant time: there is no parser to attack.

As documented, the MAC covers the body and nothing else. The timestamp beside it is not proven.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIGNATURE_HEADER = "X-Polyglot-Signature"
TIMESTAMP_HEADER = "X-Polyglot-Timestamp"
PREFIX = "sha256="
ENCODINGS = ("hex", "base64", "base64url")
"""Each with or without PREFIX; hex in either case; both kinds of base64 with or without padding."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_LONGEST_TIMESTAMP = 64
# As seconds this is the year 5138, as milliseconds 1973: no service's clock is in either.
_FIRST_MILLISECONDS = 1e11


def compute(body: bytes, secret: bytes) -> bytes:
    """Compute the 32 bytes of the MAC."""
    return hmac.digest(secret, body, hashlib.sha256)


def match(signature: bytes, mac: bytes) -> str | None:
    """Return the encoding in which `signature` holds `mac`, e.g. "hex" or "sha256=base64"; None if it does not.

    The time taken reveals nothing of `mac`: every encoding is compared, whichever is the right one.
    """
    written = signature.removeprefix(PREFIX.encode())
    standard, urlsafe = b64encode(mac), urlsafe_b64encode(mac)
    matched = None
    for name, text, candidate in (
        ("hex", mac.hex().encode(), written.lower()),
        ("base64", standard, written),
        ("base64", standard.rstrip(b"="), written),
        ("base64url", urlsafe, written),
        ("base64url", urlsafe.rstrip(b"="), written),
    ):
        if hmac.compare_digest(text, candidate):
            matched = matched or name
    if matched is not None and written != signature:
        return PREFIX + matched
    return matched


class Headers:
    """The two headers that count, read once from whatever holds headers in the caller's framework."""

    def __init__(self, headers: Mapping[Any, Any] | Iterable[Any]) -> None:
        """Read them: from a mapping, an object with `items()`, or pairs; names in any case, str or bytes.

        Raises:
            ValueError: these are no headers.
        """
        self._values: dict[str, list[object]] = {SIGNATURE_HEADER.lower(): [], TIMESTAMP_HEADER.lower(): []}
        try:
            items = getattr(headers, "items", None)
            for name, value in headers if items is None else items():
                text = name.decode("latin-1") if isinstance(name, bytes) else name
                if isinstance(text, str) and text.lower() in self._values:
                    self._values[text.lower()].append(value)
        except Exception as error:  # noqa: BLE001 - the object is the caller's framework's: none of its errors may leak
            raise ValueError(f"the headers cannot be read ({type(error).__name__})") from None

    def get(self, name: str) -> bytes | None:
        """Return the value of one of the two, without white space around it; None if it is missing.

        Raises:
            ValueError: it occurs twice, or it is neither str nor bytes.
        """
        found = self._values[name.lower()]
        if not found:
            return None
        if len(found) > 1:
            # Which of them counts differs between proxies and frameworks, which can be abused.
            raise ValueError(f"{name} occurs {len(found)} times")
        value = found[0]
        if isinstance(value, str):
            value = value.encode("utf-8", "replace")
        if not isinstance(value, bytes):
            raise ValueError(f"the value of {name} is neither str nor bytes")
        return value.strip()


def read_timestamp(value: bytes) -> float:
    """Parse a timestamp to Unix seconds: Unix seconds, whole or not, or ISO 8601; without an offset it is UTC (A9).

    A number too large for seconds is read as milliseconds. That is safe, as the timestamp proves nothing anyway.

    Raises:
        ValueError: it is neither.
    """
    text = value.decode("ascii") if len(value) <= _LONGEST_TIMESTAMP else ""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        return seconds / 1000 if abs(seconds) >= _FIRST_MILLISECONDS else seconds
    return to_unix(datetime.fromisoformat(text))


def to_unix(moment: datetime) -> float:
    """Return the Unix seconds of a datetime; a naive one is UTC."""
    return ((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
