"""The benchmarks' own server: it swallows uploads and serves a file as fast as Python's sockets can.

It runs as a process of its own, one blocking thread per connection, so that it never competes for the loop
of the client that is measured. What it answers:

- `POST` anything: reads the body (Content-Length or chunked) and answers a small JSON object, a queued task;
- `GET .../source`: the served file, whole or one `Range` (206, ETag), with `os.sendfile` in the clear;
- `GET` anything else: the same small JSON object.

Its ceiling is whatever `curl` reaches against it: `python -m benchmarks._sink` prints an address to try.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE = 1 << 20
PACED_SLICE = 1 << 16
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
TASK = json.dumps(
    {
        "task_id": "00000000-0000-4000-8000-000000000000",
        "status": "queued",
        "model": "fast",
        "input_language": "en",
        "output_language": None,
        "audio_duration_seconds": 3600.5,
        "created_at": "2025-01-01T12:00:00Z",
        "file_name": "source.mp3",
        "text": "what the SDK of OpenAI looks for",
    }
).encode()


@dataclass(frozen=True)
class Head:
    """The head of one request, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


class Connection:
    """One client: requests are served in turn until it leaves. `cap` is bytes per second, 0 for no cap."""

    def __init__(self, sock: socket.socket, file: Path | None, cap: float) -> None:
        self._sock = sock
        self._file = file
        self._cap = cap
        self._buffer = bytearray(SLICE)
        self._rest = b""

    def serve(self) -> None:
        """Answer until the client closes."""
        with self._sock, contextlib.suppress(OSError):
            while (head := self._read_head()) is not None:
                if head.method == "POST":
                    self._swallow(head.headers)
                    self._answer_json()
                elif head.path.endswith("/source") and self._file is not None:
                    self._answer_file(head.headers.get("range"))
                else:
                    self._answer_json()

    def _read_head(self) -> Head | None:
        data = self._rest
        while HEAD_END not in data:
            more = self._sock.recv(1 << 16)
            if not more:
                return None
            data += more
        raw, self._rest = data.split(HEAD_END, 1)
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines)
        return Head(method, path, {name.lower(): value.strip() for name, value in pairs})

    def _swallow(self, headers: dict[str, str]) -> None:
        if headers.get("expect", "").lower() == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "content-length" in headers:
            self._swallow_length(int(headers["content-length"]))
        elif "chunked" in headers.get("transfer-encoding", ""):
            self._swallow_chunks()

    def _swallow_length(self, length: int) -> None:
        left = length - len(self._rest)
        self._rest = b""
        while left > 0:
            got = self._sock.recv_into(self._buffer)
            if not got:
                raise ConnectionResetError
            left -= got

    def _swallow_chunks(self) -> None:
        # The end is only looked for in the last bytes: good enough for bodies that a benchmark made.
        tail, self._rest = self._rest, b""
        while not tail.endswith(LAST_CHUNK):
            got = self._sock.recv_into(self._buffer)
            if not got:
                raise ConnectionResetError
            tail = (tail + bytes(self._buffer[max(0, got - 8) : got]))[-8:]

    def _answer_json(self) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(TASK)}\r\n\r\n"
        self._sock.sendall(head.encode() + TASK)

    def _answer_file(self, wanted: str | None) -> None:
        assert self._file is not None
        with self._file.open("rb") as file:
            info = os.fstat(file.fileno())
            start, end, status = 0, info.st_size, "200 OK"
            if wanted and (match := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
                start = int(match[1])
                end = min(info.st_size, int(match[2]) + 1 if match[2] else info.st_size)
                status = f"206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{info.st_size}"
            self._sock.sendall(
                f'HTTP/1.1 {status}\r\nETag: "{info.st_size:x}-{info.st_mtime_ns:x}"\r\n'
                f"Accept-Ranges: bytes\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Length: {end - start}\r\n\r\n".encode()
            )
            self._send_range(file.fileno(), start, end)

    def _send_range(self, file: int, start: int, end: int) -> None:
        began, at = time.monotonic(), start
        while at < end:
            size = min(PACED_SLICE if self._cap else SLICE, end - at)
            at += self._send_slice(file, at, size)
            if self._cap:
                time.sleep(max(0.0, (at - start) / self._cap - (time.monotonic() - began)))

    def _send_slice(self, file: int, at: int, size: int) -> int:
        if not isinstance(self._sock, ssl.SSLSocket):
            return os.sendfile(self._sock.fileno(), file, at, size)
        data = os.pread(file, size, at)
        self._sock.sendall(data)
        return len(data)


def make_file(path: Path, mebibytes: int) -> None:
    """Fill a file with what no disk and no TLS can compress."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and localhost, by the `openssl` binary: (certificate, key)."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def _serve_one(sock: socket.socket, context: ssl.SSLContext | None, file: Path | None, cap: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        Connection(context.wrap_socket(sock, server_side=True) if context else sock, file, cap).serve()


def main() -> None:
    """Serve until killed; the first line printed is JSON: {"url": ..., "ca": ...}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--cap", type=float, default=0, help="bytes per second and connection, 0 for no cap")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context, ca = None, None
        if options.tls:
            ca, key = make_certificate(Path(folder))
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(ca, key)
        server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        url = f"http{'s' if options.tls else ''}://127.0.0.1:{server.getsockname()[1]}"
        print(json.dumps({"url": url, "ca": str(ca) if ca else None}), flush=True)
        while True:
            sock, _ = server.accept()
            args = (sock, context, options.file, options.cap)
            threading.Thread(target=_serve_one, args=args, daemon=True).start()


@contextlib.contextmanager
def running_sink(*, tls: bool = False, file: Path | None = None, cap: float = 0) -> Iterator[str]:
    """Start the sink as a process of its own, give its base URL, and stop it at the end. `cap` is bytes/s a connection.

    Over TLS, this process and those that it starts trust the sink's certificate, by the variables that curl, OpenSSL,
    httpx and requests heed.
    """
    argv = [sys.executable, str(Path(__file__).resolve()), "--cap", str(cap)]
    argv += ["--tls"] if tls else []
    argv += ["--file", str(file)] if file else []
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            if told["ca"]:
                os.environ.update(dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), told["ca"]))
            yield told["url"]
        finally:
            # Not SIGTERM: the temporary folder of the certificate is then removed.
            process.send_signal(signal.SIGINT)
            process.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
