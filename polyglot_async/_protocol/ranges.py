"""Byte ranges (RFC 9110, section 14): plan parts, write the request's header, check what came back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from .._errors import RangeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,19})", re.ASCII)


@attrs.frozen
class Part:
    """A range of bytes, `start` included, `stop` excluded."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


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


def check_content_range(value: str, *, start: int, stop: int | None, total: int | None) -> ContentRange:
    """Check that a 206 holds what was asked for: from `start`, not beyond `stop`, of a file of `total` bytes.

    A server may answer with less than was asked for (RFC 9110, section 15.3.7); the rest is then asked for anew.

    Raises:
        RangeError: it holds something else.
    """
    content = read_content_range(value)
    if content.start != start or (stop is not None and content.stop > stop):
        wanted = range_header(start, stop)
        raise RangeError(f"asked for {wanted}, but the answer holds {value!r}")
    if total is not None and content.total is not None and content.total != total:
        raise RangeError(f"the file has {total} bytes, but the answer speaks of {content.total}")
    return content


def plan_parts(start: int, stop: int, part_size: int) -> Iterator[Part]:
    """Cut the bytes from `start` to `stop` into parts of `part_size`, the last one shorter."""
    for offset in range(start, stop, part_size):
        yield Part(offset, min(offset + part_size, stop))


def part_size_for(total: int, connections: int, *, smallest: int = 8 << 20, largest: int = 128 << 20) -> int:
    """Choose a part size: about four parts for each connection, so that a slow one does not hold up the rest.

    A part costs a request, which counts against the day's, so parts are no smaller than they need be.
    """
    return max(smallest, min(largest, -(-total // (4 * max(1, connections)))))
