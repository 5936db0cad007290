"""JSON to values: nothing is coerced, nothing unknown is lost, and bad input has one error."""

import copy
import json
import math
import pickle
import sys
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import ResponseDecodeError, Segment, Task, TaskStatus, Transcript, WebhookEvent
from polyglot_async._api.decoding import decode, decode_as, decode_json, structure
from polyglot_async._api.messages import ApiResponse

MODELS = (Task, Transcript, WebhookEvent)

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
# Names that the models know, so that hypothesis finds the fields.
field_names = st.sampled_from(
    ["task_id", "status", "model", "confidence", "segments", "transcript", "text", "updated_at", "created_at", "event",
     "has_transcript", "failure_reason", "extra", "audio_duration_seconds", "start", "end"]
)  # fmt: skip
near_models = st.dictionaries(
    field_names, any_json | st.lists(st.dictionaries(field_names, any_json, max_size=4)), max_size=8
)


def answer(body, **changes):
    values = {"status_code": 200, "headers": {"x-request-id": "r1"}, "method": "GET", "url": "https://host/x"}
    return ApiResponse(**{**values, **changes}, body=body)


@given(st.sampled_from(MODELS), any_json | near_models)
def test_any_json_gives_the_model_or_a_value_error(cls, value):
    try:
        built = structure(value, cls)
    except ValueError:
        return
    assert isinstance(built, cls)


@given(st.sampled_from(MODELS), st.binary() | near_models.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_the_model_or_a_decode_error(cls, body):
    error = None
    try:
        assert isinstance(decode_as(cls)(answer(body)), cls)
    except ResponseDecodeError as caught:
        error = caught
    assert error is None or (body, 200, "r1") == (error.body, error.status_code, error.request_id)


@given(st.binary())
def test_bytes_that_are_not_json_are_a_value_error(body):
    try:
        decode_json(body)
    except ValueError:
        return


@pytest.mark.parametrize("opening", [b"[", b'{"segments":', b'{"x":'])
def test_json_nested_to_any_depth_is_read_or_is_a_decode_error(opening):
    def show(value):
        raise ValueError(f"{value!r:.80}")

    closing = b"]" if opening == b"[" else b"}"
    for depth in (*range(200, 1000, 3), 100_000):
        body = opening * depth + b"null" + closing * depth
        for parse in (*map(decode_as, MODELS), lambda response: decode(response, show)):
            with pytest.raises(ResponseDecodeError):
                parse(answer(body))


def test_a_number_of_ten_thousand_digits_is_a_decode_error():
    with pytest.raises(ResponseDecodeError):
        decode_as(Task)(answer(b'{"task_id": "a", "status": "queued", "confidence": ' + b"9" * 10_000 + b"}"))


def test_the_contracts_task_is_read_as_it_stands():
    value = {
        "task_id": "9b9c1b9a", "status": "completed", "model": "fast", "input_language": "en", "output_language": "ru",
        "audio_duration_seconds": 125.4, "confidence": 0.94, "transcript_preview": "Hello, ...",
    }  # fmt: skip

    assert Task(
        task_id="9b9c1b9a",
        status=TaskStatus.COMPLETED,
        model="fast",
        input_language="en",
        output_language="ru",
        audio_duration_seconds=125.4,
        confidence=0.94,
        transcript_preview="Hello, ...",
    ) == structure(value, Task)


def test_the_contracts_result_is_read_as_it_stands():
    value = {
        "task_id": "a", "transcript": "Hello", "translation": "Привет", "confidence": 0.94,
        "segments": [{"start": 0.0, "end": 2.4, "text": "Hello..."}], "updated_at": "2026-05-24T12:00:00Z",
    }  # fmt: skip

    assert Transcript(
        task_id="a",
        text="Hello",
        translation="Привет",
        confidence=0.94,
        segments=(Segment(0.0, 2.4, "Hello..."),),
        updated_at=datetime(2026, 5, 24, 12, tzinfo=UTC),
    ) == structure(value, Transcript)


def test_the_contracts_webhook_is_read_as_it_stands():
    value = {
        "event": "transcription.completed", "task_id": "a", "status": "completed", "model": "fast",
        "failure_reason": None, "has_transcript": True, "has_translation": True, "transcript_preview": "Hello",
    }  # fmt: skip

    event = structure(value, WebhookEvent)

    assert (True, True, None, {}) == (event.has_transcript, event.has_translation, event.failure_reason, event.extra)


@pytest.mark.parametrize("name", ["task_id", "status", "transcript"])
def test_null_is_never_the_word_none(name):
    value = {"task_id": "a", "status": "queued", "transcript": "t", name: None}
    cls = Transcript if name == "transcript" else Task

    with pytest.raises(ValueError, match=r"None|missing"):
        structure(value, cls)


def test_null_in_an_optional_field_is_none_or_the_default():
    task = structure({"task_id": "a", "status": "queued", "model": None, "confidence": None, "created_at": None}, Task)
    transcript = structure({"task_id": "a", "transcript": "t", "segments": None}, Transcript)
    event = structure({"event": "e", "task_id": "a", "status": "failed", "has_transcript": None}, WebhookEvent)

    assert Task(task_id="a", status=TaskStatus.QUEUED) == task
    assert () == transcript.segments
    assert False is event.has_transcript


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_id", 5), ("task_id", ["a"]), ("status", 1), ("status", ""), ("model", 1), ("model", {}),
        ("confidence", "0.9"), ("confidence", True), ("confidence", math.nan), ("confidence", math.inf),
        ("confidence", 10**400),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_and_not_coerced(name, value):
    with pytest.raises(ValueError, match=r"is not"):
        structure({"task_id": "a", "status": "queued", name: value}, Task)


@pytest.mark.parametrize(
    "segment",
    [None, 1, "abc", [], {}, {"start": 0, "end": 1}, {"start": "0", "end": 1, "text": "t"},
     {"start": 0, "end": math.inf, "text": "t"}, {"start": 0, "end": 1, "text": None}],
)  # fmt: skip
def test_a_broken_segment_is_refused(segment):
    with pytest.raises(ValueError, match=r"is not|missing|shape"):
        structure({"task_id": "a", "transcript": "t", "segments": [segment]}, Transcript)


def test_a_whole_number_may_stand_for_a_float():
    value = structure({"task_id": "a", "status": "queued", "audio_duration_seconds": 125}, Task).audio_duration_seconds

    assert (float, 125.0) == (type(value), value)


@given(st.text(min_size=1))
def test_an_unknown_status_is_kept_as_it_came(word):
    status = structure({"task_id": "a", "status": word}, Task).status

    assert isinstance(status, TaskStatus)
    assert (word, word, word) == (status, str(status), status.value)
    assert hash(word) == hash(status)
    assert (word in {"completed", "failed", "cancelled"}) == status.is_final
    assert word == pickle.loads(pickle.dumps(status)) == copy.deepcopy(status)
    assert json.dumps(word) == json.dumps(status)


@pytest.mark.parametrize("value", [None, 5, b"queued", ["queued"]])
def test_what_is_no_string_is_no_status(value):
    with pytest.raises(ValueError, match="is not a valid TaskStatus"):
        TaskStatus(value)


@given(st.dictionaries(st.text(), any_json))
def test_unknown_fields_are_kept_whatever_they_are_called(unknown):
    known = {"task_id": "a", "status": "queued"}
    names = {field.name for field in attrs.fields(Task)} - {"extra"}
    expected = {name: item for name, item in unknown.items() if name not in names}

    task = structure({**unknown, **dict.fromkeys(names), **known}, Task)

    assert json.dumps(expected) == json.dumps(task.extra)


@pytest.mark.parametrize("value", [None, 1, {"a": None}])
def test_an_unknown_field_may_itself_be_called_extra(value):
    task = structure({"task_id": "a", "status": "queued", "extra": value}, Task)
    segment = structure(
        {"task_id": "a", "transcript": "t", "segments": [{"start": 0, "end": 1, "text": "t", "extra": value}]},
        Transcript,
    ).segments[0]

    assert {"extra": value} == task.extra == segment.extra


def test_the_parsed_json_is_left_as_it_was():
    value = {"task_id": "a", "status": "queued", "model": None, "new": [1]}
    before = copy.deepcopy(value)

    structure(value, Task)

    assert before == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-24T12:00:00Z", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24T15:00:00+03:00", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24T12:00:00", datetime(2026, 5, 24, 12, tzinfo=UTC)),
        ("2026-05-24 12:00:00.250000", datetime(2026, 5, 24, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (1779624000, None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        (None, None),
    ],
)
def test_times_become_utc_and_a_bad_one_costs_nothing_else(text, expected):
    task = structure({"task_id": "a", "status": "queued", "created_at": text}, Task)

    assert expected == task.created_at
    assert task.created_at is None or task.created_at.tzinfo is UTC


transcripts = st.builds(
    lambda **known: {**known.pop("unknown"), **known},
    task_id=st.text(),
    transcript=st.text(),
    translation=st.none() | st.text(),
    confidence=st.none() | finite,
    updated_at=st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    segments=st.lists(
        st.builds(
            lambda **known: {**known.pop("unknown"), **known},
            start=finite,
            end=finite,
            text=st.text(),
            unknown=st.dictionaries(st.text(), any_json, max_size=2),
        ),
        max_size=3,
    ),
    unknown=st.dictionaries(st.text(), any_json, max_size=2),
)


@given(transcripts)
def test_a_transcript_rendered_as_json_reads_like_the_services_answer(value):
    transcript = structure(value, Transcript)

    again = decode_json(transcript.render("json"))

    assert json.dumps(value, sort_keys=True) == json.dumps(again, sort_keys=True)
    assert repr(transcript) == repr(structure(again, Transcript))


def test_the_error_names_the_call_and_what_is_wrong_and_keeps_no_more_than_64_kib():
    with pytest.raises(ResponseDecodeError) as caught:
        decode_as(Task)(answer(b'{"status": "queued", "x": "' + b"y" * 100_000 + b'"}'))

    assert "GET https://host/x: the answer cannot be read: the field 'task_id' is missing" == str(caught.value)
    assert 65_536 == len(caught.value.body)
    assert caught.value.__cause__ is None


def test_strings_may_hold_what_utf_8_cannot():
    task = decode_as(Task)(answer(b'{"task_id": "\\ud800", "status": "\\udfff"}'))

    assert ("\ud800", "\udfff") == (task.task_id, str(task.status))


def test_deep_but_reasonable_json_is_read():
    depth = min(200, sys.getrecursionlimit() // 5)
    value = decode_as(Task)(answer(b'{"task_id": "a", "status": "queued", "x": ' + b"[" * depth + b"]" * depth + b"}"))

    assert isinstance(value.extra["x"], list)
