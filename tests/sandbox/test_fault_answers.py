"""Faults that answer for the service or end the connection: before, after and in the middle of a request."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

DATA = b"some bytes" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
GATEWAY = (500, 502, 503, 504, 520, 522, 524, 530, 598, 599)


@pytest.mark.parametrize("body", ["json", "html", "empty"])
@pytest.mark.parametrize("status", GATEWAY)
def test_a_5xx_before_the_task_is_made_starts_nothing(sandbox, api, status, body):
    sandbox.faults.add(f"status call=upload status={status} body={body}")
    assert api.upload(DATA).status_code == status
    assert sandbox.ledger.starts() == {}
    assert sandbox.ledger.bodies("upload") == 1
    assert api.get("/transcriptions").json()["total"] == 0


@pytest.mark.parametrize("body", ["json", "html", "empty"])
@pytest.mark.parametrize("status", GATEWAY)
def test_a_5xx_after_the_task_is_made_hides_a_start(sandbox, api, status, body):
    sandbox.faults.add(f"status call=upload status={status} when=after body={body}")
    assert api.upload(DATA).status_code == status
    assert sandbox.ledger.starts() == {SHA256: 1}
    (task,) = api.get("/transcriptions").json()["items"]
    (entry,) = sandbox.ledger.entries("upload")
    assert (entry.status, entry.started, entry.task_id) == (status, True, task["task_id"])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 421, 425, 429])
def test_a_4xx_starts_nothing(sandbox, api, status):
    sandbox.faults.add(f"status call=upload status={status}")
    assert api.upload(DATA).status_code == status
    assert sandbox.ledger.starts() == {}


def test_after_replaces_a_streamed_answer_too(sandbox, api):
    task_id = sandbox.put_source(bytes(3_000_000))
    sandbox.faults.add("status call=source status=502 when=after")
    answer = api.get(f"/transcriptions/{task_id}/source")
    assert (answer.status_code, len(answer.content) < 100) == (502, True)


def test_a_maintenance_page_is_a_200_in_html_with_a_title(sandbox, api):
    sandbox.faults.add("status status=200 body=html detail='Back <soon>' times=forever")
    for answer in (api.upload(DATA), api.get("/transcriptions")):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "<title>Back &lt;soon&gt;</title>" in answer.text
    assert sandbox.ledger.starts() == {}


def test_a_body_may_be_any_json(sandbox, api):
    sandbox.faults.add("""status call=upload status=200 json='{"status": "queued"}' """)
    answer = api.upload(DATA)
    assert (answer.headers["content-type"], answer.json()) == ("application/json", {"status": "queued"})


def test_a_204_has_no_body(sandbox, api):
    sandbox.faults.add("status status=204")
    assert api.get("/transcriptions").content == b""
    assert api.get("/transcriptions").status_code == 200


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_says_where(sandbox, api, status):
    sandbox.faults.add(f"status call=upload status={status} header='Location: https://elsewhere.example/x'")
    answer = api.upload(DATA)
    assert (answer.status_code, answer.headers["location"]) == (status, "https://elsewhere.example/x")
    assert sandbox.ledger.starts() == {}


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_origin_can_be_followed(sandbox, api, status):
    sandbox.faults.add(f"status call=upload status={status} header='Location: /api/v1/transcriptions/upload'")
    api.follow_redirects = True
    assert api.upload(DATA).json()["status"] == "queued"
    assert sandbox.ledger.starts() == {SHA256: 1}
    assert sandbox.ledger.bodies("upload") == 2


@pytest.mark.parametrize(
    ("kind", "error"), [("reset_after_body", httpx.ReadError), ("close_after_body", httpx.RemoteProtocolError)]
)
def test_an_answer_is_lost_after_the_task_was_made(sandbox, api, kind, error):
    sandbox.faults.add(f"{kind} call=upload")
    with pytest.raises(error):
        api.upload(DATA)
    (entry,) = sandbox.ledger.entries("upload")
    assert (entry.status, entry.complete, entry.started) == (None, False, True)
    assert sandbox.ledger.starts() == {SHA256: 1}


@pytest.mark.parametrize("text", ["close_before_body", "close_during_body at_bytes=100000"])
def test_a_clean_close_during_the_body_is_an_end_and_no_reset(sandbox, raw_upload, until, text):
    """The client goes on sending, and reads an end of the connection."""
    sandbox.faults.add(text)
    upload = raw_upload(bytes(5_000_000), sent=200_000)
    assert upload.socket.recv(1) == b""
    upload.send(200_000, 400_000)
    upload.socket.close()
    (entry,) = until(lambda: [entry for entry in sandbox.ledger.entries() if entry.bytes_in >= 400_000])
    assert (entry.status, entry.complete, entry.body_complete, entry.started) == (None, False, False, False)


@pytest.mark.parametrize(("status", "at"), [(200, 0), (307, 0), (401, 100_000), (413, 100_000), (502, 0)])
def test_an_early_answer_comes_before_the_body_is_whole(sandbox, raw_upload, status, at):
    sandbox.faults.add(f"status call=upload status={status} when=early at_bytes={at} body=html")
    upload = raw_upload(bytes(5_000_000), sent=at)
    answer = upload.answer()
    assert (answer.status, b"<title>" in answer.read()) == (status, True)
    (entry,) = sandbox.ledger.entries("upload")
    assert (entry.body_complete, entry.started) == (False, False)
    assert entry.bytes_in <= at + len(upload.head)


def test_after_an_early_answer_the_rest_is_read_and_the_connection_goes_on(sandbox, raw_upload):
    sandbox.faults.add("status call=upload status=413 when=early")
    upload = raw_upload(bytes(5_000_000))
    assert upload.answer().read()
    upload.send(0)
    upload.socket.sendall(upload.head + upload.body)
    assert json.loads(upload.answer().read())["status"] == "queued"


@pytest.mark.parametrize("then", ["close", "reset"])
def test_an_early_answer_may_end_the_connection(sandbox, raw_upload, then):
    sandbox.faults.add(f"status call=upload status=413 when=early then={then}")
    upload = raw_upload(bytes(5_000_000))
    assert upload.answer().read()
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        while True:
            upload.send(0)


def test_after_an_early_answer_nothing_more_may_be_read(sandbox, raw_upload):
    """The connection stays open, and takes no more than the system buffers."""
    sandbox.faults.add("status call=upload status=413 when=early then=stop_reading")
    upload = raw_upload(bytes(30_000_000))
    assert upload.answer().read()
    upload.socket.settimeout(0.5)
    with pytest.raises(TimeoutError):
        upload.send(0)


@pytest.mark.parametrize("then", ["keep_reading", "stop_reading"])
def test_an_upload_is_accepted_before_its_body_is_whole(sandbox, api, raw_upload, then):
    sandbox.faults.add(f"accept_early at_bytes=100000 then={then}")
    upload = raw_upload(bytes(5_000_000), sent=100_000)
    task = json.loads(upload.answer().read())
    assert task["status"] == "queued"
    assert api.finished(task["task_id"])["status"] == "completed"
    assert sandbox.ledger.starts() == {"": 1}
    assert sandbox.ledger.bodies("upload") == 0


def test_a_key_and_nobody_may_be_refused_the_limits(sandbox, connect):
    sandbox.faults.add("status call=documentation status=401 credential=none times=forever")
    path = "/developer/documentation"
    assert connect(sandbox).get(path).status_code == 403
    assert connect(sandbox, None).get(path).status_code == 401
    assert connect(sandbox, sandbox.session_token()).get(path).status_code == 200


@pytest.mark.parametrize(("kind", "expected"), [("key", [503, 200]), ("token", [200, 503])])
def test_a_fault_may_be_for_one_kind_of_credential(sandbox, connect, kind, expected):
    sandbox.faults.add(f"status status=503 credential={kind}")
    clients = connect(sandbox), connect(sandbox, sandbox.session_token())
    assert [client.get("/transcriptions").status_code for client in clients] == expected
