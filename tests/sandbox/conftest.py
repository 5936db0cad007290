"""What the tests of the sandbox share: real servers, and clients that know nothing of the SDK."""

from __future__ import annotations

import http.client
import socket
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import av
import httpx
import pytest

from polyglot_async.testing import polyglot_sandbox, polyglot_sandbox_factory  # noqa: F401  (fixtures)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyglot_async.sandbox import Sandbox

AUDIO = Path(__file__).parents[2] / "examples" / "audio"


class Caller(httpx.Client):
    """An HTTP client with the few calls that every test here makes."""

    def upload(self, data: bytes = b"some bytes", name: str = "a.mp3", **fields: str) -> httpx.Response:
        return self.post("/transcriptions/upload", files={"file": (name, data)}, data=fields)

    def start(self, data: bytes = b"some bytes", name: str = "a.mp3", **fields: str) -> str:
        answer = self.upload(data, name, **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    def finished(self, task_id: str, seconds: float = 30.0) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            task = self.get(f"/transcriptions/{task_id}").json()
            return task if task["status"] not in {"queued", "processing"} else None

        return wait_until(ended, seconds)


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


@pytest.fixture
def connect() -> Iterator[Callable[..., Caller]]:
    """Makes a client of a sandbox, by default with its ready key."""
    clients: list[Caller] = []

    def make(sandbox: Sandbox, credential: str | None = "") -> Caller:
        secret = sandbox.api_key if credential == "" else credential
        headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
        clients.append(Caller(base_url=sandbox.url, headers=headers, timeout=20))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def sandbox(polyglot_sandbox: Sandbox) -> Sandbox:  # noqa: F811
    return polyglot_sandbox


@pytest.fixture
def api(sandbox: Sandbox, connect: Callable[..., Caller]) -> Caller:
    return connect(sandbox)


class RawUpload:
    """An upload of which a test sends as much as it wants to, over a socket of its own."""

    def __init__(self, sandbox: Sandbox, data: bytes) -> None:
        address = urlsplit(sandbox.url)
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
        self.body = part + data + b"\r\n--b--\r\n"
        self.head = (
            f"POST {address.path}/transcriptions/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(self.body)}\r\n"
            f"Authorization: Bearer {sandbox.api_key}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        ).encode()
        self.socket = socket.create_connection((address.hostname, address.port), timeout=5)

    def send(self, start: int, stop: int | None = None) -> None:
        self.socket.sendall(self.body[start:stop])

    def answer(self) -> http.client.HTTPResponse:
        """Read the head of an answer."""
        answer = http.client.HTTPResponse(self.socket, method="POST")
        answer.begin()
        return answer


@pytest.fixture
def raw_upload(sandbox: Sandbox) -> Iterator[Callable[..., RawUpload]]:
    """Opens an upload of some data: its head is sent, and the first `sent` bytes of its body."""
    uploads: list[RawUpload] = []

    def start(data: bytes, sent: int = 0) -> RawUpload:
        upload = RawUpload(sandbox, data)
        uploads.append(upload)
        upload.socket.sendall(upload.head + upload.body[:sent])
        return upload

    yield start
    for upload in uploads:
        upload.socket.close()


@pytest.fixture
def recording() -> Callable[[str], Path]:
    return lambda number: AUDIO / f"austen-{number}.wav"


@pytest.fixture
def make_media(tmp_path: Path, recording: Callable[[str], Path]) -> Callable[..., Path]:
    """Puts the recording into another container, with a moving picture if asked for."""

    def make(container: str, codec: str, *, video: str | None = None, rate: int = 16_000) -> Path:
        target = tmp_path / f"speech.{container}"
        with av.open(str(recording("0890"))) as source, av.open(str(target), "w") as output:
            audio = output.add_stream(codec, rate=rate, layout="mono")
            picture = output.add_stream(video, rate=5, width=64, height=64, pix_fmt="yuv420p") if video else None
            for number in range(25 if picture else 0):
                frame = av.VideoFrame(64, 64, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes([number * 9]) * plane.buffer_size)
                frame.pts = number
                output.mux(picture.encode(frame))
            if picture:
                output.mux(picture.encode(None))
            for frame in source.decode(audio=0):
                frame.pts = None
                output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
        return target

    return make


@pytest.fixture
def silence(tmp_path: Path) -> Callable[[float], Path]:
    """A WAV file of so many seconds of nothing."""

    def make(seconds: float) -> Path:
        target = tmp_path / f"silence-{seconds}.wav"
        with wave.open(str(target), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(8000)
            wav.writeframes(b"\0\0" * int(seconds * 8000))
        return target

    return make
