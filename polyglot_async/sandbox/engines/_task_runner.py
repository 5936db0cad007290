"""Runs a task through its statuses: queued, processing, then completed, failed or cancelled."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .._background import in_daemon_thread
from .._outbound import MediaUrlError
from .._storage import ACTIVE
from ._engine import Recognition, RecognitionError, ScriptedEngine, from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._background import BackgroundTasks
    from .._outbound import OutboundClient
    from .._storage import StoredTask, TaskStore
    from ..server._limits import Plan
    from ._engine import Engine
    from ._workers import WorkerPool


class TaskRunner:
    """Runs the tasks on the server's loop; recognition itself happens elsewhere."""

    def __init__(
        self,
        *,
        store: TaskStore,
        media: Path,
        engine: str | Engine | ScriptedEngine,
        plan: Plan,
        workers: WorkerPool,
        outbound: OutboundClient,
        background: BackgroundTasks,
        on_final: Callable[[StoredTask], None],
        now: Callable[[], float],
    ) -> None:
        self._store, self._media, self._engine, self._plan = store, media, engine, plan
        self._workers, self._outbound, self._background = workers, outbound, background
        self._on_final, self._now = on_final, now
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, task: StoredTask) -> None:
        """Save a new task and run it."""
        self._store.save(task)
        running = self._background.start(self._run(task))
        self._running[task.task_id] = running
        running.add_done_callback(lambda _: self._running.pop(task.task_id, None))

    def resume(self) -> None:
        """Go on with what a previous run of the sandbox left unfinished."""
        for task in self._store.unfinished():
            task.status = "queued"
            self.start(task)

    def cancel(self, task_id: str) -> StoredTask | None:
        """Cancel a task (as the user does on the site) and return it; None if there is none that can be cancelled."""
        task = self._store.get(task_id)
        if task is None or task.status not in ACTIVE:
            return None
        if (running := self._running.pop(task_id, None)) is not None:
            running.cancel()
        self._finish(task, "cancelled")
        return task

    async def audio_seconds(self, path: Path, name: str, size: int) -> float | None:
        """Return the seconds of audio in a file, as far as is known before it is decoded."""
        if isinstance(self._engine, ScriptedEngine):
            return self._engine.length(name, size)
        from ._media import duration  # noqa: PLC0415  (PyAV is heavy, and not needed by every engine)

        return await asyncio.to_thread(duration, path)

    async def _run(self, task: StoredTask) -> None:
        try:
            if task.media is None:
                await self._fetch(task)
            recognition = await self._recognise(task)
        except RecognitionError as problem:
            task.failure_reason = str(problem)
            self._finish(task, "failed")
        except Exception as problem:  # noqa: BLE001  (an engine of the user's may raise anything)
            task.failure_reason = f"The recogniser failed: {type(problem).__name__}: {problem}"
            self._finish(task, "failed")
        else:
            self._complete(task, recognition)

    async def _fetch(self, task: StoredTask) -> None:
        target = self._media / task.task_id
        try:
            task.media_size, task.media_sha256 = await self._outbound.fetch(
                task.source_url or "", target, max_bytes=self._plan.max_upload_bytes
            )
        except MediaUrlError as problem:
            target.unlink(missing_ok=True)
            raise RecognitionError(str(problem)) from problem
        task.media = task.task_id
        self._store.save(task)

    async def _recognise(self, task: StoredTask) -> Recognition:
        if isinstance(self._engine, ScriptedEngine):
            self._processing(task)
            await asyncio.sleep(self._engine.delay(task.file_name, task.media_size))
            return self._engine.answer(task.file_name, task.media_size)
        path = self._media / task.task_id
        if isinstance(self._engine, str):
            answer = await self._workers.do(
                "recognise",
                begun=lambda: self._processing(task),
                source=str(path),
                language=task.input_language,
                max_seconds=self._plan.max_audio_seconds,
            )
            return from_json(answer)
        return await self._recognise_in_thread(self._engine, path, task)

    async def _recognise_in_thread(self, engine: Engine, path: Path, task: StoredTask) -> Recognition:
        with tempfile.TemporaryDirectory(dir=self._media, ignore_cleanup_errors=True) as folder:
            speech = Path(folder, "speech.wav")
            seconds = await self._workers.do(
                "decode",
                begun=lambda: self._processing(task),
                source=str(path),
                target=str(speech),
                max_seconds=self._plan.max_audio_seconds,
            )
            recognised = await in_daemon_thread(lambda: engine.recognise(speech, language=task.input_language))
        return Recognition(
            recognised.utterances, recognised.confidence, recognised.audio_seconds or seconds, recognised.text
        )

    def _processing(self, task: StoredTask) -> None:
        task.status, task.updated_at = "processing", self._now()
        self._store.save(task)

    def _complete(self, task: StoredTask, recognised: Recognition) -> None:
        task.transcript = recognised.transcript
        if task.output_language not in {None, task.input_language}:
            # The sandbox cannot translate; the mark says so plainly.
            task.translation = f"[{task.output_language}] {recognised.transcript}"
        task.segments = [
            {"start": part.start, "end": part.end, "text": part.text}
            | ({} if part.confidence is None else {"confidence": part.confidence})
            for part in recognised.utterances
        ]
        task.confidence, task.audio_seconds = recognised.confidence, recognised.audio_seconds
        self._finish(task, "completed")

    def _finish(self, task: StoredTask, status: str) -> None:
        task.status, task.updated_at = status, self._now()
        self._store.save(task)
        self._on_final(task)
