"""Every error of httpx as one of ours, and which of them no repetition mends."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

import httpx

from .._api.messages import ApiResponse
from .._api.status_errors import error_of
from .._api.urls import bare_url
from .._errors import ApiConnectionError, ApiTimeoutError, RedirectError, ResponseDecodeError
from .retry import UNKNOWN_STATUS, is_permanent, is_wrong_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from .._errors import ApiStatusError, PolyglotError

_NOT_CONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_WANTS_PASSWORD = re.compile(r"^407\b|username/password", re.IGNORECASE)
_SHOWN = 200
_TLS_MISMATCH = frozenset({"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"})


def translate(
    error: httpx.HTTPError, request: httpx.Request, *, body_complete: bool, reached_before: bool = False
) -> PolyglotError:
    """Return the error of ours that stands for `error`; for an error status, see `status_error`.

    Args:
        error: what httpx raised.
        request: what was being sent.
        body_complete: whether the request's last byte was handed to the socket.
        reached_before: whether this host has answered before, so that a failing name server is a passing trouble.
    """
    method, url = request.method, bare_url(str(request.url))
    if isinstance(error.__context__, httpx.InvalidURL):
        return location_error(str(error.__context__), request)
    what = f"{method} {url}: {type(error).__name__}{f': {error}' if str(error) else ''}"
    if isinstance(error, httpx.DecodingError):
        return ResponseDecodeError(what, method=method, url=url)
    connected = not isinstance(error, _NOT_CONNECTED)
    advice = None if connected else _advice(error, request.url, reached_before=reached_before)
    if isinstance(error, httpx.LocalProtocolError) and not body_complete:
        advice = "this request cannot be written as HTTP: check api_key, names and extra headers"
    cls = ApiTimeoutError if isinstance(error, httpx.TimeoutException) else ApiConnectionError
    return cls(
        f"{what}: {advice}" if advice else what,
        method=method,
        url=url,
        maybe_sent=body_complete and connected,
        connected=connected,
        permanent=advice is not None,
    )


def status_error(error: httpx.HTTPStatusError, request: httpx.Request, now: datetime) -> ApiStatusError:
    """Return the error of ours for a status that an event hook of the caller's own client has raised."""
    answer = ApiResponse(
        status_code=error.response.status_code,
        headers=dict(error.response.headers.items()),
        body=b"",
        method=request.method,
        url=bare_url(str(request.url)),
    )
    return explained(error_of(answer, now), request.url.scheme)


def location_error(problem: str, request: httpx.Request, status_code: int = UNKNOWN_STATUS) -> RedirectError:
    """Return the error for a redirect to what is no URL: `problem` is its `Location`, or what is wrong with it.

    httpx reads a `Location` even where it is not followed; where its own transport is used, the status is lost then.
    """
    method, url = request.method, bare_url(str(request.url))
    status = f"{status_code}: " if status_code else ""
    message = f"{method} {url}: {status}redirected to what is no URL ({bare_url(problem)[:_SHOWN]}): check base_url"
    return RedirectError(message, status_code=status_code, method=method, url=url)


def _advice(error: httpx.HTTPError, url: httpx.URL, *, reached_before: bool) -> str | None:
    """Return what a person has to change, for a failure that no repetition mends; else None."""
    if isinstance(error, httpx.UnsupportedProtocol):
        return "check base_url"
    if isinstance(error, httpx.ProxyError):
        return _password_advice(url.scheme) if _WANTS_PASSWORD.search(str(error)) else None
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            problem = getattr(cause, "verify_message", cause)
            return (
                f"the certificate of {url.host} is not trusted ({problem}): if a proxy or a private authority signed "
                "it, name its certificates in SSL_CERT_FILE, or pass an http_client of your own"
            )
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", None) in _TLS_MISMATCH:
            return f"{url.host} does not speak TLS on this port: check the scheme and the port of base_url"
        if isinstance(cause, socket.gaierror) and not reached_before:  # else the network is away for a while
            variable = proxy_variable(url.scheme)
            where = f"base_url, {variable} and the network" if variable else "base_url and the network"
            return f"the host {url.host} is unknown: check {where}"
    return None


def explained(error: ApiStatusError, scheme: str) -> ApiStatusError:
    """Return an error status with what to change, where it is neither the call nor its media that is wrong."""
    if is_permanent(error):
        error.message += f"; {_password_advice(scheme)}"
    elif is_wrong_path(error):
        error.message += "; there is no upload at this URL: check base_url"
    return error


def _password_advice(scheme: str) -> str:
    return f"the proxy wants a user name and password: check {proxy_variable(scheme) or 'its settings'}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and what led to it, groups included: happy eyeballs fail with one error an address."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        cause = pending.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        pending += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            pending += cause.exceptions


def proxy_variable(scheme: str) -> str | None:
    """Return the name of the environment's variable that sets the proxy for `scheme`, or None."""
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), None)
