"""Tasks that a test puts into the sandbox without an upload."""

from __future__ import annotations

import pytest


def test_a_source_is_there_as_if_it_had_been_uploaded(sandbox, api):
    task_id = sandbox.put_source(b"film bytes", name="фильм.mp4", text="Hello.", created_at=1_767_225_600.0)
    task = api.get(f"/transcriptions/{task_id}").json()
    assert (task["status"], task["file_name"], task["created_at"]) == ("completed", "фильм.mp4", "2026-01-01T00:00:00Z")
    assert api.get(f"/transcriptions/{task_id}/source", headers={"Range": "bytes=5-"}).content == b"bytes"
    assert api.get(f"/transcriptions/{task_id}/result").json()["transcript"] == "Hello."
    assert api.get("/transcriptions").json()["items"] == [task]


def test_it_is_no_start_and_no_request(sandbox):
    sandbox.put_source(b"x")
    assert (sandbox.ledger.starts(), sandbox.ledger.count()) == ({}, 0)


def test_an_id_may_be_chosen(sandbox, api):
    assert sandbox.put_source(b"x", "film") == "film"
    assert api.get("/transcriptions/film/source").content == b"x"


def test_the_source_of_an_uploaded_task_is_replaced_and_nothing_else(sandbox, api):
    task_id = api.start(b"old", "a.mp3")
    before = api.finished(task_id)
    old = api.get(f"/transcriptions/{task_id}/source").headers["etag"]
    assert sandbox.put_source(b"new", task_id) == task_id
    answer = api.get(f"/transcriptions/{task_id}/source")
    assert (answer.content, answer.headers["etag"] == old) == (b"new", False)
    assert api.get(f"/transcriptions/{task_id}").json() == before


def test_a_download_under_way_reads_the_old_bytes_on(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(source_bytes_per_second=1_000_000)
    task_id = sandbox.put_source(b"a" * 300_000)
    with connect(sandbox).stream("GET", f"/transcriptions/{task_id}/source") as answer:
        pieces = answer.iter_raw(10_000)
        next(pieces)
        sandbox.put_source(b"b" * 300_000, task_id)
        assert set(b"".join(pieces)) == set(b"a")


@pytest.mark.parametrize("status", ["queued", "processing", "failed", "cancelled"])
def test_a_task_may_have_any_status(sandbox, api, status):
    assert api.get(f"/transcriptions/{sandbox.put_source(b'x', status=status)}").json()["status"] == status


def test_an_unknown_status_is_refused(sandbox):
    with pytest.raises(ValueError, match="status is one of queued"):
        sandbox.put_source(b"x", status="done")


def test_it_may_belong_to_another_user(sandbox, api):
    task_id = sandbox.put_source(b"x", user="eve")
    assert api.get(f"/transcriptions/{task_id}").status_code == 404
