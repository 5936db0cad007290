"""May this be sent again, and after how long? Decided from what is known of the failure alone."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from .._errors import ApiConnectionError, ApiStatusError, PolyglotError, RateLimitError

if TYPE_CHECKING:
    from .._api.messages import Endpoint

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
LONGEST_RETRY_AFTER = 120.0
_PASSING_STATUSES = frozenset({408, 425, 500, 502, 503, 504})
_SERVICE_UNAVAILABLE = 503


class Verdict(Enum):
    """What a failure means for the request that met it."""

    RETRY = "it had no effect, or having it twice does no harm"
    FINAL = "sending it again would not help"
    UNCERTAIN = "it may have started paid work: sending it again may pay twice"


def judge(endpoint: Endpoint, error: PolyglotError) -> Verdict:
    """Judge a failure.

    A call that starts work may be sent again only if it certainly was not accepted: the connection was refused, or the
    answer was 429 or 503. After any other loss of the connection its fate is unknown.
    """
    if isinstance(error, ApiConnectionError):
        if endpoint.billable and error.maybe_sent:
            return Verdict.UNCERTAIN
        return Verdict.RETRY
    if isinstance(error, RateLimitError):
        return Verdict.RETRY
    if isinstance(error, ApiStatusError):
        passing = {_SERVICE_UNAVAILABLE} if endpoint.billable else _PASSING_STATUSES
        return Verdict.RETRY if error.status_code in passing else Verdict.FINAL
    return Verdict.FINAL


def delay(attempt: int, error: PolyglotError | None, *, random: float) -> float:
    """Seconds to wait before attempt number `attempt` + 1, the first attempt being 1; `random` is in [0, 1).

    What the service asks for in `Retry-After` is kept, and a little is added so that many clients do not return in
    the same instant. Else the delay doubles from half a second, and is taken at random from its upper half.
    """
    retry_after = error.retry_after if isinstance(error, ApiStatusError) else None
    if retry_after is not None:
        return retry_after + random * min(1.0, 0.1 * retry_after + 0.05)
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempt - 1, 10))
    return longest * (0.5 + 0.5 * random)
