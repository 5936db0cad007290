"""uvicorn, in a thread with an event loop of its own; and the connection under a request, for what HTTP does not allow.

This is the only module that knows uvicorn's classes. It copies a protocol's `app_state` into the `state` of each
request's scope; the subclass here puts a ClientConnection there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp
    from uvicorn.config import Config
    from uvicorn.server import ServerState

START_TIMEOUT = 30.0
_SHUTDOWN_GRACE = 0.1
"""Seconds for requests to notice the end before they are cancelled."""


_LET_ARRIVE = 0.05
"""Seconds between the last byte and the RST: a client that is slower than that loses bytes that were sent."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; OSError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, for asyncio sets TCP_NODELAY on nothing less: without it each answer waits 40 ms for an ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


class ClientConnection:
    """A connection of a client, and what a fault may do to it."""

    def __init__(self, protocol: H11Protocol) -> None:
        self._protocol = protocol
        self.closed = asyncio.Event()

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> ClientConnection:
        """Return the connection that a request came over."""
        connection = scope["state"]["connection"]
        assert isinstance(connection, cls)  # noqa: S101
        return connection

    async def reset(self) -> None:
        """Send RST, as a crashed peer or a middlebox does, and return when the connection is gone."""
        raw = self._protocol.transport.get_extra_info("socket")
        if raw is not None and not self._protocol.transport.is_closing():
            # A linger of zero makes close() send RST and drop what is unsent.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._protocol.transport.abort()
        await self.closed.wait()

    async def flush_and_reset(self) -> None:
        """Send what is buffered, then RST, and return when the connection is gone."""
        # A transport reports its low-water mark only, so this polls.
        while self._protocol.transport.get_write_buffer_size() and not self.closed.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(_LET_ARRIVE)
        await self.reset()

    async def close(self) -> None:
        """Send what is buffered, then FIN, and return when the connection is gone."""
        self._protocol.transport.close()
        await self.closed.wait()

    def send_eof(self) -> None:
        """Send FIN, and go on receiving."""
        if not self._protocol.transport.is_closing():
            self._protocol.transport.write_eof()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._protocol.transport.abort()

    def stop_reading(self) -> None:
        """Leave what arrives in the system's buffers, until they are full."""
        if not self._protocol.transport.is_closing():
            self._protocol.transport.pause_reading()

    async def wait_closed(self, seconds: float | None) -> None:
        """Wait for so long (None: for ever), but no longer than the connection lasts."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closed.wait(), seconds)

    async def write(self, data: bytes) -> None:
        """Write bytes past the HTTP machinery."""
        if not self.closed.is_set():
            self._protocol.transport.write(data)
            await self._protocol.flow.drain()


class _Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, whose requests know their connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.client_connection = ClientConnection(self)
        super().__init__(config, server_state, {**app_state, "connection": self.client_connection}, _loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for the end of the connection."""
        self.client_connection.closed.set()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn's server, except that it stops when asked and not at the next tick, and cuts what is still open."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self.on_tick(0)
        self._ready()

    async def main_loop(self) -> None:
        while not self.stopping.is_set():
            await self.on_tick(0)  # keeps the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for protocol in list(self.server_state.connections):
            if isinstance(protocol, _Protocol):
                protocol.client_connection.abort()
        running = list(self.server_state.tasks)
        if running:
            # Most notice by themselves that their connection is gone.
            await asyncio.wait(running, timeout=_SHUTDOWN_GRACE)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class ServerThread:
    """Runs an application until `stop`; `resources` is entered on the server's loop before the first request."""

    def __init__(self, sock: socket.socket, resources: AbstractAsyncContextManager[ASGIApp]) -> None:
        self._socket, self._resources = sock, resources
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="polyglot-sandbox", daemon=True)
        self._server: _Server | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start and return when it listens; what went wrong is raised here."""
        self._thread.start()
        self._started.result(START_TIMEOUT)

    def stop(self) -> None:
        """End the server, its connections and its resources, and return when all are gone."""
        if self.loop is not None and self._server is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self.loop.call_soon_threadsafe(self._server.stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as problem:
            if self._started.done():
                raise
            self._started.set_exception(problem)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with self._resources as app:
            config = uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                # uvicorn would otherwise set up logging for the whole process, which is the host program's to do
                log_config=None,
            )
            self._server = _Server(config, lambda: self._started.set_result(None))
            await self._server.serve(sockets=[self._socket])
