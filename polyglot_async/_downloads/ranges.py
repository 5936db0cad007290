"""Byte ranges (RFC 9110, section 14): write the request's header, check what came back, keep account of what is had."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._errors import RangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,19})", re.ASCII | re.IGNORECASE)


@attrs.frozen
class ContentRange:
    """What a 206 says it holds: `start` included, `stop` excluded; `total` is the whole file's size, if told."""

    start: int
    stop: int
    total: int | None


@attrs.frozen
class Validator:
    """What tells one version of a file from another (A7): a strong ETag, else Last-Modified, else nothing.

    A weak ETag does not promise equal bytes (RFC 9110, section 8.8.1), so it is not used.
    """

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Validator:
        """Read the validators of an answer; `headers` have names in lower case."""
        etag = headers.get("etag")
        return cls(
            etag=etag if etag and not etag.startswith("W/") else None, last_modified=headers.get("last-modified")
        )

    @property
    def if_range(self) -> str | None:
        """The value for `If-Range`, or None where nothing can be said."""
        return self.etag or self.last_modified

    def contradicts(self, other: Validator) -> bool:
        """Whether the two cannot be of the same version: what both know differs."""
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.last_modified and other.last_modified and self.last_modified != other.last_modified)


def range_header(start: int, stop: int | None = None) -> str:
    """Write `Range` for the bytes from `start` up to, not including, `stop`; without `stop` to the end."""
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def read_content_range(value: str) -> ContentRange:
    """Read the `Content-Range` of a 206.

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


def unsatisfied_total(value: str) -> int | None:
    """Read the file's size from the `Content-Range` of a 416, `bytes */1234`; None where it does not say."""
    match = _UNSATISFIED_RANGE.fullmatch(value.strip())
    return int(match[1]) if match else None


def check_content_range(value: str, *, start: int, stop: int | None) -> ContentRange:
    """Check that a 206 holds what was asked for: it begins at `start` and does not go beyond `stop`.

    A server may answer with less than was asked for (RFC 9110, section 15.3.7); the rest is then asked for anew.

    Raises:
        RangeError: it holds something else.
    """
    content = read_content_range(value)
    if content.start != start or (stop is not None and content.stop > stop):
        raise RangeError(f"asked for {range_header(start, stop)}, but the answer holds {value!r}")
    return content


def next_part_size(missing: int, connections: int, bytes_per_second: float) -> int:
    """Choose how much one connection should ask for next, of `missing` bytes that nobody has asked for yet.

    Half of a fair share: parts grow smaller towards the end, so that all connections end together. Yet no part is
    shorter than about a quarter of a second's work of one connection: each is a request, and counts against the day's.
    """
    smallest = max(SMALLEST_PART, int(bytes_per_second / 4))
    return min(missing, max(smallest, missing // (2 * max(1, connections))))


SMALLEST_PART = 1 << 20


Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Byte ranges, each a start and a stop (excluded), in order, apart from one another."""


def with_span(spans: Spans, start: int, stop: int) -> Spans:
    """Add the bytes from `start` to `stop` to `spans`, joining what touches."""
    if start >= stop:
        return spans
    before = tuple(span for span in spans if span[1] < start)
    after = tuple(span for span in spans if span[0] > stop)
    touching = spans[len(before) : len(spans) - len(after)]
    if touching:
        start, stop = min(start, touching[0][0]), max(stop, touching[-1][1])
    return (*before, (start, stop), *after)


def missing_spans(spans: Spans, total: int) -> Spans:
    """Give what `spans` lack of a file of `total` bytes."""
    edges = [0, *(edge for span in spans for edge in span), total]
    return tuple((start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop)


def covered_bytes(spans: Spans) -> int:
    """Count the bytes in `spans`."""
    return sum(stop - start for start, stop in spans)
