"""The FastAPI example, whole: upload, task in the sandbox, its signed webhook, transcript on disk."""

import importlib.util
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the example needs FastAPI")

import uvicorn

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fastapi_webhook.py"
RECORDING = ROOT / "examples" / "audio" / "austen-0880.wav"


@pytest.fixture
def service(polyglot_sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", polyglot_sandbox.api_key)
    monkeypatch.setenv("POLYGLOT_BASE_URL", polyglot_sandbox.url)
    monkeypatch.setenv("POLYGLOT_WEBHOOK_SECRET", polyglot_sandbox.webhook_secret)
    monkeypatch.setenv("TRANSCRIPTS", str(tmp_path / "transcripts"))
    spec = importlib.util.spec_from_file_location("fastapi_webhook", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(module.app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    polyglot_sandbox.set_webhook(f"{url}/polyglot/webhook")
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def wait_for(client, path):
    deadline = time.monotonic() + 30
    while (answer := client.get(path)).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def test_a_recording_comes_back_as_subtitles_without_a_poll(service, polyglot_sandbox):
    answer = service.post("/recordings", params={"name": "austen.wav"}, content=RECORDING.read_bytes())
    assert answer.status_code == 202
    task_id = answer.json()["task_id"]
    assert " --> " in wait_for(service, f"/transcripts/{task_id}/srt").text
    assert service.get(f"/transcripts/{task_id}/txt").text.strip()
    assert service.get("/transcripts/..%2F..%2Fetc/txt").status_code == 404
    assert polyglot_sandbox.ledger.count() == 2  # the upload and the result
    assert [attempt.status for attempt in polyglot_sandbox.deliveries.attempts(task_id)] == [200]


def test_a_delivery_that_failed_is_made_again(service, polyglot_sandbox):
    polyglot_sandbox.faults.add("status call=result status=404 times=1")
    task_id = service.post("/recordings", params={"name": "a.wav"}, content=RECORDING.read_bytes()).json()["task_id"]
    assert wait_for(service, f"/transcripts/{task_id}/txt").text.strip()
    assert polyglot_sandbox.ledger.count(call="upload") == 1
