"""The fast transport over real sockets, in the clear and over TLS."""

import contextlib
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import anyio
import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import OK, answering, left, read_head, serving

from polyglot_async._http import fast_transport
from polyglot_async._http.fast_transport import FastTransport, default_transport

SLICE = 1 << 19
pytestmark = pytest.mark.anyio

REFUSED = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big"


def client_of(server, **options):
    transport = FastTransport(verify=server.verify, **options)
    return httpx.AsyncClient(transport=transport, base_url=server.url, timeout=10)


class Zeros(httpx.AsyncByteStream):
    """A body of so many MiB, and whether it was closed, as a body over a file must be."""

    def __init__(self, count, pause=0.0):
        self.count, self.pause, self.closed = count, pause, False

    async def __aiter__(self):
        try:
            for _ in range(self.count):
                yield bytes(1 << 20)
                await anyio.sleep(self.pause)
        finally:
            self.closed = True


async def upload(client, body, timeout=10):
    """Send a stream that httpx does not wrap: its own wrapper does not close what it wraps."""
    headers = {"host": "localhost", "content-length": str(body.count << 20)}
    extensions = {"timeout": httpx.Timeout(timeout).as_dict()}
    return await client.send(
        httpx.Request("POST", client.base_url, headers=headers, stream=body, extensions=extensions)
    )


def connections(client):
    return client._transport._idle, client._transport._busy


async def test_a_call_is_answered_and_its_connection_used_again(serve):
    server = serve(answering())
    async with client_of(server) as client:
        for _ in range(5):
            response = await client.get("/")
            assert response.text == "ok"
            assert response.extensions["http_version"] == b"HTTP/1.1"
            assert response.extensions["reason_phrase"] == b"OK"
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", client.base_url.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert (stream.get_extra_info("ssl_object") is not None) == server.url.startswith("https")
        assert stream.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.get_extra_info("unheard of") is None
    assert server.accepted == 1
    await left(server)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_large_download_arrives_whole(serve, framing):
    block = os.urandom(1 << 20)
    size = 24 << 20

    def handler(sock):
        read_head(sock)
        head = {"length": f"Content-Length: {size}", "chunked": "Transfer-Encoding: chunked", "close": "X: y"}[framing]
        sock.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        for _ in range(size // len(block)):
            sock.sendall(b"%x\r\n%b\r\n" % (len(block), block) if framing == "chunked" else block)
        if framing == "chunked":
            sock.sendall(b"0\r\n\r\n")

    server = serve(handler)
    got = hashlib.sha256()
    async with client_of(server) as client, client.stream("GET", "/") as response:
        async for chunk in response.aiter_raw():
            got.update(chunk)
    assert got.digest() == hashlib.sha256(block * (size // len(block))).digest()


async def test_a_large_upload_arrives_whole_and_in_order(serve):
    blocks = [os.urandom((1 << 20) + shift) for shift in range(-3, 21)]
    size = sum(map(len, blocks))
    got = hashlib.sha256()

    def handler(sock):
        left_to_read = size
        rest = read_head(sock).split(b"\r\n\r\n", 1)[1]
        while True:
            got.update(rest)
            left_to_read -= len(rest)
            if not left_to_read:
                break
            rest = sock.recv(1 << 18)
        sock.sendall(OK)

    async def body():
        for block in blocks:
            yield block

    server = serve(handler)
    async with client_of(server) as client:
        response = await client.post("/", content=body(), headers={"content-length": str(size)})
    assert response.status_code == 200
    assert got.digest() == hashlib.sha256(b"".join(blocks)).digest()


async def test_a_stream_closed_unread_closes_its_connection(serve):
    def handler(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(1000))
        read_head(sock)

    server = serve(handler)
    async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        async with client.stream("GET", "/"):
            pass
        await left(server)
        assert connections(client) == ([], set())
        async with client.stream("GET", "/") as response:  # the one slot is free again
            assert response.status_code == 200


async def test_cancelling_a_read_closes_the_connection_and_frees_its_slot(serve):
    def handler(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
        read_head(sock)

    server = serve(handler)
    async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        with anyio.move_on_after(0.2) as scope:
            await client.get("/")
        assert scope.cancelled_caught
        await left(server)
        assert connections(client) == ([], set())
        assert client._transport._slots.value == 1


async def test_cancelling_before_the_head_frees_the_slot(serve):
    def handler(sock):
        while sock.recv(1 << 20):
            pass

    server = serve(handler)
    body = Zeros(10_000)
    async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        with anyio.move_on_after(0.2):
            await upload(client, body)
        assert body.closed
        await left(server)
        assert connections(client) == ([], set())
        assert client._transport._slots.value == 1


async def test_cancelling_a_tls_handshake_closes_the_socket(certificate):
    with serving(lambda sock: sock.recv(65536) and sock.recv(65536)) as server:
        url = server.url.replace("http:", "https:")
        async with httpx.AsyncClient(transport=FastTransport(verify=certificate.client())) as client:
            with anyio.move_on_after(0.2) as scope:
                await client.get(url)
            assert scope.cancelled_caught
            await left(server)
            assert client._transport._slots.value == 100


async def test_a_keep_alive_connection_that_the_server_closed_is_not_used_again(serve):
    def handler(sock):
        read_head(sock)
        sock.sendall(OK)

    server = serve(handler)
    async with client_of(server) as client:
        for _ in range(3):
            assert (await client.get("/")).text == "ok"
            await left(server)
            server.left.clear()
            await anyio.sleep(0.02)
    assert server.accepted == 3


async def test_a_keep_alive_connection_that_was_reset_is_not_used_again():
    def handler(sock):
        read_head(sock)
        sock.sendall(OK)
        time.sleep(0.05)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(handler) as server:
        async with client_of(server) as client:
            for _ in range(2):
                assert (await client.get("/")).text == "ok"
                await left(server)
                server.left.clear()
        assert server.accepted == 2


async def test_what_the_body_raises_is_raised_as_it_is(serve):
    def handler(sock):
        while sock.recv(1 << 20):
            pass

    async def body():
        yield b"begun"
        raise LookupError("no more")

    server = serve(handler)
    async with client_of(server) as client:
        with pytest.raises(LookupError, match="no more"):
            await client.post("/", content=body())
        await left(server)
        assert connections(client) == ([], set())


async def test_an_idle_connection_expires():
    with serving(answering()) as server:
        async with client_of(server, limits=httpx.Limits(keepalive_expiry=0.05)) as client:
            await client.get("/")
            await anyio.sleep(0.1)
            await client.get("/")
        assert server.accepted == 2


def after_head(answer, ending, released, taken):
    """Return a handler that answers after the head: `answer` is one piece, or several with a pause in between."""

    def handler(sock):
        read_head(sock)
        for piece in [answer] if isinstance(answer, bytes) else answer:
            sock.sendall(piece)
            time.sleep(0.05)
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == "reading on":
            while data := sock.recv(1 << 20):
                taken.append(len(data))
        elif ending == "stalled":
            released.wait(10)

    return handler


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
MOVED = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /there\r\nContent-Length: 7\r\n\r\ntoo big"
BAD_GATEWAY = b"HTTP/1.0 502 Bad Gateway\r\nContent-Length: 7\r\n\r\ntoo big"


@pytest.mark.parametrize("ending", ["reset", "reading on", "stalled"])
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (413, REFUSED),
        (308, MOVED),
        (502, BAD_GATEWAY),
        (413, CONTINUE + REFUSED),
        (308, [CONTINUE, HINTS + MOVED]),
        (413, [b"HTTP/1.1 10", b"0 Continue\r\n\r", b"\nHTTP/1.1 4", REFUSED[10:]]),
    ],
    ids=["413", "308", "502", "100 and 413", "100, 103 and 308", "100 and 413 in pieces"],
)
async def test_a_refusal_that_comes_early_ends_the_upload_and_is_the_answer(serve, status, answer, ending):
    """It surfaces as the response, never as a WriteError, whatever the server does with the rest of the body."""
    released, taken = threading.Event(), []
    body = Zeros(300, pause=0.001)
    server = serve(after_head(answer, ending, released, taken))
    async with client_of(server) as client:
        with anyio.fail_after(5):  # far less than the write timeout
            response = await upload(client, body)
        assert body.closed
        assert (response.status_code, response.text) == (status, "too big")
        assert connections(client) == ([], set())
    released.set()
    await left(server)
    assert sum(taken) < 100 << 20  # it stopped sending


@pytest.mark.parametrize("interim", [b"", CONTINUE], ids=["at once", "after a 100"])
async def test_a_success_that_comes_early_does_not_cut_the_body(serve, interim):
    """The server may still want the rest: a file that was cut here could be paid for and lost."""
    taken = []

    def handler(sock):
        taken.append(len(read_head(sock).split(b"\r\n\r\n", 1)[1]))
        sock.sendall(interim + OK)
        while sum(taken) < 30 << 20:
            taken.append(len(sock.recv(1 << 20)))

    server = serve(handler)
    async with client_of(server) as client:
        response = await upload(client, Zeros(30))
        assert (response.status_code, response.text) == (200, "ok")
        await left(server)
    assert sum(taken) == 30 << 20


@pytest.mark.parametrize("ending", ["reset", "stalled"])
@pytest.mark.parametrize("write_timeout", [0.3, 1.5])
async def test_a_success_that_comes_early_counts_where_the_rest_is_not_taken(serve, ending, write_timeout):
    released = threading.Event()
    server = serve(after_head(CONTINUE + OK, ending, released, []))
    async with client_of(server) as client:
        response = await upload(client, Zeros(300), httpx.Timeout(10, write=write_timeout))
        assert (response.status_code, response.text) == (200, "ok")
        assert connections(client) == ([], set())
    released.set()


@pytest.mark.parametrize("extra", [OK, b"x"], ids=["another answer", "a byte"])
async def test_what_comes_beyond_an_answer_is_not_the_next_answer(extra):
    def handler(sock):
        read_head(sock)
        sock.sendall(OK + extra)
        sock.recv(1)

    with serving(handler) as server:
        async with client_of(server) as client:
            for _ in range(3):
                assert "ok" == (await client.get("/")).text
                assert connections(client) == ([], set())


class LateBytes:
    """A server that sends something just before the first byte of a request, when the client has looked already.

    `trace` is an extension of that request, by which httpcore shows how far it is.
    """

    def __init__(self, late, *, first):
        self.late, self.first = late, first
        self.wanted, self.is_there = threading.Event(), threading.Event()
        self.connections, self.heads = 0, []

    def __call__(self, sock):
        self.connections += 1
        if self.connections > 1:
            whole = read_head(sock)
            while not whole.endswith(b"media"):
                whole += sock.recv(100)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh")
            return
        if not self.first:
            read_head(sock)
            sock.sendall(OK)
        self.wanted.wait(10)
        if self.late is not None:
            sock.sendall(self.late)
        elif isinstance(sock, ssl.SSLSocket):
            sock = sock.unwrap()  # the end of the stream, as TLS shows it
        else:
            sock.shutdown(socket.SHUT_WR)
        self.is_there.set()
        with contextlib.suppress(OSError):
            self.heads.append(sock.recv(1 << 16))

    async def trace(self, event, _):
        if event == "http11.send_request_headers.started":
            self.wanted.set()
            with anyio.fail_after(5):
                while not self.is_there.is_set():
                    await anyio.sleep(0.002)


LATE = {"another answer": OK, "a refusal": REFUSED, "an interim answer": CONTINUE, "a byte": b"x"}


async def asked(client, server, reports):
    async def report():
        reports.append("a success")

    extensions = {"trace": server.trace, "early_success": report}
    return await client.post("/", content=b"media", extensions=extensions)


@pytest.mark.parametrize("late", LATE)
async def test_what_comes_before_a_request_is_no_answer_to_it(serve, late):
    """It came after the pool had looked, and before the first byte: another connection is used, and nobody notices."""
    handler, reports = LateBytes(LATE[late], first=False), []
    server = serve(handler)
    async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
        await client.get("/")
        assert "fresh" == (await asked(client, handler, reports)).text
        assert 2 == server.accepted
        await left(server)
    assert ([], b"") == (reports, b"".join(handler.heads))


async def test_a_connection_that_ends_before_a_request_is_replaced_at_once():
    handler = LateBytes(None, first=False)
    with serving(handler) as server:
        async with client_of(server) as client:
            await client.get("/")
            assert "fresh" == (await asked(client, handler, [])).text
        await left(server)
    assert b"" == b"".join(handler.heads)


@pytest.mark.parametrize("late", [*LATE.values(), None], ids=[*LATE, "the end"])
async def test_a_new_connection_that_speaks_first_is_none(late):
    """Not a byte was sent, so no success is one: it can be tried again."""
    handler, reports = LateBytes(late, first=True), []
    with serving(handler) as server:
        async with client_of(server) as client:
            with pytest.raises(httpx.ConnectError, match="before the request was sent"):
                await asked(client, handler, reports)
            assert connections(client) == ([], set())
        await left(server)
    assert ([], b"") == (reports, b"".join(handler.heads))


@pytest.mark.parametrize("at", ["the body", "the source"])
async def test_a_success_that_has_come_is_reported_wherever_a_cancellation_finds_the_request(serve, at):
    accepted, reports = threading.Event(), []

    def handler(sock):
        read_head(sock)
        sock.recv(100)
        sock.sendall(OK)
        accepted.set()
        with contextlib.suppress(OSError):
            while at == "the source" and sock.recv(1 << 16):
                pass
            time.sleep(0.1)

    async def body():
        yield bytes(1 << 16)
        if at == "the source":
            await anyio.sleep_forever()
        while True:
            yield bytes(1 << 20)

    async def report():
        reports.append("a success")

    async def cancel():
        while not accepted.is_set():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    server = serve(handler)
    async with (
        client_of(server) as client,
        contextlib.aclosing(body()) as content,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(cancel)
        await client.post("/", content=content, extensions={"early_success": report})
    assert ["a success"] == reports


async def test_no_http_in_answer_to_a_body_ends_the_upload(serve):
    taken = []
    server = serve(after_head(b"220 smtp ready\r\n\r\n", "reading on", threading.Event(), taken))
    async with client_of(server) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await upload(client, Zeros(300, pause=0.001))
    await left(server)
    assert sum(taken) < 100 << 20


async def test_a_server_that_leaves_during_the_upload_without_an_answer_is_an_error(serve):
    server = serve(lambda sock: sock.recv(100))

    async with client_of(server) as client:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await upload(client, Zeros(100))


async def test_silence_is_a_read_timeout(serve):
    server = serve(lambda sock: read_head(sock) and sock.recv(1))
    async with client_of(server) as client:
        with pytest.raises(httpx.ReadTimeout) as caught:
            await client.get("/", timeout=httpx.Timeout(5, read=0.1))
        assert caught.value.request.url == server.url + "/"
        await left(server)


async def test_a_peer_that_takes_nothing_is_a_write_timeout(serve):
    done = threading.Event()
    server = serve(lambda sock: read_head(sock) and done.wait(10))
    async with client_of(server) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post("/", content=bytes(64 << 20), timeout=httpx.Timeout(5, write=0.2))
    done.set()


async def test_a_slow_link_that_keeps_taking_bytes_is_no_write_timeout():
    """The write timeout bounds silence: one slice may take longer than it."""

    def handler(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        took = 0
        while took < 4 << 20:
            took += len(sock.recv(1 << 16))
            time.sleep(0.008)
        sock.sendall(OK)

    with serving(handler) as server:
        options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)]
        async with client_of(server, socket_options=options) as client:
            began = time.monotonic()
            response = await client.post("/", content=bytes(4 << 20), timeout=httpx.Timeout(5, write=0.25))
            assert response.status_code == 200
            assert time.monotonic() - began > 0.25


async def test_a_truncated_body_is_a_protocol_error(serve):
    def handler(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")

    server = serve(handler)
    async with client_of(server) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
        assert connections(client) == ([], set())


async def test_a_server_that_speaks_something_else_is_a_protocol_error(serve):
    server = serve(answering(b"220 smtp ready\r\n\r\n"))
    async with client_of(server) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


def causes(error):
    while error is not None:
        yield type(error)
        error = error.__cause__ or error.__context__


@pytest.fixture(params=[FastTransport, httpx.AsyncHTTPTransport])
def any_transport(request):
    return request.param


async def test_an_untrusted_certificate_is_a_connect_error_with_its_cause(any_transport, certificate):
    with serving(answering(), certificate) as server:
        async with httpx.AsyncClient(transport=any_transport()) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get(server.url)
    assert ssl.SSLCertVerificationError in causes(caught.value)


async def test_an_unknown_host_is_a_connect_error_with_its_cause(any_transport):
    async with httpx.AsyncClient(transport=any_transport()) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get("http://no-such-host.invalid/")
    assert socket.gaierror in causes(caught.value)


async def test_a_refused_connection_is_a_connect_error_with_its_cause(any_transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with httpx.AsyncClient(transport=any_transport()) as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(f"http://127.0.0.1:{port}/")
    assert {ConnectionRefusedError, OSError} & set(causes(caught.value))
    assert not {ssl.SSLError, socket.gaierror} & set(causes(caught.value))


async def test_no_slot_is_lost_where_there_is_no_connection(certificate):
    with serving(answering(), certificate) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        refused = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.close()
        async with httpx.AsyncClient(transport=FastTransport()) as client:
            for url in (server.url, refused, "http://no-such-host.invalid/"):
                with pytest.raises(httpx.ConnectError):
                    await client.get(url)
            assert connections(client) == ([], set())
            assert client._transport._slots.value == 100


async def test_verification_can_be_switched_off(certificate):
    with serving(answering(), certificate) as server:
        async with httpx.AsyncClient(transport=FastTransport(verify=False)) as client:
            assert (await client.get(server.url)).text == "ok"


async def test_the_authorities_are_read_once_and_in_a_thread(monkeypatch, certificate):
    threads = []

    def create_ssl_context(**options):
        threads.append(threading.current_thread())
        return certificate.client()

    monkeypatch.setattr(httpx, "create_ssl_context", create_ssl_context)
    with serving(answering(), certificate) as server:
        async with httpx.AsyncClient(transport=FastTransport()) as client, anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.get, server.url)
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_plain_text_in_place_of_a_handshake_is_a_connect_error(certificate):
    with serving(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2)) as server:
        with socket.socket() as probe:
            probe.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        transport = FastTransport(verify=certificate.client())
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):
                await client.get(server.url.replace("http:", "https:"), timeout=1)


async def test_another_scheme_is_unsupported():
    async with httpx.AsyncClient(transport=FastTransport()) as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://127.0.0.1/")


async def test_fifty_calls_at_once_share_ten_connections(serve):
    server = serve(answering())
    async with client_of(server, limits=httpx.Limits(max_connections=10)) as client:

        async def one():
            for _ in range(4):
                assert (await client.get("/")).text == "ok"

        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(one)
        assert server.accepted == 10
        assert client._transport._slots.value == 10


async def test_a_request_beyond_the_limit_waits_and_then_times_out():
    with serving(answering()) as server:
        async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
            async with client.stream("GET", "/"):
                with pytest.raises(httpx.PoolTimeout):
                    await client.get("/", timeout=httpx.Timeout(5, pool=0.05))
            assert (await client.get("/")).text == "ok"


async def test_a_body_closed_twice_gives_its_connection_back_once():
    with serving(answering()) as server:
        async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
            async with client.stream("GET", "/") as response:
                await response.stream.aclose()
            await response.stream.aclose()
            assert client._transport._slots.value == 1


async def test_a_slot_is_not_lost_when_no_connection_can_be_made(monkeypatch):
    def broken(connection, origin, **options):
        raise RuntimeError("broken")

    with serving(answering()) as server:
        async with client_of(server, limits=httpx.Limits(max_connections=1)) as client:
            with monkeypatch.context() as patch:
                patch.setattr(httpcore.AsyncHTTPConnection, "__init__", broken)
                with pytest.raises(RuntimeError, match="broken"):
                    await client.get("/")
            assert (await client.get("/")).text == "ok"


async def test_the_idle_connection_of_another_host_makes_room():
    with serving(answering()) as one, serving(answering()) as other:
        async with client_of(one, limits=httpx.Limits(max_connections=1)) as client:
            await client.get(one.url)
            await client.get(other.url)
            await left(one)
            idle, busy = connections(client)
            assert (len(idle), len(busy)) == (1, 0)


async def test_no_more_idle_connections_are_kept_than_asked_for():
    with serving(answering()) as server:
        async with client_of(server, limits=httpx.Limits(max_keepalive_connections=2)) as client:
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(5):
                    response = await stack.enter_async_context(client.stream("GET", "/"))
                    stack.push_async_callback(response.aread)
            assert server.accepted == 5
            assert len(connections(client)[0]) == 2


async def test_closing_the_client_fails_the_reads_under_way(serve):
    server = serve(lambda sock: read_head(sock) and sock.recv(1))
    client = client_of(server)
    failures = []

    async def call():
        try:
            await client.get("/")
        except httpx.TransportError as exc:
            failures.append(type(exc))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.sleep(0.2)
        await client.aclose()
    assert failures == [httpx.ReadError]
    await left(server)


async def test_the_local_address_is_where_calls_come_from():
    with serving(answering()) as server:
        async with client_of(server, local_address="127.0.0.1") as client:
            stream = (await client.get("/")).extensions["network_stream"]
            assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        async with client_of(server, local_address="192.0.2.1") as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/")


async def test_a_fast_server_leaves_the_loop_to_others(serve):
    block = bytes(1 << 20)

    def handler(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * 64))
        for _ in range(64):
            sock.sendall(block)

    server = serve(handler)
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with client_of(server) as client, client.stream("GET", "/") as response, anyio.create_task_group() as group:
        group.start_soon(count_turns)
        slices = 0
        async for chunk in response.aiter_raw():
            assert len(chunk) <= SLICE
            slices += 1
        group.cancel_scope.cancel()
    assert slices > 64
    assert turns > slices * 0.8


async def test_a_closed_transport_refuses_requests():
    transport = FastTransport()
    with serving(answering()) as server:
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(server.url)
        body = Zeros(1)
        with pytest.raises(RuntimeError, match="closed: make a new client"):
            await transport.handle_async_request(httpx.Request("POST", server.url, stream=body))
        assert server.accepted == 1


async def test_a_request_that_waits_for_a_slot_while_the_transport_closes_opens_no_connection():
    with serving(lambda sock: read_head(sock) and sock.recv(1)) as server:
        transport = FastTransport(limits=httpx.Limits(max_connections=1))
        failures = []

        async def call():
            try:
                await transport.handle_async_request(httpx.Request("GET", server.url, headers={"host": "localhost"}))
            except (httpx.ReadError, RuntimeError) as exc:
                failures.append(type(exc))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            tasks.start_soon(call)
            while not server.accepted:
                await anyio.sleep(0.005)
            await anyio.sleep(0.05)
            await transport.aclose()
        assert failures == [httpx.ReadError, RuntimeError]
        assert server.accepted == 1


NO_URLS = ["http://h:x/", "https://xn--/", "x:a", "/a\tb", "//xn--a/"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", NO_URLS)
async def test_a_location_that_is_no_url_does_not_hide_the_status(status, location):
    """Httpx parses it even where redirects are not followed, and fails."""
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nok".encode()
    with serving(answering(answer)) as server:
        async with client_of(server) as client:
            for _ in range(2):
                response = await client.post("/", follow_redirects=False)
                assert (status, "ok") == (response.status_code, response.text)
                assert location == response.extensions[fast_transport.UNREADABLE_LOCATION]
        assert 1 == server.accepted


class Redirects(httpx.AsyncBaseTransport):
    """A server's redirect as the fast transport passes it on."""

    def __init__(self, location):
        self.location = location

    async def handle_async_request(self, request):
        response = httpx.Response(303, headers=[(b"location", self.location)])
        fast_transport._set_aside_unreadable_location(response, request.url)
        return response


@given(st.binary() | st.text(alphabet="htps:/[]@.%?#xn-19é\t \\", max_size=20).map(str.encode))
def test_httpx_can_read_every_location_that_is_passed_on(location):
    async def post():
        async with httpx.AsyncClient(transport=Redirects(location)) as client:
            assert 303 == (await client.post("https://host.test/api", follow_redirects=False)).status_code

    anyio.run(post)


def test_every_error_of_httpcore_has_its_namesake():
    names = {
        name
        for name in httpcore.__all__
        if isinstance(value := getattr(httpcore, name), type) and issubclass(value, Exception)
    }
    # Never seen by a caller: it tells a pool to choose another connection.
    names.remove("ConnectionNotAvailable")
    assert {theirs.__name__: ours.__name__ for theirs, ours in fast_transport._ERRORS} == {name: name for name in names}
    for name in names:
        with pytest.raises(getattr(httpx, name)) as caught, fast_transport._httpx_errors():
            raise getattr(httpcore, name)("why")
        assert type(caught.value) is getattr(httpx, name)
        assert str(caught.value) == "why"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_where_the_environment_names_a_proxy_httpx_keeps_its_own_transport(monkeypatch, name):
    monkeypatch.setenv(name, "http://proxy.test:3128")
    assert default_transport() is None
    assert isinstance(default_transport(trust_env=False), FastTransport)


def test_on_windows_httpx_keeps_its_own_transport(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    assert default_transport() is None


def test_the_fast_transport_is_the_default(monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert isinstance(default_transport(), FastTransport)


FORKING = """
import asyncio, os, sys, warnings
import httpx
from polyglot_async._http.fast_transport import FastTransport

warnings.simplefilter("ignore", DeprecationWarning)  # a thread that made the TLS context may be about to end
transport = FastTransport(verify=False, limits=httpx.Limits(max_connections=1))
client = httpx.AsyncClient(transport=transport, base_url=sys.argv[1], timeout=10)
loop = asyncio.new_event_loop()
response = loop.run_until_complete(client.send(client.build_request("GET", "/slow"), stream=True))
child = os.fork()
if not child:
    os._exit(0 if asyncio.run(client.get("/quick")).text == "ok" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert loop.run_until_complete(response.aread()) == b"okok"
assert loop.run_until_complete(client.get("/quick")).text == "ok"
loop.run_until_complete(client.aclose())
loop.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_a_forked_process_begins_with_all_its_slots_and_leaves_what_is_under_way_to_its_parent(serve):
    child_is_answered = threading.Event()

    def handler(sock):
        while head := read_head(sock):
            if head.startswith(b"GET /slow "):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
                assert child_is_answered.wait(10)
                sock.sendall(b"ok")
            else:
                sock.sendall(OK)
                child_is_answered.set()

    server = serve(handler)
    subprocess.run([sys.executable, "-c", FORKING, server.url], check=True, timeout=30)
    assert 1 + 1 == server.accepted
