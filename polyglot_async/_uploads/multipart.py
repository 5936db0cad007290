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

_PERCENT_ENCODED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


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
        """Return the length of the whole body for a file of `file_size` bytes."""
        return len(self.head) + file_size + len(self.tail)


def frame(
    fields: Iterable[tuple[str, str]], *, file_name: str, content_type: str, boundary: str, field: str = "file"
) -> Frame:
    """Frame a form with `fields` first and then one file in `field`.

    `boundary` must be a token that the file does not contain: 128 random bits in hexadecimal are enough.
    """
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    lines.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"; '
        f'filename="{_quoted(file_name)}"\r\nContent-Type: {content_type}\r\n\r\n'
    )
    return Frame(
        content_type=f"multipart/form-data; boundary={boundary}",
        head=_encoded("".join(lines)),
        tail=_encoded(f"\r\n--{boundary}--\r\n"),
    )


def framed_name(name: str) -> str:
    """Return a file name as it is framed in the form, and so as most servers list it.

    A quote is `%22` there, CR and LF are `%0D` and `%0A`, and what is not UTF-8 is `?`. Few parsers undo this; all undo
    the doubled backslash.
    """
    return _encoded(name.translate(_PERCENT_ENCODED)).decode()


def _quoted(name: str) -> str:
    return name.replace("\\", r"\\").translate(_PERCENT_ENCODED)


def _encoded(text: str) -> bytes:
    # A file name that is not UTF-8 reaches Python with lone surrogates (PEP 383); no parser would take those.
    return text.encode("utf-8", "replace")
