"""Byte ranges (RFC 9110, section 14): write the request's header, check the answer's, keep account of what is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._errors import RangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)

ByteRanges: TypeAlias = tuple[tuple[int, int], ...]
"""Ranges, each a start and a stop (excluded): sorted, and none touches another."""


@attrs.define
class ByteRange:
    """The bytes from `start` up to, not including, `stop`; None is the file's end. `stop` may move while it is read."""

    start: int
    stop: int | None = None


@attrs.frozen
class ContentRange:
    """What a 206 holds: `start` included, `stop` excluded; `total` is the whole file's size, or None if unknown."""

    start: int
    stop: int
    total: int | None


@attrs.frozen
class Validator:
    """What tells one version of a file from another: a strong ETag, else Last-Modified, else nothing.

    A weak ETag does not promise equal bytes (RFC 9110, section 8.8.1), so it is not used.
    """

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Validator:
        """Return the validators of an answer; `headers` have names in lower case."""
        etag = headers.get("etag")
        return cls(
            etag=etag if etag and not etag.startswith("W/") else None, last_modified=headers.get("last-modified")
        )

    @property
    def if_range(self) -> str | None:
        """The value for `If-Range`, or None where the service sent no validator."""
        return self.etag or self.last_modified

    def contradicts(self, other: Validator) -> bool:
        """Return whether the two cannot be of the same version: a validator that both have differs."""
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.last_modified and other.last_modified and self.last_modified != other.last_modified)


def range_header(start: int, stop: int | None = None) -> str:
    """Return `Range` for the bytes from `start` up to, not including, `stop`; without `stop` to the end."""
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def parse_content_range(value: str) -> ContentRange:
    """Parse the `Content-Range` of a 206.

    Raises:
        RangeError: it is missing, malformed or contradicts itself.
    """
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if match is None:
        raise RangeError(f"the answer's Content-Range {value!r:.100} cannot be read")
    start, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < start or (total is not None and last >= total):
        raise RangeError(f"the answer's Content-Range {value!r} contradicts itself")
    return ContentRange(start, last + 1, total)


def parse_unsatisfied_range(value: str) -> int | None:
    """Parse the `Content-Range` of a 416, `bytes */1234`; return the file's size, or None where it is not there."""
    match = _UNSATISFIED_RANGE.fullmatch(value.strip())
    return int(match[1]) if match else None


def check_content_range(value: str, *, start: int, stop: int | None) -> ContentRange:
    """Return what a 206 holds, after checking that it begins at `start` and does not go beyond `stop`.

    A server may answer with less than was asked for (RFC 9110, section 15.3.7); the rest is then a further request.

    Raises:
        RangeError: it holds something else.
    """
    content = parse_content_range(value)
    if content.start != start or (stop is not None and content.stop > stop):
        raise RangeError(f"asked for {range_header(start, stop)}, but the answer holds {value!r}")
    return content


@attrs.frozen(kw_only=True)
class PartSizes:
    """Bytes to ask for in one request of a download over several connections.

    Attributes:
        first: the first request's, sent before the file's size is known.
        smallest: the least that a later request asks for; each is a request, and counts against the day's quota.
    """

    first: int = 8 << 20
    smallest: int = 1 << 20

    def next(self, missing: int, connections: int, bytes_per_second: float) -> int:
        """Return how much a connection should ask for next, of `missing` bytes that nobody has asked for yet.

        Half of a fair share: parts grow smaller towards the end, so that all connections end together. Yet no part is
        shorter than about a quarter of a second's work of one connection.
        """
        smallest = max(self.smallest, int(bytes_per_second / 4))
        return min(missing, max(smallest, missing // (2 * max(1, connections))))


def add_range(ranges: ByteRanges, start: int, stop: int) -> ByteRanges:
    """Return `ranges` with the bytes from `start` to `stop` added; what touches is joined."""
    if start >= stop:
        return ranges
    before = tuple(present for present in ranges if present[1] < start)
    after = tuple(present for present in ranges if present[0] > stop)
    touching = ranges[len(before) : len(ranges) - len(after)]
    if touching:
        start, stop = min(start, touching[0][0]), max(stop, touching[-1][1])
    return (*before, (start, stop), *after)


def missing_ranges(ranges: ByteRanges, total: int) -> ByteRanges:
    """Return what `ranges` lack of a file of `total` bytes."""
    edges = [0, *(edge for present in ranges for edge in present), total]
    return tuple((start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop)


def covered_bytes(ranges: ByteRanges) -> int:
    """Return the number of bytes in `ranges`."""
    return sum(stop - start for start, stop in ranges)
