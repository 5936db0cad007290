"""Real speech through the real recogniser, in its worker process."""

from __future__ import annotations

import difflib
import os
import signal

import pytest

from polyglot_async.sandbox import Recognition, Sandbox, Utterance

pytest.importorskip("pocketsphinx", reason="pocketsphinx has no wheel for this Python")

SAID = {
    "0880": "he was not an ill disposed young man",
    "0890": "unless to be rather cold hearted and rather selfish is to be ill disposed",
}


@pytest.fixture(scope="module")
def recogniser():
    """One server for the whole file: loading the model takes a while."""
    with Sandbox(plan="unlimited") as sandbox:
        yield sandbox


@pytest.fixture
def speech(recogniser, connect):
    return connect(recogniser)


def share_right(heard: str, said: str) -> float:
    matcher = difflib.SequenceMatcher(None, heard.split(), said.split(), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(said.split())


@pytest.mark.parametrize("number", sorted(SAID))
def test_most_words_of_a_recording_are_right(speech, recording, number):
    task_id = speech.start(recording(number).read_bytes(), "a.wav")
    task = speech.finished(task_id)
    assert task["status"] == "completed", task
    assert 0.3 < task["confidence"] <= 1
    result = speech.get(f"/transcriptions/{task_id}/result").json()
    assert share_right(result["transcript"], SAID[number]) > 0.5
    assert 0 <= result["segments"][0]["start"] < result["segments"][-1]["end"] <= task["audio_duration_seconds"]


@pytest.mark.parametrize(
    ("container", "codec", "picture"),
    [
        ("mp4", "aac", {"video": "mpeg4", "rate": 44_100}),
        ("webm", "libopus", {"video": "libvpx", "rate": 48_000}),
        ("mp3", "libmp3lame", {}),
        ("ogg", "libopus", {}),
    ],
)
def test_other_containers_and_video(speech, make_media, container, codec, picture):
    media = make_media(container, codec, **picture)
    task = speech.finished(speech.start(media.read_bytes(), media.name))
    assert task["status"] == "completed", task
    assert share_right(task["transcript_preview"], SAID["0890"]) > 0.5
    assert task["audio_duration_seconds"] == pytest.approx(5.3, abs=0.2)


def test_silence_is_an_empty_transcript(speech, silence):
    task_id = speech.start(silence(1.0).read_bytes(), "silence.wav")
    assert speech.finished(task_id)["status"] == "completed"
    assert speech.get(f"/transcriptions/{task_id}/result").json()["transcript"] == ""


@pytest.mark.parametrize("data", [b"no media at all", b"RIFF\xff\xff\xff\xffWAVEfmt ", os.urandom(100_000)])
def test_what_is_no_media_fails_with_a_reason(speech, data):
    task = speech.finished(speech.start(data, "a.mp3"))
    assert task["status"] == "failed"
    assert task["failure_reason"]


def test_a_film_without_sound_fails_with_a_reason(speech, tmp_path):
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as output:
        picture = output.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p")
        output.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
        output.mux(picture.encode(None))
    task = speech.finished(speech.start((tmp_path / "mute.mp4").read_bytes(), "mute.mp4"))
    assert task["failure_reason"] == "The media holds no audio."


def test_another_language_fails_with_a_reason(speech, recording):
    task = speech.finished(speech.start(recording("0880").read_bytes(), input_language="ru"))
    assert (task["status"], "US English only" in task["failure_reason"]) == ("failed", True)


def test_the_server_answers_while_a_recording_is_recognised(speech, recording):
    task_id = speech.start(recording("0880").read_bytes(), "a.wav")
    slowest = max(speech.get("/transcriptions").elapsed.total_seconds() for _ in range(50))
    assert speech.finished(task_id)["status"] == "completed"
    assert slowest < 0.5


def test_a_worker_that_dies_fails_its_task_and_is_replaced(speech, recogniser, recording, until):
    speech.finished(speech.start(recording("0880").read_bytes(), "a.wav"))
    for pid in recogniser.state()["workers"]:
        os.kill(pid, signal.SIGSTOP)  # so that it cannot finish before it is killed
    task_id = speech.start(recording("0890").read_bytes(), "a.wav")
    until(lambda: recogniser.task(task_id)["status"] == "processing")
    for pid in recogniser.state()["workers"]:
        os.kill(pid, signal.SIGKILL)
    task = speech.finished(task_id)
    assert (task["status"], task["failure_reason"]) == ("failed", "The recogniser stopped unexpectedly.")
    assert speech.finished(speech.start(recording("0880").read_bytes(), "a.wav"))["status"] == "completed"


def test_an_idle_worker_that_dies_is_not_noticed(speech, recogniser, recording, until):
    speech.finished(speech.start(recording("0880").read_bytes(), "a.wav"))
    for pid in recogniser.state()["workers"]:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not recogniser.state()["workers"])
    assert speech.finished(speech.start(recording("0880").read_bytes(), "a.wav"))["status"] == "completed"


def test_cancelling_stops_the_work(speech, recogniser, silence, until):
    task_id = speech.start(silence(600.0).read_bytes(), "long.wav")
    until(lambda: recogniser.task(task_id)["status"] == "processing")
    recogniser.cancel(task_id)
    assert speech.get(f"/transcriptions/{task_id}").json()["status"] == "cancelled"


class Measuring:
    """An engine of a user's own."""

    def recognise(self, audio, *, language):
        import wave

        with wave.open(str(audio)) as wav:
            heard = f"{wav.getframerate()} Hz, {wav.getnchannels()} channel, {8 * wav.getsampwidth()} bit, {language}"
            return Recognition((Utterance(0.0, wav.getnframes() / wav.getframerate(), heard),))


def test_an_engine_may_be_an_object(polyglot_sandbox_factory, connect, make_media):
    api = connect(polyglot_sandbox_factory(engine=Measuring()))
    task = api.finished(api.start(make_media("mp4", "aac", rate=44_100).read_bytes(), input_language="xx"))
    assert task["transcript_preview"] == "16000 Hz, 1 channel, 16 bit, xx"
    assert task["audio_duration_seconds"] == pytest.approx(5.3, abs=0.2)


def test_an_engine_may_be_a_name(polyglot_sandbox_factory, connect, silence, tmp_path, monkeypatch):
    """Then it runs in the worker process, found wherever this process would find it."""
    (tmp_path / "my_engine.py").write_text(
        "import os\n"
        "from polyglot_async.sandbox import Recognition\n"
        "class Mine:\n"
        "    def recognise(self, audio, *, language):\n"
        "        return Recognition(text=f'pid {os.getpid()}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    api = connect(polyglot_sandbox_factory(engine="my_engine:Mine"))
    task = api.finished(api.start(silence(0.5).read_bytes()))
    assert task["transcript_preview"].startswith("pid ")
    assert task["transcript_preview"] != f"pid {os.getpid()}"


def test_an_engine_that_raises_fails_the_task(polyglot_sandbox_factory, connect, silence):
    class Broken:
        def recognise(self, audio, *, language):
            raise ZeroDivisionError("oh")

    api = connect(polyglot_sandbox_factory(engine=Broken()))
    task = api.finished(api.start(silence(0.5).read_bytes()))
    assert task["failure_reason"] == "The recogniser failed: ZeroDivisionError: oh"


def test_an_engine_that_never_returns_does_not_hold_up_the_close(polyglot_sandbox_factory, connect, silence, until):
    import threading
    import time

    entered, release = threading.Event(), threading.Event()

    class Endless:
        def recognise(self, audio, *, language):
            entered.set()
            release.wait(60)

    sandbox = polyglot_sandbox_factory(engine=Endless())
    connect(sandbox).start(silence(0.5).read_bytes())
    assert entered.wait(20)
    started = time.monotonic()
    sandbox.close()
    assert time.monotonic() - started < 2
    release.set()


@pytest.mark.parametrize("wrong", ["odd", object()])
def test_what_is_no_engine_is_refused(wrong):
    with pytest.raises(ValueError, match="engine"):
        Sandbox(engine=wrong)
