"""Every script of `examples/` runs, as README says it does, against a real sandbox."""

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import wave
from contextlib import closing, suppress
from pathlib import Path

import pytest

from polyglot_async import Polyglot
from polyglot_async.sandbox import ScriptedEngine

EXAMPLES = Path(__file__).parents[1] / "examples"
RECORDING = EXAMPLES / "audio" / "austen-0880.wav"


@pytest.fixture
def recording(tmp_path):
    """A copy, for some scripts write beside what they read."""
    return shutil.copy(RECORDING, tmp_path)


@pytest.fixture
def run(polyglot_sandbox):
    """Runs an example to its end, with all warnings shown: it prints nothing else and leaves nothing open."""

    def run(name, *arguments, sandbox=polyglot_sandbox, status=0, complaint=""):
        answer = subprocess.run(
            [sys.executable, "-W", "default", str(EXAMPLES / name), *map(str, arguments)],
            env={**os.environ, "POLYGLOT_API_KEY": sandbox.api_key, "POLYGLOT_BASE_URL": sandbox.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (status, complaint) == (answer.returncode, answer.stderr)
        return answer.stdout.splitlines()

    return run


def uploaded(sandbox, data, name="film.mp4"):
    with Polyglot(sandbox.api_key, base_url=sandbox.url) as client:
        task = client.transcriptions.upload((name, data)).task_id
    sandbox.ledger.clear()
    return task


def test_each_example_is_in_the_list_and_in_a_test():
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == set(re.findall(r"^\| \[(\w+\.py)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    tests = Path(__file__).read_text() + (Path(__file__).parent / "webhooks" / "test_fastapi_example.py").read_text()
    assert scripts == {name for name in scripts if f'"{name}"' in tests}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_each_example_is_short_and_shows_how_to_run_it(path):
    text = path.read_text()
    assert path.stem in text.removeprefix('"""').partition('"""')[0]
    assert len(text.splitlines()) <= (80 if path.name == "fastapi_webhook.py" else 60)


def test_quickstart(run, recording):
    text, subtitles = run("quickstart.py", recording)
    assert "This is a scripted transcript of austen-0880.wav." == text
    assert text in Path(subtitles.removeprefix("subtitles: ")).read_text()


def test_bulk_with_journal_pays_once_for_each_file(run, polyglot_sandbox_factory, tmp_path):
    sandbox = polyglot_sandbox_factory(
        engine=ScriptedEngine(fail=lambda name, size: "no speech" if name == "c.wav" else None)
    )
    (tmp_path / "notes.txt").touch()
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(RECORDING.read_bytes() + name.encode())
    *first, summary = run("bulk_with_journal.py", tmp_path, sandbox=sandbox, status=1)
    assert "2 done, 1 failed, 0 skipped as known" == summary
    assert ["a.wav -> a.wav.srt", "b.wav -> b.wav.srt"] == sorted(first)[:2]
    assert sorted(first)[2].startswith("c.wav failed: ")
    (tmp_path / "a.wav").rename(tmp_path / "renamed.wav")
    assert ["0 done, 0 failed, 3 skipped as known"] == run("bulk_with_journal.py", tmp_path, sandbox=sandbox)
    assert 3 == sandbox.ledger.count("upload")


def test_notebook_style(run, recording):
    plan, started, segment, last = run("notebook_style.py", recording)
    assert "unlimited" == plan
    task_id, status = started.split()
    assert "queued" == status
    assert "   0.0 s  This is a scripted transcript of austen-0880.wav." == segment
    assert last.startswith(f"{task_id} completed")


@pytest.fixture
def video(tmp_path):
    """A film of a grey square, with the recording as its sound."""
    import av

    path = tmp_path / "film.mp4"
    with av.open(path, "w") as film, av.open(str(RECORDING)) as sound:
        picture = film.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        voice = film.add_stream("aac", rate=16000, layout="mono")
        for _ in range(30):
            film.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")))
        for frame in sound.decode(audio=0):
            frame.pts = None
            film.mux(voice.encode(frame))
        film.mux(picture.encode(None))
        film.mux(voice.encode(None))
    return path


def test_translate_and_subtitle(run, polyglot_sandbox, video):
    written = run("translate_and_subtitle.py", video, "ru", complaint="\n  0 % sent\n100 % sent")
    assert ["film.srt", "film.vtt", "film.ru.txt"] == written
    assert "transcript of film.mp4" in video.with_suffix(".srt").read_text()
    assert video.with_suffix(".ru.txt").read_text().startswith("[ru] ")
    assert [video.stat().st_size] == [entry.file_size for entry in polyglot_sandbox.ledger.entries("upload")]


def test_resume_download_resumes_where_it_broke_off(run, polyglot_sandbox, tmp_path):
    data = random.Random(7).randbytes(40 << 20)
    task = uploaded(polyglot_sandbox, data)
    polyglot_sandbox.faults.add("status call=source status=500 times=forever after=2")
    [broken] = run("resume_download.py", task, tmp_path / "film.mp4", status=1)
    assert re.match(r"broken off after [1-9]\d* bytes", broken)
    polyglot_sandbox.faults.clear()
    polyglot_sandbox.ledger.clear()
    [whole] = run("resume_download.py", task, tmp_path / "film.mp4")
    assert re.search(rf"began at [1-9]\d* bytes, and has all {len(data)}$", whole)
    assert data == (tmp_path / "film.mp4").read_bytes()
    assert sum(entry.bytes_out for entry in polyglot_sandbox.ledger.entries("source")) < len(data)


def test_remote_slice_of_a_wav_reads_little_of_it(run, polyglot_sandbox, tmp_path):
    with wave.open(str(tmp_path / "long.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(16000 * 2 * 300))
    task = uploaded(polyglot_sandbox, (tmp_path / "long.wav").read_bytes(), "long.wav")
    described, fetched = run("remote_slice.py", task)
    assert "300.0 s at 16000 Hz, the loudest byte in the middle is 0" == described
    bytes_out = sum(entry.bytes_out for entry in polyglot_sandbox.ledger.entries("source"))
    assert f"fetched {bytes_out} of {16000 * 2 * 300 + 44} bytes" == fetched
    assert bytes_out <= 3 * (256 << 10)


def test_remote_slice_of_a_film(run, polyglot_sandbox, video):
    task = uploaded(polyglot_sandbox, video.read_bytes())
    described, fetched = run("remote_slice.py", task)
    assert re.match(r"3\.\d s of mov,mp4.*, first comes a VideoFrame$", described)
    assert fetched.startswith("fetched ")


class ForwardProxy:
    """The smallest proxy of plain http: one request a connection, with the target in its absolute form."""

    def __init__(self):
        self.targets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        with suppress(OSError):  # closed
            while True:
                client, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self.forward, args=(client,)))
                self.threads[-1].start()

    def forward(self, client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            method, target, rest = head.split(b" ", 2)
            self.targets.append(target.decode())
            host, slash, path = target.removeprefix(b"http://").partition(b"/")
            head = b" ".join((method, slash + path, rest)).replace(b"keep-alive", b"close", 1)
            name, _, port = host.decode().partition(":")
            with socket.create_connection((name, int(port))) as server:
                server.sendall(head)
                upward = threading.Thread(target=pipe, args=(client, server))
                upward.start()
                pipe(server, client)
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                upward.join()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


def pipe(source, sink):
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def test_custom_http_client_sends_everything_through_the_proxy(run, polyglot_sandbox, recording):
    with closing(ForwardProxy()) as proxy:
        *requests, text = run("custom_http_client.py", recording, proxy.url)
    assert "This is a scripted transcript of austen-0880.wav." == text
    assert "POST /api/v1/transcriptions/upload" == requests[0]
    assert len(requests) == len(proxy.targets) == polyglot_sandbox.ledger.count()
    assert all(target.startswith(polyglot_sandbox.url) for target in proxy.targets)


def test_opentelemetry_tracing_has_a_span_for_each_request(run, polyglot_sandbox, recording):
    *spans, root, text = run("opentelemetry_tracing.py", recording)
    assert "root span: transcribe a file " == root
    assert ["  below a span: POST 200", "  below a span: GET 200"] == [spans[0], spans[-1]]
    assert len(spans) == polyglot_sandbox.ledger.count()
    assert "This is a scripted transcript of austen-0880.wav." == text


def test_testing_with_the_sandbox(tmp_path):
    script = shutil.copy(EXAMPLES / "testing_with_the_sandbox.py", tmp_path)
    options = ["-q", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "3 passed" in answer.stdout, answer.stdout + answer.stderr
