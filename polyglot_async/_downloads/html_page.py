"""A web page in place of a file: sign-in and maintenance pages come with status 200, and must not be saved."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from .._api.messages import KEPT_BODY_BYTES, ApiResponse, is_html
from .._api.status_errors import decode_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from .._http.streamed_response import StreamedResponse

_OK = 200
_HTML_KINDS = frozenset({"html", "htm", "xhtml"})


def wants_html(kind: str) -> bool:
    """Return whether a kind of result file is HTML itself, such as `html` or `page.html`."""
    return kind.lower().rpartition(".")[2] in _HTML_KINDS


async def require_file(
    response: StreamedResponse, chunks: AsyncIterator[bytes], start: bytes = b"", *, method: str = "GET"
) -> None:
    """Raise if a 200 is a page in place of a file; only then read its body, on from `start`.

    Raises:
        ResponseDecodeError: with the page's title, content type and `Server`.
    """
    if response.status_code != _OK or not is_html(response.headers, start):
        return
    body = bytearray(start)
    async for chunk in chunks:
        body += chunk
        if len(body) >= KEPT_BODY_BYTES:
            break
    answer = ApiResponse(
        status_code=response.status_code,
        headers=response.headers,
        body=bytes(body[:KEPT_BODY_BYTES]),
        method=method,
        url=response.url,
    )
    raise decode_error(answer, None)


@asynccontextmanager
async def open_file_stream(
    answer: AbstractAsyncContextManager[StreamedResponse], kind: str
) -> AsyncIterator[StreamedResponse]:
    """Open the answer of a call for a result file of `kind`.

    Raises:
        ResponseDecodeError: it is a page in place of the file.
    """
    async with answer as response:
        if not wants_html(kind) and is_html(response.headers):
            async with aclosing(response.chunks()) as chunks:
                await require_file(response, chunks)
        yield response


def file_body(answer: ApiResponse, kind: str) -> bytes:
    """Return the body of an answer that holds a result file of `kind`.

    Raises:
        ResponseDecodeError: it is a page in place of the file.
    """
    if answer.is_html and not wants_html(kind):
        raise decode_error(answer, None)
    return answer.body
