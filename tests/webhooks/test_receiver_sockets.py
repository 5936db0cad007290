"""The receiver over real sockets: uvicorn in a thread, and clients that say byte for byte what they say."""

import contextlib
import json
import socket
import threading
import time

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from polyglot_async import webhooks
from polyglot_async.webhooks import MemoryDedupeStore, SqliteDedupeStore

SECRET = "whsec-made-up-for-tests"


@contextlib.contextmanager
def serving(app, **options):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def events():
    return []


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return MemoryDedupeStore() if request.param == "memory" else SqliteDedupeStore(tmp_path / "webhooks.db")


def post(port, body, headers, path="/"):
    return httpx.post(f"http://127.0.0.1:{port}{path}", content=body, headers=headers, trust_env=False)


def raw(port, *pieces, pause=0.0):
    """Send bytes as they are; give the status of what comes back and whether the connection was closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            with contextlib.suppress(OSError):  # the server may have answered and closed by now
                connection.sendall(piece)
            time.sleep(pause)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer and b"}" in answer and b"connection: close" not in answer.lower():
                    break
        return int(answer.split(b" ")[1])


def request_head(*lines):
    return "\r\n".join(["POST / HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", ""]).encode()


def test_deliveries_are_received(body, events, store):
    app = webhooks.WebhookReceiver(SECRET, on_event=events.append, dedupe_store=store)
    with serving(app) as port:
        assert [post(port, body, webhooks.sign(body, SECRET)).status_code for _ in range(3)] == [200, 200, 200]
    assert [event.task_id for event in events] == ["9b9c1b9a"]


def test_nothing_bad_reaches_the_handler(body, events):
    app = webhooks.WebhookReceiver(SECRET, on_event=events.append, max_body_bytes=2000, body_timeout=0.2)
    app.subscribe(events.append)
    good = webhooks.sign(body, SECRET)
    with serving(app) as port:
        # forged
        assert post(port, body, webhooks.sign(body, "guessed")).status_code == 401
        assert post(port, body + b" ", good).status_code == 401
        assert post(port, body, {"Content-Type": "application/json"}).status_code == 401
        assert post(port, body, [*good.items(), ("X-Polyglot-Signature", "0")]).status_code == 400
        # stale
        assert post(port, body, webhooks.sign(body, SECRET, timestamp=time.time() - 1000)).status_code == 401
        # malformed
        for malformed in (b"", b"{", b"[]", b"\xff"):
            assert post(port, malformed, webhooks.sign(malformed, SECRET)).status_code == 400
        # not a delivery at all
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 405
        assert post(port, body, good | {"Content-Type": "text/plain"}).status_code == 415
        # too large, as it says itself; then chunked, saying nothing
        assert raw(port, request_head("Content-Length: 2001")) == 413
        assert raw(port, request_head("Transfer-Encoding: chunked"), b"7d1\r\n" + b"x" * 2001) == 413
        # slow: nothing, then a byte at a time, without and with the truth about its length
        assert raw(port, request_head("Content-Length: 1000")) == 408
        assert raw(port, request_head("Content-Length: 1000"), *[b"{"] * 30, pause=0.02) == 408
        assert raw(port, request_head("Transfer-Encoding: chunked"), *[b"1\r\n{\r\n"] * 30, pause=0.02) == 408
        # gone before the end
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request_head("Content-Length: 1000") + b"{")
        assert events == []
        assert post(port, body, good).status_code == 200
    assert len(events) == 2  # the handler and the subscriber


def test_after_an_error_the_next_attempt_gets_through(body, events, store):
    def handler(event):
        events.append(event)
        if len(events) < 3:
            raise OSError("the disk is full")

    with serving(webhooks.WebhookReceiver(SECRET, on_event=handler, dedupe_store=store)) as port:
        answers = [post(port, body, webhooks.sign(body, SECRET)).status_code for _ in range(4)]
    assert answers == [500, 500, 200, 200]
    assert len(events) == 3


def test_concurrent_duplicates_are_handled_once(body, events, store):
    started, go_on, answers = threading.Event(), threading.Event(), []

    def handler(event):
        events.append(event)
        started.set()
        assert go_on.wait(10)

    with serving(webhooks.WebhookReceiver(SECRET, on_event=handler, dedupe_store=store)) as port:

        def one():
            answers.append(post(port, body, webhooks.sign(body, SECRET)).status_code)

        threads = [threading.Thread(target=one) for _ in range(8)]
        threads[0].start()
        assert started.wait(10)
        for thread in threads[1:]:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        go_on.set()
        threads[0].join()
        assert answers == [503] * 7 + [200]
        assert post(port, body, webhooks.sign(body, SECRET)).status_code == 200
    assert len(events) == 1


def test_a_client_that_leaves_while_the_handler_works_loses_nothing(body, events):
    started, go_on = threading.Event(), threading.Event()

    def handler(event):
        started.set()
        assert go_on.wait(10)
        events.append(event)

    with serving(webhooks.WebhookReceiver(SECRET, on_event=handler)) as port:
        lines = [f"{name}: {value}" for name, value in webhooks.sign(body, SECRET).items() if name != "Content-Type"]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request_head(f"Content-Length: {len(body)}", *lines) + body)
            assert started.wait(10)
        go_on.set()
    assert len(events) == 1  # the server has waited for it


def test_it_can_be_mounted_in_starlette(body, events):
    app = Starlette(
        routes=[Mount("/polyglot", app=webhooks.WebhookReceiver(SECRET, on_event=events.append, path="/hook"))],
        middleware=[Middleware(GZipMiddleware)],
    )
    with serving(app) as port:
        assert post(port, body, webhooks.sign(body, SECRET), "/polyglot/hook").status_code == 200
        assert post(port, body, webhooks.sign(body, SECRET), "/polyglot/hook/").status_code == 200
        assert post(port, body, webhooks.sign(body, SECRET), "/polyglot").status_code in {307, 404}
        assert post(port, body, webhooks.sign(body, SECRET), "/polyglot/other").status_code == 404
    assert len(events) == 1


def test_behind_a_proxy_with_a_root_path_its_path_is_found(body, events):
    app = webhooks.WebhookReceiver(SECRET, on_event=events.append, path="/hook")
    with serving(app, root_path="/api") as port:
        assert post(port, body, webhooks.sign(body, SECRET), "/hook").status_code == 200


def test_a_connection_serves_one_delivery_after_the_other(make_body, events):
    with (
        serving(webhooks.WebhookReceiver(SECRET, on_event=events.append)) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        for number in range(20):
            body = make_body(str(number))
            answer = client.post("/", content=body, headers=webhooks.sign(body, SECRET))
            assert (answer.status_code, answer.json()) == (200, {"detail": "handled"})
    assert [event.task_id for event in events] == [str(number) for number in range(20)]
    assert json.dumps(events[0].transcript_preview)
