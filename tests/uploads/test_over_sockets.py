"""Uploads to a raw server: of what must not be sent it never sees a whole request, or no request at all."""

import contextlib
import io
import os
import tempfile
from functools import partial
from types import SimpleNamespace

import anyio
import httpx
import pytest

from polyglot_async import AsyncPolyglot, MediaError

MEDIA = (
    b"RIFF\x24\x00\x00\x00WAVEfmt " + os.urandom(1 << 10) * 24_000
)  # more than is read ahead and kept in the buffers of sockets
ANSWER = b'{"task_id": "t-1", "status": "queued"}'


class RawServer:
    """Reads requests byte by byte and answers whole uploads alone.

    Attributes:
        uploads: uploads whose head has arrived.
        whole: bodies of uploads that arrived to their end.
        open_now: connections that are open.
        on_bytes: called once when so many bytes of an upload's body have arrived.
    """

    def __init__(self):
        self.uploads, self.whole, self.open_now, self.on_bytes = 0, [], 0, None

    async def serve(self, stream):
        self.open_now += 1
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await self._exchange(stream)
        self.open_now -= 1

    async def _exchange(self, stream):
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive()
        head, _, received = received.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split()
        if method != "POST":
            await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        assert path.endswith("/transcriptions/upload")
        self.uploads += 1
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(lines.get(b"content-length", -1))
        body = bytearray(received)
        while len(body) < length if length >= 0 else not body.endswith(b"\r\n0\r\n\r\n"):
            if self.on_bytes is not None and len(body) >= self.on_bytes[0]:
                self.on_bytes[1]()
                self.on_bytes = None
            body += await stream.receive()
        self.whole.append(bytes(body))
        await stream.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
        )


@pytest.fixture
async def server():
    raw = RawServer()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        raw.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/api/v1"
        tasks.start_soon(listener.serve, raw.serve)
        yield raw
        tasks.cancel_scope.cancel()


@pytest.fixture
async def upload(server):
    async with AsyncPolyglot("sk_test", base_url=server.url) as client:
        yield client.transcriptions.upload


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "talk.wav"
    found.write_bytes(MEDIA)
    os.utime(found, ns=(1, 1))
    return found


async def test_a_file_that_does_not_change_arrives_whole(server, upload, path):
    task = await upload(path)

    assert ("t-1", 1) == (task.task_id, len(server.whole))
    assert MEDIA in server.whole[0]


def grow(path):
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path):
    os.truncate(path, 1000)


def overwrite(path):
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"x" * 1000)


def replace(path):
    other = path.with_name("other")
    other.write_bytes(MEDIA[::-1])
    os.utime(other, ns=(1, 1))
    other.replace(path)


CHANGES = [grow, shrink, overwrite, replace]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("arrived", [1, len(MEDIA) // 2])
async def test_a_path_that_changes_while_it_is_sent_never_arrives_whole(server, upload, path, change, arrived):
    server.on_bytes = (arrived, partial(change, path))

    with pytest.raises(MediaError, match="changed after it was first looked at"):
        await upload(path)

    assert [] == server.whole
    assert server.uploads == 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("sent", [0, 1 << 20])
async def test_a_small_path_that_changes_while_it_is_sent_never_arrives_whole(server, upload, path, change, sent):
    os.truncate(path, 1 << 20)
    os.utime(path, ns=(1, 1))

    def on_progress(done, _):
        if done == sent:
            change(path)

    with pytest.raises(MediaError, match="changed after it was first looked at"):
        await upload(path, on_progress=on_progress)

    with anyio.fail_after(5):
        while server.open_now or not server.uploads:  # what was sent may still be in the sockets' buffers
            await anyio.sleep(0.001)
    assert [] == server.whole


@pytest.mark.parametrize("change", CHANGES[:3])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_open_file_that_changes_while_it_is_sent_never_arrives_whole(server, upload, path, change, chunked):
    server.on_bytes = (1, partial(change, path))

    with path.open("rb") as file:
        source = SimpleNamespace(read=file.read, fileno=file.fileno) if chunked else file
        with pytest.raises(MediaError, match="changed after it was first looked at"):
            await upload(source)

    assert [] == server.whole


@pytest.mark.parametrize("change", ["grow", "shrink"])
@pytest.mark.parametrize("spooled", [False, True])
async def test_a_file_object_that_changes_while_it_is_sent_never_arrives_whole(server, upload, change, spooled):
    with tempfile.SpooledTemporaryFile() if spooled else io.BytesIO() as file:
        file.write(MEDIA)
        file.seek(0)

        def change_it():
            where = file.tell()
            file.seek(0, os.SEEK_END)
            if change == "grow":
                file.write(b"x" * (2 << 20))
            else:
                file.truncate(len(MEDIA) - 1000)
            file.seek(where)

        # Before the first byte: a file object has one position, and its reader owns it meanwhile.
        async def on_progress(done, _):
            if done == 0:
                change_it()

        with pytest.raises(MediaError, match=r"changed after it was first looked at|ended after"):
            await upload(file, on_progress=on_progress)

    assert [] == server.whole


# Refused before any request


async def texts():
    yield "text"


class Samples(list):
    """Like an array of samples."""

    def __array__(self):
        return self


@pytest.mark.parametrize(
    "make",
    [lambda: None, lambda: 5, lambda: {"file": b"x"}, lambda: ["a.mp3", "b.mp3"], lambda: [b"x"],
     lambda: Samples([0.5]), lambda: io.StringIO("text"), lambda: iter(["text"]), lambda: (word for word in ["text"]),
     texts, lambda: iter([5]), lambda: iter([]), lambda: b"", lambda: "https://host/a.mp3", lambda: " HTTPS://host/a.mp3"],
)  # fmt: skip
async def test_what_is_no_media_is_refused_before_any_upload(server, upload, make):
    with pytest.raises((MediaError, TypeError)):
        await upload(make())

    assert 0 == server.uploads


async def test_a_file_at_its_end_is_refused_before_any_upload(server, upload, path):
    with path.open("rb") as file:
        file.read()
        with pytest.raises(MediaError, match=r"nothing left to read; seek\(0\) first"):
            await upload(file)

    assert 0 == server.uploads


# httpx leaves its own generators to the garbage collector where a response is not read to its end; Trio warns of it.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize(
    "page", ["/missing.wav", "/forbidden.wav", "/broken.wav", "/moved.wav", "/sign-in.wav", "/error.wav",
             "/problem.wav", "/untyped-page.wav", "/empty.wav"])  # fmt: skip
async def test_a_response_without_media_is_refused_before_any_upload(server, upload, fetch, page):
    async with fetch(page) as response:
        with pytest.raises(MediaError):
            await upload(response)

    assert 0 == server.uploads


async def test_a_response_that_ends_early_never_arrives_whole(server, upload, fetch):
    # A library that reads it whole raises an error of its own.
    with pytest.raises((MediaError, httpx.RemoteProtocolError), match=r"cannot be read|ended after|peer closed"):
        async with fetch("/short.wav") as response:
            await upload(response)

    assert [] == server.whole


async def test_a_response_is_sent_on_whole(server, upload, fetch, served):
    async with fetch("/media/a%20talk.wav") as response:
        await upload(response)

    assert served in server.whole[0]
    assert b'filename="a talk.wav"' in server.whole[0]
