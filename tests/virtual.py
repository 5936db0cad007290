"""Virtual time, and a service that lives in it: hours pass in milliseconds, and every run is the same.

Trio's `MockClock` jumps to the next event whenever nobody can go on. Worker threads would be overtaken by such jumps,
so what is sent to one is done at once.
"""

import json
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
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


RUNTIME = Runtime(utc_now=utc_now)
"""The runtime of virtual time: its monotonic clock and its sleep follow Trio's clock by themselves."""


class Task:
    """A task of the service; it ends at a moment of virtual time."""

    __slots__ = ("began", "ends", "id", "name")

    def __init__(self, number, name, seconds):
        self.id = f"task-{number}"
        self.name = name
        self.began = anyio.current_time()
        self.ends = self.began + seconds

    def public(self):
        status = "completed" if anyio.current_time() >= self.ends else "processing"
        began = EPOCH + timedelta(seconds=self.began)
        return {"task_id": self.id, "status": status, "file_name": self.name, "created_at": began.isoformat()}


class StubService(httpx.AsyncBaseTransport):
    """The service as a transport of httpx: no sockets, no threads.

    Args:
        seconds: how long a task takes, by its number.
        latency: seconds of the network, there and back.
        burst: requests and the window that they are counted in, or None.
        concurrency: tasks at once, or None.
        keeps: tasks that it remembers; older ones are forgotten.

    Attributes:
        calls: requests by call.
        answers: answers by status.
        hook: called with the call and the request; what it returns, unless None, is the answer.
    """

    def __init__(self, seconds=lambda _: 10.0, *, latency=0.0, burst=None, concurrency=None, keeps=None):
        self.seconds, self.latency, self.burst, self.concurrency = seconds, latency, burst, concurrency
        self.calls, self.answers = Counter(), Counter()
        self.tasks: dict[str, Task] = {}
        self.order: deque[str] = deque()
        self.active: set[str] = set()
        self.arrivals: deque[float] = deque()
        self.keeps = keeps
        self.hook = lambda *_: None

    def client(self, **options):
        http = httpx.AsyncClient(transport=self)
        return AsyncPolyglot("sk_virtual", base_url="http://127.0.0.1:1/api/v1", http_client=http, **options)

    async def handle_async_request(self, request):
        if self.latency:
            await anyio.sleep(self.latency / 2)
        body = b"".join([chunk async for chunk in request.stream])
        path = request.url.path.removeprefix("/api/v1/transcriptions")
        call = self._call(request.method, path)
        self.calls[call] += 1
        answer = self.hook(call, request) or self._refusal(call) or self._answer(call, path, request, body)
        if isinstance(answer, Exception):
            raise answer
        self.answers[answer.status_code] += 1
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
            return "upload"
        return "list" if not path else "result" if path.endswith("/result") else "get"

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
        if call == "upload" and self.concurrency is not None:
            self.active = {task_id for task_id in self.active if self.tasks[task_id].ends > now}
            if len(self.active) >= self.concurrency:
                return httpx.Response(429, json={"detail": "concurrent tasks"}, headers={"retry-after": "1"})
        return None

    def _answer(self, call, path, request, body):
        match call:
            case "documentation":
                return httpx.Response(200, json={"rate_limits": self._limits()})
            case "upload":
                return self.start(re.search(rb'filename="([^"]*)"', body)[1].decode())
            case "list":
                return self._page(request.url.params)
        task = self.tasks.get(path.split("/")[1])
        if task is None:
            return httpx.Response(404, json={"detail": "no such task"})
        if call == "get":
            return httpx.Response(200, json=task.public())
        return httpx.Response(200, json={"task_id": task.id, "transcript": "words", "segments": []})

    def start(self, name="a.mp3"):
        number = self.calls["upload"]
        task = Task(number, name, self.seconds(number))
        self.tasks[task.id] = task
        self.order.appendleft(task.id)
        if self.concurrency is not None:
            self.active.add(task.id)
        if self.keeps is not None and len(self.order) > self.keeps:
            del self.tasks[self.order.pop()]
        return httpx.Response(200, json={"task_id": task.id, "status": "queued"})

    def _page(self, query):
        first, size = int(query.get("offset", 0)), min(100, int(query.get("limit", 20)))
        ids = [self.order[index] for index in range(first, min(first + size, len(self.order)))]
        tasks = [self.tasks[task_id].public() for task_id in ids]
        return httpx.Response(200, content=json.dumps({"items": tasks, "total": len(self.order)}))

    def _limits(self):
        burst, window = self.burst or (None, 60.0)
        return {
            "burst": {"requests_per_minute": burst, "window_seconds": window},
            "plan": {"max_concurrent_tasks": self.concurrency},
        }
