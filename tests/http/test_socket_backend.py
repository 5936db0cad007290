"""Connecting."""

import contextlib
import socket

import anyio
import httpcore
import pytest
from raw_server import answering, serving

from polyglot_async._http import socket_backend
from polyglot_async._http.socket_backend import SocketBackend

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def pool():
    async with httpcore.AsyncConnectionPool(network_backend=SocketBackend()) as pool:
        yield pool


async def test_the_other_addresses_of_a_host_are_tried(monkeypatch):
    """A black hole first and a refusal second do not keep the third from answering."""
    with serving(answering()) as server:
        port = int(server.url.rsplit(":", 1)[1])
        real = socket_backend._connect

        async def connect(sock, address):
            if address[0] == "127.0.0.2":
                with sock:
                    await anyio.sleep_forever()
            return await real(sock, address)

        async def getaddrinfo(host, port_asked, **options):
            refused = ("127.0.0.3", 1)
            return [(socket.AF_INET, 1, 6, "", a) for a in [("127.0.0.2", port), refused, ("127.0.0.1", port)]]

        monkeypatch.setattr(socket_backend, "_connect", connect)
        monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
        async with pool() as connections:
            timeout = {"timeout": {"connect": 2}}
            assert (await connections.request("GET", "http://three.test/", extensions=timeout)).content == b"ok"


async def test_a_black_hole_is_a_connect_timeout(monkeypatch):
    async def connect(sock, address):
        with sock:
            await anyio.sleep_forever()

    monkeypatch.setattr(socket_backend, "_connect", connect)
    async with pool() as connections:
        with pytest.raises(httpcore.ConnectTimeout):
            await connections.request("GET", "http://127.0.0.1:9/", extensions={"timeout": {"connect": 0.05}})


class Attempts:
    """Connections that cannot be cancelled once begun, which is when two of them win or one wins too late."""

    def __init__(self):
        self.pairs = []

    async def connect(self, family, address):
        with anyio.CancelScope(shield=True):
            await anyio.sleep(address[0])
        self.pairs.append(socket.socketpair())
        return self.pairs[-1][0]

    def open_ones(self):
        return [mine for mine, _ in self.pairs if mine.fileno() >= 0]

    def close(self):
        for mine, other in self.pairs:
            mine.close()
            other.close()


async def test_of_two_that_connect_only_one_stays_open(monkeypatch):
    monkeypatch.setattr(socket_backend, "STAGGER", 0.01)
    with contextlib.closing(Attempts()) as attempts:
        won = await socket_backend._first_connected(
            attempts.connect, [(socket.AF_INET, (0.1,)), (socket.AF_INET, (0.12,))]
        )
        assert len(attempts.pairs) == 2
        assert attempts.open_ones() == [won]


async def test_a_connection_won_too_late_is_closed():
    with contextlib.closing(Attempts()) as attempts:
        with anyio.move_on_after(0.05) as scope:
            await socket_backend._first_connected(attempts.connect, [(socket.AF_INET, (0.1,))])
        assert scope.cancelled_caught
        assert len(attempts.pairs) == 1
        assert attempts.open_ones() == []


def test_families_alternate_in_the_resolvers_order():
    six, four = socket.AF_INET6, socket.AF_INET
    given = [(six, ("a",)), (six, ("b",)), (six, ("c",)), (four, ("d",)), (four, ("e",))]
    assert [a for _, (a,) in socket_backend._interleave_families(given)] == ["a", "d", "b", "e", "c"]
