"""While the service cannot be reached, what would start work waits, and one waiter probes for all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from .._api import endpoints
from .._api.messages import AnsweredBy, answered_by
from .._errors import PolyglotError, ResponseDecodeError, ServiceUnavailableError
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
SAME_OUTAGE_SECONDS = 120.0
"""Two failures no further apart belong to one outage."""


@attrs.define(eq=False, repr=False)
class OutageGate:
    """Holds back whatever would start work while the service is down, in maintenance or being redeployed.

    Nothing is guessed from one failure: a cheap free request (the list) is asked, and only if that fails too is it an
    outage. Then it is asked again until it is answered.

    Attributes:
        outage_ended: set when the outage under way has ended; None while there is none.
    """

    _transport: Transport
    outage_ended: anyio.Event | None = attrs.field(default=None, init=False)
    _down_since: float | None = attrs.field(default=None, init=False)
    _failed_at: float = attrs.field(default=float("-inf"), init=False)
    _slept: float = attrs.field(default=0.0, init=False)

    async def wait(self) -> None:
        """Wait until there is no outage."""
        while self.outage_ended is not None:
            await self.outage_ended.wait()

    async def wait_out(self, error: PolyglotError, *, timeout: float) -> bool:
        """Probe after a failure. Return False if the service answers at once, True once it is back after an outage.

        Raises:
            ServiceUnavailableError: it has been down for `timeout` seconds; its cause is the last failure.
        """
        waited = False
        while True:
            if self.outage_ended is not None:
                waited = True
                await self.outage_ended.wait()
                if self._down_since is None:
                    return True
            # Nobody asks, or who did has given up, or was cancelled.
            problem = await self._probe()
            if problem is None:
                return waited
            if self.outage_ended is None:  # no other has begun meanwhile
                break
        self.outage_ended = anyio.Event()
        try:
            await self._until_back(error, problem, timeout)
        finally:
            self.outage_ended.set()
            self.outage_ended = None
        return True

    async def _until_back(self, error: PolyglotError, problem: PolyglotError | None, timeout: float) -> None:
        runtime = self._transport.runtime
        logger.warning("the service cannot be reached, new uploads wait until it is back: %s", error)
        pause = FIRST_PROBE_DELAY
        while problem is not None:
            down_for = 0.0 if self._down_since is None else runtime.monotonic() - self._down_since
            if max(down_for, self._slept) + pause > timeout:
                raise ServiceUnavailableError(
                    f"the service could not be reached for {timeout:.0f} s: {problem}"
                ) from problem
            await runtime.sleep(pause)
            self._slept += pause
            problem = await self._probe()
            pause = min(LONGEST_PROBE_DELAY, 2 * pause)
        logger.warning("the service is back")

    async def _probe(self) -> PolyglotError | None:
        """Ask for one task of the list; return what failed, or None for any answer of the service, a refusal too."""
        runtime = self._transport.runtime
        try:
            await self._transport.call(endpoints.PROBE, endpoints.parse_page, attempts=Attempts(retries=0))
        except PolyglotError as error:
            is_odd = isinstance(error, ResponseDecodeError) and answered_by(error.body) is AnsweredBy.SERVICE
            if is_outage(error) and not is_odd:
                # Whoever asks soon after another has given up asks about the same outage, and does not wait as long.
                if self._down_since is None or runtime.monotonic() - self._failed_at > SAME_OUTAGE_SECONDS:
                    self._down_since, self._slept = runtime.monotonic(), 0.0
                self._failed_at = runtime.monotonic()
                return error
        self._down_since = None
        return None
