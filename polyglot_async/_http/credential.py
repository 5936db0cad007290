"""The credential: asked for when first needed, kept, asked for again when refused, and shown nowhere."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from .._errors import ConfigurationError, PolyglotError

ApiKey: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


class Secret(str):
    """A string whose repr is masked, so that tracebacks, debuggers and logs that show values do not show it.

    Formatting it (`f"{secret}"`) makes a plain string: keep what comes of that out of variables.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: Any) -> Secret:
        return Secret(super().__getitem__(key))  # what shortens long values shows their beginning


class Credential:
    """An `sk_` key or a session JWT (contract: "Authorization"), as a string or as what returns one.

    A sync callable runs in a worker thread, so it may read a file or a key ring.
    """

    def __init__(self, source: ApiKey) -> None:
        if isinstance(source, str):
            source = Secret(source)  # a failure below shows this frame as well
        self._source = source
        self._value = None if callable(source) else _checked(source)
        self._lock: anyio.Lock | None = None

    def __repr__(self) -> str:
        return "Credential(***)"

    @property
    def renewable(self) -> bool:
        """Whether asking again may return another value."""
        return not isinstance(self._source, str)

    async def get(self, *, refused: str | None = None) -> Secret:
        """Return the credential; `refused` is the value that the service did not accept.

        Raises:
            ConfigurationError: the callable raised something else than a `PolyglotError`, or returned no credential.
        """
        if self._value is not None and self._value != refused:
            return self._value
        # Made here and not in __init__: a lock belongs to the event loop that waits for it.
        self._lock = self._lock or anyio.Lock()
        async with self._lock:
            # Many requests may be refused at once; the first one to come here asks for all.
            if self._value is None or self._value == refused:
                self._value = _checked(await self._ask())
            return self._value

    @staticmethod
    def header(token: str) -> Secret:
        """Return the value of the `Authorization` header for a credential that `get` returned."""
        return Secret(f"Bearer {token}")

    async def _ask(self) -> object:
        source = self._source
        if isinstance(source, str):
            return source
        try:
            if inspect.iscoroutinefunction(source):
                return _masked(await source())
            # In a tuple, because Trio lets no thread return an awaitable.
            (answer,) = await to_thread.run_sync(lambda: (_masked(source()),))
            return _masked(await answer) if inspect.isawaitable(answer) else answer
        except PolyglotError:
            raise
        except Exception as error:  # else an OSError would be taken for trouble with the media
            # Its own words may hold the secret: they are shown with the cause only.
            reason = f": {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else ""
            problem = f"the function that was passed as api_key raised {type(error).__name__}{reason}"
            raise ConfigurationError(f"{problem}; see the cause of this error") from error


def _masked(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


def _checked(value: object) -> Secret:
    # The message never shows the value: even a mistyped one may be most of a secret.
    if not isinstance(value, str):
        value = type(value).__name__  # bytes may be one as well
        raise ConfigurationError(f"the credential is a {value}, not a string")
    value = Secret(value.strip())
    if not value:
        raise ConfigurationError("the credential is empty")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError("the credential contains white space, or characters that no credential has")
    return value
