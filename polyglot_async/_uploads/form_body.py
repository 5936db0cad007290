"""The bodies of requests: a form around the media's chunks, counted and reported as they leave, and JSON."""

from __future__ import annotations

import json
import secrets
from contextlib import aclosing, asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, Any

import anyio

from .._concurrency import OnProgress, report_progress
from .._errors import JournalError, MediaError
from .fingerprint import MediaHasher
from .media_types import starts_like_page
from .multipart import frame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from .fingerprint import MediaDigest
    from .sources import Media


class _CallerError(Exception):
    """Stands for what the caller's own source or callback has raised, on its way through the HTTP library.

    Of a class that the library knows (its own timeout, say) it would be taken for a failure of the request, or dropped.
    """


class _Body:
    """What bodies of requests have in common.

    Attributes:
        on_first_byte: awaited once per attempt before the first byte is handed over.
        on_last_byte: awaited once per attempt when all of the media is out and was checked, before the closing boundary
            is handed over. If it raises, the end is not sent.
        complete: whether this attempt handed over its last byte, or was accepted before. While it did not, no server
            can have taken the request for a whole one.
        digest: size and tail of the media as it was sent; None until all of it was, just before `on_last_byte`.
        failure: what the caller's own source or callback has raised in this attempt: no failure of the call, whatever
            its class.
    """

    on_first_byte: Callable[[], Awaitable[None]] | None = None
    on_last_byte: Callable[[], Awaitable[None]] | None = None
    complete: bool = False
    digest: MediaDigest | None = None
    failure: Exception | None = None
    _begun: bool = False

    async def accepted_early(self) -> None:
        """Note that a success came before the body was whole: from here on nobody can say that it was not accepted."""
        if not self.complete:
            self.complete = True
            # A server, or a transport of the caller's, may answer before it takes a byte of the body.
            for callback in (None if self._begun else self.on_first_byte, self.on_last_byte):
                # Even if it is being cancelled. What fails is met again soon: the task is noted in the same place.
                with suppress(JournalError), anyio.CancelScope(shield=True):
                    if callback is not None:
                        await callback()


class FormBody(_Body):
    """A form with one file, sent once or, where the media allows it, again from its beginning.

    Attributes:
        media: what is sent.
        headers: Content-Type, and Content-Length where the size is known (else the body is chunked, RFC 9112
            section 7.1).
    """

    def __init__(self, media: Media, fields: Iterable[tuple[str, str]], on_progress: OnProgress | None = None) -> None:
        self.media = media
        self._attempted = False
        self._on_progress = on_progress
        self._frame = frame(
            fields, file_name=media.name, content_type=media.content_type, boundary=secrets.token_hex(16)
        )
        self.headers: dict[str, str] = {"content-type": self._frame.content_type}
        if media.size is not None:
            self.headers["content-length"] = str(len(self._frame.head) + media.size + len(self._frame.tail))

    @property
    def can_be_sent(self) -> bool:
        """Whether an attempt may start now: the first one always, a further one only from the true beginning."""
        return not self._attempted or self.media.replayable

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the body for one attempt; leaving the context closes the media, wherever the attempt stands.

        The media is opened, and its first chunk read, out here: what cannot be read needs no request, and httpx does
        not close a body that it did not read to its end.

        Raises:
            MediaError: the media cannot be read, is empty or a page, has not the size it should have, or changed.
        """
        self.complete: bool = False
        self._attempted, self._begun, self.digest, self.failure = True, False, None, None
        async with self.media.open() as chunks:
            try:
                first = await anext(chunks, b"")
            except Exception as error:
                self.failure = error
                raise
            if not first:
                raise MediaError(f"{self.media.name}: is empty")
            if self.media.may_be_page and starts_like_page(first):
                raise MediaError(
                    f"{self.media.name}: begins like a web page, not like media; "
                    "pass content_type=... to upload it all the same"
                )
            async with aclosing(self._framed(first, chunks)) as body:
                try:
                    yield body
                except Exception:
                    if self.failure is None or self.complete:  # accepted before it failed: the task is what counts
                        raise
                    raise self.failure from self.failure.__cause__

    async def _framed(self, chunk: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        name, size, tail = self.media.name, self.media.size, MediaHasher()
        self._begun = True
        if self.on_first_byte is not None:
            await self.on_first_byte()
        try:
            if self._on_progress is not None:
                await report_progress(self._on_progress, 0, size)
            yield self._frame.head
            while chunk:
                tail.update(chunk)
                if size is not None and tail.size > size:
                    break
                yield chunk
                # Only now has the chunk been taken by the socket.
                if self._on_progress is not None:
                    await report_progress(self._on_progress, tail.size, size)
                chunk = await anext(chunks, b"")
        except Exception as error:
            self.failure = error
            raise _CallerError(repr(error)) from error
        if size is not None and tail.size > size:
            raise MediaError(f"{name}: has more than the {size} bytes it should have")
        if size is not None and tail.size < size:
            raise MediaError(f"{name}: ended after {tail.size} of {size} bytes")
        self.digest = tail.digest()
        if self.on_last_byte is not None:
            await self.on_last_byte()
        # Set before the last bytes leave: from here on nobody can say that they did not arrive.
        self.complete = True
        yield self._frame.tail


class JsonBody(_Body):
    """A JSON body, with the interface of `FormBody`; it can always be sent again."""

    media: None = None
    can_be_sent: bool = True

    def __init__(self, value: Mapping[str, Any]) -> None:
        """Encode `value`; enums stand for their values.

        Raises:
            TypeError: it holds what JSON cannot express.
            ValueError: it holds NaN or an infinity, or itself.
        """
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_enum_value)
        self._data = text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8
        self.headers: dict[str, str] = {"content-type": "application/json", "content-length": str(len(self._data))}

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the body for one attempt."""
        self.complete: bool = False
        self._begun = False
        async with aclosing(self._chunks()) as body:
            yield body

    async def _chunks(self) -> AsyncGenerator[bytes]:
        self._begun = True
        if self.on_first_byte is not None:
            await self.on_first_byte()
        if self.on_last_byte is not None:
            await self.on_last_byte()
        self.complete = True
        yield self._data


def _enum_value(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
