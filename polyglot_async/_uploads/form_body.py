"""The body of an upload: form framing around the media's chunks, counted and reported as they leave."""

from __future__ import annotations

import secrets
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from .._concurrency import OnProgress, report_progress
from .._errors import MediaError
from .multipart import frame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from .sources import Media


class FormBody:
    """A form with one file, sent once or, where the media allows it, again from its beginning.

    `on_start` is awaited before each attempt, when its permit is there and nothing has left yet.

    Attributes:
        media: what is sent.
        complete: whether the last attempt handed over its last byte. While it did not, no server can have taken the
            request for a whole one.
    """

    def __init__(
        self,
        media: Media,
        fields: tuple[tuple[str, str], ...],
        on_progress: OnProgress | None = None,
        *,
        on_start: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.media = media
        self.complete = False
        self._started = False
        self._on_progress = on_progress
        self._on_start = on_start
        self._frame = frame(
            fields, file_name=media.name, content_type=media.content_type, boundary=secrets.token_hex(16)
        )

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type, and Content-Length where the size is known (else the body is chunked, RFC 9112 section 7.1)."""
        headers = {"content-type": self._frame.content_type}
        if self.media.size is not None:
            headers["content-length"] = str(self._frame.content_length(self.media.size))
        return headers

    @property
    def can_be_sent(self) -> bool:
        """Whether an attempt may start now: the first one always, a further one only from the true beginning."""
        return not self._started or self.media.replayable

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the body for one attempt; leaving the context closes the media, wherever the attempt stands.

        The media is opened out here because httpx does not close a body that it did not read to its end.

        Raises:
            MediaError: the media cannot be read, or has not the size it should have.
        """
        self.complete = False
        self._started = True
        if self._on_start is not None:
            await self._on_start()
        await report_progress(self._on_progress, 0, self.media.size)
        async with self.media.open() as chunks, aclosing(self._framed(chunks)) as body:
            yield body

    async def _framed(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        name, size = self.media.name, self.media.size
        sent = 0
        yield self._frame.head
        async for chunk in chunks:
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise MediaError(f"{name}: gives {type(chunk).__name__} where bytes are wanted")
            chunk = bytes(chunk)  # noqa: PLW2901 - costs nothing for bytes; a view may count in other units
            if not chunk:
                continue
            sent += len(chunk)
            if size is not None and sent > size:
                raise MediaError(f"{name}: has more than the {size} bytes it should have")
            yield chunk
            # Only now has the chunk been taken by the socket.
            await report_progress(self._on_progress, sent, size)
        if not sent:
            raise MediaError(f"{name}: is empty")
        if size is not None and sent < size:
            raise MediaError(f"{name}: ended after {sent} of {size} bytes")
        # Set before the last bytes leave: from here on nobody can say that they did not arrive.
        self.complete = True
        yield self._frame.tail
