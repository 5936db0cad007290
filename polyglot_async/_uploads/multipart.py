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

_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A", "\\": r"\\"})


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


def frame(fields: Iterable[tuple[str, str]], *, file_name: str, content_type: str, boundary: str) -> Frame:
    """Frame a form with `fields` first and then one file, in the field `file`.

    `boundary` must be a token that the file does not contain: 128 random bits in hexadecimal are enough.
    """
    head = ""
    for name, value in fields:
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_QUOTED)}"\r\n\r\n{value}\r\n'
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name.translate(_QUOTED)}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return Frame(
        content_type=f"multipart/form-data; boundary={boundary}",
        # A file name that is not UTF-8 reaches Python with lone surrogates (PEP 383); no parser would take those.
        head=head.encode("utf-8", "replace"),
        tail=f"\r\n--{boundary}--\r\n".encode(),
    )
