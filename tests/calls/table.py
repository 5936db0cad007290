"""The ten calls: what is called, what goes over the wire, what is answered, and the value that comes back."""

import inspect
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import httpx
from werkzeug.formparser import parse_form_data

from polyglot_async import Limits, Segment, Task, TaskStatus, Transcript, UrlValidation

AUDIO = b"ID3 some bytes of audio"
URL = "https://media.example/a%20film.mp4?part=1"


@attrs.frozen(kw_only=True)
class Call:
    """One call.

    Attributes:
        make: starts it with a client, sync or async, and a folder to write to.
        method: of its request.
        path: of its request, below the base URL.
        accept: its `Accept` header.
        query: parameters of its URL.
        json: its JSON body.
        form: the fields of its form beside the file.
        answer: what the service answers.
        value: what the call returns.
        billable: whether it starts paid work.
    """

    make: Callable[[Any, Path], Any]
    method: str
    path: str
    accept: str = "application/json"
    query: dict[str, str] = attrs.field(factory=dict)
    json: Any = None
    form: dict[str, str] | None = None
    answer: dict[str, Any]
    value: Any
    billable: bool = False

    def response(self):
        return httpx.Response(200, **self.answer)


QUEUED = {"task_id": "t1", "status": "queued"}
COMPLETED = {
    "task_id": "t1",
    "status": "completed",
    "model": "fast",
    "input_language": "en",
    "output_language": "ru",
    "audio_duration_seconds": 125.4,
    "confidence": 0.94,
    "transcript_preview": "Hello, ...",
}
RESULT = {
    "task_id": "t1",
    "transcript": "Hello...",
    "translation": "Привет...",
    "confidence": 0.94,
    "segments": [{"start": 0.0, "end": 2.4, "text": "Hello..."}],
    "updated_at": "2026-05-24T12:00:00Z",
}
LIMITS = {
    "burst": {"requests_per_minute": 60, "uploads_per_minute": 10},
    "api_keys": {"requests_per_day": 5000, "requests_per_month": 100000},
    "plan": {
        "name": "pro",
        "max_concurrent_tasks": 3,
        "max_upload_bytes": 2147483648,
        "max_audio_seconds": 14400,
    },
}
OPTIONS = {"model": "fast", "input_language": "en", "output_language": "ru"}

QUEUED_TASK = Task(task_id="t1", status=TaskStatus.QUEUED)
COMPLETED_TASK = Task(**{**COMPLETED, "status": TaskStatus.COMPLETED})

CALLS = {
    "upload": Call(
        make=lambda client, _: client.transcriptions.upload(("talk.mp3", AUDIO), **OPTIONS, extra={"speakers": 2}),
        method="POST",
        path="/transcriptions/upload",
        form={**OPTIONS, "speakers": "2"},
        answer={"json": QUEUED},
        value=QUEUED_TASK,
        billable=True,
    ),
    "from_url": Call(
        make=lambda client, _: client.transcriptions.from_url(URL, **OPTIONS, extra={"speakers": 2}),
        method="POST",
        path="/transcriptions/from-url",
        json={"url": URL, **OPTIONS, "speakers": 2},
        answer={"json": QUEUED},
        value=QUEUED_TASK,
        billable=True,
    ),
    "validate_url": Call(
        make=lambda client, _: client.transcriptions.validate_url(URL, extra={"deep": True}),
        method="POST",
        path="/transcriptions/validate-url",
        json={"url": URL, "deep": True},
        answer={"json": {"valid": True}},
        value=UrlValidation(url=URL, valid=True, extra={"valid": True}),
    ),
    "list": Call(
        make=lambda client, _: client.transcriptions.list(page_size=50, status="completed"),
        method="GET",
        path="/transcriptions",
        query={"limit": "50", "status": "completed"},
        answer={"json": {"items": [COMPLETED], "total": 1}},
        value=[COMPLETED_TASK],
    ),
    "get": Call(
        make=lambda client, _: client.transcriptions.get("t1"),
        method="GET",
        path="/transcriptions/t1",
        answer={"json": COMPLETED},
        value=COMPLETED_TASK,
    ),
    "result": Call(
        make=lambda client, _: client.transcriptions.result(COMPLETED_TASK),
        method="GET",
        path="/transcriptions/t1/result",
        answer={"json": RESULT},
        value=Transcript(
            task_id="t1",
            text="Hello...",
            translation="Привет...",
            confidence=0.94,
            segments=(Segment(0.0, 2.4, "Hello..."),),
            updated_at=datetime(2026, 5, 24, 12, tzinfo=UTC),
        ),
    ),
    "download": Call(
        make=lambda client, _: client.transcriptions.download("t1", "srt"),
        method="GET",
        path="/transcriptions/t1/downloads/srt",
        accept="*/*",
        answer={"content": b"1\n"},
        value=b"1\n",
    ),
    "source": Call(
        make=lambda client, _: client.transcriptions.source("t1"),
        method="GET",
        path="/transcriptions/t1/source",
        accept="*/*",
        answer={"content": AUDIO},
        value=AUDIO,
    ),
    "convert_audio": Call(
        make=lambda client, folder: client.transcriptions.convert_audio(("talk.mp3", AUDIO), folder / "talk.flac"),
        method="POST",
        path="/transcriptions/convert-audio",
        accept="*/*",
        form={"format": "flac"},
        answer={"content": b"fLaC", "headers": {"content-type": "audio/flac"}},
        value=b"fLaC",
    ),
    "limits": Call(
        make=lambda client, _: client.limits(),
        method="GET",
        path="/developer/documentation",
        answer={"json": {"rate_limits": LIMITS}},
        value=Limits(
            plan="pro",
            requests_per_window=60,
            uploads_per_window=10,
            requests_per_day=5000,
            requests_per_month=100000,
            max_concurrent_tasks=3,
            max_upload_bytes=2147483648,
            max_audio_seconds=14400,
        ),
    ),
}


async def finish(made):
    """Return the value of a call that an async client has made: what it awaits, lists, streams or wrote."""
    if hasattr(made, "__aenter__"):
        async with made as stream:
            return b"".join([chunk async for chunk in stream])
    if hasattr(made, "__aiter__"):
        return [item async for item in made]
    return _read(await made)


def finish_sync(made):
    """Return the value of a call that a sync client has made."""
    if hasattr(made, "__enter__") and not isinstance(made, Path):
        with made as stream:
            return b"".join(stream)
    assert not inspect.isawaitable(made)
    return list(made) if hasattr(made, "__iter__") and not isinstance(made, bytes) else _read(made)


def _read(value):
    return value.read_bytes() if isinstance(value, Path) else value


def parsed_form(request):
    """Return the fields and the files of a form, as werkzeug reads it."""
    environ = {
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers["content-type"],
        "CONTENT_LENGTH": str(len(request.content)),
        "wsgi.input": io.BytesIO(request.content),
    }
    _, fields, files = parse_form_data(environ, stream_factory=lambda **_: io.BytesIO())
    return dict(fields), {field: (file.filename, file.read(), file.mimetype) for field, file in files.items()}
