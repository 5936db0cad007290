"""Where the service is, and when a credential may be sent there."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from .._errors import ConfigurationError

DEFAULT_BASE_URL = "https://polyglotvoice.ru/api/v1"


def checked_base_url(url: str, *, allow_insecure_http: bool = False) -> str:
    """Give the base URL without its last slash.

    Raises:
        ConfigurationError: it is no absolute http(s) URL, holds a user name, a query or a fragment, or is plain http
            to a host that is not this machine, where the credential would cross the network in the clear.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"base_url {url!r} is not a URL") from None
    if parts.username or parts.password:
        raise ConfigurationError("base_url must not hold a user name or a password")
    if parts.scheme not in {"http", "https"} or not host or any(character.isspace() for character in parts.netloc):
        raise ConfigurationError(f"base_url {url!r} is not an http or https URL")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"base_url {url!r} must have neither a query nor a fragment")
    if parts.scheme == "http" and not allow_insecure_http and not is_loopback(host):
        raise ConfigurationError(
            f"base_url {url!r} is plain http, which would show the credential to the network: "
            "use https, or pass allow_insecure_http=True"
        )
    return url.strip().rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine (RFC 6761, section 6.3; RFC 5735; RFC 4291)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
