"""The server's side of the worker processes: a few of them, started when needed, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from ._engines import RecognitionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_ANSWER = 1 << 28
"""Bytes of one line from a worker: the transcript of a very long file."""


class Workers:
    """A pool of worker processes; each does one job at a time."""

    def __init__(self, engine: str | None, log: Path, *, size: int = 2) -> None:
        self._engine, self._log_path = engine, log
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()
        self._log: BinaryIO | None = None

    async def do(self, job: str, *, begun: Callable[[], None] | None = None, **arguments: Any) -> Any:
        """Have a job done; RecognitionError if the media is at fault, or if the worker died of it.

        `begun` is called when a worker is free for it.
        """
        async with self._free:
            if begun is not None:
                begun()
            process = self._alive() or await self._start()
            try:
                answer = await self._ask(process, {"do": job, **arguments})
            except BaseException:
                # It died, or the job was cancelled in its middle: its next line would answer the wrong question.
                await self._end(process)
                raise
            self._idle.append(process)
        if "reason" in answer:
            raise RecognitionError(answer["reason"])
        return answer["ok"]

    def pids(self) -> list[int]:
        """The processes that live."""
        return [process.pid for process in self._all if process.returncode is None]

    async def close(self) -> None:
        """Kill them all."""
        for process in list(self._all):
            await self._end(process)
        self._idle.clear()
        if self._log is not None:
            self._log.close()

    def _alive(self) -> asyncio.subprocess.Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._all.discard(process)
        return None

    async def _start(self) -> asyncio.subprocess.Process:
        if self._log is None:
            self._log = self._log_path.open("ab")
        # The worker must find this package, and a user's engine, wherever this process found them.
        path = os.pathsep.join(entry or "." for entry in sys.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "polyglot_async.sandbox._worker", *([self._engine] if self._engine else [])),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            limit=LONGEST_ANSWER,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._all.add(process)
        return process

    async def _ask(self, process: asyncio.subprocess.Process, question: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None  # noqa: S101  (both are pipes)
        assert process.stdout is not None  # noqa: S101
        line = b""
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(question).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            raise RecognitionError("The recogniser stopped unexpectedly.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
