"""The worker process: decodes, recognises and converts, so that neither a slow nor a deadly file hurts the server.

`python -m polyglot_async.sandbox._worker [module:Engine]` reads one job per line of JSON from standard input and
answers each with one line. A plain child process and not multiprocessing, which would import the user's script again.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ._engines import RecognitionError, to_json

if TYPE_CHECKING:
    from ._engines import Engine

NICENESS = 10


def main() -> None:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the server, which ends us
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    answers = _private_stdout()
    worker = Worker(sys.argv[1] if len(sys.argv) > 1 else None)
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


class Worker:
    """Does the jobs; the engine is made when first needed."""

    def __init__(self, engine: str | None) -> None:
        self._engine_name = engine
        self._engine: Engine | None = None

    def work(self, job: dict[str, Any]) -> dict[str, Any]:
        """One job; a failure is an answer too: `reason` if it is the media's fault."""
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
