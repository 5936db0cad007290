"""An answer whose body is still on the wire, and how one is closed that is not read to its end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import attrs
import httpx

from .._api.urls import bare_url
from .._errors import ConfigurationError
from .httpx_errors import translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_BUFFERED_PIECES = 100


@attrs.define
class StreamedResponse:
    """An answer whose body is still on the wire.

    Attributes:
        status_code: HTTP status, 200 or 206.
        headers: names in lower case.
    """

    status_code: int
    headers: Mapping[str, str]
    _response: httpx.Response = attrs.field(repr=False)

    @property
    def url(self) -> str:
        """The URL that answered, without query."""
        return bare_url(str(self._response.request.url))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the body as it arrives, undecoded.

        Raises:
            ApiConnectionError: the connection was lost before the end.
        """
        pieces = self._response.aiter_raw()
        try:
            async for chunk in pieces:
                yield chunk
        except httpx.HTTPError as error:
            raise translate(error, self._response.request, body_complete=True) from error
        except httpx.StreamError:
            try:
                yield self._response.content  # of a transport that answers with a whole body, as mocks do
            except httpx.ResponseNotRead:
                problem = "this answer is closed or was read before: read it once, inside its `with`"
                raise ConfigurationError(problem) from None
        except GeneratorExit:
            await drop(self._response, pieces)
            raise


async def drop(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response that is not read to its end, and run the generators below to their ends.

    Trio complains of generators that are forgotten midway, and there are five of httpx and httpcore in a row.
    """
    await close(response)
    with anyio.CancelScope(shield=True), suppress(Exception):
        for _ in range(_BUFFERED_PIECES):
            await anext(chunks)


async def close(response: httpx.Response) -> None:
    # Shielded, so that a cancelled call still returns its connection to the pool or closes it.
    with anyio.CancelScope(shield=True):
        await response.aclose()
