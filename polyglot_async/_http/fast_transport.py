"""An httpx transport for large bodies and many calls: `SocketStream` below httpcore, a small pool above it.

httpcore's own pool looks at every connection whenever a request begins or ends; here idle connections are kept on a
stack, so that the cost of a call does not grow with their number, and the fewest are kept warm.

Public names are used: `httpx.AsyncBaseTransport`, `httpcore.AsyncHTTPConnection` and httpcore's network backend
interface; but for the parser's unread bytes, see `_Connection.has_unread_bytes`. Not supported: HTTP/2, proxies, unix
sockets; pass an `httpx.AsyncClient` of your own for those.
"""

from __future__ import annotations

import logging
import os
import ssl
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import anyio.to_thread
import httpcore
import httpx

from .socket_backend import SocketBackend
from .socket_stream import SLICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator

logger = logging.getLogger("polyglot_async")

EARLY_SUCCESS: Final = "early_success"
"""Extension of a request: what is awaited when a success comes before the request was sent whole."""
UNREADABLE_LOCATION: Final = "unreadable_location"
"""Extension of a response: a `Location` that is no URL. As a header it would make httpx fail and lose the status."""
SURVIVES_FORK: Final = "survives_fork"
"""Extension of a response: the transport that it came over begins with no connections in a forked process."""
LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)

# Subclasses come before their bases: the first that fits is the most specific.
_ERRORS: Final[tuple[tuple[type[Exception], type[httpx.TransportError]], ...]] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.ProtocolError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raise httpcore's errors as httpx's; the cause stays reachable by `__cause__`, as with httpx's own transport."""
    try:
        yield
    except Exception as exc:
        for theirs, public in _ERRORS:
            if isinstance(exc, theirs):
                raise public(str(exc)) from exc
        raise


class _Connection(httpcore.AsyncHTTPConnection):
    """A connection with a backend of its own, which knows its stream."""

    def __init__(self, origin: httpcore.Origin, backend: SocketBackend, **options: Any) -> None:
        super().__init__(origin, network_backend=backend, **options)
        self.backend = backend

    def has_unread_bytes(self) -> bool:
        """Return whether more has come than the answer: the next one on this connection would begin with it."""
        # httpcore offers no public way to its parser. Where that cannot be asked, the connection is not used again.
        parser = getattr(self._connection, "_h11_state", None)
        return parser is None or bool(parser.trailing_data[0])

    async def send(self, request: httpx.Request, url: httpcore.URL, chunks: AsyncIterator[bytes]) -> httpcore.Response:
        """Send a request with the body that `chunks` are; return its response with the body still to be read."""
        self.backend.on_early_success = request.extensions.get(EARLY_SUCCESS)
        content = self._body(chunks)
        try:
            return await self.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=content,
                    extensions=request.extensions,
                )
            )
        finally:
            self.backend.on_early_success = None
            await content.aclose()

    async def _body(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Iterate over a request's body. Once the server has accepted it, a source that fails ends it."""
        try:
            async for chunk in chunks:
                yield chunk
                del chunk  # or the allocator could not give its memory to the next one: a quarter of the speed
        except GeneratorExit:
            raise
        except BaseException as error:
            stream, is_accepted = self.backend.stream, False  # no stream where a mock answers in the connection's place
            if stream is not None:
                with anyio.CancelScope(shield=True):
                    is_accepted = await stream.is_accepted_early()
            if not is_accepted or not isinstance(error, Exception):
                raise
            logger.warning("the upload broke off after the service had accepted it: %r", error.__cause__ or error)
            raise httpcore.WriteError(str(error)) from error  # httpcore reads the answer after one


class _Body(httpx.AsyncByteStream):
    """The body of a response; closing it releases the connection, once, cancelled or not."""

    def __init__(self, response: httpcore.Response, release: Callable[[], Awaitable[None]]) -> None:
        self._response = response
        self._release = release
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for chunk in cast("AsyncIterable[bytes]", self._response.stream):
                yield chunk

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            try:
                await self._response.aclose()
            finally:
                await self._release()


class FastTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over `SocketBackend`; idle connections are kept on a stack, so that few are used and stay warm.

    `verify` and `trust_env` are what `httpx.create_ssl_context` takes; it is called for the first https request,
    in a thread. `limits` means what it means to httpx. Every error is an httpx.TransportError whose causes are those
    of httpx's own transport (ssl.SSLCertVerificationError, socket.gaierror); after a ConnectError, ConnectTimeout or
    PoolTimeout no byte of the request has been sent. After `os.fork` the child begins with no connections.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | bool = True,
        trust_env: bool = True,
        limits: httpx.Limits = LIMITS,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] = (),
    ) -> None:
        self._verify = verify
        self._trust_env = trust_env
        self._tls = verify if isinstance(verify, ssl.SSLContext) else None
        self._max_connections = sys.maxsize if limits.max_connections is None else limits.max_connections
        max_idle = limits.max_keepalive_connections
        self._max_idle = self._max_connections if max_idle is None else min(max_idle, self._max_connections)
        self._expiry = limits.keepalive_expiry
        self._local_address = local_address
        self._socket_options = list(socket_options)
        self._closed = False
        self._begin_without_connections()

    def _begin_without_connections(self) -> None:
        self._process = os.getpid()
        self._tls_lock = anyio.Lock()
        self._scratch = memoryview(bytearray(SLICE))
        self._slots = anyio.Semaphore(self._max_connections, fast_acquire=True)
        self._busy: set[_Connection] = set()
        self._idle: list[_Connection] = []  # the last used comes last

    def _leave_connections_to_parent(self) -> None:
        """Close the copies of sockets that a forked process has: two that write to one mix up their requests."""
        for connection in (*self._idle, *self._busy):
            if connection.backend.stream is not None:
                connection.backend.stream.close_copy()
        self._begin_without_connections()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; return its response with the body still to be read.

        Raises:
            httpx.TransportError: no response.
            RuntimeError: the transport is closed.
        """
        if self._process != os.getpid():
            self._leave_connections_to_parent()
        chunks = aiter(cast("httpx.AsyncByteStream", request.stream))
        try:
            with _httpx_errors():
                while True:
                    # The next connection is tried where an idle one was dead: no byte of the request was sent.
                    with suppress(httpcore.ConnectionNotAvailable):
                        return await self._exchange(request, chunks)
        finally:
            # httpcore leaves a body that was not sent to its end to the garbage collector; it may hold a file open.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def _exchange(self, request: httpx.Request, chunks: AsyncIterator[bytes]) -> httpx.Response:
        url = request.url
        if url.scheme not in {"http", "https"}:
            raise httpcore.UnsupportedProtocol(f"{url.scheme!r} is not supported: use an http or https URL")
        if url.scheme == "https" and self._tls is None:
            await self._make_tls()
        inner_url = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        await self._acquire_slot(request.extensions.get("timeout", {}).get("pool"))
        connection = None
        try:
            connection = await self._take_connection(inner_url.origin)
            response = await connection.send(request, inner_url, chunks)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._release(connection)
            raise
        answer = httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response, partial(self._release, connection)),
            extensions={**response.extensions, SURVIVES_FORK: True},
        )
        if answer.is_redirect:
            _set_aside_unreadable_location(answer, url)
        return answer

    async def aclose(self) -> None:
        """Close every connection; requests that are under way fail, and so does every later one."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in [*idle, *self._busy]:
            await connection.aclose()

    async def _make_tls(self) -> None:
        make = partial(httpx.create_ssl_context, verify=self._verify, trust_env=self._trust_env)
        async with self._tls_lock:
            # Reading the authorities takes tens of milliseconds of processor: once, and not on the loop.
            self._tls = self._tls or await anyio.to_thread.run_sync(make)

    async def _acquire_slot(self, timeout: float | None) -> None:
        try:
            with anyio.fail_after(timeout):
                await self._slots.acquire()
        except TimeoutError as exc:
            raise httpcore.PoolTimeout(f"all {self._max_connections} connections are in use") from exc

    async def _take_connection(self, origin: httpcore.Origin) -> _Connection:
        if self._closed:  # checked with a slot in hand: a request that waited for one must not open a connection now
            raise RuntimeError("this transport is closed: make a new client, or close it only after its last request")
        connection = self._pop_idle(origin)
        while connection is not None and connection.has_expired():
            await connection.aclose()
            connection = self._pop_idle(origin)
        if connection is None:
            connection = _Connection(
                origin,
                SocketBackend(self._scratch),
                ssl_context=self._tls,
                keepalive_expiry=self._expiry,
                local_address=self._local_address,
                socket_options=self._socket_options,
            )
        self._busy.add(connection)
        await self._trim_idle()
        return connection

    def _pop_idle(self, origin: httpcore.Origin) -> _Connection | None:
        for index in reversed(range(len(self._idle))):
            if self._idle[index].can_handle_request(origin):
                return self._idle.pop(index)
        return None

    async def _release(self, connection: _Connection | None) -> None:
        """End a request: keep its connection or close it, and pass its slot to the next request that waits."""
        try:
            if connection is not None:
                self._busy.discard(connection)
                if connection.is_available() and not self._closed and not connection.has_unread_bytes():
                    self._idle.append(connection)
                    await self._trim_idle()
                else:
                    await connection.aclose()
        finally:
            self._slots.release()

    async def _trim_idle(self) -> None:
        """Close idle connections from the bottom of the stack: those too many, and those too old."""
        most = min(self._max_idle, self._max_connections - len(self._busy))
        while self._idle and (len(self._idle) > most or self._idle[0].has_expired()):
            await self._idle.pop(0).aclose()


def _set_aside_unreadable_location(response: httpx.Response, url: httpx.URL) -> None:
    """Move a `Location` that is no URL to the extension `UNREADABLE_LOCATION`; `url` is what has answered."""
    location = response.headers.get("location")
    if location is None:
        return
    try:  # all that httpx does with one, even where it is not followed
        target = httpx.URL(location)
        if target.scheme and not target.host:
            target = target.copy_with(host=url.host)
        _ = url.join(target).host  # a host is decoded when it is read
    except (httpx.InvalidURL, ValueError):
        del response.headers["location"]
        response.extensions[UNREADABLE_LOCATION] = location


def default_transport(
    *, verify: ssl.SSLContext | bool = True, trust_env: bool = True, limits: httpx.Limits = LIMITS
) -> FastTransport | None:
    """Return the transport for an `httpx.AsyncClient` of ours: a `FastTransport`, or None for httpx's own.

    None where httpx's own is needed: the environment names proxies (httpx reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY
    and NO_PROXY, but only if it is given no transport), or the system is Windows. Pass the same `verify`,
    `trust_env` and `limits` to the client: with a transport it ignores them, without one it needs them.
    """
    proxied = trust_env and not {"http", "https", "all"}.isdisjoint(urllib.request.getproxies())
    if proxied or sys.platform == "win32":
        return None
    return FastTransport(verify=verify, trust_env=trust_env, limits=limits)
