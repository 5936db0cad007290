"""What the tests of downloads share: a transport in place of ours, over real sockets, and a place for the file."""

import contextlib
from contextlib import asynccontextmanager
from types import SimpleNamespace

import anyio
import attrs
import httpx
import pytest
from raw_server import scripted

from polyglot_async import ApiConnectionError, NotFoundError, Runtime, ServerError

__all__ = ["scripted"]


@attrs.frozen
class Answer:
    """An answer whose body is still to come."""

    status_code: int
    headers: dict[str, str]
    url: str
    response: httpx.Response

    async def chunks(self):
        pieces = self.response.aiter_raw()
        try:
            async for chunk in pieces:
                yield chunk
        except httpx.TransportError as error:
            raise ApiConnectionError(str(error), method="GET") from error
        except GeneratorExit:  # Trio warns of generators that are left midway
            with anyio.CancelScope(shield=True), contextlib.suppress(Exception):
                await self.response.aclose()
                while True:
                    await anext(pieces)
            raise


@attrs.frozen(kw_only=True)
class Transport:
    """Sends each request once; `sleeps` are the seconds that were slept between attempts, which took no time."""

    http: httpx.AsyncClient
    base_url: str
    max_retries: int
    runtime: Runtime
    sleeps: list[float]

    @asynccontextmanager
    async def stream(self, request, *, headers):
        url = f"{self.base_url}{request.path}"
        try:
            response = await self.http.send(self.http.build_request("GET", url, headers=headers), stream=True)
        except httpx.TransportError as error:
            raise ApiConnectionError(str(error), method="GET") from error
        try:
            status = response.status_code
            if status >= 400 and status != 416:
                cls = NotFoundError if status == 404 else ServerError
                raise cls(f"{status}", status_code=status)
            yield Answer(status, {name.lower(): value for name, value in response.headers.items()}, url, response)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()


@pytest.fixture
async def transport_to(anyio_backend):
    """Makes transports: `transport_to(url)`."""
    sleeps = []

    async def sleep(seconds):
        sleeps.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with httpx.AsyncClient(headers={"accept-encoding": "identity"}, timeout=5) as http:

        def make(url, *, max_retries=2):
            runtime = Runtime(sleep=sleep, random=lambda: 0.0)
            return Transport(http=http, base_url=url, max_retries=max_retries, runtime=runtime, sleeps=sleeps)

        yield make


@pytest.fixture
def request_of():
    """Makes requests for a file: `request_of(kind)`; the source by default."""

    def make(path="/transcriptions/t/source"):
        return SimpleNamespace(path=path, endpoint=SimpleNamespace(billable=False), fields=None)

    return make


@pytest.fixture
def target(tmp_path):
    (tmp_path / "got").mkdir()
    return tmp_path / "got" / "film.mp4"


@pytest.fixture
def range_of():
    """Reads the start and the stop that a request asks for."""

    def range_of(received, data):
        start, _, last = received.headers["range"].removeprefix("bytes=").partition("-")
        return int(start), min(int(last) + 1, len(data)) if last else len(data)

    return range_of
