"""The only retry policy: may a call be sent again, and after how long? Pure: decided from the failure alone.

A call that starts paid work (`upload`, `from_url`) has exactly one of these ends. Every sender asks this table, live or
after a crash, and nothing else.

| what happened                                                        | what it means | what is done               |
|----------------------------------------------------------------------|---------------|----------------------------|
| no connection, or the body's last byte was never handed to the       | not accepted  | RETRY                      |
|   socket (source failed, cancelled, cut, killed), and no 2xx came    |               |                            |
| 421, 425, 429; 403 that speaks of concurrent tasks; 408 before the   | not accepted  | RETRY, after the pause     |
|   body was whole                                                     |               |                            |
| 307, 308 to the same origin                                          | not accepted  | followed by the transport  |
| certificate, unknown host, 407, redirect loop, redirect to another   | not accepted  | FAIL, and a batch stops:   |
|   origin or to no URL, 401, 402; 404, 405 or 410 to an upload, whose |               |   see `stops_batch`        |
|   path names no file; a client that cannot be used as configured     |               |                            |
| any other 3xx, 4xx; a file over the plan's size or length            | refused       | FAIL                       |
| 2xx that holds a task id, even before the body was whole; 301, 302   | accepted      | a task                     |
|   or 303 to a task of this API, below the base URL                   |               |                            |
| 5xx, 408, no answer, any other 303, or a redirect whose status is    | ambiguous     | PROVE what became of it    |
|   not known, once the body was whole; 2xx without an id              |               |                            |
| 2xx with the id of a known task that was started with other media    | ambiguous     | PROVE, as above            |

Calls that are free may be repeated: after lost connections, 408, 421, 425, 429, every 5xx and a range that does not
fit, and once after an answer that cannot be read. A conversion sends a whole file for a free answer: it is not repeated
after its answer timed out.

Nobody knows which 5xx are sent before the work was started and which after (assumption A20): 500 is documented, the
others come from proxies, and some proxies send them after they have forwarded the request. So it is with 408, which
Envoy sends when its upstream takes too long. The check of the last row is in `_tasks.submit`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import attrs

from .._api.endpoints import UPLOAD
from .._errors import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AuthenticationError,
    ConfigurationError,
    JournalError,
    PolyglotError,
    QuotaExhaustedError,
    RangeError,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
    ServerError,
    ServiceUnavailableError,
)

if TYPE_CHECKING:
    from .._api.messages import ApiRequest

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
LONGEST_RETRY_AFTER = 120.0
_REQUEST_TIMEOUT = 408
_PASSING_STATUSES = frozenset({_REQUEST_TIMEOUT, 421, 425})
"""And 429, where it is a `RateLimitError`: of a file over the plan's size it is a `BadRequestError`, and final."""
UNKNOWN_STATUS = 0
"""Of a redirect to what is no URL, where the transport did not keep its status."""
_MAYBE_CARRIED_OUT = frozenset({303, _REQUEST_TIMEOUT, UNKNOWN_STATUS})
"""303 answers a POST that was carried out (RFC 9110, section 15.4.4)."""
_NO_SUCH_CALL = frozenset({404, 405, 410})
_PAYMENT_REQUIRED = 402
_PROXY_AUTHENTICATION_REQUIRED = 407
_TIMEOUT_STATUSES = frozenset({_REQUEST_TIMEOUT, 504, 522, 524, 598, 599})
_STOPPING = (
    AuthenticationError,
    ConfigurationError,
    JournalError,
    QuotaExhaustedError,
    RedirectError,
    ServiceUnavailableError,
)


class Action(Enum):
    """What is done about a failed attempt."""

    RETRY = "not accepted: send it again, if attempts are left"
    PROVE = "ambiguous: find out what became of it before anything else"
    FAIL = "refused, or nothing that a repetition mends: raise it"


def next_action(error: PolyglotError, request: ApiRequest, *, body_complete: bool) -> Action:
    """Return what to do about a failed attempt; `body_complete`: the body's last byte was handed to the socket."""
    if is_permanent(error):
        return Action.FAIL
    is_carried_out = isinstance(error, ApiStatusError) and error.status_code in _MAYBE_CARRIED_OUT
    if request.endpoint.billable and body_complete and is_carried_out:
        return Action.PROVE
    if not is_outage(error):
        return Action.RETRY if may_pass(error) else Action.FAIL
    if not body_complete or (isinstance(error, ApiConnectionError) and not error.connected):
        return Action.RETRY
    if request.endpoint.billable:
        return Action.PROVE
    # The service may be at work on a conversion still: to send the file again would only make it slower.
    return Action.FAIL if request.fields is not None and is_late(error) else Action.RETRY


def may_pass(error: PolyglotError) -> bool:
    """Return whether an answer is one that a later attempt may not meet; any other is a refusal for good."""
    passing = isinstance(error, RateLimitError | ServerError | RangeError)  # a range may have been garbled on its way
    return passing or (isinstance(error, ApiStatusError) and error.status_code in _PASSING_STATUSES)


def is_late(error: PolyglotError) -> bool:
    """Return whether somebody gave up waiting for the service, which may be at work still."""
    if isinstance(error, ApiStatusError):
        return error.status_code in _TIMEOUT_STATUSES
    return isinstance(error, ApiTimeoutError)


def stops_batch(error: PolyglotError) -> bool:
    """Return whether every other call would fail alike, so that a batch stops instead of failing items one by one."""
    needs_payment = isinstance(error, ApiStatusError) and error.status_code == _PAYMENT_REQUIRED
    return isinstance(error, _STOPPING) or needs_payment or is_permanent(error) or is_wrong_path(error)


def is_wrong_path(error: PolyglotError) -> bool:
    """Return whether there is no upload where one was sent: base_url is wrong, or the service lacks it for a while.

    Never about the file, of which the path says nothing. A 404 to any other call may be about a task or a URL.
    """
    if not isinstance(error, ApiStatusError) or error.status_code not in _NO_SUCH_CALL:
        return False
    return error.method == UPLOAD.method and error.url.endswith(UPLOAD.template)


def is_permanent(error: PolyglotError) -> bool:
    """Return whether no repetition mends a failure: a certificate, an unknown host, a proxy that wants a password."""
    if isinstance(error, ApiConnectionError):
        return error.permanent
    return isinstance(error, ApiStatusError) and error.status_code == _PROXY_AUTHENTICATION_REQUIRED


def is_outage(error: PolyglotError) -> bool:
    """Return whether a failure may be one of the whole service, down or behind a proxy's page: a batch waits it out."""
    if isinstance(error, ApiConnectionError):
        return not error.permanent
    return isinstance(error, ServerError | ResponseDecodeError)


@attrs.define(eq=False, repr=False)
class Attempts:
    """The attempts of one call, counted once, by whomever it is repeated.

    Attributes:
        retries: further attempts after the first.
        forgives_429: a 429 is waited out and uses up no attempt, as in a batch.
        made: attempts so far.
        left: those of them that reached a server.
    """

    retries: int
    forgives_429: bool = False
    made: int = 0
    left: int = 0
    _unreadable: bool = attrs.field(default=False, init=False)

    def forgives(self, error: PolyglotError) -> bool:
        """Return whether a failure is waited out and uses up no attempt."""
        return self.forgives_429 and isinstance(error, RateLimitError)

    def forgive_unsent(self) -> None:
        """Count no attempt that reached no server, as after an outage that was waited out."""
        self.made = self.left

    def failed(self, error: PolyglotError) -> bool:
        """Count a failed attempt; return whether another one may be made."""
        if self.forgives(error):
            return True
        self.made += 1
        self.left += not isinstance(error, ApiConnectionError) or error.connected
        if isinstance(error, ResponseDecodeError):  # once may be a garbled transfer, twice is how it is
            if self._unreadable:
                return False
            self._unreadable = True
        return self.made <= self.retries

    def next_delay(
        self, error: PolyglotError, request: ApiRequest, *, body_complete: bool, random: float, counts: bool = True
    ) -> float | None:
        """Return the seconds to wait before the next attempt; None if there is none, and `error` is to be raised.

        Args:
            error: what the last attempt failed with; it is counted.
            request: the call.
            body_complete: as for `next_action`.
            random: as for `delay`.
            counts: False after an attempt that brought something, which uses up none.
        """
        may_repeat = not counts or self.failed(error)
        if not may_repeat or next_action(error, request, body_complete=body_complete) is not Action.RETRY:
            return None
        if (_retry_after(error) or 0.0) > LONGEST_RETRY_AFTER and not self.forgives(error):
            return None
        return delay(self.made, error, random=random)


def delay(attempt: int, error: PolyglotError | None, *, random: float) -> float:
    """Return the seconds to wait before attempt number `attempt` + 1, the first being 1; `random` is in [0, 1).

    What the service asks for in `Retry-After` is kept, and a little is added so that many clients do not return in
    the same instant. Else the delay doubles from half a second, and is taken at random from its upper half.
    """
    retry_after = _retry_after(error)
    if retry_after is not None:
        return retry_after + random * min(1.0, 0.1 * retry_after + 0.05)
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(max(0, attempt - 1), 10))
    return longest * (0.5 + 0.5 * random)


def _retry_after(error: PolyglotError | None) -> float | None:
    return error.retry_after if isinstance(error, ApiStatusError) else None
