"""A service of plain sockets and threads that misbehaves in every phase of a request, and counts what it has started.

For each paid request a `Step` says how far it is read, whether the task is made, and what comes back: an answer,
nothing, a reset, silence. When the steps are used up, it behaves. What was made is listed and can be fetched, with its
source.
"""

import contextlib
import json
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.client import responses

import attrs

HEAD, MIDDLE, ALMOST, WHOLE = "after the head", "in the middle of the body", "before the last byte", "after the body"
ACCEPT = "before a byte is read"
CLOSE, RESET, SILENCE, KEEP, DRAIN = "closes", "resets", "falls silent", "goes on", "reads the rest"


def http(status, body=b"", **headers):
    """Return an answer; a `Content-Length` in `headers` is sent as it is."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
    headers = {"Content-Length": len(body), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [
        f"HTTP/1.1 {status} {responses.get(status, 'Odd')}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@attrs.frozen(kw_only=True)
class Step:
    """What happens to one paid request.

    Attributes:
        reads: how far it is read.
        makes: whether the task is made.
        answer: what is sent back: bytes, or a function of the task's id that makes them; None: nothing.
        then: what happens after that.
    """

    reads: str = WHOLE
    makes: bool = False
    answer: object = None
    then: str = CLOSE


BEHAVE = Step(makes=True, answer=lambda task_id: http(200, {"task_id": task_id, "status": "queued"}), then=KEEP)


@attrs.define
class Made:
    """A task: what it was made from, None where that was not read to its end."""

    id: str
    media: bytes | None
    name: str | None
    fields: dict
    created: float
    status: str = "queued"


class MoneyServer:
    """See the head of the module.

    Attributes:
        steps: what happens to the next paid requests.
        made: the tasks, oldest first.
        heads: paid requests of which at least the head arrived.
        bodies: paid requests that arrived whole.
        answered: paid requests that were answered.
        requests: of each kind: "upload", "from-url", "list", "get", "source", "result".
        shows: makes what is shown of a task from all that is known of it.
        source: makes what `/source` shows of the bytes that arrived; None: 404.
        ranges: whether `/source` knows ranges.
        lengths: whether a whole source comes with its length.
        on_get: called with kind and path of a GET; what it returns, unless None, is the answer, or a `Step`.
        on_source: called with the headers of a request for a source; what it returns, unless None, is the answer.
        page_of: makes a page: from what is shown of all tasks, newest first, an offset and a size.
    """

    def __init__(self, *steps):
        self.steps = list(steps)
        self.made, self.heads, self.bodies, self.answered, self.requests = [], 0, 0, 0, Counter()
        self.shows = lambda task: task
        self.source = lambda media: media
        self.ranges = self.lengths = True
        self.on_get = lambda _kind, _path: None
        self.on_source = lambda _headers: None
        self.page_of = lambda tasks, first, size: tasks[first : first + size]
        self._lock = threading.Lock()
        self._sockets = set()
        self._threads = []
        self._listener = None
        self.port = None
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/api/v1"

    def open(self):
        """Listen, on the same port as before."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)  # so that few bytes are under way
        self._listener.bind(("127.0.0.1", self.port or 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)

    def shut(self):
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self):
        self.shut()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _spawn(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.add(sock)
                self._spawn(self._serve, sock)

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock:
            try:
                if self.steps and self.steps[0].reads == ACCEPT:
                    self._end(sock, self._next_step())
                    return
                buffered = bytearray()
                while self._one_request(sock, buffered):
                    pass
            finally:
                self._sockets.discard(sock)

    def _next_step(self):
        with self._lock:
            return self.steps.pop(0) if self.steps else BEHAVE

    def _one_request(self, sock, buffered):
        """Serve a request; return whether the connection goes on."""
        while b"\r\n\r\n" not in buffered:
            if not (more := sock.recv(65536)):
                return False
            buffered += more
        head, _, rest = bytes(buffered).partition(b"\r\n\r\n")
        buffered[:] = rest
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path = target.partition("?")[0].partition("/transcriptions")[2].rstrip("/")
        if method == "GET":
            return self._answer_get(sock, path, target, headers)
        return self._answer_post(sock, path, headers, buffered)

    # -- paid requests

    def _answer_post(self, sock, path, headers, buffered):
        step = self._next_step()
        with self._lock:
            self.requests[path[1:]] += 1
            self.heads += 1
        body = _Body(sock, headers, buffered)
        if step.reads != HEAD:
            body.read({MIDDLE: body.length // 2 if body.length else 1 << 16, ALMOST: -1, WHOLE: None}[step.reads])
        made = None
        if body.is_whole:
            with self._lock:
                self.bodies += 1
        if step.makes:
            made = self._make(path, headers, bytes(body.data) if body.is_whole else None)
        answer = step.answer(made.id) if callable(step.answer) else step.answer
        if answer is not None:
            sock.sendall(answer)
            with self._lock:
                self.answered += 1
        if step.then == DRAIN:
            body.read(None)
            return True
        if step.then != KEEP:
            self._end(sock, step)
            return False
        return body.is_whole

    def _make(self, path, headers, body):
        fields, name, media = {}, None, None
        if body is not None and path.endswith("from-url"):
            fields = json.loads(body)
        elif body is not None:
            fields, name, media = _read_form(headers["content-type"], body)
        return self.add(media, name, **fields)

    def add(self, media, name=None, *, created=None, status="queued", **fields):
        """Make a task as another client does."""
        with self._lock:
            made = Made(f"task-{len(self.made) + 1}", media, name, fields, created or time.time(), status)
            self.made.append(made)
            return made

    def _end(self, sock, step):
        if step.then == RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        elif step.then == SILENCE:  # until the client leaves
            select.select([], [], [], 0)
            poller = select.poll()
            poller.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
            poller.poll(10_000)
        elif step.then == CLOSE and step.reads == WHOLE:
            # Whatever is unread would make of the close a reset, which may overtake the answer.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(10)
                while sock.recv(65536):
                    pass

    # -- free requests

    def _answer_get(self, sock, path, target, headers):
        last = path.rpartition("/")[2]
        kind = "list" if not path else last if last in {"source", "result"} else "get"
        with self._lock:
            self.requests[kind] += 1
        answer = self.on_get(kind, target)
        if isinstance(answer, Step):
            sock.sendall(answer.answer or b"")
            self._end(sock, answer)
            return False
        if answer is None:
            answer = self._page(target) if kind == "list" else self._one(kind, path.split("/")[1], headers)
        sock.sendall(answer)
        return True

    def _page(self, target):
        query = dict(re.findall(r"(\w+)=([^&]*)", target.partition("?")[2]))
        first, size = int(query.get("offset", 0)), int(query.get("limit", 20))
        with self._lock:
            tasks = [self.public(task) for task in self.made[::-1]]
        return http(200, {"items": self.page_of(tasks, first, size), "total": len(tasks)})

    def public(self, task):
        known = {
            "task_id": task.id,
            "status": task.status,
            "file_name": task.name,
            "created_at": datetime.fromtimestamp(task.created, UTC).isoformat(),
            **task.fields,
        }
        return self.shows({name: value for name, value in known.items() if value is not None})

    def _one(self, kind, task_id, headers):
        task = next((task for task in self.made if task.id == task_id), None)
        if task is None:
            return http(404, {"detail": "no such task"})
        if kind == "get":
            return http(200, self.public(task))
        if kind == "result":
            return http(200, {"task_id": task.id, "transcript": "words", "segments": []})
        if (odd := self.on_source(headers)) is not None:
            return odd
        media = None if task.media is None else self.source(task.media)
        return http(404, {"detail": "no such file"}) if media is None else self._source(media, headers)

    def _source(self, media, headers):
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
        if wanted is None or not self.ranges:
            if self.lengths:
                return http(200, media, Content_Type="audio/mpeg")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
            return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(media), media)
        first, last = wanted.groups()
        start = int(first) if first else max(0, len(media) - int(last))
        stop = min(int(last) + 1, len(media)) if first and last else len(media)
        content_range = f"bytes {start}-{stop - 1}/{len(media)}"
        return http(206, media[start:stop], Content_Type="audio/mpeg", Content_Range=content_range)


class _Body:
    """A body on its way, chunked or of a known length."""

    def __init__(self, sock, headers, buffered):
        self._sock, self._buffered = sock, buffered
        self.length = int(headers["content-length"]) if "content-length" in headers else None
        self.data = bytearray()
        self.is_whole = False
        self._left = 0  # of the chunk that is being read

    def read(self, wanted):
        """Read up to `wanted` bytes of it, or with None all, or with -1 all but the last."""
        if self.length is None:
            self._read_chunks(wanted)
            return
        most = self.length if wanted is None else self.length - 1 if wanted == -1 else wanted
        while len(self.data) < most:
            self._receive()
            part = self._buffered[: most - len(self.data)]
            del self._buffered[: len(part)]
            self.data += part
        self.is_whole = len(self.data) == self.length

    def _receive(self):
        if not self._buffered:
            more = self._sock.recv(65536)
            if not more:
                raise OSError("the client has left")
            self._buffered += more

    def _read_chunks(self, wanted):
        while wanted in {None, -1} or len(self.data) < wanted:
            if not self._left:
                self._left = int(self._line(), 16)
            if not self._left:
                if wanted != -1:
                    self._line()
                    self.is_whole = True
                return
            self._receive()
            part = self._buffered[: self._left]
            del self._buffered[: len(part)]
            self.data += part
            self._left -= len(part)
            if not self._left:
                self._line()

    def _line(self):
        while b"\r\n" not in self._buffered:
            more = self._sock.recv(65536)
            if not more:
                raise OSError("the client has left")
            self._buffered += more
        line, _, rest = bytes(self._buffered).partition(b"\r\n")
        self._buffered[:] = rest
        return line


def _read_form(content_type, body):
    """Return the fields, the file's name as it was framed, and its bytes."""
    boundary = b"--" + content_type.partition("boundary=")[2].encode()
    fields, name, media = {}, None, None
    head_end = body.index(b'name="file"')
    for key, value in re.findall(rb'form-data; name="([^"]+)"\r\n\r\n([^\r]*)\r\n', body[:head_end]):
        fields[key.decode()] = value.decode()
    name = re.search(rb'filename="([^"]*)"', body[head_end:])[1].decode("utf-8", "replace")
    start = body.index(b"\r\n\r\n", head_end) + 4
    media = body[start : body.rindex(b"\r\n" + boundary + b"--")]
    return fields, name, media


def local_times(task, hours):
    """Show a task's time as the naive one of a zone that is so many hours ahead."""
    moment = datetime.fromisoformat(task["created_at"]) + timedelta(hours=hours)
    return {**task, "created_at": moment.replace(tzinfo=None).isoformat()}
