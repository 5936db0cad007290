"""Read from `/source` what a task was made from, as much of it as it takes."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING

from .._api.messages import is_html
from .._downloads.ranges import parse_content_range, parse_unsatisfied_range
from .._errors import RangeError
from .._uploads.fingerprint import TAIL_BYTES, Tail
from .proof import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._api.messages import ApiRequest
    from .._http.transport import StreamedResponse, Transport

_WHOLE_ANSWER_BYTES = 256 << 10
_DISTINCTIVE_SHARE = 16
_MESSAGES = (b'{"', b"<?xml")
_PARTIAL, _WHOLE, _UNSATISFIED = 206, 200, 416


async def read_end(transport: Transport, request: ApiRequest) -> Source | None:
    """Read size and end of a source, in one request as a rule; None if it is no media, or not there yet."""
    async with transport.stream(request, headers={"range": f"bytes=-{TAIL_BYTES}"}) as response:
        if response.status_code != _UNSATISFIED:
            return await _read_tail(response)
        size = parse_unsatisfied_range(response.headers.get("content-range", ""))
    if not size:
        return None
    first = max(0, size - TAIL_BYTES)  # some servers know no ranges that count from the end
    async with transport.stream(request, headers={"range": f"bytes={first}-{size - 1}"}) as response:
        return await _read_tail(response)


async def read_head(transport: Transport, request: ApiRequest) -> bytes | None:
    """Read the first 64 KiB of a larger source, and return their SHA-256."""
    async with transport.stream(request, headers={"range": f"bytes=0-{TAIL_BYTES - 1}"}) as response:
        head = Tail()
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                head.update(chunk[: TAIL_BYTES - head.size])
                if head.size >= TAIL_BYTES:
                    break
        answers = response.status_code == _WHOLE or response.headers.get("content-range", "").startswith("bytes 0-")
        return head.digest().head_sha256 if answers and head.size == TAIL_BYTES else None


async def read_whole(transport: Transport, request: ApiRequest) -> Source | None:
    """Read a source to its end."""
    digest, tail = hashlib.sha256(), Tail()
    async with transport.stream(request) as response:
        if response.status_code != _WHOLE or not _is_media(response.headers, b""):
            return None
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                tail.update(chunk)
    return _source_of_whole(tail, digest.hexdigest())


async def _read_tail(response: StreamedResponse) -> Source | None:
    """Read size and end of a source from the answer to a request for its last bytes; None if it is no media."""
    headers, tail = response.headers, Tail()
    if headers.get("content-encoding", "identity") != "identity" or response.status_code not in {_WHOLE, _PARTIAL}:
        return None
    is_partial = response.status_code == _PARTIAL
    most = TAIL_BYTES if is_partial else _WHOLE_ANSWER_BYTES  # a film is not read to its end for it
    start = b""
    async with aclosing(response.chunks()) as chunks:
        async for chunk in chunks:
            start = start or chunk
            tail.update(chunk)
            if tail.size > most:
                break
    beginning = b"" if is_partial else start
    if not tail.size or not _is_media(headers, beginning):  # a page of a proxy, a message, a file that is not there yet
        return None
    if is_partial:
        return _source_of_range(headers.get("content-range", ""), tail)
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() else None
    if tail.size <= most and size in {None, tail.size}:
        return _source_of_whole(tail, None)
    return Source(size)


def _source_of_range(content_range: str, tail: Tail) -> Source | None:
    try:
        content = parse_content_range(content_range)
    except RangeError:
        return None
    total = content.total
    if total is None or content.stop != total or tail.size != min(total, TAIL_BYTES):
        return Source(total)
    return Source(total, tail.digest().tail_sha256, _is_distinctive(tail))


def _source_of_whole(tail: Tail, sha256: str | None) -> Source:
    digest = tail.digest()
    return Source(digest.size, digest.tail_sha256, _is_distinctive(tail), digest.head_sha256, digest.checksum, sha256)


def _is_media(headers: Mapping[str, str], start: bytes) -> bool:
    """Return whether an answer may be media: a page, a message or a JSON or XML document is not."""
    kind = headers.get("content-type", "").lower()
    is_text = kind.startswith("text/") or "json" in kind or "xml" in kind or start.lstrip().startswith(_MESSAGES)
    return not is_text and not is_html(headers, start)


def _is_distinctive(tail: Tail) -> bool:
    """Return whether the end of a file is that of no other recording; silence is that of many."""
    last = tail.last_bytes()
    return len(zlib.compress(last, 1)) > len(last) // _DISTINCTIVE_SHARE
