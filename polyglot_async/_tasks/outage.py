"""While the service cannot be reached, what would start work waits, and one waiter probes for all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._errors import PolyglotError, ServiceUnavailableError
from .._http.retry import Attempts, is_outage

if TYPE_CHECKING:
    from .._http.transport import Transport

logger = logging.getLogger("polyglot_async")

FIRST_PROBE_DELAY = 0.5
LONGEST_PROBE_DELAY = 5.0
CALL_TIMEOUT = 120.0
"""Seconds for which a single call waits for the service to come back before it gives up."""
BATCH_TIMEOUT = 900.0
"""Seconds for which a batch does."""


@attrs.define(eq=False)
class OutageGate:
    """Holds back whatever would start work while the service is down, in maintenance or being redeployed.

    Nothing is guessed from one failure: a cheap free request (the list) is asked, and only if that fails too is it an
    outage. Then it is asked again until it is answered.

    Attributes:
        over: set when the outage is over; None while there is none.
    """

    _transport: Transport = attrs.field(repr=False)
    over: anyio.Event | None = attrs.field(default=None, init=False, repr=False)

    async def wait(self) -> None:
        """Wait until there is no outage."""
        while self.over is not None:
            await self.over.wait()

    async def wait_out(self, error: PolyglotError, *, timeout: float) -> bool:
        """Probe after a failure. Return False if the service answers at once, True once it is back after an outage.

        Raises:
            ServiceUnavailableError: it has not come back within `timeout` seconds; its cause is the last failure.
        """
        if self.over is not None:
            await self.wait()
            return True
        if await self._probe() is None:
            return False
        self.over = anyio.Event()
        try:
            await self._until_back(error, timeout)
        finally:
            over, self.over = self.over, None
            over.set()
        return True

    async def _until_back(self, error: PolyglotError, timeout: float) -> None:
        runtime = self._transport.runtime
        logger.warning("the service cannot be reached, new uploads wait until it is back: %s", error)
        began, pause = runtime.monotonic(), FIRST_PROBE_DELAY
        while True:
            await runtime.sleep(pause)
            problem = await self._probe()
            if problem is None:
                logger.warning("the service is back")
                return
            if runtime.monotonic() - began + pause > timeout:
                raise ServiceUnavailableError(
                    f"the service could not be reached for {timeout:.0f} s: {problem}"
                ) from problem
            pause = min(LONGEST_PROBE_DELAY, 2 * pause)

    async def _probe(self) -> PolyglotError | None:
        """Ask for one task of the list; return what failed, or None: any answer of the service will do, a refusal too."""
        request = endpoints.list_tasks(limit=1, offset=0, cursor=None, filters={})
        try:
            await self._transport.call(request, endpoints.parse_page, attempts=Attempts(retries=0))
        except PolyglotError as error:
            return error if is_outage(error) else None
        return None
