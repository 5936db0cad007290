"""What identifies media: a key for its whole content and the options, and a digest that is taken while it is sent.

A key says whether the same work was submitted before, whatever the file is called. A `MediaDigest` can be compared with
what `GET /transcriptions/{id}/source` shows: one small request proves that a task was made from other media. That it
was made from these, only the whole proves, where it is not too large to be fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from typing import TYPE_CHECKING, Any

import attrs

from .._api.endpoints import options_text
from .._errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TAIL_BYTES = 64 << 10
_SUMMED_WHOLE = 1 << 20
_STRIDE, _SUMMED = 256 << 10, 4 << 10

_CONTENT_KEY = r"([0-9]{1,19})-([0-9a-f]{64})(?:-[0-9a-f]{16})?"


@attrs.frozen
class MediaDigest:
    """What media is recognised by.

    The end alone may be the same in two recordings (of equal length, with silence at the end), and so may the head. The
    checksum is of so much that what differs in it was recorded at another time.

    Attributes:
        size: bytes.
        tail_sha256: SHA-256 of the last `min(size, TAIL_BYTES)` bytes.
        head_sha256: SHA-256 of the first `min(size, TAIL_BYTES)` bytes, where known.
        checksum: CRC-32 of the first MiB and of 4 KiB in each 256 KiB after it, where known.
    """

    size: int
    tail_sha256: bytes
    head_sha256: bytes | None = None
    checksum: int | None = None


def is_same_digest(one: MediaDigest, other: MediaDigest) -> bool:
    """Return whether two digests are of the same media, as far as is known of both."""
    pairs = zip(attrs.astuple(one), attrs.astuple(other), strict=True)
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


@attrs.define(eq=False, repr=False)
class MediaHasher:
    """Makes the digest of media, chunk by chunk. A large chunk costs a copy of its last 64 KiB, a small one its own.

    Attributes:
        size: bytes so far.
    """

    size: int = 0
    _last: bytearray = attrs.field(factory=bytearray)
    _head: bytearray = attrs.field(factory=bytearray)
    _checksum: int = 0

    def update(self, chunk: bytes) -> None:
        """Append a chunk."""
        size, view = self.size, memoryview(chunk)
        self.size = size + len(chunk)
        if size < TAIL_BYTES:
            self._head += view[: TAIL_BYTES - size]
        if size < _SUMMED_WHOLE:
            self._checksum = zlib.crc32(view[: _SUMMED_WHOLE - size], self._checksum)
        if self.size > _SUMMED_WHOLE:
            self._sum_blocks(max(size, _SUMMED_WHOLE) - size, view)
        if len(chunk) >= TAIL_BYTES:
            self._last = bytearray(view[-TAIL_BYTES:])
            return
        self._last += chunk
        if len(self._last) > 2 * TAIL_BYTES:
            del self._last[:-TAIL_BYTES]

    def _sum_blocks(self, at: int, view: memoryview) -> None:
        """Add to the checksum what of `view`, from `at`, lies in the blocks that are summed."""
        checksum, inside = self._checksum, (self.size - len(view) + at) % _STRIDE
        if inside < _SUMMED:
            checksum = zlib.crc32(view[at : at + _SUMMED - inside], checksum)
        for start in range(at + _STRIDE - inside, len(view), _STRIDE):
            checksum = zlib.crc32(view[start : start + _SUMMED], checksum)
        self._checksum = checksum

    def digest(self) -> MediaDigest:
        """Return the digest of what was appended."""
        return MediaDigest(
            self.size, hashlib.sha256(self.last_bytes()).digest(), hashlib.sha256(self._head).digest(), self._checksum
        )

    def last_bytes(self) -> memoryview:
        """The last 64 KiB of what was appended."""
        return memoryview(self._last)[-TAIL_BYTES:]


def digest_of_file(path: Path) -> MediaDigest:
    """Return the digest of a file, without the checksum. Blocks for two reads of 64 KiB.

    Raises:
        MediaError: it cannot be read, or it became shorter meanwhile.
    """
    try:
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(TAIL_BYTES)).digest()
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            tail = MediaHasher(max(0, size - TAIL_BYTES))
            while tail.size < size and (chunk := file.read(size - tail.size)):
                tail.update(chunk)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from error
    if tail.size < size:
        raise MediaError(f"{path}: became shorter while it was read")
    return MediaDigest(size, tail.digest().tail_sha256, head)


def key_of_file(path: Path, options: Mapping[str, Any]) -> str:
    """Read a file to its end and return its key. Blocks: call it in a worker thread.

    Raises:
        MediaError: it cannot be read, or it changed while it was read.
    """
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise MediaError(f"{path}: changed while it was read; try again when it is complete")
    return f"{size}-{digest}{_options_suffix(options)}"


def key_of_bytes(data: bytes, options: Mapping[str, Any]) -> str:
    """Return the key of media in memory."""
    return f"{len(data)}-{hashlib.sha256(data).hexdigest()}{_options_suffix(options)}"


def key_of_url(url: str, options: Mapping[str, Any]) -> str:
    """Return the key of media at a URL, by the URL alone: what it answers with is not requested."""
    return f"url-{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()}{_options_suffix(options)}"


def url_key_of(key: str) -> str:
    """Return the key of a URL without its options, from one with them."""
    return "-".join(key.split("-")[:2])


def content_of_key(key: str) -> tuple[int, str] | None:
    """Return size and hexadecimal SHA-256 of the content that a key stands for; None for the key of a URL."""
    found = re.fullmatch(_CONTENT_KEY, key)
    return None if found is None else (int(found[1]), found[2])


def _unreadable(path: Path, error: Exception) -> MediaError:
    return MediaError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _options_suffix(options: Mapping[str, Any]) -> str:
    """The same file with other options, such as another output language, is other work."""
    text = options_text(options)
    return "" if text == "{}" else f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
