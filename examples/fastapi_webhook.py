"""A small service: it uploads recordings, and a webhook event fetches each transcript when it is ready. No polling.

    pip install polyglot_async fastapi uvicorn
    export POLYGLOT_API_KEY=sk_... POLYGLOT_WEBHOOK_SECRET=...
    uvicorn fastapi_webhook:app --port 9000 --limit-concurrency 100

Set the key's webhook URL to https://<your host>/polyglot/webhook. Then:

    curl --data-binary @interview.mp3 'http://localhost:9000/recordings?name=interview.mp3'    -> {"task_id": "9b9c..."}
    curl http://localhost:9000/transcripts/9b9c.../srt
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI reads annotations at run time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse

from polyglot_async import AsyncPolyglot, TaskStatus, WebhookEvent
from polyglot_async.webhooks import SqliteDedupeStore, WebhookReceiver

FOLDER = Path(os.environ.get("TRANSCRIPTS", "transcripts"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client, and close it when the service stops."""
    async with AsyncPolyglot() as client:
        app.state.client = client
        yield


async def store_transcript(event: WebhookEvent) -> None:
    """Fetch and save a transcript. If this raises, the answer is 500, and the service sends the event again."""
    if event.status == TaskStatus.COMPLETED:
        transcript = await app.state.client.transcriptions.result(event.task_id)
        for suffix in ("srt", "txt"):
            await to_thread.run_sync(transcript.save, file_of(event.task_id, suffix))
    else:
        file_of(event.task_id, "failed").write_text(event.failure_reason or event.status, encoding="utf-8")


def file_of(task_id: str, suffix: str) -> Path:
    """Return the path of a task's file. The id comes from outside, so it is quoted, and cannot lead elsewhere."""
    return FOLDER / f"{quote(task_id, safe='')}.{suffix}"


app = FastAPI(lifespan=lifespan)
FOLDER.mkdir(parents=True, exist_ok=True)
receiver = WebhookReceiver(
    os.environ["POLYGLOT_WEBHOOK_SECRET"],
    on_event=store_transcript,
    dedupe_store=SqliteDedupeStore(FOLDER / "webhooks.db"),
    path="/webhook",
)
app.mount("/polyglot", receiver)


@app.post("/recordings", status_code=202)
async def upload_recording(request: Request, name: str) -> dict[str, str]:
    """Upload a recording while it comes in, without holding it in memory."""
    task = await app.state.client.transcriptions.upload(request.stream(), name=Path(name).name)
    return {"task_id": task.task_id}


@app.get("/transcripts/{task_id}/{suffix}")
def read_transcript(task_id: str, suffix: Literal["srt", "txt"]) -> PlainTextResponse:
    """Return a transcript; 404 while there is none, 422 if there never will be."""
    if file_of(task_id, "failed").exists():
        raise HTTPException(422, file_of(task_id, "failed").read_text(encoding="utf-8"))
    if not file_of(task_id, suffix).exists():
        raise HTTPException(404, "not transcribed yet")
    return PlainTextResponse(file_of(task_id, suffix).read_text(encoding="utf-8"))
