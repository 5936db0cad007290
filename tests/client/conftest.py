"""What these tests share: clients that do not wait, and servers that say exactly what a test wants said."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import anyio.lowlevel
import attrs
import pytest
from money_server import MoneyServer

from polyglot_async import AsyncPolyglot, Limits, Runtime


class Sleeps(list):
    """The seconds that a client would have slept; it does not sleep them."""

    async def __call__(self, seconds):
        self.append(seconds)
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def sandbox(polyglot_sandbox):
    return polyglot_sandbox


@pytest.fixture
def connect(sandbox):
    """Makes clients of the sandbox, or of `base_url`, that do not sleep: `client.sleeps` holds what they would have."""

    def make(api_key=None, *, base_url=None, **options):
        sleeps = Sleeps()
        options.setdefault("runtime", Runtime(sleep=sleeps, monotonic=lambda: anyio.current_time() + sum(sleeps)))
        client = AsyncPolyglot(api_key or sandbox.api_key, base_url=base_url or sandbox.url, **options)
        client.sleeps = sleeps
        return client

    return make


@pytest.fixture
async def client(anyio_backend, connect):
    async with connect() as client:
        yield client


@pytest.fixture
def start(sandbox):
    """Starts a task of some bytes past the SDK, waits for its end, and forgets the requests; gives its id."""

    def start(data=b"some bytes of audio", name="talk.mp3"):
        task_id = sandbox_upload(sandbox, data, name)
        poll(lambda: sandbox.task(task_id)["status"] == "completed")
        sandbox.ledger.clear()
        return task_id

    return start


def sandbox_upload(sandbox, data, name):
    import httpx

    answer = httpx.post(
        f"{sandbox.url}/transcriptions/upload",
        headers={"authorization": f"Bearer {sandbox.api_key}"},
        files={"file": (name, data)},
    )
    return str(answer.raise_for_status().json()["task_id"])


def poll(condition: Callable[[], object], seconds: float = 10.0) -> object:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return value


@pytest.fixture(scope="session")
def until():
    """Waits in this thread until a condition holds; fails after ten seconds."""
    return poll


@attrs.frozen
class Asked:
    """One request to a hand server; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class HandServer:
    """Answers each request with what `answer(asked)` returns: a status, headers and a body; or None, which hangs up.

    A Content-Length among the headers is sent as it stands, else the true one is.
    """

    def __init__(self, answer) -> None:
        self.asked: list[Asked] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                size = int(self.headers.get("content-length") or 0)
                path, _, query = self.path.partition("?")
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Asked(self.command, path, query, headers, self.rfile.read(size))
                asked.append(request)
                self.close_connection = True
                answered = answer(request)
                if answered is None:
                    return
                status, headers, body = answered
                self.send_response_only(status)
                if not any(name.lower() in {"content-length", "transfer-encoding"} for name in headers):
                    self.send_header("Content-Length", str(len(body)))
                for name, value in {**headers, "Connection": "close"}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has left
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - likewise

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
def serve():
    """Starts hand servers: `serve(answer).url`."""
    with contextlib.ExitStack() as servers:

        def start(answer):
            server = HandServer(answer)
            servers.callback(server.close)
            return server

        yield start


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def script():
    """Starts Python on a program's text, in a process; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(program, *arguments, **options):
        command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": {**os.environ}}
        started.append(subprocess.Popen(command, **{**piped, **options}))
        return started[-1]

    yield start
    for running in started:
        if running.poll() is None:
            running.kill()
        running.communicate()


@pytest.fixture
def span_of():
    """Reads the start and the stop that a request to a hand server asks for."""

    def span_of(asked, data):
        start, _, last = asked.headers["range"].removeprefix("bytes=").partition("-")
        return int(start), min(int(last) + 1, len(data)) if last else len(data)

    return span_of


@pytest.fixture
def passing_time():
    """A runtime whose time passes while a client sleeps, without anybody waiting for it."""
    slept = Sleeps()
    return Runtime(
        sleep=slept,
        monotonic=lambda: anyio.current_time() + sum(slept),
        unix_time=lambda: time.time() + sum(slept),
        utc_now=lambda: datetime.fromtimestamp(time.time() + sum(slept), UTC),
    )


@pytest.fixture
def client_of(passing_time):
    """Makes clients of a server in passing time; a 429 holds requests back for 20 ms, which are real."""
    defaults = {"runtime": passing_time, "limits": Limits(window_seconds=0.02)}
    return lambda server, **options: AsyncPolyglot("sk_test", base_url=server.url, **{**defaults, **options})


@pytest.fixture
def misbehaving():
    """Starts servers of `money_server`, each with the steps that it is to misbehave in."""
    with contextlib.ExitStack() as servers:

        def start(*steps):
            server = MoneyServer(*steps)
            servers.callback(server.close)
            return server

        yield start
