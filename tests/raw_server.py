"""Raw servers for tests of the HTTP client: a thread with a blocking socket for each connection."""

import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace

import anyio
import pytest
from programs import require_program

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost: `server` is the server's context, and `client()` makes one that trusts it."""
    openssl = require_program("openssl", "apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    ca, key = str(folder / "ca.pem"), str(folder / "key.pem")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", ca],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(ca, key)
    return SimpleNamespace(server=server, client=lambda: ssl.create_default_context(cafile=ca))


@pytest.fixture(params=["http", "https"])
def scheme(request):
    return request.param


@pytest.fixture
def serve(scheme, request):
    """Starts a server in the clear and one over TLS: each test that asks for it runs on both."""
    tls = request.getfixturevalue("certificate") if scheme == "https" else None
    with contextlib.ExitStack() as stack:
        yield lambda handler: stack.enter_context(serving(handler, tls))


@dataclass
class RawServer:
    """Where a server is, what a client should verify it with, how often it was connected to, and who has left."""

    url: str
    verify: ssl.SSLContext | bool
    accepted: int = 0
    left: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def serving(handler, tls=None):
    """Run `handler(sock)` in a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    scheme = "https" if tls else "http"
    server = RawServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", tls.client() if tls else True)
    threads = []

    def one(sock):
        with sock, contextlib.suppress(OSError):
            if tls:
                sock = tls.server.wrap_socket(sock, server_side=True)
            with sock:
                handler(sock)
        server.left.set()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                # Else an answer after TLS's session tickets waits for their acknowledgement, and a close drops it.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.accepted += 1
                threads.append(threading.Thread(target=one, args=(sock,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        # A closed listener does not wake its accept on every system; shutting it down does.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join(10)


def read_head(sock):
    """Read one request's head and what came with it; None at the end of the stream."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    return data


def answering(answer=OK):
    """Return a handler that answers each GET with the same bytes."""

    def handler(sock):
        while read_head(sock):
            sock.sendall(answer)

    return handler


async def left(server):
    """Wait until a connection's handler has ended: the client is gone."""
    with anyio.fail_after(5):
        while not server.left.is_set():
            await anyio.sleep(0.005)
