"""`polyglot listen` over real sockets: deliveries that the sandbox signs and sends, and what strangers send."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import attrs
import httpx
import pytest

from polyglot_async import Polyglot, webhooks
from polyglot_async.sandbox import Sandbox, ScriptedEngine

if TYPE_CHECKING:
    import subprocess

SECRET = "whsec_of_the_tests"
BODY = json.dumps(
    {
        "event": "transcription.completed",
        "task_id": "9b9c1b9a-0000-0000-0000-000000000000",
        "status": "completed",
        "transcript_preview": "he was not",
    }
).encode()


@attrs.define
class Listener:
    """A `polyglot listen` that runs: where, and what it prints."""

    process: subprocess.Popen[str]
    url: str

    def send(self, body: bytes = BODY, **headers: str) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url, content=body, headers={"content-type": "application/json", **headers}, timeout=20)

    def sign_and_send(self, body: bytes = BODY) -> httpx.Response:
        return httpx.post(self.url, content=body, headers=webhooks.sign(body, SECRET), timeout=20)

    def document(self) -> dict[str, object]:
        return json.loads(self.process.stdout.readline())

    def row(self) -> list[str]:
        return self.process.stdout.readline().rstrip("\n").split("\t")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=10)
        return self.process.returncode, err


@pytest.fixture
def listen(process, no_environment):
    """Start `polyglot listen` on a free port."""

    def start(*options: object, secret: str = SECRET, **how: object) -> Listener:
        running = process("listen", "--port", 0, *options, env={"POLYGLOT_WEBHOOK_SECRET": secret}, **how)
        announced = running.stderr.readline()
        assert announced.startswith("listening on http://127.0.0.1:"), announced
        return Listener(running, announced.split()[2])

    return start


@attrs.define
class Target:
    """Another server, that events are forwarded to."""

    url: str = ""
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = attrs.field(factory=list)


@pytest.fixture
def target():
    """A server that events are forwarded to."""
    target = Target()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            target.requests.append((dict(self.headers), body))
            self.send_response(target.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        target.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield target
        server.shutdown()
        thread.join()


def test_a_delivery_of_the_sandbox_is_verified_shown_and_forwarded(listen, target, media):
    with Sandbox(engine=ScriptedEngine(text="words"), plan="unlimited") as sandbox:
        listener = listen("--json", "--forward", target.url, secret=sandbox.webhook_secret)
        sandbox.set_webhook(listener.url)
        with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
            task_id = client.transcriptions.upload(media("a.wav")).task_id
        document = listener.document()
        assert document["event"]["task_id"] == task_id
        assert (document["verified"], document["forward_status"], document["status"]) == (True, 200, 200)
        deadline = time.monotonic() + 5
        while not sandbox.deliveries.attempts(task_id) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [attempt.status for attempt in sandbox.deliveries.attempts(task_id)] == [200]
        headers, body = target.requests[0]
        assert webhooks.verify(body, headers, sandbox.webhook_secret).task_id == task_id


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_cannot_be_forwarded_is_answered_with_500_and_sent_again(listen, target, status):
    target.status = status
    listener = listen("--forward", target.url)
    assert listener.sign_and_send().status_code == 500
    target.status = 200
    assert listener.sign_and_send().status_code == 200
    assert listener.sign_and_send().status_code == 200  # a repetition: it is not forwarded any more
    assert len(target.requests) == 2
    rows = [listener.row() for _ in range(3)]
    assert [row[5] for row in rows] == ["500", "200", "200"]
    assert rows[0][6] == f"{target.url}: answered {status}"
    assert listener.end() == (130, "interrupted: 3 requests received\n")


def test_another_server_that_is_not_there_is_500(listen):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    listener = listen("--json", "--forward", f"http://127.0.0.1:{port}/")
    assert listener.sign_and_send().status_code == 500
    document = listener.document()
    assert (document["forward_status"], "ConnectError" in document["error"]) == (None, True)


def test_a_command_gets_the_event_and_its_output_goes_to_stderr(listen, no_environment):
    program = "import os, sys; print('out', os.environ['POLYGLOT_STATUS'], os.environ['POLYGLOT_EVENT']); "
    program += "open(os.environ['POLYGLOT_TASK_ID'], 'w').write(sys.stdin.read())"
    (no_environment / "on event.py").write_text(program)
    listener = listen("--json", "--exec", f"'{sys.executable}' 'on event.py'")
    assert listener.sign_and_send().status_code == 200
    document = listener.document()
    assert (document["exit_code"], document["error"]) == (0, None)
    assert (no_environment / "9b9c1b9a-0000-0000-0000-000000000000").read_bytes() == BODY + b"\n"
    assert listener.end()[1].startswith("out completed transcription.completed\n")


def test_a_command_that_fails_has_the_event_sent_again(listen):
    listener = listen("--exec", "false")
    assert listener.sign_and_send().status_code == 500
    assert listener.row()[5:] == ["500", "false: exit code 1"]
    assert listener.sign_and_send().status_code == 500


def test_no_shell_runs_the_command(listen, no_environment):
    listener = listen("--exec", "echo $(touch made) ; touch made")
    assert listener.sign_and_send().status_code == 200
    assert listener.end()[1].startswith("$(touch made) ; touch made\n")
    assert not (no_environment / "made").exists()


def test_unverified_requests_are_shown_and_not_forwarded(listen, target, no_environment):
    listener = listen("--json", "--forward", target.url, "--exec", "touch reached")
    signed = webhooks.sign(BODY, SECRET)
    answers = [
        listener.send(),
        listener.send(X_Polyglot_Signature="0" * 64, X_Polyglot_Timestamp=signed["X-Polyglot-Timestamp"]),
        httpx.post(listener.url, content=BODY + b" ", headers=signed),
        httpx.post(listener.url, content=BODY, headers=webhooks.sign(BODY, SECRET, timestamp=1.0)),
        httpx.post(listener.url, content=BODY, headers=webhooks.sign(BODY, "another")),
        httpx.get(listener.url),
        listener.send(b"x" * (2 << 20)),
        listener.send(b"\xff\x00 no json"),
        httpx.post(listener.url, content=b"[]", headers=webhooks.sign(b"[]", SECRET)),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 401, 405, 413, 401, 400]
    documents = [listener.document() for _ in answers]
    assert not any(document["verified"] for document in documents)
    assert {document["event"] for document in documents} == {None}
    assert documents[0]["unverified_body"]["task_id"] == "9b9c1b9a-0000-0000-0000-000000000000"
    assert documents[0]["error"] == "X-Polyglot-Signature is missing"
    assert ["the same JSON written differently" in hint for hint in documents[2]["hints"]] == [True]
    assert target.requests == []
    assert not (no_environment / "reached").exists()
    assert listener.sign_and_send().status_code == 200
    assert listener.document()["verified"] is True
    _, err = listener.end()
    assert SECRET not in err + json.dumps(documents)


def test_broken_requests_leave_it_running(listen):
    listener = listen("--json")
    port = int(listener.url.rpartition(":")[2])
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for raw in (b"garbage\r\n\r\n", head + b"Content-Length: 9\r\n\r\n{", head + b"Content-Length: 9x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert (listener.document()["status"], listener.sign_and_send().status_code) == (None, 200)
    assert listener.end()[1].count("\n") == 1


def test_skipping_verification_is_warned_about(listen):
    listener = listen("--insecure-skip-verify", secret="")
    assert listener.process.stderr.readline().startswith("WARNING: events are not verified")
    assert listener.send().status_code == 200
    assert listener.row()[1:6] == [
        "unverified",
        "transcription.completed",
        "9b9c1b9a-0000-0000-0000-000000000000",
        "completed",
        "200",
    ]
    assert listener.send(b"no json").status_code == 400


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no webhook secret: set POLYGLOT_WEBHOOK_SECRET, or use --secret"),
        (["--secret", ""], "a secret is empty"),
        (
            ["--insecure-skip-verify", "--forward", "http://127.0.0.1:1"],
            "--insecure-skip-verify cannot be combined with --forward or --exec",
        ),
        (
            ["--insecure-skip-verify", "--secret", "x", "--exec", "true"],
            "--insecure-skip-verify cannot be combined with --forward or --exec",
        ),
        (["--secret", "x", "--forward", "localhost:8000"], "not an http or https URL"),
        (["--secret", "x", "--exec", "no-such-program-here"], "no such program"),
        (["--secret", "x", "--exec", "'open"], "no closing quotation"),
        (["--secret", "x", "--exec", " "], "--exec is empty: name a program"),
        (["--secret", "x", "--port", "99999"], "--port"),
        (["--secret", "x", "--host", ""], "--host is empty"),
    ],
)
def test_invalid_options_are_refused_at_once(polyglot, monkeypatch, arguments, says):
    monkeypatch.delenv("POLYGLOT_WEBHOOK_SECRET", raising=False)
    ended = polyglot("listen", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


@pytest.mark.usefixtures("no_environment")
def test_a_port_that_is_taken_and_a_host_that_is_none_are_one_line(polyglot):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = polyglot("listen", "--secret", "x", "--port", port)
    assert (ended.code, ended.err) == (1, f"error: 127.0.0.1:{port}: Address already in use\n")
    ended = polyglot("listen", "--secret", "x", "--host", "no.such.host.invalid")
    assert (ended.code, ended.err.count("\n")) == (1, 1)


@pytest.mark.usefixtures("no_environment")
def test_without_a_server_it_says_what_to_install(monkeypatch, polyglot):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ended = polyglot("listen", "--secret", "x")
    assert (ended.code, ended.err) == (
        1,
        'error: polyglot listen needs an extra: pip install "polyglot_async[sandbox]"\n',
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_even_while_a_command_runs(listen, number, code):
    listener = listen("--exec", "sleep 60")
    answers: list[int] = []
    sent = threading.Thread(target=lambda: answers.append(listener.sign_and_send().status_code))
    sent.start()
    time.sleep(0.5)  # the command has to be under way
    assert listener.end(number)[0] == code
    sent.join(5)
    assert answers == [500]  # it will come again


def test_a_reader_that_goes_away_ends_it(listen):
    listener = listen()
    listener.process.stdout.close()
    listener.sign_and_send()
    assert listener.process.wait(10) == 141


def test_a_terminal_shows_an_event_in_80_columns(process, no_environment):
    leader, follower = pty.openpty()
    env = {"TERM": "xterm", "COLUMNS": "80", "POLYGLOT_WEBHOOK_SECRET": SECRET}
    running = process("listen", "--port", 0, "--exec", "false", stdout=follower, env=env)
    os.close(follower)
    listener = Listener(running, running.stderr.readline().split()[2])
    listener.sign_and_send()
    listener.send(BODY.replace(b"he was", b"\\u001b[2J"))
    shown = b""
    while b"  body: " not in shown:
        shown += os.read(leader, 65536)
    os.close(leader)
    lines = shown.decode().splitlines()
    assert lines[0][9:] == "transcription.completed 9b9c1b9a-0000-0000-0000-000000000000 completed"
    assert lines[1] == "         he was not"
    assert lines[2][9:] == "9b9c1b9a $ false: exit code 1"
    assert lines[3][9:] == "9b9c1b9a the handler failed: answered 500; it will be sent again"
    assert lines[4][9:] == "NOT VERIFIED: X-Polyglot-Signature is missing; answered 401"
    assert "\x1b" not in shown.decode()
    assert max(map(len, lines)) <= 80
