"""Virtual time, and a service that lives in it: hours pass in milliseconds.

Trio shuffles what is ready at the same moment, so two runs may differ in the order of such steps.

Trio's `MockClock` jumps to the next event whenever nobody can go on. Worker threads would be overtaken by such jumps,
so what is sent to one is done at once.
"""

import inspect
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from unittest import mock

import anyio
import anyio.lowlevel
import httpx
import trio.testing

from polyglot_async import AsyncPolyglot, Runtime

EPOCH = datetime(2026, 5, 24, 12, tzinfo=UTC)


def in_virtual_time(main: Callable[..., Awaitable[object]], *arguments):
    """Run `main` on Trio with a clock that jumps."""

    async def at_once(function, *values, **_):
        await anyio.lowlevel.checkpoint()
        return function(*values)

    with mock.patch("anyio.to_thread.run_sync", at_once):
        return trio.run(main, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


def utc_now():
    """The calendar of virtual time."""
    return EPOCH + timedelta(seconds=anyio.current_time())


_reads = itertools.count()


def unix_time():
    """The time in seconds, which goes on a little with each call, as a real clock does."""
    return utc_now().timestamp() + next(_reads) * 1e-6


RUNTIME = Runtime(utc_now=utc_now, unix_time=unix_time)
"""The runtime of virtual time: its monotonic clock and its sleep follow Trio's clock by themselves."""


class Task:
    """A task of the service; it ends at a moment of virtual time. `media` is what it was made from: bytes, or a URL."""

    __slots__ = ("began", "ends", "fields", "id", "media", "name", "status")

    def __init__(self, number, name, seconds, media=b"", fields=None):
        self.id = f"task-{number}"
        self.name = name
        self.media = media
        self.status = "completed"
        self.began = anyio.current_time()
        self.ends = self.began + seconds
        self.fields = fields or {}

    def public(self):
        status = self.status if anyio.current_time() >= self.ends else "processing"
        began = EPOCH + timedelta(seconds=self.began)
        known = {"task_id": self.id, "status": status, "file_name": self.name, "created_at": began.isoformat()}
        return {**known, **self.fields}


class StubService(httpx.AsyncBaseTransport):
    """The service as a transport of httpx: no sockets, no threads.

    Args:
        seconds: how long a task takes, by its number.
        latency: seconds of the network, there and back.
        burst: requests and the window that they are counted in, or None.
        concurrency: tasks at once, or None.
        keeps: tasks that it remembers; older ones are forgotten, and `starts` is not counted.

    Attributes:
        calls: requests by call.
        answers: answers by status.
        starts: how often work was started, by the bytes or the URL that it was started with.
        shown: makes what the list and `GET /{id}` show of what is known of a task; None hides it.
        source: makes what `/source` shows of the bytes that were uploaded; None: 404.
        ignores_range: answers a range of a source with the whole.
        page: makes a page of the list: from the tasks' ids, newest first, an offset and a size.
        tells_total: whether a page says how many tasks there are.
        hook: called with the call and the request before anything is done; what it returns, unless None, is the answer.
        after: called with the call, the request and the answer when all is done; what it returns is the answer. Both
            may be coroutine functions; an answer may be an exception, which is raised.
    """

    def __init__(self, seconds=lambda _: 10.0, *, latency=0.0, burst=None, concurrency=None, keeps=None):
        self.seconds, self.latency, self.burst, self.concurrency = seconds, latency, burst, concurrency
        self.calls, self.answers, self.starts = Counter(), Counter(), Counter()
        self.tasks: dict[str, Task] = {}
        self.order: deque[str] = deque()
        self.active: set[str] = set()
        self.arrivals: deque[float] = deque()
        self.keeps = keeps
        self.numbers = itertools.count(1)
        self.shown = lambda task: task
        self.source = lambda media: media
        self.ignores_range = False
        self.page = lambda ids, first, size: itertools.islice(ids, first, first + size)
        self.tells_total = True
        self.hook = lambda *_: None
        self.after = lambda _call, _request, answer: answer

    def client(self, **options):
        options.setdefault("runtime", RUNTIME)
        http = httpx.AsyncClient(transport=self)
        return AsyncPolyglot("sk_virtual", base_url="http://127.0.0.1:1/api/v1", http_client=http, **options)

    async def handle_async_request(self, request):
        if self.latency:
            await anyio.sleep(self.latency / 2)
        body = b"".join([chunk async for chunk in request.stream])
        path = request.url.path.removeprefix("/api/v1/transcriptions")
        call = self._call(request.method, path)
        self.calls[call] += 1
        answer = self.hook(call, request)
        if inspect.isawaitable(answer):
            answer = await answer
        answer = self.after(call, request, answer or self._refusal(call) or self._answer(call, path, request, body))
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        self.answers[answer.status_code] += 1
        answer.headers.setdefault("date", format_datetime(utc_now(), usegmt=True))
        if self.latency:
            await anyio.sleep(self.latency / 2)
        return answer

    @property
    def requests(self):
        return self.calls.total()

    def _call(self, method, path):
        if path.endswith("/documentation"):
            return "documentation"
        if method == "POST":
            return "from_url" if path.endswith("/from-url") else "upload"
        last = path.rpartition("/")[2]
        return "list" if not path else last if last in {"result", "source"} else "get"

    def _refusal(self, call):
        now = anyio.current_time()
        if self.burst is not None:
            limit, window = self.burst
            while self.arrivals and self.arrivals[0] <= now - window:
                self.arrivals.popleft()
            if len(self.arrivals) >= limit:
                wait = self.arrivals[0] + window - now
                return httpx.Response(429, json={"detail": "burst"}, headers={"retry-after": f"{wait:.6f}"})
            self.arrivals.append(now)
        if call in {"upload", "from_url"} and self.concurrency is not None:
            self.active = {task_id for task_id in self.active if self.tasks[task_id].ends > now}
            if len(self.active) >= self.concurrency:
                return httpx.Response(429, json={"detail": "concurrent tasks"}, headers={"retry-after": "1"})
        return None

    def _answer(self, call, path, request, body):
        if call == "documentation":
            return httpx.Response(200, json={"rate_limits": self._limits()})
        if call in {"upload", "from_url"}:
            return self.start(*(read_form(body) if call == "upload" else read_json(body)))
        if call == "list":
            return self._page(request.url.params)
        task = self.tasks.get(path.split("/")[1])
        if task is None:
            return httpx.Response(404, json={"detail": "no such task"})
        if call == "source":
            return self._source(task, request)
        words = {"task_id": task.id, "transcript": "words", "segments": []}
        return httpx.Response(200, json=words if call == "result" else self.shown(task.public()))

    def start(self, name="a.mp3", media=b"", fields=None):
        """Start a task, as an upload does; return the answer."""
        number = next(self.numbers)
        task = Task(number, name, self.seconds(number), media, fields)
        if self.keeps is None:
            self.starts[media] += 1
        self.tasks[task.id] = task
        self.order.appendleft(task.id)
        if self.concurrency is not None:
            self.active.add(task.id)
        if self.keeps is not None and len(self.order) > self.keeps:
            del self.tasks[self.order.pop()]
        return httpx.Response(200, json={"task_id": task.id, "status": "queued"})

    def _page(self, query):
        first, size = int(query.get("offset", 0)), min(100, int(query.get("limit", 20)))
        shown = (self.shown(self.tasks[task_id].public()) for task_id in self.page(self.order, first, size))
        tasks = [task for task in shown if task is not None]
        total = {"total": len(self.order)} if self.tells_total else {}
        return httpx.Response(200, content=json.dumps({"items": tasks, **total}))

    def _source(self, task, request):
        data = self.source(task.media if isinstance(task.media, bytes) else b"behind " + task.media.encode())
        if data is None:
            return httpx.Response(404, json={"detail": "not there"})
        wanted = re.fullmatch(r"bytes=-([0-9]+)", request.headers.get("range", ""))
        if wanted is None or self.ignores_range or not data:
            return httpx.Response(200, headers={"content-length": str(len(data))}, stream=httpx.ByteStream(data))
        first = max(0, len(data) - int(wanted[1]))
        headers = {"content-range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        return httpx.Response(206, headers=headers, stream=httpx.ByteStream(data[first:]))

    def _limits(self):
        burst, window = self.burst or (None, 60.0)
        return {
            "burst": {"requests_per_minute": burst, "window_seconds": window},
            "plan": {"max_concurrent_tasks": self.concurrency},
        }


def read_form(body):
    """Return the file's name, its bytes and the other fields of a form."""
    head = re.search(rb'filename="([^"]*)"\r\n(?:[^\r]+\r\n)*\r\n', body)
    fields = re.findall(rb'form-data; name="([^"]+)"\r\n\r\n([^\r]*)\r\n', body[: head.start()])
    options = {name.decode(): value.decode() for name, value in fields}
    return head[1].decode(), body[head.end() : body.rindex(b"\r\n--")], options


def read_json(body):
    """Return the last part of the URL, the URL and the other fields of a document."""
    fields = json.loads(body)
    url = fields.pop("url")
    return url.rpartition("/")[2], url, fields
