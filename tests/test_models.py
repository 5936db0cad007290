"""The values that calls return."""

import copy
import json
import math
import os
import pickle
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from polyglot_async import (
    Limits,
    Segment,
    Task,
    TaskPage,
    TaskStatus,
    Transcript,
    UrlValidation,
    WebhookEvent,
)

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
     ("paused", False), ("unknown", False), ("", False), ("completely", False)],
)  # fmt: skip
def test_only_the_contracts_three_last_statuses_are_final(status, final):
    assert final is TaskStatus(status).is_final


@pytest.mark.parametrize(
    ("spelling", "status"),
    [("COMPLETED", "completed"), ("Done", "completed"), ("success", "completed"), ("SUCCEEDED", "completed"),
     ("finished", "completed"), ("complete", "completed"), ("error", "failed"), ("Failed", "failed"),
     ("failure", "failed"), ("canceled", "cancelled"), ("CANCELLED", "cancelled"), (" queued\n", "queued"),
     ("Processing", "processing")],
)  # fmt: skip
def test_the_usual_spellings_of_a_status_are_the_member_itself(spelling, status):
    assert TaskStatus(status) is TaskStatus(spelling)
    assert TaskStatus(spelling).is_known


def test_an_unknown_status_behaves_like_a_member_and_becomes_none():
    unknown = TaskStatus("paused")

    assert ("paused", "paused", "PAUSED") == (unknown, f"{unknown}", unknown.name)
    assert unknown == TaskStatus("paused")
    assert unknown != TaskStatus.QUEUED
    assert "<TaskStatus.PAUSED: 'paused'>" == repr(unknown)
    assert (5, False) == (len(TaskStatus), unknown.is_known)


@pytest.mark.parametrize("value", [None, 5, b"queued", ["queued"]])
def test_what_is_no_string_is_no_status(value):
    with pytest.raises(ValueError, match="is not a valid TaskStatus"):
        TaskStatus(value)


def test_a_known_status_is_the_member_itself():
    assert TaskStatus.FAILED is TaskStatus("failed")


COUNTS = [
    "requests_per_window", "uploads_per_window", "requests_per_day", "requests_per_month", "max_concurrent_tasks",
    "max_upload_bytes",
]  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 0.5, 1.5, math.nan, math.inf, True, "60", [60]])
def test_a_limit_that_would_stop_everything_or_means_nothing_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name}=.* is not a whole number of at least 1"):
        Limits(**{name: value})


@pytest.mark.parametrize("name", ["window_seconds", "max_audio_seconds"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, False, "60"])
def test_a_length_of_time_is_above_zero(name, value):
    with pytest.raises(ValueError, match=rf"{name}=.* is not a number above 0"):
        Limits(**{name: value})


def test_limits_may_be_small_or_unknown():
    assert Limits() == Limits(**dict.fromkeys(COUNTS), max_audio_seconds=None)
    assert 0.5 == Limits(requests_per_window=1, window_seconds=0.5).window_seconds
    with pytest.raises(ValueError, match="requests_per_day=0"):
        attrs.evolve(Limits(), requests_per_day=0)


def test_a_page_received_what_it_holds_unless_more_came():
    assert (1, 3) == (TaskPage(items=(TASK,)).received, TaskPage(items=(TASK,), received=3).received)
    assert "received" not in repr(TaskPage(items=()))


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
    with pytest.raises(ValueError, match=r"format is .*: pass 'srt', 'vtt', 'txt' or 'json'"):
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


def test_json_shows_what_was_read_of_an_odd_field_and_not_how_it_came():
    odd = Transcript(
        task_id="a",
        text="t",
        confidence=0.94,
        segments=(Segment(0.0, 2.0, "t", {"end": "soon", "speaker": math.nan}),),
        extra={"confidence": "0.94", "updated_at": "yesterday", "segments": [{}], "x": [math.inf, {"y": -math.inf}]},
    )

    assert {
        "task_id": "a",
        "transcript": "t",
        "translation": None,
        "confidence": 0.94,
        "segments": [{"start": 0.0, "end": 2.0, "text": "t", "speaker": None}],
        "updated_at": None,
        "x": [None, {"y": None}],
    } == json.loads(odd.render("json"), parse_constant=pytest.fail)


@pytest.mark.parametrize("depth", [60, 500, 900, 5000])
def test_json_is_written_however_deep_an_unknown_field_is(depth):
    deep = None
    for _ in range(depth):
        deep = [deep]

    assert "t" == json.loads(Transcript(task_id="a", text="t", extra={"x": deep}).render("json"))["transcript"]


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


class Disk:
    """Records what is flushed and renamed, in order."""

    def __init__(self, monkeypatch):
        self.done = []
        fsync, replace = os.fsync, os.replace

        def flush(descriptor):
            place = Path(f"/proc/self/fd/{descriptor}").readlink()
            self.done.append(("flush", str(place), place.is_dir() or place.stat().st_size))
            return fsync(descriptor)

        def rename(source, target, **options):
            self.done.append(("rename", str(source), str(target)))
            return replace(source, target, **options)

        monkeypatch.setattr("os.fsync", flush)
        monkeypatch.setattr("os.replace", rename)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see which file is flushed")
def test_a_saved_file_is_flushed_before_it_is_renamed_and_its_folder_after_it(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)

    path = TRANSCRIPT.save(tmp_path / "talk.txt")

    beside = disk.done[0][1]
    assert [
        ("flush", beside, path.stat().st_size),
        ("rename", beside, str(path)),
        ("flush", str(tmp_path), True),
    ] == disk.done
    assert tmp_path == type(path)(beside).parent


def test_a_file_that_cannot_be_flushed_is_no_success(tmp_path, monkeypatch):
    path = tmp_path / "talk.txt"
    path.write_text("old", "utf-8")

    def broken(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        TRANSCRIPT.save(path)

    assert ("old", [path]) == (path.read_text("utf-8"), list(tmp_path.iterdir()))


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "talk.txt"
    path.touch()
    path.chmod(mode)

    TRANSCRIPT.save(path)

    assert mode == stat.S_IMODE(path.stat().st_mode)
    assert "Hello" in path.read_text("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link_to_what_is_written(tmp_path, exists):
    target = tmp_path / "elsewhere" / "real.txt"
    target.parent.mkdir()
    if exists:
        target.write_text("old", "utf-8")
    link = tmp_path / "talk.txt"
    link.symlink_to("elsewhere/real.txt")

    assert link == TRANSCRIPT.save(link)

    assert link.is_symlink()
    assert "Hello" in target.read_text("utf-8")
    assert [target] == list(target.parent.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="modes and links are those of POSIX")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, found = tmp_path / "talk.srt", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text("utf-8")))
    reader.start()

    TRANSCRIPT.save(pipe)

    reader.join(10)
    assert [TRANSCRIPT.render("srt")] == found
    assert [pipe] == list(tmp_path.iterdir())
    assert stat.S_ISFIFO(pipe.stat().st_mode)
