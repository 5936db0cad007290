"""What the tests of webhooks share: a delivery, and a way to pass it to a receiver without a server."""

import json

import anyio
import pytest

from polyglot_async import Runtime, webhooks

SECRET = "whsec-made-up-for-tests"
NOW = 1_800_000_000.0


@pytest.fixture
def secret():
    return SECRET


@pytest.fixture
def make_body():
    def make(task_id="9b9c1b9a", status="completed", **fields):
        document = {
            "event": f"transcription.{status}", "task_id": task_id, "status": status, "model": "fast",
            "failure_reason": None, "has_transcript": True, "has_translation": True,
            "transcript_preview": "Привет, this is a sample...", **fields,
        }  # fmt: skip
        return json.dumps(document, ensure_ascii=False).encode()

    return make


@pytest.fixture
def body(make_body):
    return make_body()


class Exchange:
    """One request to an ASGI app: what it is sent, and what it answers."""

    def __init__(self, app, *, headers=(), method="POST", path="/", root_path="", http_version="1.1"):
        self.app = app
        self.scope = {
            "type": "http", "method": method, "path": path, "root_path": root_path, "http_version": http_version,
            "headers": [(name.lower().encode(), value.encode()) for name, value in dict(headers).items()],
        }  # fmt: skip
        self.sent = []
        self.answered = anyio.Event()

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def detail(self):
        return json.loads(self.sent[1]["body"])["detail"]

    async def send(self, message):
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.answered.set()

    async def run(self, *messages):
        """Run to the end of the app; after the messages the request is silent."""
        queue = list(messages)

        async def receive():
            if not queue:
                await anyio.sleep_forever()
            return queue.pop(0)

        await self.app(self.scope, receive, self.send)
        return self


@pytest.fixture
def exchange():
    return Exchange


@pytest.fixture
def deliver():
    """Pass one whole, signed delivery to a receiver, and return the exchange."""

    async def deliver(app, body, *, secret=SECRET, timestamp=NOW, headers=None, **scope):
        signed = webhooks.sign(body, secret, timestamp=timestamp) | (headers or {})
        exchange = Exchange(app, headers=signed, **scope)
        return await exchange.run({"type": "http.request", "body": body, "more_body": False})

    return deliver


@pytest.fixture
def receiver():
    """Make a receiver whose clock stands still at the moment at which `deliver` signs."""

    def make(on_event=None, **options):
        return webhooks.WebhookReceiver(SECRET, on_event=on_event, runtime=Runtime(unix_time=lambda: NOW), **options)

    return make
