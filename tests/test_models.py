"""The values that calls give back."""

import copy
import json
import pickle
import threading
from datetime import UTC, datetime

import attrs
import pytest

from polyglot_async import (
    Limits,
    Segment,
    Task,
    TaskCancelledError,
    TaskFailedError,
    TaskPage,
    TaskStatus,
    Transcript,
    UrlValidation,
    WebhookEvent,
)
from polyglot_async._errors import require_result

TASK = Task(task_id="a", status=TaskStatus.QUEUED, extra={"new": [1]})
TRANSCRIPT = Transcript(
    task_id="a",
    text="Hello there. Général 🎙️",
    translation="Привет",
    confidence=0.5,
    segments=(Segment(0.0, 1.5, "Hello there.", {"speaker": 1}), Segment(1.5, 3.0, "Général 🎙️")),
    updated_at=datetime(2026, 5, 24, 12, tzinfo=UTC),
    extra={"new": None},
)
VALUES = [
    TASK,
    TRANSCRIPT,
    TRANSCRIPT.segments[0],
    UrlValidation(url="u", valid=True, extra={"a": []}),
    Limits(plan="pro", raw={"a": {}}),
    TaskPage(items=(TASK,)),
    WebhookEvent(event="e", task_id="a", status=TaskStatus("paused"), extra={"a": []}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_frozen_equal_hashable_and_pickle(value):
    name = attrs.fields(type(value))[0].name

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "other")
    assert value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    assert hash(value) == hash(copy.deepcopy(value))
    assert {value} == {value, copy.copy(value)}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_unknown_fields_stay_out_of_the_repr(value):
    assert "extra" not in repr(value)
    assert "raw" not in repr(value)


@pytest.mark.parametrize(
    ("status", "final"),
    [("queued", False), ("processing", False), ("completed", True), ("failed", True), ("cancelled", True),
     ("paused", False), ("COMPLETED", False), ("", False)],
)  # fmt: skip
def test_only_the_contracts_three_last_statuses_are_final(status, final):
    assert final is TaskStatus(status).is_final


def test_an_unknown_status_behaves_like_a_member_and_becomes_none():
    unknown = TaskStatus("paused")

    assert ("paused", "paused", "PAUSED") == (unknown, f"{unknown}", unknown.name)
    assert unknown == TaskStatus("paused")
    assert unknown != TaskStatus.QUEUED
    assert "<TaskStatus.PAUSED: 'paused'>" == repr(unknown)
    assert 5 == len(TaskStatus)


def test_a_known_status_is_the_member_itself():
    assert TaskStatus.FAILED is TaskStatus("failed")


@pytest.mark.parametrize(
    ("status", "reason", "cls", "message"),
    [
        ("failed", "too quiet", TaskFailedError, "task a failed: too quiet"),
        ("failed", None, TaskFailedError, "task a failed: no reason given"),
        ("cancelled", None, TaskCancelledError, "task a was cancelled"),
    ],
)
def test_a_task_that_will_never_have_a_result_says_why(status, reason, cls, message):
    task = Task(task_id="a", status=TaskStatus(status), failure_reason=reason)

    with pytest.raises(cls) as caught:
        require_result(task)

    assert (message, task) == (str(caught.value), caught.value.task)


@pytest.mark.parametrize("status", ["queued", "processing", "completed", "paused"])
def test_a_task_that_may_have_a_result_passes(status):
    require_result(Task(task_id="a", status=TaskStatus(status)))


@pytest.mark.parametrize("suffix", ["srt", "vtt", "txt", "json"])
def test_a_transcript_is_saved_in_the_format_of_its_suffix(tmp_path, suffix):
    path = TRANSCRIPT.save(tmp_path / f"talk.{suffix.upper()}")

    assert tmp_path / f"talk.{suffix.upper()}" == path
    assert TRANSCRIPT.render(suffix) == path.read_bytes().decode()
    assert [path] == list(tmp_path.iterdir())


def test_a_path_may_be_a_string_and_without_a_suffix_text_is_written(tmp_path):
    path = TRANSCRIPT.save(str(tmp_path / "talk"))

    assert "Hello there.\nGénéral 🎙️\n" == path.read_text("utf-8")


def test_the_format_given_wins_over_the_suffix(tmp_path):
    assert TRANSCRIPT.save(tmp_path / "talk.txt", format="srt").read_text("utf-8").startswith("1\n00:00:00,000")


@pytest.mark.parametrize("name", ["talk.docx", "talk.mp3"])
def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ValueError, match="choose one of srt, vtt, txt, json"):
        TRANSCRIPT.save(tmp_path / name)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("format_", ["srt", "VTT"])
def test_what_needs_times_is_refused_where_there_are_none(format_):
    with pytest.raises(ValueError, match="task a has no segments"):
        Transcript(task_id="a", text="Hello").render(format_)


def test_silence_needs_no_times():
    silence = Transcript(task_id="a", text=" ")

    assert ["", "WEBVTT\n", "\n"] == [silence.render(name) for name in ("srt", "vtt", "txt")]


def test_without_segments_the_text_is_the_text():
    assert "Hello\n" == Transcript(task_id="a", text="\nHello\n").render("txt")


def test_json_has_the_services_names_and_all_that_it_sent():
    assert {
        "task_id": "a",
        "transcript": "Hello there. Général 🎙️",
        "translation": "Привет",
        "confidence": 0.5,
        "segments": [
            {"start": 0.0, "end": 1.5, "text": "Hello there.", "speaker": 1},
            {"start": 1.5, "end": 3.0, "text": "Général 🎙️"},
        ],
        "updated_at": "2026-05-24T12:00:00+00:00",
        "new": None,
    } == json.loads(TRANSCRIPT.render("json"))


@pytest.mark.parametrize("name", ["n" * 251, "д" * 125, "🎙" * 62])
def test_the_longest_names_that_the_disk_takes_can_be_saved(tmp_path, name):
    path = tmp_path / f"{name}.srt"

    assert path == TRANSCRIPT.save(path)
    assert [path] == list(tmp_path.iterdir())


def test_a_lone_surrogate_is_no_reason_to_lose_the_rest(tmp_path):
    path = Transcript(task_id="a", text="caf\ud800e").save(tmp_path / "talk.txt")

    assert "caf?e\n" == path.read_text("utf-8")


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "talk.txt"
    path.write_text("old", "utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        TRANSCRIPT.save(path)

    assert ("old", [path]) == (path.read_text("utf-8"), list(tmp_path.iterdir()))


@pytest.mark.parametrize("place", ["missing/talk.srt", "folder.srt"])
def test_where_nothing_can_be_written_it_is_an_os_error(tmp_path, place):
    (tmp_path / "folder.srt").mkdir()

    with pytest.raises(OSError, match=r"No such file|directory"):
        TRANSCRIPT.save(tmp_path / place)

    assert [tmp_path / "folder.srt"] == list(tmp_path.iterdir())


def test_threads_may_save_to_one_path_at_once(tmp_path):
    path = tmp_path / "talk.srt"
    failures = []

    def save():
        for _ in range(30):
            try:
                TRANSCRIPT.save(path)
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ([], [path]) == (failures, list(tmp_path.iterdir()))
