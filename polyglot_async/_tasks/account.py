"""The account's live limits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .._api import endpoints
from .._errors import AuthenticationError, PermissionDeniedError, PolyglotError, QuotaExhaustedError
from .._http.retry import is_permanent

if TYPE_CHECKING:
    from .._http.transport import Transport
    from .._models import Limits

logger = logging.getLogger("polyglot_async")


async def fetch_limits(transport: Transport) -> Limits:
    """Ask for the live limits with the credential, and once more without where that is refused (A16).

    The client's limiter keeps to the answer, except where the caller stated limits: those win, here too.

    Raises:
        ResponseDecodeError: the document has no limits.
    """
    request = endpoints.documentation()
    try:
        fetched = (await transport.call(request, endpoints.parse_limits)).parse()
    except (AuthenticationError, PermissionDeniedError):
        fetched = (await transport.call(request, endpoints.parse_limits, anonymous=True)).parse()
    if fetched.not_understood:
        logger.warning("limits that could not be read: %s", ", ".join(fetched.not_understood))
    return transport.limiter.update(fetched)


async def learn_limits(transport: Transport) -> None:
    """Ask for the limits once for each client, unless the caller stated them; unknown limits are learned from 429s.

    A document that is refused says nothing of the credential, which is good for `transcriptions/*` only (A16).

    Raises:
        QuotaExhaustedError: the day's or the month's requests are spent.
        ApiConnectionError: the service cannot be reached, and no repetition would help.
    """
    known = transport.limiter.limits
    if transport.limiter.limits_fetched or None not in {known.requests_per_window, known.max_concurrent_tasks}:
        return
    try:
        await fetch_limits(transport)
    except QuotaExhaustedError:
        raise
    except PolyglotError as error:
        if is_permanent(error):
            raise
        logger.info("the account's limits are unknown, and are learned from 429 answers: %s", error)
