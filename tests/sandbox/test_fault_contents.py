"""Faults that change what a good answer says: fields, times, sources, and tasks that are not to be seen yet."""

from __future__ import annotations

import time

import pytest

from polyglot_async.sandbox import Fault, Plan, ScriptedEngine

DATA = bytes(range(256)) * 1000


@pytest.fixture
def clock():
    """A clock in a list: tests move it."""
    return [time.time()]


@pytest.fixture
def api_in_time(polyglot_sandbox_factory, connect, clock):
    """A client of a sandbox whose time is the clock's."""

    def start(*faults, **arguments):
        return connect(polyglot_sandbox_factory(faults=faults, now=lambda: clock[0], **arguments))

    return start


def test_names_and_times_can_be_left_out_of_all_answers(sandbox, api):
    sandbox.faults.add("rewrite drop=file_name,created_at times=forever")
    task_id = api.start()
    answers = [api.get("/transcriptions").json()["items"][0], api.finished(task_id)]
    assert all("file_name" not in task and "created_at" not in task for task in answers)
    assert all({"task_id", "status", "updated_at"} <= task.keys() for task in answers)


def test_times_can_be_naive_and_of_another_zone(api_in_time, clock):
    clock[0] = 1_767_225_599.0  # 2025-12-31T23:59:59Z
    api = api_in_time("rewrite utc_offset=3 call=list,get times=forever")
    task_id = api.start()
    tasks = [api.get("/transcriptions").json()["items"][0], api.get(f"/transcriptions/{task_id}").json()]
    assert [task["created_at"] for task in tasks] == ["2026-01-01T02:59:59"] * 2


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("set=confidence:'\"n/a\"'", "confidence", "n/a"),
        ("set=task_id:17", "task_id", 17),
        ("set=task_id:'\"\"'", "task_id", ""),
        ("set=audio_duration_seconds:'\"\"'", "audio_duration_seconds", ""),
        ("set='failure_reason:{\"code\": 5}'", "failure_reason", {"code": 5}),
        ("set=new_field:null", "new_field", None),
    ],
)
def test_a_field_of_an_upload_can_be_anything(sandbox, api, change, field, value):
    sandbox.faults.add(f"rewrite call=upload {change}")
    answer = api.upload()
    assert (answer.status_code, answer.json()[field]) == (200, value)
    assert answer.headers["content-length"] == str(len(answer.content))
    assert sum(sandbox.ledger.starts().values()) == 1


@pytest.mark.parametrize(
    ("drop", "left"), [("task_id", {"status"}), ("status", {"task_id"}), ("status,task_id", set())]
)
def test_a_field_of_an_upload_can_be_missing(sandbox, api, drop, left):
    sandbox.faults.add(f"rewrite call=upload drop={drop}")
    assert api.upload().json().keys() == left


def test_a_status_can_be_spelt_otherwise_where_it_is_reached(polyglot_sandbox_factory, connect, until):
    sandbox = polyglot_sandbox_factory(
        engine=ScriptedEngine(seconds=0.2),
        faults=["""rewrite where='status:"completed"' set='status:"COMPLETED"' times=forever"""],
    )
    api = connect(sandbox)
    path = f"/transcriptions/{api.start()}"
    assert api.get(path).json()["status"] in {"queued", "processing"}
    assert until(lambda: api.get(path).json()["status"] == "COMPLETED")
    assert api.get("/transcriptions").json()["items"][0]["status"] == "COMPLETED"


def test_a_path_reaches_into_a_field(sandbox, api):
    task_id = sandbox.put_source(b"x", text="Hello.")
    sandbox.faults.add("rewrite call=result set=segments.0.end:null set=transcript:null drop=segments.*.start")
    result = api.get(f"/transcriptions/{task_id}/result").json()
    assert (result["segments"], result["transcript"]) == ([{"end": None, "text": "Hello."}], None)


def test_two_rewrites_of_one_answer(sandbox, api):
    sandbox.faults.add(Fault("rewrite", set=("confidence:0.5",), times=None))
    sandbox.faults.add(Fault("rewrite", drop="file_name"))
    task = api.get(f"/transcriptions/{sandbox.put_source(b'x')}").json()
    assert (task["confidence"], "file_name" in task) == (0.5, False)


def test_errors_and_files_are_not_rewritten(sandbox, api):
    task_id = sandbox.put_source(DATA)
    sandbox.faults.add("rewrite set=task_id:1 times=forever")
    assert api.get("/transcriptions/none").json() == {"detail": "Task not found."}
    assert api.get(f"/transcriptions/{task_id}/source").content == DATA


def test_a_new_task_is_not_to_be_seen_for_a_while(api_in_time, clock):
    """Not in the list, not by its id; older ones are."""
    api = api_in_time("lag seconds=3 times=forever")
    old = api.start(name="old.mp3")
    clock[0] += 2
    new = api.start(name="new.mp3")
    clock[0] += 1
    page = api.get("/transcriptions").json()
    assert ([task["task_id"] for task in page["items"]], page["total"]) == ([old], 1)
    assert [api.get(f"/transcriptions/{new}{path}").status_code for path in ("", "/result", "/source")] == [404] * 3
    clock[0] += 2
    assert api.get("/transcriptions").json()["total"] == 2
    assert api.get(f"/transcriptions/{new}").status_code == 200


def test_only_the_list_may_lag(api_in_time):
    api = api_in_time("lag seconds=3 call=list times=forever")
    task_id = api.start()
    assert api.get("/transcriptions").json()["total"] == 0
    assert api.get(f"/transcriptions/{task_id}").status_code == 200


@pytest.mark.parametrize("status", [404, 409])
def test_a_source_comes_after_a_while(api_in_time, clock, status):
    api = api_in_time(f"status call=source status={status} within=3 times=forever")
    path = f"/transcriptions/{api.start(DATA)}/source"
    assert [api.get(path).status_code for _ in range(3)] == [status] * 3
    clock[0] += 3
    assert api.get(path).content == DATA


@pytest.mark.parametrize("status", [404, 409])
def test_a_source_comes_after_some_requests(sandbox, api, status):
    path = f"/transcriptions/{sandbox.put_source(DATA)}/source"
    sandbox.faults.add(f"status call=source status={status} times=2")
    assert [api.get(path).status_code for _ in range(3)] == [status, status, 200]


def test_a_result_may_come_a_while_after_the_end(api_in_time, clock, until):
    """`within` counts from the end of the task for a result, from its start for everything else."""
    api = api_in_time("status call=result,get status=404 within=3 times=forever", engine=ScriptedEngine(seconds=0.2))
    path = f"/transcriptions/{api.start()}"
    clock[0] += 10
    until(lambda: api.get(path).json()["status"] == "completed")
    assert [api.get(f"{path}{end}").status_code for end in ("", "/result")] == [200, 404]
    clock[0] += 3
    assert api.get(f"{path}/result").status_code == 200


def test_a_transcoding_service_gives_other_bytes(sandbox, api):
    path = f"/transcriptions/{api.start(DATA)}/source"
    sandbox.faults.add("transcode times=forever")
    whole = api.get(path)
    assert len(whole.content) > len(DATA)
    assert whole.content[-len(DATA) :] != DATA
    tail = api.get(path, headers={"Range": "bytes=-1000"})
    assert (tail.status_code, tail.content) == (206, whole.content[-1000:])
    assert tail.headers["content-range"].endswith(f"/{len(whole.content)}")
    assert DATA[-1000:] != tail.content
    sandbox.faults.clear()
    original = api.get(path)
    assert (original.content, original.headers["etag"] == whole.headers["etag"]) == (DATA, False)


def test_a_source_that_was_replaced_is_transcoded_anew(sandbox, api):
    sandbox.faults.add("transcode times=forever")
    task_id = sandbox.put_source(b"one")
    one = api.get(f"/transcriptions/{task_id}/source").content
    sandbox.put_source(b"other", task_id)
    assert len(api.get(f"/transcriptions/{task_id}/source").content) == len(one) + 2


def test_a_range_can_be_ignored(sandbox, api):
    sandbox.faults.add("ignore_range times=forever")
    answer = api.get(f"/transcriptions/{sandbox.put_source(DATA)}/source", headers={"Range": "bytes=-10"})
    assert (answer.status_code, answer.content, "content-range" in answer.headers) == (200, DATA, False)


def test_modifiers_go_together_with_an_answer(sandbox, api):
    """All of them hit; the ledger names each."""
    sandbox.faults.add("lag seconds=60")
    sandbox.faults.add("rewrite set=items:[]")
    sandbox.faults.add("status status=502 when=after")
    assert api.get("/transcriptions").status_code == 502
    assert sandbox.ledger.entries()[0].fault == "lag+rewrite+status"


def test_faults_do_not_change_what_is_counted(polyglot_sandbox_factory, connect):
    """A request that a fault answers is a request all the same."""
    sandbox = polyglot_sandbox_factory(plan=Plan(requests_per_minute=2), faults=["status status=500 times=2"])
    statuses = [connect(sandbox).get("/transcriptions").status_code for _ in range(3)]
    assert statuses == [500, 500, 429]
