"""Which redirects are followed, and what is said of the others. The credential never leaves its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from .._api.endpoints import started_task_id
from .._api.urls import bare_url, is_same_origin
from .._errors import RedirectError
from .fast_transport import UNREADABLE_LOCATION

if TYPE_CHECKING:
    from .._api.messages import ApiRequest

MOST_REDIRECTS = 20
_METHOD_KEEPING_STATUSES = frozenset({307, 308})
_REDIRECT_STATUSES = frozenset({301, 302, 303}) | _METHOD_KEEPING_STATUSES


def redirect_location(response: httpx.Response) -> str | None:
    """Return the `Location` of a redirect, whether it is a URL or not; None for any other answer."""
    if response.status_code not in _REDIRECT_STATUSES:
        return None
    location: str | None = response.extensions.get(UNREADABLE_LOCATION) or response.headers.get("location")
    return location


def redirect_target(response: httpx.Response, location: str) -> httpx.URL | None:
    """Return the URL that a redirect leads to; None where its `Location` is no URL."""
    if UNREADABLE_LOCATION in response.extensions:
        return None
    try:
        return response.url.join(location)
    except (httpx.InvalidURL, ValueError):
        return None


def names_started_task(response: httpx.Response, request: ApiRequest, target: httpx.URL, base_url: str) -> bool:
    """Return whether a redirect names the task that a paid call has started.

    303 is meant for it (RFC 9110, section 15.4.4), and some services answer with 301 or 302.
    """
    if not request.endpoint.billable or response.status_code in _METHOD_KEEPING_STATUSES:
        return False
    return bool(started_task_id(str(target), base_url))


def may_follow(response: httpx.Response, request: ApiRequest, target: httpx.URL) -> bool:
    """Return whether a redirect to `target` is followed: with its method, and to another origin for a file only."""
    endpoint = request.endpoint
    if endpoint.method != "GET" and response.status_code not in _METHOD_KEEPING_STATUSES:
        return False
    # A file may lie elsewhere, and is fetched there without the credential, but never in the clear. A call may not.
    is_file = endpoint.method == "GET" and endpoint.accept == "*/*"
    is_safe = target.scheme == "https" or response.url.scheme == "http"
    return (is_file and is_safe) or is_same_origin(str(target), str(response.url))


def redirect_error(
    response: httpx.Response, request: ApiRequest, target: httpx.URL, *, endless: bool = False
) -> RedirectError:
    """Return the error for a redirect that is not followed, with what to change."""
    location = bare_url(str(target))
    if endless:
        advice = f"the redirects do not end (the last one leads to {location}): check base_url"
    elif is_same_origin(str(target), str(response.url)):
        advice = f"redirected to {location}, where this request is not sent again: check base_url"
    else:
        base = location.removesuffix(request.path) if location.endswith(request.path) else location
        advice = f"redirected to {location}, where the key is not sent: set base_url to {base}, if that is the service"
    method, url = response.request.method, bare_url(str(response.request.url))
    error = RedirectError(
        f"{method} {url}: {response.status_code}: {advice}",
        status_code=response.status_code,
        method=method,
        url=url,
    )
    error.location = location
    return error
