"""Webhooks: signed over the raw body, sent again until somebody takes them."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time

import pytest
from programs import require_program

from polyglot_async.sandbox import ScriptedEngine


@pytest.fixture
def receiver():
    """Keeps what it is sent; answers the statuses that it is given, then 200."""

    class Receiver(http.server.ThreadingHTTPServer):
        received: list = []  # noqa: RUF012
        statuses: list = []  # noqa: RUF012

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.received.append((dict(self.headers), body))
            self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with Receiver(("127.0.0.1", 0), Handler) as server:
        server.received, server.statuses = [], []
        server.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def openssl(body: bytes, secret: str) -> str:
    command = [require_program("openssl", "apt-get install openssl"), "dgst", "-sha256", "-hmac", secret, "-r"]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout.decode().split()[0]


def test_a_completed_task_is_announced_and_signed(polyglot_sandbox_factory, connect, receiver, until):
    """The body is the contract's; openssl computes the same signature over the same bytes."""
    sandbox = polyglot_sandbox_factory(webhook_url=receiver.url, engine=ScriptedEngine("Привет"))
    task_id = connect(sandbox).start(output_language="ru")
    headers, body = until(lambda: receiver.received)[0]
    assert json.loads(body) == {
        "event": "transcription.completed",
        "task_id": task_id,
        "status": "completed",
        "model": "fast",
        "failure_reason": None,
        "has_transcript": True,
        "has_translation": True,
        "transcript_preview": "Привет",
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Polyglot-Signature"] == openssl(body, sandbox.webhook_secret)
    assert abs(int(headers["X-Polyglot-Timestamp"]) - time.time()) < 10
    assert until(sandbox.deliveries.attempts)[0].delivered


def test_failed_and_cancelled_are_announced_too(polyglot_sandbox_factory, connect, receiver, until):
    engine = ScriptedEngine(seconds=lambda _, size: 0 if size == 3 else 60, fail=lambda *_: "No.")
    sandbox = polyglot_sandbox_factory(webhook_url=receiver.url, engine=engine)
    api = connect(sandbox)
    api.start(b"bad")
    sandbox.cancel(api.start(b"slow"))
    until(lambda: len(receiver.received) == 2)
    events = {json.loads(body)["event"]: json.loads(body) for _, body in receiver.received}
    assert events["transcription.failed"]["failure_reason"] == "No."
    assert events["transcription.cancelled"]["has_transcript"] is False


def test_it_is_sent_again_until_taken(polyglot_sandbox_factory, connect, receiver, until):
    receiver.statuses[:] = [500, 302]
    sandbox = polyglot_sandbox_factory(webhook_url=receiver.url, webhook_delays=(0.01, 0.01, 0.01))
    task_id = connect(sandbox).start()
    attempts = until(lambda: len(found := sandbox.deliveries.attempts(task_id)) == 3 and found)
    assert [(item.attempt, item.status, item.delivered) for item in attempts] == [
        (1, 500, False),
        (2, 302, False),
        (3, 200, True),
    ]
    assert len({body for _, body in receiver.received}) == 1


def test_an_unreachable_receiver_is_noted_in_the_deliveries(polyglot_sandbox_factory, connect, until):
    sandbox = polyglot_sandbox_factory(webhook_url="http://127.0.0.1:9/hook", webhook_delays=(0.01,))
    connect(sandbox).start()
    attempts = until(lambda: len(found := sandbox.deliveries.attempts()) == 2 and found)
    assert all(item.status is None and "ConnectError" in item.error for item in attempts)


def test_the_url_belongs_to_the_key(polyglot_sandbox_factory, connect, receiver, until):
    """A session token has none, another key has its own secret, and a removed URL gets nothing."""
    sandbox = polyglot_sandbox_factory()
    key = sandbox.create_key(webhook_url=receiver.url)
    connect(sandbox).start()
    connect(sandbox, sandbox.session_token()).start()
    task_id = connect(sandbox, key.secret_key).start()
    headers, body = until(lambda: receiver.received)[0]
    assert json.loads(body)["task_id"] == task_id
    assert headers["X-Polyglot-Signature"] == openssl(body, key.webhook_secret)
    sandbox.set_webhook(None, key.secret_key)
    api = connect(sandbox, key.secret_key)
    api.finished(api.start())
    assert len(receiver.received) == 1
    with pytest.raises(LookupError):
        sandbox.set_webhook(receiver.url, "sk_unknown")
    assert key.secret_key not in repr(key)
