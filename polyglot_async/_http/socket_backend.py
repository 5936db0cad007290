"""A network backend for httpcore that opens `SocketStream`s, and races the addresses of a host."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import anyio
import httpcore

from .socket_stream import SLICE, SocketStream, httpcore_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    SocketAddress = tuple[str | int, ...]

STAGGER: Final = 0.25  # seconds between attempts on the addresses of one host: RFC 8305, section 5


class SocketBackend(httpcore.AsyncNetworkBackend):
    """Opens `SocketStream`s, racing the addresses of a host as RFC 8305 ("happy eyeballs") defines.

    Its streams read through `scratch`, so it belongs to one event loop; by default a buffer of its own.

    Attributes:
        stream: the last one that it opened.
        on_early_success: awaited once when a success has come before the request that is being sent was whole.
    """

    def __init__(self, scratch: memoryview | None = None) -> None:
        self._scratch = memoryview(bytearray(SLICE)) if scratch is None else scratch
        self.stream: SocketStream | None = None
        self.on_early_success: Callable[[], Awaitable[None]] | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return a connected stream.

        Raises:
            httpcore.ConnectTimeout: no address answered within `timeout` seconds.
            httpcore.ConnectError: each one failed; the cause is a socket.gaierror where the host is unknown.
        """
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *(socket_options or ())]

        async def connect(family: int, address: SocketAddress) -> socket.socket:
            return await _connect(_new_socket(family, local_address, options), address)

        with httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [(family, address) for family, _, _, _, address in found]
            sock = await _first_connected(connect, _interleave_families(addresses))
            self.stream = SocketStream(sock, self._scratch, self._report_success)
            return self.stream

    async def _report_success(self) -> None:
        if self.on_early_success is not None:
            await self.on_early_success()


def _interleave_families(addresses: Sequence[tuple[int, SocketAddress]]) -> list[tuple[int, SocketAddress]]:
    """Return the addresses with families alternating, each family in the resolver's order: RFC 8305, section 4."""
    seen: dict[int, int] = {}
    ranks = []
    for family, _ in addresses:
        ranks.append(seen.setdefault(family, 0))
        seen[family] += 1
    return [address for _, address in sorted(zip(ranks, addresses, strict=True), key=lambda pair: pair[0])]


async def _first_connected(
    connect: Callable[[int, SocketAddress], Awaitable[socket.socket]], addresses: Sequence[tuple[int, SocketAddress]]
) -> socket.socket:
    """Return the first socket to be connected; attempts begin `STAGGER` apart, or when one failed."""
    connected: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(family: int, address: SocketAddress, failed: anyio.Event) -> None:
        try:
            connected.append(await connect(family, address))
        except OSError as exc:
            failures.append(exc)
            failed.set()
        else:
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for family, address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, family, address, failed)
                with anyio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        for sock in connected:
            sock.close()
        raise
    for late in connected[1:]:
        late.close()
    if not connected:
        message = "; ".join(dict.fromkeys(map(str, failures))) or "the host has no address"
        raise OSError(message) from (failures[-1] if failures else None)
    return connected[0]


def _new_socket(family: int, local_address: str | None, options: Iterable[httpcore.SOCKET_OPTION]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        for option in options:
            sock.setsockopt(*option)  # pyright: ignore[reportCallIssue, reportArgumentType] - it knows no union
        if local_address is not None:
            sock.bind((local_address, 0))
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: SocketAddress) -> socket.socket:
    try:
        try:
            sock.connect(address)
        except BlockingIOError:
            await anyio.wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        sock.close()
        raise
    return sock
