"""The requests that the sandbox itself sends: media by URL, and webhooks."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_SLICE = 1 << 20
_NEVER_MEDIA = ("text/", "image/", "application/json", "application/xml", "application/xhtml", "application/pdf")
_FIRST_ERROR_STATUS = 300


class MediaUrlError(Exception):
    """A media URL cannot be used; the text says why."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """What the answer to a media URL says before its body."""

    url: str
    name: str
    content_type: str
    size: int | None


class OutboundClient:
    """One HTTP client for all; made when first needed, in a thread because loading certificates takes a while."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def client(self) -> httpx.AsyncClient:
        """Return the client."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    httpx.AsyncClient, timeout=_TIMEOUT, follow_redirects=True, max_redirects=5
                )
        return self._client

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    async def probe(self, url: str) -> RemoteHead:
        """Ask for a media URL without reading it; MediaUrlError if it is not usable."""
        async with self._open(url) as (remote, _):
            return remote

    async def fetch(self, url: str, target: Path, *, max_bytes: int | None) -> tuple[int, str]:
        """Stream a media URL to `target`; return size and SHA-256. MediaUrlError if it is not usable or too large."""
        digest, size = hashlib.sha256(), 0
        async with self._open(url) as (_, response):
            # Opened anew for each piece: a file that is opened in a thread is nobody's when the wait is cancelled.
            await asyncio.to_thread(target.write_bytes, b"")
            async for piece in response.aiter_bytes(_SLICE):
                size += len(piece)
                if max_bytes is not None and size > max_bytes:
                    raise MediaUrlError(f"The file is too large: the plan allows {max_bytes} bytes.", too_large=True)
                await asyncio.to_thread(_append, target, digest, piece)
        return size, digest.hexdigest()

    @asynccontextmanager
    async def _open(self, url: str) -> AsyncIterator[tuple[RemoteHead, httpx.Response]]:
        _check_syntax(url)
        client = await self.client()
        try:
            async with client.stream("GET", url) as response:
                yield _read_head(url, response), response
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise MediaUrlError(f"The URL cannot be reached: {type(problem).__name__}.") from problem


def _append(target: Path, digest: hashlib._Hash, piece: bytes) -> None:
    digest.update(piece)
    with target.open("ab") as file:
        file.write(piece)


def _check_syntax(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise MediaUrlError("The URL is not an http or https address.")


def _read_head(url: str, response: httpx.Response) -> RemoteHead:
    if response.status_code >= _FIRST_ERROR_STATUS:
        raise MediaUrlError(f"The URL answered {response.status_code}.")
    content_type = response.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    if content_type.lower().startswith(_NEVER_MEDIA):
        raise MediaUrlError(f"The URL is not audio or video but {content_type}.")
    length = response.headers.get("content-length", "")
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "media"
    return RemoteHead(url, name, content_type, int(length) if length.isdecimal() else None)
