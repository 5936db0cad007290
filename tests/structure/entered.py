"""Count the package's functions that one call enters: `python tests/structure/entered.py [get|transcribe|batch]`.

The service is an `httpx.MockTransport`. Each call is made once before it is counted, so that lazy imports do not count.
A function is a code object of a file in `polyglot_async`; all threads count.
"""

import asyncio
import collections
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx

import polyglot_async
from polyglot_async import AsyncPolyglot

PACKAGE = Path(polyglot_async.__file__).parent
TASK = {"task_id": "t1", "status": "completed", "file_name": "a.wav"}
LIMITS = {"burst": {"requests_per_minute": 100_000}, "plan": {"max_concurrent_tasks": 3}}
ROUNDS = ("a", "b")  # the first one is not counted; the contents differ, so that no copy is taken for known


class Profiler:
    """Notes which functions of the package are entered while it records; install it before any thread starts."""

    def __init__(self):
        self.recording = False
        self.entered = set()

    def __call__(self, frame, event, _):
        if self.recording and event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            self.entered.add(frame.f_code)

    @contextmanager
    def installed(self):
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


class Service:
    """Answers every call at once; what is uploaded is completed by the next look."""

    def __init__(self):
        self.uploads = 0

    def __call__(self, request):
        path = request.url.path.removeprefix("/api/v1")
        if path == "/developer/documentation":
            return httpx.Response(200, json={"rate_limits": LIMITS})
        if request.method == "POST":
            self.uploads += 1
            return httpx.Response(200, json={"task_id": f"t{self.uploads}", "status": "queued"})
        tasks = [{**TASK, "task_id": f"t{number}"} for number in range(self.uploads, 0, -1)]
        if path == "/transcriptions":
            first = int(request.url.params.get("offset", 0))
            return httpx.Response(200, json={"items": tasks[first:], "total": len(tasks)})
        task = {**TASK, "task_id": path.split("/")[2]}
        if path.endswith("/result"):
            return httpx.Response(200, json={**task, "transcript": "words", "segments": []})
        return httpx.Response(200, json=task)


async def get(client, _):
    await client.transcriptions.get("t1")


async def transcribe(client, path):
    await client.transcribe(path)


async def batch(client, path):
    async with client.batch([path]) as outcomes:
        async for outcome in outcomes:
            assert outcome.error is None


CALLS = {"get": get, "transcribe": transcribe, "batch": batch}


async def _second_call(profiler, call, folder):
    http = httpx.AsyncClient(transport=httpx.MockTransport(Service()))
    async with http, AsyncPolyglot("sk_key", base_url="http://127.0.0.1:1/api/v1", http_client=http) as client:
        for number in ROUNDS:
            path = folder / f"{number}.wav"
            path.write_bytes(f"audio {number}".encode())
            profiler.recording = number == ROUNDS[-1]
            await call(client, path)
            profiler.recording = False


def functions_entered(call):
    """Return the functions that the second call of "get", "transcribe" or "batch" enters, as "file: function" lines."""
    profiler = Profiler()
    with tempfile.TemporaryDirectory() as folder, profiler.installed():
        asyncio.run(_second_call(profiler, CALLS[call], Path(folder)))
    return sorted(
        f"{Path(code.co_filename).relative_to(PACKAGE)}: {code.co_qualname} ({code.co_firstlineno})"
        for code in profiler.entered
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or CALLS:
        lines = functions_entered(name)
        files = collections.Counter(line.partition(":")[0] for line in lines)
        title = f"{name}: {len(lines)} functions in {len(files)} files"
        sys.stdout.write("\n  ".join([title, *lines]) + "\n")
