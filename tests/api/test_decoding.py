"""JSON to values: one odd field loses nothing else, nothing unknown is lost, and what is useless has one error."""

import contextlib
import copy
import json
import math
import pickle
import sys
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyglot_async import Segment, Task, TaskPage, TaskStatus, Transcript, WebhookEvent
from polyglot_async._api.decoding import (
    decode_json,
    read_event,
    read_page,
    read_started,
    read_task,
    read_transcript,
    task_id_in,
)

READERS = {Task: read_task, Transcript: read_transcript, WebhookEvent: read_event, TaskPage: read_page}

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
# Names that the models know, so that hypothesis finds the fields.
field_names = st.sampled_from(
    ["task_id", "status", "model", "confidence", "segments", "transcript", "text", "updated_at", "created_at", "event",
     "has_transcript", "failure_reason", "extra", "audio_duration_seconds", "start", "end", "id", "task", "data",
     "result", "items", "total", "next_cursor"]
)  # fmt: skip
near_models = st.dictionaries(
    field_names, any_json | st.lists(st.dictionaries(field_names, any_json, max_size=4)), max_size=8
)
CONTRACT_TASK = {
    "task_id": "9b9c1b9a", "status": "completed", "model": "fast", "input_language": "en", "output_language": "ru",
    "audio_duration_seconds": 125.4, "confidence": 0.94, "transcript_preview": "Hello, ...",
}  # fmt: skip
CONTRACT_RESULT = {
    "task_id": "a", "transcript": "Hello", "translation": "Привет", "confidence": 0.94,
    "segments": [{"start": 0.0, "end": 2.4, "text": "Hello..."}], "updated_at": "2026-05-24T12:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize("cls", READERS)
@given(any_json | near_models)
def test_any_json_is_read_or_a_value_error(cls, value):
    try:
        built = READERS[cls](value)
    except ValueError:
        return
    assert isinstance(built, cls)


@given(st.dictionaries(field_names, any_json, max_size=8), st.text(min_size=1).filter(str.strip) | st.integers())
def test_an_id_is_enough_for_a_task_whatever_else_is_odd(fields, task_id):
    for value in ({**fields, "task_id": task_id}, {"id": task_id}, {"task": {**fields, "task_id": task_id}}):
        for read in (read_task, read_started):
            task = read(value)
            assert str(task_id) == task.task_id
            assert isinstance(task.status, TaskStatus)
            assert task.confidence is None or math.isfinite(task.confidence)


@given(st.text(), near_models)
def test_a_text_is_enough_for_a_transcript_whatever_else_is_odd(text, fields):
    transcript = read_transcript({**fields, "transcript": text}, "asked-for")

    assert text == transcript.text
    assert transcript.task_id
    json.loads(transcript.render("json"), parse_constant=pytest.fail)


# -- as the contract has it


def test_the_contracts_task_is_read_as_it_stands():
    assert Task(
        task_id="9b9c1b9a",
        status=TaskStatus.COMPLETED,
        model="fast",
        input_language="en",
        output_language="ru",
        audio_duration_seconds=125.4,
        confidence=0.94,
        transcript_preview="Hello, ...",
    ) == read_task(CONTRACT_TASK)


def test_the_contracts_result_is_read_as_it_stands():
    assert Transcript(
        task_id="a",
        text="Hello",
        translation="Привет",
        confidence=0.94,
        segments=(Segment(0.0, 2.4, "Hello..."),),
        updated_at=datetime(2026, 5, 24, 12, tzinfo=UTC),
    ) == read_transcript(CONTRACT_RESULT)


def test_the_contracts_webhook_is_read_as_it_stands():
    event = read_event(
        {
            "event": "transcription.completed",
            "task_id": "a",
            "status": "completed",
            "model": "fast",
            "failure_reason": None,
            "has_transcript": True,
            "has_translation": True,
            "transcript_preview": "Hello",
        }
    )

    assert (True, True, None, {}) == (event.has_transcript, event.has_translation, event.failure_reason, event.extra)


# -- fields of an unexpected type


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("confidence", "0.94", 0.94), ("confidence", " 0.94 ", 0.94), ("confidence", "1e-1", 0.1),
        ("confidence", "n/a", None), ("confidence", "", None), ("confidence", True, None), ("confidence", [0.9], None),
        ("confidence", {"value": 0.9}, None), ("confidence", 10**400, None), ("confidence", "1e999", None),
        ("confidence", "nan", None), ("confidence", "1_0", None), ("confidence", "9" * 5000, None),
        ("audio_duration_seconds", "", None), ("audio_duration_seconds", "125.4", 125.4),
        ("audio_duration_seconds", "00:02:05", None),
        ("model", 2, "2"), ("model", {}, None), ("model", False, None), ("model", 2.5, None),
        ("failure_reason", {"code": "too_quiet"}, None), ("failure_reason", ["a"], None),
        ("transcript_preview", ["a"], None), ("file_name", 17, "17"),
        ("created_at", "yesterday", None), ("created_at", 1779624000, None), ("created_at", {}, None),
        ("task_id", 17, "17"),
        ("status", "COMPLETED", TaskStatus.COMPLETED), ("status", " Done ", TaskStatus.COMPLETED),
    ],
)  # fmt: skip
def test_a_field_is_what_it_plainly_means_or_none_and_stays_in_extra_as_it_came(name, value, expected):
    task = read_task({"task_id": "a", "status": "queued", name: value})

    assert expected == getattr(task, name)
    assert type(expected) is type(getattr(task, name))
    assert {name: value} == task.extra


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_is_none(value):
    task = read_task({"task_id": "a", "status": "queued", "confidence": value})

    assert None is task.confidence
    assert repr(value) == repr(task.extra["confidence"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, True), (0, False), (1.0, True), ("true", True), ("FALSE", False), ("1", True),
     ("no", False), (None, False), ("maybe", False), (2, False), ([], False)],
)  # fmt: skip
def test_booleans_are_understood_as_people_write_them(value, expected):
    event = read_event({"task_id": "a", "status": "completed", "has_transcript": value})

    assert expected is event.has_transcript
    assert (type(value) not in {bool, type(None)}) == ("has_transcript" in event.extra)


def test_a_whole_number_may_stand_for_a_float():
    task = read_task({"task_id": "a", "status": "queued", "audio_duration_seconds": 125})

    assert (float, 125.0, {}) == (type(task.audio_duration_seconds), task.audio_duration_seconds, task.extra)


def test_null_is_as_good_as_missing():
    task = read_task({"task_id": "a", "status": "queued", "model": None, "confidence": None, "created_at": None})
    event = read_event({"event": "e", "task_id": "a", "status": "failed", "has_transcript": None})

    assert Task(task_id="a", status=TaskStatus.QUEUED) == task
    assert () == read_transcript({"task_id": "a", "transcript": "t", "segments": None}).segments
    assert False is event.has_transcript


# -- ids


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"task_id": "a"}, "a"),
        ({"id": "a"}, "a"),
        ({"task_id": "a", "id": "b"}, "a"),
        ({"task_id": "", "id": "b", "file_name": "talk.mp3"}, "b"),
        ({"task_id": {}, "id": "b", "status": "queued"}, "b"),
        ({"id": "a", "error": None, "task_id": None}, "a"),
        ({"id": 17}, "17"),
        ({"task": {"task_id": "a"}}, "a"),
        ({"data": {"id": "a"}}, "a"),
        ({"result": {"task_id": 5}, "id": "a request's"}, "5"),
        ({"status": "ok", "task": {"id": "a", "status": "queued"}}, "a"),
    ],
)
def test_the_id_is_found_wherever_it_plainly_is(value, expected):
    assert expected == read_task(value).task_id == read_started(value).task_id


@pytest.mark.parametrize(
    "value",
    [None, 5, "a", [], ["a"], {}, {"status": "queued"}, {"task_id": None}, {"task_id": ""}, {"task_id": " \n"},
     {"task_id": True}, {"task_id": 1.5}, {"task_id": ["a"]}, {"task": "a"}, {"data": [{"task_id": "a"}]},
     {"task_id": "", "id": ""}, {"task_id": "."}, {"task_id": ".."}, {"task_id": "\ud800"}, {"task_id": "x" * 70_000}],
)  # fmt: skip
def test_without_an_id_there_is_no_task(value):
    for read in (read_task, read_started):
        with pytest.raises(ValueError, match="no task id in"):
            read(value)
    with pytest.raises(ValueError, match="no task id in"):
        read_event(value if not isinstance(value, dict) else {**value, "event": "transcription.completed"})


def test_the_fields_beside_a_wrapper_are_kept():
    task = read_task({"data": {"id": "a", "model": "fast"}, "request": 7})

    assert ("a", "fast", {"id": "a", "request": 7}) == (task.task_id, task.model, task.extra)


@pytest.mark.parametrize(
    ("value", "task_id"),
    [
        ({"id": "answer", "task": {"id": "a"}}, "a"),
        ({"id": "answer", "status": "ok", "data": {"id": "a", "status": "queued"}}, "a"),
        ({"id": "answer", "result": {"id": "a", "status": "queued"}}, "a"),
        ({"id": "answer", "data": {"task_id": "a"}}, "a"),
        ({"id": "a", "status": "completed", "result": {"id": "transcript", "text": "Hi."}}, "a"),
        ({"id": "a", "status": "completed", "data": {"size": 7}}, "a"),
        ({"task_id": "a", "task": {"id": "other"}}, "a"),
    ],
    ids=str,
)
def test_an_id_beside_a_wrapped_task_is_that_of_the_answer(value, task_id):
    assert task_id == read_task(value).task_id == read_started(value).task_id


OF_THE_ANSWER = [
    {"id": "r", "ok": True},
    {"id": "r", "success": False, "error": "busy"},
    {"id": "r", "message": "Accepted", "request_id": "r"},
    {"id": "r", "task_id": ""},
    {"id": "r", "status": "Success"},
    {"id": "r", "status": 200, "detail": "try later"},
    {"id": "r", "model": None, "ok": True},
    {"id": "r", "data": {"message": "Accepted"}},
    {"id": "r", "task": {"status": "queued"}},
    {"data": {"id": "r", "ok": True}},
    {"ok": True, "result": {"id": "r", "message": "Accepted"}},
]


@pytest.mark.parametrize("value", OF_THE_ANSWER, ids=str)
def test_a_plain_id_that_may_be_that_of_the_answer_is_no_tasks(value):
    """A wrong id would be waited for in vain, while the task that was paid for is lost."""
    for read in (read_task, read_started):
        with pytest.raises(ValueError, match="no task id in"):
            read(value)


@pytest.mark.parametrize("value", OF_THE_ANSWER, ids=str)
def test_what_is_listed_among_tasks_is_one(value):
    assert ["r"] == [task.task_id for task in read_page([value]).items]


@pytest.mark.parametrize("field", ["model", "created_at", "file_name", "filename", "name", "audio_duration_seconds"])
def test_a_plain_id_beside_what_tasks_have_is_a_tasks(field):
    value = {"id": "a", "ok": True, "message": "Accepted", field: "?"}
    for nested in (value, {"data": value}, {"id": "r", "ok": True, "result": value}):
        assert "a" == read_started(nested).task_id


@pytest.mark.parametrize("zero", ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1900-01-01T00:00:00"])
def test_the_zero_of_a_clock_is_no_time(zero):
    task = read_task({"task_id": "a", "created_at": zero})
    assert (None, zero) == (task.created_at, task.extra["created_at"])


# -- statuses


@pytest.mark.parametrize(
    "fields", [{}, {"status": None}, {"status": ""}, {"status": " "}, {"status": 5}, {"status": {}}]
)
def test_a_missing_status_is_queued_after_an_upload_and_unknown_elsewhere(fields):
    assert TaskStatus.QUEUED is read_started({"task_id": "a", **fields}).status
    task = read_task({"task_id": "a", **fields})
    assert ("unknown", False, False) == (task.status, task.status.is_final, task.status.is_known)


@given(st.text(min_size=1).filter(str.strip))
@example("paused")
@example("in_progress")
def test_an_unknown_status_is_kept_as_it_came(word):
    status = read_task({"task_id": "a", "status": word}).status

    assert isinstance(status, TaskStatus)
    if not status.is_known:
        assert (word, word, word, False) == (status, str(status), status.value, status.is_final)
        assert hash(word) == hash(status)
        assert word == pickle.loads(pickle.dumps(status)) == copy.deepcopy(status)
        assert json.dumps(word) == json.dumps(status)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"event": "transcription.failed"}, ("transcription.failed", "failed")),
        ({"event": "transcription.error"}, ("transcription.error", "failed")),
        ({"event": "transcription.updated"}, ("transcription.updated", "unknown")),
        ({"status": "completed"}, ("transcription.completed", "completed")),
        ({"event": "e", "status": "paused"}, ("e", "paused")),
        ({"event": ["e"], "status": "done"}, ("transcription.completed", "completed")),
        ({"event": "transcription.completed", "status": 3}, ("transcription.completed", "completed")),
    ],
)
def test_an_event_needs_a_status_or_a_name(fields, expected):
    event = read_event({"task_id": "a", **fields})

    assert expected == (event.event, event.status)


@pytest.mark.parametrize("fields", [{}, {"event": None}, {"event": " ", "status": ""}, {"event": [], "status": 1}])
def test_an_event_without_either_is_a_value_error(fields):
    with pytest.raises(ValueError, match="neither a status nor an event"):
        read_event({"task_id": "a", **fields})


# -- unknown fields


@given(st.dictionaries(st.text(), any_json))
def test_unknown_fields_are_kept_whatever_they_are_called(unknown):
    known = {"task_id": "a", "status": "queued"}
    names = {field.name for field in attrs.fields(Task)} - {"extra"}
    expected = {name: item for name, item in unknown.items() if name not in names}

    task = read_task({**unknown, **dict.fromkeys(names), **known})

    assert json.dumps(expected) == json.dumps(task.extra)


@pytest.mark.parametrize("value", [None, 1, {"a": None}])
def test_an_unknown_field_may_itself_be_called_extra(value):
    segment = {"start": 0, "end": 1, "text": "t", "extra": value}

    assert {"extra": value} == read_task({"task_id": "a", "status": "queued", "extra": value}).extra
    assert {"extra": value} == read_transcript({"transcript": "t", "segments": [segment]}).segments[0].extra


@pytest.mark.parametrize("cls", READERS)
@given(near_models)
def test_the_parsed_json_is_left_as_it_was(cls, value):
    before = json.dumps(value)
    with contextlib.suppress(ValueError):
        READERS[cls](value)
    assert before == json.dumps(value)


# -- times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-24T12:00:00Z", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24T15:00:00+03:00", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24T12:00:00", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24 12:00:00.250000", datetime(2026, 5, 24, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        (None, None),
    ],
)
def test_times_become_utc_and_a_bad_one_costs_nothing_else(text, expected):
    task = read_task({"task_id": "a", "status": "queued", "created_at": text})

    assert expected == task.created_at
    assert task.created_at is None or task.created_at.tzinfo is UTC


# -- transcripts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"transcript": None, "segments": []}, ""),
        ({"transcript": None}, ""),
        ({"transcript": "", "segments": []}, ""),
        ({"segments": []}, ""),
        ({"transcript": None, "status": "COMPLETED"}, ""),
        ({"transcript": None, "segments": [{"start": 0, "end": 1, "text": " Hello"}, {"start": 1, "text": "you "}]},
         "Hello you"),
        ({"transcript": {}, "segments": [{"start": 0, "end": 1, "text": "Hello"}]}, "Hello"),
        ({"text": "Hello"}, "Hello"),
        ({"transcript": {"text": "Hello"}}, "Hello"),
        ({"result": {"transcript": "Hello"}, "task_id": "a"}, "Hello"),
        ({"transcript": 1984}, "1984"),
    ],
)  # fmt: skip
def test_text_or_segments_or_silence_make_a_transcript(value, text):
    transcript = read_transcript(value, "asked-for")

    assert text == transcript.text
    assert ("a" if "task_id" in value else "asked-for") == transcript.task_id


@pytest.mark.parametrize(
    "value",
    [None, 5, "Hello", [], {}, {"task_id": "a"}, {"task_id": "a", "translation": "Hello"}, {"transcript": ["a"]},
     {"transcript": {}, "segments": []}, {"segments": "none"}, {"segments": None},
     {"transcript": None, "status": "processing"}, {"status": "queued", "transcript": None, "segments": []}],
)  # fmt: skip
def test_without_text_and_segments_there_is_no_transcript(value):
    with pytest.raises(ValueError, match=r"neither text nor segments|no transcript"):
        read_transcript(value)


@pytest.mark.parametrize(
    ("segments", "expected", "dropped"),
    [
        ([{"start": 0, "end": None, "text": "a"}, {"start": 2.5, "end": 3, "text": "b"}],
         [(0.0, 2.5, "a"), (2.5, 3.0, "b")], None),
        ([{"start": 0, "text": "a"}, {"start": 2, "end": 3, "text": "b"}], [(0.0, 2.0, "a"), (2.0, 3.0, "b")], None),
        ([{"start": 1, "end": None, "text": "a b c d e"}], [(1.0, 3.0, "a b c d e")], None),
        ([{"start": 1, "end": "soon", "text": "a"}], [(1.0, 2.0, "a")], None),
        ([{"end": 1, "text": "a"}, {"end": 2, "text": "b"}], [(0.0, 1.0, "a"), (1.0, 2.0, "b")], None),
        ([{"text": "a"}, {"text": "b"}], [(0.0, 0.0, "a"), (0.0, 1.0, "b")], None),
        ([{"start": "0.5", "end": "1.5", "text": "a"}], [(0.5, 1.5, "a")], None),
        ([{"start": 2, "end": 3, "text": "b"}, {"start": 0, "end": 1, "text": "a"}],
         [(0.0, 1.0, "a"), (2.0, 3.0, "b")], None),
        ([{"start": 3, "end": 1, "text": "a"}], [(3.0, 1.0, "a")], None),
        ([{"start": 0, "end": math.inf, "text": "a"}, {"start": math.nan, "end": 1, "text": "b"}],
         [(0.0, 0.0, "a"), (0.0, 1.0, "b")], None),
        ([{"start": 0, "end": 1, "text": 5}], [(0.0, 1.0, "5")], None),
        ([{"start": 0, "end": 1, "text": ""}], [(0.0, 1.0, "")], None),
        ([{"start": 0, "end": 1, "text": None}, {"start": 1, "end": 2, "text": "b"}], [(1.0, 2.0, "b")],
         [{"start": 0, "end": 1, "text": None}]),
        ([None, 5, "abc", [], {}, {"start": 0, "end": 1}, {"start": 1, "end": 2, "text": "b"}], [(1.0, 2.0, "b")],
         [None, 5, "abc", [], {}, {"start": 0, "end": 1}]),
    ],
)  # fmt: skip
def test_segments_are_kept_with_the_times_that_they_have(segments, expected, dropped):
    transcript = read_transcript({"task_id": "a", "transcript": "t", "segments": segments})

    assert expected == [(segment.start, segment.end, segment.text) for segment in transcript.segments]
    assert dropped == transcript.extra.get("segments")
    assert all(type(segment.start) is type(segment.end) is float for segment in transcript.segments)


def test_an_odd_time_of_a_segment_stays_in_its_extra():
    segments = [{"start": "0.5", "end": None, "text": "a", "speaker": 1}, {"start": 1.0, "end": 2.0, "text": "b"}]

    first, second = read_transcript({"transcript": "t", "segments": segments}).segments

    assert ({"start": "0.5", "speaker": 1}, {}) == (first.extra, second.extra)


@pytest.mark.parametrize("segments", ["abc", {"0": []}, 5, True])
def test_segments_that_are_no_array_are_kept_in_extra(segments):
    transcript = read_transcript({"task_id": "a", "transcript": "t", "segments": segments})

    assert ((), {"segments": segments}) == (transcript.segments, transcript.extra)


@given(st.lists(any_json | st.dictionaries(st.sampled_from(["start", "end", "text", "x"]), any_json)))
def test_any_segments_are_in_order_and_can_be_rendered(segments):
    transcript = read_transcript({"transcript": "t", "segments": segments})

    starts = [segment.start for segment in transcript.segments]
    assert sorted(starts) == starts
    assert all(math.isfinite(segment.start) and math.isfinite(segment.end) for segment in transcript.segments)
    assert len(segments) == len(transcript.segments) + len(transcript.extra.get("segments", ()))
    json.loads(transcript.render("json"), parse_constant=pytest.fail)


transcripts = st.builds(
    lambda **known: {**known.pop("unknown"), **known},
    task_id=st.text(min_size=1).filter(str.strip),
    transcript=st.text(),
    translation=st.none() | st.text(),
    confidence=st.none() | finite,
    updated_at=st.none() | st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),
    segments=st.lists(
        st.builds(
            lambda **known: {**known.pop("unknown"), **known},
            start=finite,
            end=finite,
            text=st.text(),
            unknown=st.dictionaries(st.text(), any_json, max_size=2),
        ),
        max_size=3,
    ).map(lambda segments: sorted(segments, key=lambda segment: segment["start"])),
    unknown=st.dictionaries(st.text(), any_json, max_size=2),
)


@given(transcripts)
def test_a_transcript_rendered_as_json_reads_like_the_services_answer(value):
    transcript = read_transcript(value)

    again = decode_json(transcript.render("json"))

    # NaN and the infinities, which Python's parser takes from the wire, are no JSON: null stands for them.
    sent = json.loads(json.dumps(value), parse_constant=lambda _: None)
    assert json.dumps(sent, sort_keys=True) == json.dumps(again, sort_keys=True)
    assert repr(transcript) == repr(read_transcript(again))


@pytest.mark.parametrize(
    ("url", "task_id"),
    [
        ("https://host/api/v1/transcriptions/9b9c-1/result", "9b9c-1"),
        ("https://host/transcriptions/a%2Fb/result", "a/b"),
        ("https://host/transcriptions/a", "a"),
        ("https://host/transcriptions", ""),
        ("", ""),
    ],
)
def test_the_task_that_was_asked_for_is_in_the_url(url, task_id):
    assert task_id == task_id_in(url)


# -- pages


TASK = {"task_id": "a", "status": "queued"}
READ = Task(task_id="a", status=TaskStatus.QUEUED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], TaskPage(items=())),
        ([TASK], TaskPage(items=(READ,))),
        ({"items": [TASK], "total": 7}, TaskPage(items=(READ,), total=7)),
        ({"tasks": [TASK], "count": 7}, TaskPage(items=(READ,), total=7)),
        ({"tasks": [TASK], "count": 1}, TaskPage(items=(READ,), total=None)),  # of this page, perhaps
        ({"tasks": [TASK], "count": 1, "total": 1}, TaskPage(items=(READ,), total=1)),
        ({"results": [TASK], "total": -1}, TaskPage(items=(READ,))),
        ({"transcriptions": [TASK], "total": "7"}, TaskPage(items=(READ,), total=7)),
        ({"data": [TASK], "total": True}, TaskPage(items=(READ,))),
        ({"items": {"page": 1}, "data": [TASK]}, TaskPage(items=(READ,))),
        ({"data": {"items": [TASK], "total": 3}}, TaskPage(items=(READ,), total=3)),
        ({"jobs": [TASK], "filters": []}, TaskPage(items=(READ,))),
        ({"items": None, "total": 0}, TaskPage(items=(), total=0)),
        ({"items": [], "next": "https://host/x?offset=2"}, TaskPage(items=(), next_cursor="https://host/x?offset=2")),
        ({"items": [], "next": None, "next_cursor": "c"}, TaskPage(items=(), next_cursor="c")),
        ({"items": [], "next": "", "next_cursor": 5}, TaskPage(items=(), next_cursor="5")),
        ({"items": [], "next": {}, "next_cursor": True}, TaskPage(items=())),
        ({"items": [{"status": "queued"}]}, TaskPage(items=(), received=1)),
        ([{}, {}], TaskPage(items=(), received=2)),
    ],
)
def test_a_page_is_a_bare_list_or_an_object_that_holds_one(value, expected):
    assert expected == read_page(value)


@pytest.mark.parametrize(
    "value",
    [{}, 5, None, "x", {"items": {}}, {"items": [5]}, [None, []], {"a": [1]},
     {"a": [TASK], "b": [TASK]}, {"jobs": []}],
)  # fmt: skip
def test_what_holds_no_task_list_or_only_what_is_no_task_is_no_page(value):
    with pytest.raises(ValueError, match=r"no list of tasks in|no entry of the list is a task"):
        read_page(value)


def test_one_odd_task_is_softened_or_left_out_and_the_rest_is_kept():
    odd = {"task_id": "b", "confidence": "0.9", "failure_reason": {"code": 1}}

    page = read_page({"items": [TASK, odd, None, {"status": "completed"}, {"task_id": ""}, 5], "total": 6})

    assert ["a", "b"] == [task.task_id for task in page.items]
    assert (0.9, "unknown", None) == (page.items[1].confidence, page.items[1].status, page.items[1].failure_reason)
    assert (6, 6) == (page.received, page.total)


@given(st.lists(st.just(TASK) | any_json))
def test_a_page_knows_how_many_entries_came(entries):
    try:
        page = read_page({"items": entries})
    except ValueError:
        assert TASK not in entries
        return
    assert len(entries) == page.received >= len(page.items)


# -- JSON itself


@given(st.binary())
def test_bytes_that_are_not_json_are_a_value_error(body):
    try:
        decode_json(body)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"task_id": "a", "transcript_preview": "caf\xe9"}', {"task_id": "a", "transcript_preview": "caf\ufffd"}),
        (b'\xef\xbb\xbf{"task_id": "a"}', {"task_id": "a"}),
        (b'{"text": "two\nlines\tand a tab"}', {"text": "two\nlines\tand a tab"}),
        (b'{"n": 1, "endless": ' + b"9" * 10_000 + b"}", {"n": 1, "endless": math.inf}),
        ('{"text": "привет"}', {"text": "привет"}),
    ],
)
def test_one_odd_byte_or_number_loses_nothing_else(body, expected):
    assert expected == decode_json(body)


@pytest.mark.parametrize("opening", [b"[", b'{"segments":', b'{"x":'])
def test_json_nested_to_any_depth_is_read_or_is_a_value_error(opening):
    closing = b"]" if opening == b"[" else b"}"
    for depth in (*range(200, 1000, 3), 100_000):
        body = opening * depth + b"null" + closing * depth
        for read in (read_task, read_transcript, read_event):
            with pytest.raises(ValueError, match=r"nested too deeply|there is no|there is neither"):
                read(decode_json(body))


def test_deep_but_reasonable_json_is_read():
    depth = min(200, sys.getrecursionlimit() // 5)
    task = read_task(decode_json(b'{"task_id": "a", "status": "queued", "x": ' + b"[" * depth + b"]" * depth + b"}"))

    assert isinstance(task.extra["x"], list)


def test_strings_may_hold_what_utf_8_cannot():
    task = read_task(decode_json(b'{"task_id": "t1", "status": "\\udfff"}'))

    assert ("t1", "\udfff") == (task.task_id, str(task.status))
