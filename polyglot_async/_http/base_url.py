"""The base URL of the service, and whether a credential may be sent there."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from .._errors import ConfigurationError

DEFAULT_BASE_URL = "https://polyglotvoice.ru/api/v1"


def checked_base_url(url: str, *, allow_insecure_http: bool = False) -> str:
    """Return the base URL without its last slash.

    Raises:
        ConfigurationError: it is no absolute http(s) URL, has a user name, a query or a fragment, or is plain http
            to a host that is not this machine, where the credential would cross the network in the clear.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"base_url must be a string such as {DEFAULT_BASE_URL!r}, not a {type(url).__name__}")
    url = url.strip()
    # Searched in the text, because an empty one is lost in parsing, and before anything is shown: both may be secret.
    if "@" in url:
        raise ConfigurationError(
            "base_url must not contain a user name or a password: remove it, and pass the key as api_key"
        )
    if "?" in url or "#" in url:
        raise ConfigurationError("base_url must not contain a query or a fragment: remove all from the '?' or '#' on")
    scheme, host = _scheme_and_host(url)
    if scheme not in {"http", "https"} or not _is_host(host):
        raise ConfigurationError(f"base_url {url!r} is not an http or https URL: pass one such as {DEFAULT_BASE_URL!r}")
    if scheme == "http" and not allow_insecure_http and not is_loopback(host):
        raise ConfigurationError(
            f"base_url {url!r} is plain http, which sends the credential unencrypted: use https, or pass "
            "allow_insecure_http=True if you trust the network"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether `host` names this machine (RFC 6761, section 6.3; RFC 5735; RFC 4291)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _scheme_and_host(url: str) -> tuple[str, str]:
    # Parsers disagree on what these mean, and urlsplit drops some of them silently.
    if not url.isprintable() or " " in url or "\\" in url:
        return "", ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "", ""
    written = parts.netloc.lower().removesuffix(":" if port is None else f":{parts.netloc.rpartition(':')[2]}")
    return parts.scheme, host if written in {host, f"[{host}]"} else ""


def _is_host(host: str) -> bool:
    """Return whether `host` is an IP address, or a name for a look-up (RFC 1123, internationalised or not)."""
    if ":" in host:
        return _is_ipv6(host)
    try:
        encoded = host.encode("idna")
        # A name that is only written like another one is refused.
        if not host.isascii() and encoded.decode("idna") != host:
            return False
        if "xn--" in host:
            import idna  # noqa: PLC0415 - it is httpx's, which reads the host of a URL with it; few hosts need it

            idna.decode(host)
    except UnicodeError:  # also an empty label, and one that is too long
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
