"""The credential: asked for when first needed, kept, asked for again when refused, and shown nowhere."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
from anyio import to_thread

from .._errors import ConfigurationError

ApiKey: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


class Credential:
    """An `sk_` key or a session JWT (contract: "Authorization"), given as a string or as what returns one.

    A sync callable runs in a worker thread, so it may read a file or a key ring.
    """

    def __init__(self, source: ApiKey) -> None:
        self._source = source
        self._value = None if callable(source) else _checked(source)
        self._lock: anyio.Lock | None = None

    def __repr__(self) -> str:
        return "Credential(***)"

    @property
    def renewable(self) -> bool:
        """Whether asking again may give another value."""
        return not isinstance(self._source, str)

    async def get(self, *, refused: str | None = None) -> str:
        """Give the credential; `refused` is the value that the service did not accept.

        Raises:
            ConfigurationError: what the callable returned is no credential.
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

    async def _ask(self) -> object:
        source = self._source
        if isinstance(source, str):
            return source
        if inspect.iscoroutinefunction(source):
            return await source()
        # In a tuple, because Trio lets no thread return an awaitable.
        (answer,) = await to_thread.run_sync(lambda: (source(),))
        return await answer if inspect.isawaitable(answer) else answer


def _checked(value: object) -> str:
    # The message never shows the value: even a mistyped one may be most of a secret.
    if not isinstance(value, str):
        raise ConfigurationError(f"the credential is a {type(value).__name__}, not a string")
    value = value.strip()
    if not value:
        raise ConfigurationError("the credential is empty")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError("the credential holds characters that no credential has")
    return value
