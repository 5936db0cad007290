"""The ledger: how many requests and bodies arrived, and how often work was started for each medium."""

from __future__ import annotations

import hashlib
import http.server
import threading

import httpx
import pytest

from polyglot_async.sandbox import Sandbox


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def media_url():
    """A medium on the network."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "audio/mpeg")
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"media")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a.mp3"
        server.shutdown()
        thread.join()


def test_starts_are_counted_for_each_medium(sandbox, api, media_url):
    """Whatever a file's name; a URL counts under itself."""
    for data, name in ((b"one", "a.mp3"), (b"two", "a.mp3"), (b"one", "b.mp3")):
        api.start(data, name)
    api.post("/transcriptions/from-url", json={"url": media_url})
    assert sandbox.ledger.starts() == {sha256(b"one"): 2, sha256(b"two"): 1, media_url: 1}


def test_what_was_refused_was_not_started(sandbox, api):
    assert api.upload(b"").status_code == 400
    assert api.post("/transcriptions/from-url", json={"url": "http://127.0.0.1:9/a.mp3"}).status_code == 400
    assert api.post("/transcriptions/convert-audio", files={"file": b"no media"}).status_code == 400
    sandbox.faults.add("reset_during_body call=upload")
    with pytest.raises(httpx.TransportError):
        api.upload(bytes(5_000_000))
    assert sandbox.ledger.starts() == {}


def test_bodies_are_those_that_arrived_whole(sandbox, api):
    sandbox.faults.add("status call=upload status=503")
    sandbox.faults.add("reset_during_body call=upload")
    assert api.upload(b"one").status_code == 503
    with pytest.raises(httpx.TransportError):
        api.upload(bytes(5_000_000))
    api.upload(b"one")
    api.post("/transcriptions/validate-url", json={"url": "no"})
    api.get("/transcriptions")
    assert (sandbox.ledger.count("upload"), sandbox.ledger.bodies("upload"), sandbox.ledger.bodies()) == (3, 2, 3)
    assert [entry.body_complete for entry in sandbox.ledger.entries("upload")] == [True, False, True]


def test_other_processes_read_the_same(sandbox, api):
    api.start(b"one")
    api.start(b"one")
    page = f"{sandbox.root_url}/_sandbox/starts"
    assert httpx.get(page).json() == {"starts": {sha256(b"one"): 2}, "total": 2, "bodies": 2}
    assert httpx.post(page).status_code == 404
    assert sandbox.ledger.count() == 2


def test_a_restart_of_the_same_sandbox_forgets_no_start(tmp_path, connect):
    sandbox = Sandbox(folder=tmp_path, engine="scripted", plan="unlimited")
    for _ in range(2):
        with sandbox:
            connect(sandbox).start(b"one")
    assert sandbox.ledger.starts() == {sha256(b"one"): 2}
    assert [entry.number for entry in sandbox.ledger.entries()] == [1, 2]
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 2


def test_clear_forgets_the_starts(sandbox, api):
    api.start()
    sandbox.ledger.clear()
    assert sandbox.ledger.starts() == {}
