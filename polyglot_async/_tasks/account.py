"""What the account may do: the live limits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .._api import endpoints
from .._api.decoding import decode
from .._api.limits_document import read_limits
from .._errors import AuthenticationError, PermissionDeniedError

if TYPE_CHECKING:
    from .._http.transport import Transport
    from .._models import Limits

logger = logging.getLogger("polyglot_async")


async def fetch_limits(transport: Transport) -> Limits:
    """Ask for the live limits with the credential, and once more without where that is refused (A16).

    The client's limiter keeps to what it says, except where the caller stated limits: those win, here too.

    Raises:
        ResponseDecodeError: the document has no limits.
    """
    request = endpoints.documentation()
    try:
        answer = await transport.send(request)
    except (AuthenticationError, PermissionDeniedError):
        answer = await transport.send(request, anonymous=True)
    fetched = decode(answer, read_limits)
    if fetched.not_understood:
        logger.warning("limits that could not be read: %s", ", ".join(fetched.not_understood))
    return transport.limiter.update(fetched)
