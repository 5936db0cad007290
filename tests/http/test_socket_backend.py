"""Connecting, and the parsing of answers that come before a request was sent whole."""

import contextlib
import socket

import anyio
import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import answering, serving

from polyglot_async._http import socket_backend
from polyglot_async._http.socket_backend import SocketBackend, early_status

pytestmark = pytest.mark.anyio

FINAL = st.sampled_from([101, *range(200, 600)])
INTERIM = st.sampled_from([100, 102, 103, 199])


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


def head(status, ending="\r\n"):
    return f"HTTP/1.1 {status} Reason{ending}Header: value{ending}{ending}".encode()


@given(st.lists(INTERIM, max_size=4), FINAL, st.sampled_from(["\r\n", "\n"]), st.binary(max_size=20), st.data())
def test_interim_heads_are_dropped_and_the_final_status_is_found_in_whatever_pieces_they_come(
    interim, final, ending, rest, data
):
    answer = head(final, ending) + rest
    received = b"".join(head(status, ending) for status in interim) + answer
    cuts = sorted(data.draw(st.sets(st.integers(0, len(received)), max_size=5)))
    status, unread = None, b""
    for start, stop in zip([0, *cuts], [*cuts, len(received)], strict=True):
        status, unread = early_status(unread + received[start:stop])
        assert status in {None, final}
    assert (status, unread) == (final, answer)


@given(st.lists(INTERIM, max_size=4), st.integers(0, 12))
def test_no_final_status_is_none(interim, length):
    begun = head(200)[:length]
    assert early_status(b"".join(map(head, interim)) + begun) == (None, begun)


@given(st.binary())
def test_any_bytes_are_parsed_and_none_of_a_final_answer_is_lost(received):
    status, unread = early_status(received)
    assert received.endswith(unread)
    assert status is None or 0 <= status <= 999
    assert early_status(unread) == (status, unread)


@pytest.mark.parametrize(
    "received", [b"220 smtp ready\r\n", b"HTTP/2 200 OK\r\n\r\n", b"\r\n", b"HTTP/1.1 abc Reason\r\n"]
)
def test_what_is_no_http_is_status_0(received):
    assert early_status(received) == (0, received)
