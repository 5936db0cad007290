"""A front that is down, in maintenance or being redeployed: a real nginx before the sandbox, and a batch through it.

`benchmarks/outages.py` does it with a hundred files and six seconds.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import anyio
import anyio.lowlevel
import pytest
from programs import require_program
from raw_server import answering, certificate, serving  # noqa: F401 - one is a fixture

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    AsyncPolyglot,
    PollSchedule,
    RedirectError,
    Runtime,
    ServiceUnavailableError,
)
from polyglot_async.sandbox import Plan, ScriptedEngine

FILES, SECONDS = 16, 1.5
ENGINE, PLAN = ScriptedEngine("Words of {file_name}.", seconds=0.3), Plan(max_concurrent_tasks=4)

CONFIGURATION = """
{user} daemon off; worker_processes 1;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 100m;
    location / {{ {location} }}
  }}
}}
"""
THROUGH = "proxy_pass {upstream}; proxy_http_version 1.1; proxy_connect_timeout 1s;"
STATES = {
    # The front is there, what is behind it is not.
    "upstream refused": "proxy_pass http://127.0.0.1:{closed};",
    "maintenance": "default_type text/html; return 200 '<html><title>Down for maintenance</title></html>';",
    "sign-in page": "default_type text/html; return 200 '<html><title>Sign in</title><form></form></html>';",
    "503": "return 503;",
    "closed": "return 444;",
    # It takes the request in, and gives up on what is behind it while that is at work.
    "gateway timeout": "proxy_pass {upstream}; proxy_http_version 1.1; proxy_read_timeout 1ms;",
}
KINDS = [*STATES, "stopped", "redeployed"]


LOOK_SECONDS = 10.0


class Front:
    """An nginx before a server, which can be reconfigured, stopped and started."""

    def __init__(self, program, folder, upstream):
        self.program, self.folder = program, folder
        self.upstream = upstream
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.port, self.closed = one.getsockname()[1], other.getsockname()[1]
        self.running = None
        self.url = f"http://127.0.0.1:{self.port}"

    def configure(self, location=THROUGH):
        location = location.format(upstream=self.upstream, closed=self.closed)
        user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not write to the folder
        text = CONFIGURATION.format(user=user, folder=self.folder, port=self.port, location=location)
        (self.folder / "nginx.conf").write_text(text)
        if self.running is not None:
            self.running.send_signal(signal.SIGHUP)
            time.sleep(0.1)

    def start(self):
        command = [self.program, "-p", self.folder, "-c", self.folder / "nginx.conf"]
        self.running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "error.log").read_text()
                time.sleep(0.01)
            else:
                return

    def stop(self, *, at_once=True):
        """End it: at once, with all that is under way, or as a redeploy does."""
        running, self.running = self.running, None
        if running is not None:
            running.send_signal(signal.SIGTERM if at_once else signal.SIGQUIT)
            running.wait(10)


@contextmanager
def front_of(sandbox, folder):
    program = require_program("nginx", "apt-get install nginx-light")
    folder.mkdir()
    front = Front(program, folder, sandbox.root_url)
    front.configure()
    front.start()
    try:
        yield front
    finally:
        front.stop()


def out_of_service(front, kind, seconds):
    """Take the front out of service for some seconds."""
    if kind in {"stopped", "redeployed"}:
        front.stop(at_once=kind == "stopped")
        time.sleep(seconds)
        front.start()
    else:
        front.configure(STATES[kind])
        time.sleep(seconds)
        front.configure()


async def through_outage(front, sandbox, kind, *, files, seconds):
    """Run a batch through an outage; return its outcomes."""

    async def sleep(pause):
        # Between two looks at the list a real service has time to finish what it was given.
        await anyio.sleep(2.0 if pause >= LOOK_SECONDS else min(pause, 0.3))

    runtime = Runtime(sleep=sleep, poll_schedule=PollSchedule(min_interval=0.1, max_interval=0.3))
    sources = [(f"{number}.mp3", b"content of %d " % number * 2000) for number in range(files)]
    outage = threading.Thread(target=out_of_service, args=(front, kind, seconds))
    ended = []
    async with (
        AsyncPolyglot(sandbox.api_key, base_url=f"{front.url}/api/v1", runtime=runtime) as client,
        client.batch(sources) as outcomes,
    ):
        async for outcome in outcomes:
            ended.append(outcome)
            if len(ended) == files // 4:
                outage.start()
    outage.join()
    return ended


def problems(sandbox, ended, files):
    """Return what is wrong with the end of a batch: nothing should be."""
    found = {
        "failed": [str(outcome.error) for outcome in ended if not outcome.ok],
        "wrong words": [o.name for o in ended if o.ok and o.transcript.text != f"Words of {o.name}."],
        "missing": files - len(ended),
        "paid twice": sum(count - 1 for count in sandbox.ledger.starts().values()),
    }
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_ends_with_all_its_words_once_the_front_is_back(polyglot_sandbox_factory, tmp_path, kind):
    sandbox = polyglot_sandbox_factory(engine=ENGINE, plan=PLAN)
    with front_of(sandbox, tmp_path / "nginx") as front:
        ended = await through_outage(front, sandbox, kind, files=FILES, seconds=SECONDS)
    assert {} == problems(sandbox, ended, FILES)


@pytest.fixture
def anyio_backend():
    return "asyncio"


# What no repetition mends: one attempt, the batch stops, and the message names what to change.


async def stopped_by(expected, match, **options):
    """Run a batch that has to stop; return the error."""
    async with AsyncPolyglot("sk_x", **options) as client:
        with pytest.raises(expected, match=match) as caught:
            async with client.batch([(f"{n}.mp3", b"%d" % n) for n in range(10)]) as outcomes:
                assert [] == [outcome async for outcome in outcomes]
    return caught.value


async def test_a_certificate_that_is_not_trusted_stops_a_batch_after_one_attempt(certificate):  # noqa: F811
    with serving(answering(), certificate) as server:
        url = f"{server.url}/api/v1"
        await stopped_by(ApiConnectionError, r"not trusted .*SSL_CERT_FILE", base_url=url)
        assert 1 == server.accepted


async def test_an_unknown_host_stops_a_batch(monkeypatch):
    began = time.monotonic()
    await stopped_by(
        ApiConnectionError,
        "no-such-host.invalid is unknown: check base_url",
        base_url="https://no-such-host.invalid/v1",
    )
    assert time.monotonic() - began < 15


async def test_a_proxy_that_wants_a_password_is_asked_once(monkeypatch):
    """For an https URL it is asked to CONNECT."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    with serving(answering(refusal)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        await stopped_by(
            ApiConnectionError,
            "proxy wants a user name and password: check https_proxy",
            base_url="https://a.example/v1",
        )
        assert 1 == proxy.accepted


async def test_a_plain_proxy_that_wants_a_password_is_asked_once(serve):
    proxy = serve(lambda _: (407, {"Proxy-Authenticate": 'Basic realm="x"'}, b""))
    await stopped_by(ApiStatusError, "407", base_url=proxy.url)
    assert 1 == len(proxy.asked)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_to_another_origin_stops_a_batch_and_names_the_base_url(serve, status):
    server = serve(lambda asked: (status, {"Location": f"https://www.other.example{asked.path}"}, b""))
    await stopped_by(RedirectError, "set base_url to https://www.other.example/v1", base_url=f"{server.url}/v1")
    asked = [(asked.method, asked.path) for asked in server.asked]
    # The limits, whose redirect alone would stop nothing, and the first call of the API.
    assert [("GET", "/v1/developer/documentation"), ("GET", "/v1/transcriptions")] == asked


async def test_a_service_that_stays_behind_a_page_stops_a_batch_with_its_title(serve):
    async def sleep(_):
        await anyio.lowlevel.checkpoint()

    server = serve(lambda _: (200, {"Content-Type": "text/html"}, b"<html><title>Moved to Mars</title></html>"))
    error = await stopped_by(
        ServiceUnavailableError,
        "could not be reached for 900 s: .*Moved to Mars",
        base_url=server.url,
        runtime=Runtime(sleep=sleep),
    )
    assert error.__cause__ is not None
