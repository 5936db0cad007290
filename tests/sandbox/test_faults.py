"""Each fault, as a client on a real socket meets it."""

from __future__ import annotations

import http.client
import json
import shlex
import time
from dataclasses import asdict
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async.sandbox import Fault, Faults, describe_faults


@pytest.fixture
def raw(sandbox):
    """A connection without a library's opinions."""
    address = urlsplit(sandbox.url)
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    connections = []

    def get(path="/transcriptions"):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        connections.append(connection)
        connection.request("GET", address.path + path, headers=headers)
        return connection.getresponse()

    yield get
    for connection in connections:
        connection.close()


def read_all(answer, got: bytearray) -> None:
    """Read in small pieces, so that what came before a cut is kept; IncompleteRead if it ends too early."""
    while piece := answer.read(1000):
        got += piece
    if answer.length:
        raise http.client.IncompleteRead(bytes(got), answer.length)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503])
def test_a_status_is_answered_so_often_and_nothing_is_processed(sandbox, api, status):
    sandbox.faults.add(Fault("status", call="upload", status=status, times=2))
    assert [api.upload().status_code for _ in range(3)] == [status, status, 200]
    assert api.get("/transcriptions").json()["total"] == 1
    assert [entry.fault for entry in sandbox.ledger.entries(call="upload")] == ["status", "status", None]


def test_a_429_with_and_without_retry_after(sandbox, api):
    sandbox.faults.add("status status=429 retry_after=7 detail='Slow down.'")
    sandbox.faults.add("status status=429")
    first, second = api.get("/transcriptions"), api.get("/transcriptions")
    assert (first.json(), first.headers["retry-after"]) == ({"detail": "Slow down."}, "7")
    assert "retry-after" not in second.headers
    assert second.json()["detail"]


def test_latency_delays_a_good_answer(sandbox, api):
    sandbox.faults.add("latency seconds=0.2")
    started = time.monotonic()
    assert api.get("/transcriptions").status_code == 200
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("text", ["reset_before_body", "reset_during_body at_bytes=65536"])
def test_a_reset_before_or_during_the_body_starts_nothing(sandbox, api, text):
    sandbox.faults.add(text)
    with pytest.raises(httpx.TransportError):
        api.upload(bytes(30_000_000))
    (entry,) = sandbox.ledger.entries(call="upload")
    assert (entry.status, entry.complete, entry.task_id) == (None, False, None)
    assert entry.bytes_in < 1_000_000
    assert (entry.bytes_in > 0) == text.startswith("reset_during")
    assert api.get("/transcriptions").json()["total"] == 0
    assert list((sandbox.folder / "incoming").iterdir()) == []


def test_a_reset_after_the_body_has_started_a_task(sandbox, api):
    sandbox.faults.add("reset_after_body call=upload")
    with pytest.raises(httpx.ReadError):
        api.upload(bytes(100_000))
    (entry,) = sandbox.ledger.entries(call="upload")
    assert (entry.status, entry.complete, entry.fault) == (None, False, "reset_after_body")
    assert api.get("/transcriptions").json()["items"][0]["task_id"] == entry.task_id


@pytest.mark.parametrize(
    ("kind", "error"), [("truncate", http.client.IncompleteRead), ("reset_response", ConnectionResetError)]
)
def test_an_answer_is_cut_at_a_byte(sandbox, api, raw, kind, error):
    data = bytes(range(256)) * 4000
    path = f"/transcriptions/{api.start(data)}/source"
    sandbox.faults.add(Fault(kind, call="source", at_bytes=700_001))
    answer = raw(path)
    assert answer.headers["Content-Length"] == str(len(data))
    got = bytearray()
    with pytest.raises(error):
        read_all(answer, got)
    assert got == data[: len(got)]
    assert len(got) > 690_000
    (entry,) = sandbox.ledger.entries(call="source")
    assert (entry.status, entry.bytes_out, entry.complete) == (200, 700_001, False)


def test_a_small_answer_is_cut_in_its_middle(sandbox, raw):
    sandbox.faults.add("truncate")
    with pytest.raises(http.client.IncompleteRead) as caught:
        raw().read()
    assert len(caught.value.partial) == 22
    assert raw().read() == b'{"items":[],"total":0,"limit":20,"offset":0}'


@pytest.mark.parametrize(("at", "length"), [("", 37), ("at_bytes=3", 3), ("at_bytes=100", 100)])
def test_a_wrong_length(sandbox, raw, at, length):
    sandbox.faults.add(f"wrong_length {at}")
    answer = raw()
    assert answer.headers["Content-Length"] == str(length)
    assert answer.headers["X-Request-Id"]
    whole = b'{"items":[],"total":0,"limit":20,"offset":0}'
    if length > len(whole):
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
        assert caught.value.partial == whole
    else:
        assert answer.read() == whole[:length]


def test_garbage_is_a_good_status_with_a_bad_body_and_the_work_done(sandbox, api):
    sandbox.faults.add("garbage call=upload")
    answer = api.upload()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer.content)
    assert api.get("/transcriptions").json()["total"] == 1


def test_garbage_replaces_a_stream_too(sandbox, api):
    task_id = api.start(bytes(3_000_000))
    sandbox.faults.add("garbage")
    assert len(api.get(f"/transcriptions/{task_id}/source").content) < 100


def test_a_stall_lasts_until_the_client_leaves(sandbox, api, until):
    sandbox.faults.add("stall at_bytes=10")
    with pytest.raises(httpx.ReadTimeout):
        api.get("/transcriptions", timeout=0.3)
    entry = until(lambda: [entry for entry in sandbox.ledger.entries() if entry.bytes_out])[0]
    assert (entry.bytes_out, entry.complete) == (10, False)


def test_a_stall_may_end(sandbox, api):
    sandbox.faults.add("stall seconds=0.2")
    started = time.monotonic()
    assert api.get("/transcriptions").json()["total"] == 0
    assert time.monotonic() - started >= 0.2


def test_slow_is_a_rate_and_goes_with_another_fault(sandbox, api):
    sandbox.faults.add("slow bytes_per_second=200 times=forever")
    sandbox.faults.add("status status=503")
    started = time.monotonic()
    assert api.get("/transcriptions").status_code == 503
    assert 0.15 < time.monotonic() - started < 1.5
    assert sandbox.ledger.entries()[0].fault == "slow+status"


def test_faults_wait_for_their_call_and_their_turn():
    faults = Faults(["status call=get after=1 times=2", "truncate call=get", "latency seconds=1 times=forever"])
    kinds = [[fault.kind for fault in faults.take(call)] for call in ("list", "get", "get", "get", "get")]
    assert kinds == [
        ["latency"],
        ["truncate", "latency"],
        ["status", "latency"],
        ["status", "latency"],
        ["latency"],
    ]
    faults.clear()
    assert faults.take("get") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "odd",
        "status call=odd",
        "status status=999",
        "status status=x",
        "status odd=1",
        "status 503",
        "latency",
        "slow",
        "stall seconds=-1",
        "status 'unclosed",
        "latency seconds=inf",
        "latency seconds=nan",
        "status when=later",
        "status then=sleep",
        "status body=pdf",
        "status json={",
        "status header=nonsense",
        "status header='A: b\r\nC: d'",
        "status credential=jwt",
        "status at_bytes=-1",
        "status call=list,odd",
        "status set=a:1",
        "reset_after_body at_bytes=5",
        "lag",
        "slow bytes_per_second=0",
        "rewrite set=a",
        "rewrite set=a:b",
        "rewrite set=:1",
        "rewrite where=a",
        "rewrite utc_offset=24",
        "rewrite utc_offset=x",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(sandbox, api, text):
    with pytest.raises(ValueError, match=r"."):
        Fault.parse(text)
    assert api.post(f"{sandbox.root_url}/_sandbox/faults", content=text).status_code == 400


def test_the_text_form():
    assert Fault.parse("status call=upload status=503 times=2 retry_after=1 after=3") == Fault(
        "status", call="upload", status=503, times=2, retry_after=1.0, after=3
    )
    assert Fault.parse("stall times=forever") == Fault("stall", times=None)


def test_a_list_of_values_and_a_list_of_calls():
    fault = Fault.parse("rewrite call=list,get set=a:1 set='b:[2, 3]' drop=c,d drop=e")
    assert (fault.set, fault.drop) == (("a:1", "b:[2, 3]"), ("c", "d", "e"))
    assert [bool(Faults([fault]).take(call)) for call in ("list", "get", "upload")] == [True, True, False]


def test_the_help_lists_every_kind_and_faults_that_can_be_parsed():
    text = describe_faults()
    recipes = [line for line in text.splitlines() if line.startswith("    ")]
    kinds = {Fault.parse(recipe).kind for recipe in recipes}
    assert len(recipes) >= 10
    assert all(f"  {kind}: " in text for kind in kinds | {"stall", "wrong_length", "close_after_body"})


WORDS = st.sampled_from(
    ["status", "rewrite", "times", "set", "drop", "header", "json", "call", "=", ":", "1", "\\", "'"]
)


@given(st.text() | st.lists(WORDS | st.text(max_size=3)).map("".join))
def test_any_text_is_a_fault_or_a_value_error(text):
    for candidate in (text, f"status {text}", f"rewrite set={text}", f"rewrite set={shlex.quote(text)}"):
        try:
            fault = Fault.parse(candidate)
        except ValueError:
            continue
        assert fault == Fault.from_mapping(json.loads(json.dumps(asdict(fault))))


def test_the_control_pages(sandbox, api):
    """Faults and ledger by HTTP, for tests in other languages; they enter no ledger themselves."""
    pages = f"{sandbox.root_url}/_sandbox"
    assert api.post(f"{pages}/faults", json={"kind": "status", "status": 502}).status_code == 201
    assert api.post(f"{pages}/faults", json="latency seconds=0").status_code == 201
    assert api.post(f"{pages}/faults", content="garbage call=get").status_code == 201
    assert [fault["kind"] for fault in api.get(f"{pages}/faults").json()] == ["status", "latency", "garbage"]
    assert api.get("/transcriptions").status_code == 502
    assert api.delete(f"{pages}/faults").status_code == 204
    api.get("/transcriptions")
    entries = api.get(f"{pages}/ledger", params={"call": "list", "status": "502"}).json()
    assert [(entry["number"], entry["fault"]) for entry in entries] == [(1, "status+latency")]
    assert api.get(f"{pages}/state").json()["requests"] == 2
    assert api.get(f"{pages}/deliveries").json() == []
    assert api.delete(f"{pages}/ledger").status_code == 204
    assert sandbox.ledger.entries() == []
    assert api.get(f"{pages}/odd").status_code == 404
