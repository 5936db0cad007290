"""A multipart/form-data body around a file (RFC 7578), framed so that its length is known before it is sent.

Names are written raw in UTF-8 with `"`, CR and LF percent-encoded, as browsers do (WHATWG HTML, "multipart form data"):
it is the one form that all parsers read. Unlike browsers we double a backslash, because most parsers unescape it and
would take one at the end of a name for an escaped quote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES = str.maketrans({"\\": r"\\", '"': "%22", "\r": "%0D", "\n": "%0A"})


@attrs.frozen
class Frame:
    """What stands before and after the file's own bytes.

    Attributes:
        content_type: the request's Content-Type, boundary included.
        head: bytes before the file.
        tail: bytes after the file.
    """

    content_type: str
    head: bytes
    tail: bytes

    def content_length(self, file_size: int) -> int:
        """Length of the whole body for a file of `file_size` bytes."""
        return len(self.head) + file_size + len(self.tail)


def frame(
    fields: Iterable[tuple[str, str]], *, file_name: str, content_type: str, boundary: str, field: str = "file"
) -> Frame:
    """Frame a form with `fields` first and then one file in `field`.

    `boundary` must be a token that the file does not contain: 128 random bits in hexadecimal are enough.
    """
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    lines.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(field)}"; '
        f'filename="{_escaped(file_name)}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    return Frame(
        content_type=f"multipart/form-data; boundary={boundary}",
        head=_encoded("".join(lines)),
        tail=_encoded(f"\r\n--{boundary}--\r\n"),
    )


def _escaped(name: str) -> str:
    return name.translate(_ESCAPES)


def _encoded(text: str) -> bytes:
    # A file name that is not UTF-8 reaches Python with lone surrogates (PEP 383); no parser would take those.
    return text.encode("utf-8", "replace")
