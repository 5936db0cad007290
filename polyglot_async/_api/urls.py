"""Media URLs: which text is one, and what of one may be shown. The one rule for sources, names, messages and tables."""

from __future__ import annotations

import re
from typing import TypeGuard
from urllib.parse import urlsplit

from .._errors import MediaError

_URL = r"(?i)\s*https?://"
_ANY_URL = r"(?is)\s*([a-z][a-z0-9+.-]+:/{1,2})(.*)"


def is_media_url(value: object) -> TypeGuard[str]:
    """Return whether it is a str with an http or https URL, in any case and with white space around it or not."""
    return isinstance(value, str) and re.match(_URL, value) is not None


def clean_url(value: object) -> str:
    """Return an http or https URL without white space around it and with its scheme in lower case.

    Raises:
        MediaError: it is no such URL.
    """
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        usable = is_media_url(text) and bool(parts.hostname) and parts.port != 0  # a port above 65535 raises
    except ValueError:
        usable = False
    if not usable:
        shown = bare_url(value) if isinstance(value, str) else type(value).__name__
        raise MediaError(f"{shown!r} is not an http or https URL")
    return parts.scheme.lower() + text[len(parts.scheme) :]


def bare_url(url: str) -> str:
    """Return a URL without user, password, query and fragment, for names and messages; other text as it is."""
    found = re.fullmatch(_ANY_URL, url)
    if found is None:
        return url
    rest = found[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    port = host.rpartition("]")[2].partition(":")[2]
    # What is no port is the beginning of a password with a slash, `?` or `#` in it: the host stands after the last @.
    has_odd_password = bool(port) and not port.isdecimal() and "@" in rest
    rest = rest.rpartition("@")[2] if has_odd_password else host + rest[len(authority) :]
    return found[1] + re.split(r"[?#]", rest, maxsplit=1)[0]


def is_same_origin(one: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port; what cannot be read has none."""
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, bytes, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").encode("idna"), port


def is_any_url(text: str) -> bool:
    """Return whether text begins like a URL of any scheme."""
    return re.match(_ANY_URL, text) is not None
