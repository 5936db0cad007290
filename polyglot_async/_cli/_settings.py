"""What the options before every command say, and the client that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from .._client import AsyncPolyglot
from .._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..sandbox import Sandbox

T = TypeVar("T")

# The core speaks of parameters, a person at a terminal of options.
_OPTIONS = {
    "pass api_key=": "give --api-key",
    "pass allow_insecure_http=True": "give --allow-insecure-http",
    "base_url": "--base-url",
    "max_retries": "--max-retries",
}


@attrs.define
class Settings:
    """The shared options; None means that the client's own default holds.

    Attributes:
        api_key: shown nowhere.
        base_url: where the service is.
        timeout: seconds without progress on the network.
        max_retries: further attempts after the first.
        allow_insecure_http: allow plain http to another machine.
        verbose: log at DEBUG to stderr, and show where an unforeseen error came from.
        json: JSON alone on stdout, errors as JSON on stderr.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None
    timeout: float = 60.0
    max_retries: int = 2
    allow_insecure_http: bool = False
    verbose: bool = False
    json: bool = False

    def client(self) -> AsyncPolyglot:
        """Make the client.

        Raises:
            ConfigurationError: no credential or a bad base URL, in the words of the options.
        """
        try:
            return AsyncPolyglot(
                self.api_key,
                base_url=self.base_url,
                timeout=self.timeout,
                max_retries=self.max_retries,
                allow_insecure_http=self.allow_insecure_http,
            )
        except ConfigurationError as error:
            message = error.message
            for parameter, option in _OPTIONS.items():
                message = message.replace(parameter, option)
            raise ConfigurationError(message) from None

    def call(self, function: Callable[[AsyncPolyglot], Awaitable[T]]) -> T:
        """Run an event loop for `function(client)`; Ctrl-C cancels it and comes out as KeyboardInterrupt."""

        async def run() -> T:
            async with self.client() as client:
                return await function(client)

        return anyio.run(run)

    def pointed_at(self, sandbox: Sandbox) -> Settings:
        """Give the same settings for a local server."""
        return attrs.evolve(self, api_key=sandbox.api_key, base_url=sandbox.url)
