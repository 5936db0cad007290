"""A batch in a process of its own, which is killed, or kills itself, with SIGKILL.

    python kill_child.py URL KEY JOURNAL SOURCES [PHASE NUMBER]

SOURCES is a file with a path or a URL a line. With a phase, the process dies when submission NUMBER gets there:

- `leaving`: the first bytes are out
- `last_byte`: it is about to be handed to the socket
- `left`: it was
- `answer`: the service has answered, and nobody has read it
- `running`: before a poll
- `ended`: before a result is asked for
- `fetched`: as many outcomes are there, and the last is not acknowledged
"""

import os
import signal
import sys
from pathlib import Path

import anyio
import httpx

from polyglot_async import AsyncPolyglot, PollSchedule, Runtime


class DyingStream(httpx.AsyncByteStream):
    """The body of a submission, with its last part held back until all before it is out."""

    def __init__(self, stream, reached):
        self.stream, self.reached = stream, reached

    async def __aiter__(self):
        held = None
        async for chunk in self.stream:
            if held is not None:
                yield held
                self.reached("leaving")
            held = chunk
        self.reached("last_byte")
        yield held
        self.reached("left")


class DyingTransport(httpx.AsyncHTTPTransport):
    """Kills the process when a submission, or what follows it, gets to a phase."""

    def __init__(self, phase, number):
        super().__init__()
        self.phase, self.left = phase, number

    def reached(self, phase):
        if self.left <= 0 and phase == self.phase:
            os.kill(os.getpid(), signal.SIGKILL)

    async def handle_async_request(self, request):
        path = request.url.path
        if path.endswith(("/upload", "/from-url")):
            self.left -= 1
            request.stream = DyingStream(request.stream, self.reached)
            response = await super().handle_async_request(request)
            self.reached("answer")
            return response
        if not path.endswith("/documentation"):
            self.reached("ended" if path.endswith("/result") else "running")
        return await super().handle_async_request(request)


async def sleep(seconds):
    await anyio.sleep(min(seconds, 0.5))  # the sandbox is on this machine: what has not arrived by then never will


async def main():
    url, key, journal, sources, *death = sys.argv[1:]
    phase, number = (death[0], int(death[1])) if death else (None, 0)
    runtime = Runtime(sleep=sleep, poll_schedule=PollSchedule(min_interval=0.1, max_interval=0.3))
    names = Path(sources).read_text().split()  # noqa: ASYNC240 - before anything runs
    async with (
        httpx.AsyncClient(transport=DyingTransport(phase, number)) as http,
        # Without a phase it sends as everybody does, over the transport of the SDK.
        AsyncPolyglot(key, base_url=url, runtime=runtime, http_client=http if death else None) as client,
        client.batch(names, journal=journal, concurrency=6) as outcomes,
    ):
        async for outcome in outcomes:
            print(outcome.name, repr(outcome.error), flush=True)  # noqa: T201 - for whoever reads a failure
            number -= 1
            if phase == "fetched" and not number:
                os.kill(os.getpid(), signal.SIGKILL)


anyio.run(main)
