"""Raw servers for tests of the HTTP client: a thread with a blocking socket for each connection."""

import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


@dataclass(frozen=True)
class Received:
    """A request that a `ScriptedServer` has received; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """Answers each request with what `answer(received)` returns: a status, headers and a body; or None, which hangs up.

    A Content-Length among the headers is sent as it is, else the true one is.
    """

    def __init__(self, answer) -> None:
        self.received: list[Received] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                size = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Received(self.command, self.path, headers, self.rfile.read(size))
                received.append(request)
                self.close_connection = True
                scripted = answer(request)
                if scripted is None:
                    return
                status, headers, body = scripted
                self.send_response_only(status)
                if not any(name.lower() in {"content-length", "transfer-encoding"} for name in headers):
                    self.send_header("Content-Length", str(len(body)))
                for name, value in {**headers, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has left
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - http.server's naming

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted():
    """Starts scripted servers: `scripted(answer).url`."""
    with contextlib.ExitStack() as servers:

        def start(answer):
            server = ScriptedServer(answer)
            servers.callback(server.close)
            return server

        yield start
