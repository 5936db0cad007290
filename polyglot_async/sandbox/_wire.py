"""The connection under a request, for the faults that HTTP itself does not let an application commit.

uvicorn copies a protocol's `app_state` into the `state` of each request's scope; the subclass here puts a Wire there.
This is the only room that knows uvicorn's protocol classes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from uvicorn.config import Config
    from uvicorn.server import ServerState


class Wire:
    """A connection."""

    def __init__(self, protocol: H11Protocol) -> None:
        self._protocol = protocol
        self.closed = asyncio.Event()

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Wire:
        """The wire that a request came over."""
        wire = scope["state"]["wire"]
        assert isinstance(wire, cls)  # noqa: S101
        return wire

    async def reset(self) -> None:
        """Send RST, as a crashed peer or a middlebox does, and return when the connection is gone."""
        raw = self._protocol.transport.get_extra_info("socket")
        if raw is not None and not self._protocol.transport.is_closing():
            # A linger of zero makes close() send RST and drop what is unsent.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._protocol.transport.abort()
        await self.closed.wait()

    async def close(self) -> None:
        """Send what is buffered, then FIN, and return when the connection is gone."""
        self._protocol.transport.close()
        await self.closed.wait()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._protocol.transport.abort()

    async def flush(self) -> None:
        """Wait until everything written has been given to the system."""
        # A transport tells of its low-water mark only, so this asks.
        while self._protocol.transport.get_write_buffer_size() and not self.closed.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def write(self, data: bytes) -> None:
        """Write bytes past the HTTP machinery."""
        if not self.closed.is_set():
            self._protocol.transport.write(data)
            await self._protocol.flow.drain()


class WireProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, whose requests know their connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.wire = Wire(self)
        super().__init__(config, server_state, {**app_state, "wire": self.wire}, _loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for the end of the connection."""
        self.wire.closed.set()
        super().connection_lost(exc)
