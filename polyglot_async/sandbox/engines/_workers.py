"""Worker processes, both sides: they decode, recognise and convert, so that no slow or deadly file hurts the server.

`python -m polyglot_async.sandbox.engines._workers [module:Engine]` reads one job per line of JSON from standard input
and answers each with one line. A plain child process and not multiprocessing, which would import the user's script
again. The server keeps a few of them, starts them when needed and replaces them when they die.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from ._engine import RecognitionError, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._engine import Engine

LONGEST_ANSWER = 1 << 28
"""Bytes of one line from a worker: the transcript of a very long file."""
NICENESS = 10


class WorkerPool:
    """A pool of worker processes; each does one job at a time."""

    def __init__(self, engine: str | None, log: Path, *, size: int = 2) -> None:
        self._engine, self._log_path = engine, log
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()
        self._log: BinaryIO | None = None

    async def do(self, job: str, *, begun: Callable[[], None] | None = None, **arguments: Any) -> Any:
        """Return the answer to a job; RecognitionError if the media is at fault, or if the worker died of it.

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
        """Return the ids of the processes that live."""
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
            *(
                sys.executable,
                "-m",
                "polyglot_async.sandbox.engines._workers",
                *([self._engine] if self._engine else []),
            ),
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


def main() -> None:
    """Run jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server, which ends us
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    answers = _private_stdout()
    worker = JobWorker(sys.argv[1] if len(sys.argv) > 1 else None)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    while True:
        answer = worker.work(json.loads(jobs.get()))
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _private_stdout() -> TextIO:
    """Keep standard output for answers: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _read_jobs(jobs: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)  # the server is gone, even if by SIGKILL: drop the work in hand


class JobWorker:
    """Does the jobs; the engine is made when first needed."""

    def __init__(self, engine: str | None) -> None:
        self._engine_name = engine
        self._engine: Engine | None = None

    def work(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job and return its answer; a failure is an answer too: `reason` if it is the media's fault."""
        try:
            return {"ok": getattr(self, f"_{job.pop('do')}")(**job)}
        except RecognitionError as problem:
            return {"reason": str(problem)}
        except Exception as problem:  # noqa: BLE001  (whatever a hostile file provokes must not end the worker)
            return {"reason": f"The media could not be processed: {type(problem).__name__}: {problem}"}

    def _recognise(self, source: str, language: str | None, max_seconds: float | None) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=Path(source).parent) as folder:
            seconds = self._decode(source, f"{folder}/speech.wav", max_seconds)
            recognition = self._get_engine().recognise(Path(folder, "speech.wav"), language=language)
        answer = to_json(recognition)
        return {**answer, "audio_seconds": seconds if answer["audio_seconds"] is None else answer["audio_seconds"]}

    def _decode(self, source: str, target: str, max_seconds: float | None) -> float:
        from ._media import decode_speech  # noqa: PLC0415  (PyAV is heavy: only who needs it loads it)

        return decode_speech(Path(source), Path(target), max_seconds=max_seconds)

    def _convert(self, source: str, target: str, kind: str) -> None:
        from ._media import convert  # noqa: PLC0415

        convert(Path(source), Path(target), kind)

    def _duration(self, source: str) -> float | None:
        from ._media import duration  # noqa: PLC0415

        return duration(Path(source))

    def _get_engine(self) -> Engine:
        if self._engine is None:
            module, _, name = (self._engine_name or "").partition(":")
            engine: Engine = getattr(importlib.import_module(module), name)()
            self._engine = engine
        return self._engine


if __name__ == "__main__":
    main()
