"""The options shared by all commands, the client made from them, and the local server of `demo` and `--sandbox`."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs

import polyglot_async  # its names load when they are first used, which keeps --help quick

from .._errors import ConfigurationError, PolyglotError
from .._runtime import Runtime
from ._error_report import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from .. import AsyncPolyglot
    from ..sandbox import Sandbox

T = TypeVar("T")

SECRET_VARIABLE = "POLYGLOT_WEBHOOK_SECRET"  # noqa: S105 - a variable's name

# The SDK's messages name parameters; on a command line they are options.
_OPTION_OF_PARAMETER = {
    r"\bapi_key(?:=|\b)": "--api-key",
    r"\ballow_insecure_http(?:=True)?": "--allow-insecure-http",
    r"\bbase_url(?:=|\b)": "--base-url",
    r"\bmax_retries(?:=|\b)": "--max-retries",
    r"\btimeout is\b": "--timeout is",
}
_SANDBOX_PACKAGES = ("starlette", "uvicorn", "python_multipart", "av", "pocketsphinx")


@attrs.define
class Settings:
    """The shared options, with the client's own defaults.

    Attributes:
        api_key: shown nowhere.
        base_url: of the API; None for the environment's, or the default.
        timeout: seconds without progress on the network.
        max_retries: further attempts after the first.
        allow_insecure_http: allow plain http to other hosts.
        verbose: log at DEBUG to stderr, and show tracebacks of unexpected errors.
        json: print JSON to stdout, errors as JSON to stderr.
        runtime: clock and sleep; tests replace it.
    """

    api_key: str | None = attrs.field(default=None, repr=False)
    base_url: str | None = None
    timeout: float = 60.0
    max_retries: int = 2
    allow_insecure_http: bool = False
    verbose: bool = False
    json: bool = False
    runtime: Runtime = attrs.field(factory=Runtime)

    def client(self) -> AsyncPolyglot:
        """Make the client.

        Raises:
            ConfigurationError: no credential or a bad option; the message names options, not parameters.
        """
        try:
            return polyglot_async.AsyncPolyglot(
                self.api_key,
                base_url=self.base_url,
                timeout=self.timeout,
                max_retries=self.max_retries,
                allow_insecure_http=self.allow_insecure_http,
                runtime=self.runtime,
            )
        except ConfigurationError as error:
            message = error.message
            for parameter, option in _OPTION_OF_PARAMETER.items():
                message = re.sub(parameter, option, message)
            raise ConfigurationError(message) from None

    def call(self, function: Callable[[AsyncPolyglot], Awaitable[T]]) -> T:
        """Run `function(client)` in an event loop; Ctrl-C cancels it and raises KeyboardInterrupt."""

        async def run() -> T:
            async with self.client() as client:
                return await function(client)

        return anyio.run(run)


def webhook_secrets(given: Sequence[str]) -> tuple[str, ...]:
    """Return the webhook secrets that were given as options, else that of the environment."""
    from_environment = os.environ.get(SECRET_VARIABLE)
    return tuple(given) or ((from_environment,) if from_environment else ())


def make_sandbox(**options: Any) -> Sandbox:
    """Make a local server that is not yet started.

    Raises:
        PolyglotError: the extra is not installed.
        InputError: an option is invalid.
    """
    # Worker processes load the recogniser and the decoder, and could only complain later.
    if any(importlib.util.find_spec(name) is None for name in _SANDBOX_PACKAGES):
        raise PolyglotError('the local server needs an extra: pip install "polyglot_async[sandbox]"')
    module: Any = importlib.import_module("polyglot_async.sandbox")
    try:
        sandbox: Sandbox = module.Sandbox(**options)
    except ValueError as error:
        raise InputError(str(error)) from None
    return sandbox


@contextlib.contextmanager
def with_local_server(settings: Settings) -> Iterator[Settings]:
    """Start a local server with real speech recognition and yield settings that point to it.

    Raises:
        InputError: --base-url was given as well.
    """
    if settings.base_url is not None:
        raise InputError("a local server is used here: cannot be combined with --base-url")
    with make_sandbox(plan="unlimited") as sandbox:
        yield attrs.evolve(settings, api_key=sandbox.api_key, base_url=sandbox.url)
