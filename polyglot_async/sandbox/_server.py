"""uvicorn on an event loop of its own, in a daemon thread; it starts in milliseconds and ends at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING

import uvicorn

from ._wire import Wire, WireProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp

START_TIMEOUT = 30.0
_LEAVING = 0.1
"""Seconds for requests to notice the end before they are cancelled."""


class _Server(uvicorn.Server):
    """uvicorn's server, except that it stops when told and not at the next tick, and cuts what is still open."""

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
        for connection in list(self.server_state.connections):
            wire = getattr(connection, "wire", None)
            if isinstance(wire, Wire):
                wire.abort()
        running = list(self.server_state.tasks)
        if running:
            # Most notice by themselves that their connection is gone.
            await asyncio.wait(running, timeout=_LEAVING)
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
                http=WireProtocol,
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
