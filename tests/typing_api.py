"""The types of the public API, as mypy --strict and pyright read them. Nothing here is ever run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, assert_type

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AsyncPolyglot,
    AsyncTranscriptions,
    BatchProgress,
    Limits,
    MediaStream,
    Outcome,
    Polyglot,
    PolyglotError,
    QuotaExhaustedError,
    RateLimitError,
    RawResponse,
    RawTranscriptions,
    RemoteMedia,
    Segment,
    StreamedResponse,
    SubmissionUncertainError,
    SyncBatch,
    SyncMediaStream,
    SyncRawTranscriptions,
    SyncRemoteMedia,
    SyncStreamedResponse,
    SyncTaskList,
    Task,
    TaskFailedError,
    TaskPage,
    TaskStatus,
    Transcript,
    Transcriptions,
    Upload,
    UrlValidation,
    WaitTimeoutError,
    WebhookEvent,
    WebhookVerificationError,
    subtitles,
    webhooks,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from io import RawIOBase

    import httpx

    from polyglot_async import MediaSource


async def session_token() -> str:
    return "a JWT"


def plain_progress(done: int, total: int | None) -> None: ...


async def async_progress(done: int, total: int | None) -> None: ...


def batch_progress(progress: BatchProgress) -> None: ...


def ways_to_make_a_client(http: httpx.AsyncClient, limits: Limits) -> None:
    for client in (AsyncPolyglot, Polyglot):
        client()
        client("sk_key")
        client(lambda: "sk_key", base_url="https://example.com/api/v1", timeout=None, max_retries=0)
        client(session_token, http_client=http, limits=limits, on_quota="wait", allow_insecure_http=True)
        client("sk_key", "https://example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client(on_quota="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def sources(client: AsyncPolyglot, file: BinaryIO, response: httpx.Response) -> None:
    async def later() -> AsyncIterator[bytes]:
        yield b""

    upload = client.transcriptions.upload
    await upload(file)
    await upload("call.mp3")
    await upload(Path("call.mp3"))
    await upload(b"bytes", name="call.mp3", content_type="audio/mpeg")
    await upload(("call.mp3", b"bytes"), on_progress=plain_progress)
    await upload((chunk for chunk in [b"one", b"two"]), size=6, on_progress=async_progress)
    await upload(later(), extra={"diarize": True})
    await upload(response)
    await upload(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    media: MediaSource = ("call.mp3", Path("call.mp3"))
    await upload(media)


async def async_calls(client: AsyncPolyglot, task: Task) -> None:
    async with client as entered:
        assert_type(entered, AsyncPolyglot)
    assert_type(await client.transcribe("a.mp3", output_language="ru", timeout=60), Transcript)
    assert_type(await client.limits(), Limits)
    assert_type(client.with_options(timeout=None, max_retries=5), AsyncPolyglot)
    calls = client.transcriptions
    assert_type(calls, AsyncTranscriptions)
    assert_type(await calls.upload("a.mp3"), Task)
    assert_type(await calls.from_url("https://example.com/a.mp3"), Task)
    assert_type(await calls.validate_url("https://example.com/a.mp3"), UrlValidation)
    assert_type(await calls.get("9b9c"), Task)
    assert_type(await calls.wait(task, timeout=60.0, poll_interval=1), Task)
    assert_type(await calls.result(task), Transcript)
    assert_type(await calls.download(task, "srt"), bytes)
    assert_type(await calls.download(task, "srt", "a.srt"), Path)
    assert_type(await calls.download_source(task, Path("a.mp3"), connections=2, on_progress=async_progress), Path)
    assert_type(await calls.convert_audio(b"wav", "a.mp3", format="mp3"), Path)
    assert_type([found async for found in calls.list(status="failed")], list[Task])
    assert_type([page async for page in calls.list(page_size=10).pages()], list[TaskPage])
    async with calls.stream_download(task, "txt") as response:
        assert_type(response, StreamedResponse)
        assert_type(response.status_code, int)
        assert_type([chunk async for chunk in response.chunks()], list[bytes])
    async with calls.source(task) as stream:
        assert_type(stream, MediaStream)
        assert_type(stream.size, int | None)
        assert_type([chunk async for chunk in stream], list[bytes])
    async with calls.open_source(task) as media:
        assert_type(media, RemoteMedia)
        assert_type(await media.read_at(0, 4096), bytes)
        assert_type(await media.read(), bytes)
        assert_type(media.seek(0, 2), int)
    await calls.upload("a.mp3", None, "en")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def async_raw(client: AsyncPolyglot, task: Task) -> None:
    raw = client.transcriptions.with_raw_response
    assert_type(raw, RawTranscriptions)
    answer = await raw.upload("a.mp3")
    assert_type(answer, RawResponse[Task])
    assert_type(answer.parse(), Task)
    assert_type(answer.status_code, int)
    assert_type(answer.body, bytes)
    assert_type(answer.request_id, str | None)
    assert_type(answer.headers["date"], str)
    assert_type(await raw.from_url("https://example.com/a.mp3"), RawResponse[Task])
    assert_type(await raw.validate_url("https://example.com/a.mp3"), RawResponse[UrlValidation])
    assert_type(await raw.list(page_size=None, cursor="next"), RawResponse[TaskPage])
    assert_type(await raw.get(task), RawResponse[Task])
    assert_type(await raw.result(task), RawResponse[Transcript])
    assert_type(await raw.download(task, "srt"), RawResponse[bytes])


async def async_batch(client: AsyncPolyglot, paths: list[Path]) -> None:
    async def endless() -> AsyncIterator[tuple[str, bytes]]:
        yield "a.mp3", b""

    async with client.batch(paths, journal="archive.db", concurrency=3, on_progress=batch_progress) as outcomes:
        async for outcome in outcomes:
            check_outcome(outcome)
        assert_type(outcomes.progress, BatchProgress)
        assert_type(outcomes.in_flight, tuple[str, ...])
        assert_type(outcomes.unreturned_tasks, dict[str, str])
    async with client.batch(endless(), results=("srt", "txt"), out="subs", on_uncertain="raise", retry_failed=True):
        pass
    client.batch(paths, on_uncertain="forget")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_outcome(outcome: Outcome) -> None:
    assert_type(outcome.ok, bool)
    assert_type(outcome.name, str)
    assert_type(outcome.transcript, Transcript | None)
    assert_type(outcome.error, PolyglotError | None)
    assert_type(outcome.files, tuple[Path, ...])
    assert_type(outcome.task, Task | None)


def check_progress(progress: BatchProgress) -> None:
    assert_type(progress.done, int)
    assert_type(progress.uploading, tuple[Upload, ...])


def sync_calls(client: Polyglot, task: Task) -> None:
    with client as entered:
        assert_type(entered, Polyglot)
    assert_type(client.transcribe("a.mp3", output_language="ru", timeout=60), Transcript)
    assert_type(client.limits(), Limits)
    assert_type(client.with_options(timeout=None, max_retries=5), Polyglot)
    assert_type(OwnPolyglot().with_options(timeout=None), OwnPolyglot)
    calls = client.transcriptions
    assert_type(calls, Transcriptions)
    assert_type(calls.upload("a.mp3", on_progress=plain_progress), Task)
    calls.upload("a.mp3", None, "en")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    calls.upload("a.mp3", language="en")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    calls.upload(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    calls.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.with_options(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(calls.from_url("https://example.com/a.mp3"), Task)
    assert_type(calls.validate_url("https://example.com/a.mp3"), UrlValidation)
    assert_type(calls.get("9b9c"), Task)
    assert_type(calls.wait(task, timeout=60.0, poll_interval=1), Task)
    assert_type(calls.result(task), Transcript)
    assert_type(calls.download(task, "srt"), bytes)
    assert_type(calls.download(task, "srt", "a.srt"), Path)
    assert_type(calls.download(task=task, kind="srt", path=Path("a.srt")), Path)
    assert_type(calls.download_source(task, Path("a.mp3"), connections=2), Path)
    assert_type(calls.convert_audio(b"wav", "a.mp3", format="mp3"), Path)
    assert_type(list(calls.list(status="failed", page_size=10)), list[Task])
    assert_type(calls.list(), SyncTaskList)
    assert_type(list(calls.list().pages()), list[TaskPage])
    calls.list(page_size="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class OwnPolyglot(Polyglot):
    """A client of the user's own."""


def sync_streams(client: Polyglot, task: Task) -> None:
    calls = client.transcriptions
    with calls.stream_download(task, "txt") as response:
        assert_type(response, SyncStreamedResponse)
        assert_type(response.status_code, int)
        assert_type(response.headers, Mapping[str, str])
        assert_type(response.url, str)
        assert_type(list(response.chunks()), list[bytes])
    with calls.source(task) as stream:
        assert_type(stream, SyncMediaStream)
        assert_type(stream.size, int | None)
        assert_type(stream.content_type, str | None)
        assert_type(list(stream), list[bytes])
    with calls.open_source(task) as media:
        assert_type(media, SyncRemoteMedia)
        assert_type(media.read_at(0, 4096), bytes)
        assert_type(media.read(), bytes)
        assert_type(media.seek(0, 2), int)
        assert_type((media.size, media.fetched, media.content_type), tuple[int, int, str | None])
        file: RawIOBase = media
        del file


def sync_raw(client: Polyglot, task: Task) -> None:
    raw = client.transcriptions.with_raw_response
    assert_type(raw, SyncRawTranscriptions)
    assert_type(raw.upload("a.mp3"), RawResponse[Task])
    assert_type(raw.from_url("https://example.com/a.mp3"), RawResponse[Task])
    assert_type(raw.validate_url("https://example.com/a.mp3"), RawResponse[UrlValidation])
    assert_type(raw.list(page_size=None, cursor="next", status="failed"), RawResponse[TaskPage])
    assert_type(raw.get(task), RawResponse[Task])
    assert_type(raw.result(task).parse(), Transcript)
    assert_type(raw.download(task, "srt").parse(), bytes)


def sync_batch(client: Polyglot, paths: Iterator[Path]) -> None:
    for outcome in client.batch(paths, journal=Path("archive.db")):
        check_outcome(outcome)
    with client.batch(["a.mp3", "https://example.com/b.mp3"]) as outcomes:
        assert_type(outcomes, SyncBatch)
        assert_type(list(outcomes), list[Outcome])
        assert_type(outcomes.progress, BatchProgress)
        assert_type(outcomes.in_flight, tuple[str, ...])
        assert_type(outcomes.unreturned_tasks, dict[str, str])
    client.batch(["a.mp3"], concurrency="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def values(task: Task, transcript: Transcript, limits: Limits) -> None:
    assert_type(task.status, TaskStatus)
    assert_type(task.status.is_final, bool)
    assert_type(task.status == "completed", bool)
    assert_type(task.created_at, datetime | None)
    assert_type(task.extra, Mapping[str, Any])
    assert_type(transcript.segments, tuple[Segment, ...])
    assert_type(transcript.save("a.srt"), Path)
    assert_type(transcript.render("vtt"), str)
    assert_type(subtitles.to_srt(transcript.segments), str)
    assert_type(limits.max_concurrent_tasks, int | None)
    task.status = TaskStatus.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def receive(client: AsyncPolyglot, sync_client: Polyglot, body: bytes, headers: dict[str, str]) -> None:
    async def handle(event: WebhookEvent) -> None: ...

    event = webhooks.verify(body, headers, ["new", "old"], tolerance=None, now=0.0)
    assert_type(event, WebhookEvent)
    assert_type(event.failure_reason, str | None)
    assert_type(webhooks.sign(body, "secret"), dict[str, str])
    receiver = webhooks.WebhookReceiver("secret", on_event=handle, dedupe_store=webhooks.SqliteDedupeStore("seen.db"))
    assert_type(client.use_webhooks(receiver), Callable[[], None])
    assert_type(sync_client.use_webhooks(receiver), Callable[[], None])


def errors(client: Polyglot) -> None:
    try:
        client.transcribe("a.mp3")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.limit, str | None)
    except ApiStatusError as error:
        assert_type(error.status_code, int)
        assert_type(error.detail, str | None)
        assert_type(error.request_id, str | None)
        assert_type(error.body, bytes)
    except ApiTimeoutError as error:
        waited: TimeoutError = error
        connection: ApiConnectionError = error
        del waited, connection
    except WaitTimeoutError as error:
        assert_type(error.task, Task)
    except TaskFailedError as error:
        assert_type(error.failure_reason, str | None)
    except SubmissionUncertainError as error:
        assert_type(error.candidates, tuple[Task, ...])
        assert_type(error.size, int | None)
    except QuotaExhaustedError as error:
        assert_type(error.resets_at, datetime)
    except WebhookVerificationError as error:
        assert_type(error.reason, str)
    except PolyglotError as error:
        assert_type(error.message, str)
