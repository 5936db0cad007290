"""An SDK for the Polyglot Voice speech-to-text API: asyncio and Trio first, with a sync client over the same core.

>>> async with AsyncPolyglot() as client:
...     transcript = await client.transcribe("interview.mp4")
...     transcript.save("interview.srt")

Start at `AsyncPolyglot` or `Polyglot`; every error is a `PolyglotError`. Importing this package is light: a module
is loaded when the first of its names is used (PEP 562).
"""

from __future__ import annotations

from ._lazy import lazy_names
from ._version import __version__

TYPE_CHECKING = False  # as in _lazy
if TYPE_CHECKING:
    from . import subtitles, webhooks
    from ._api.messages import RawResponse
    from ._batch.batch import BatchStream
    from ._batch.outcomes import BatchProgress, Outcome, Upload
    from ._client import AsyncPolyglot
    from ._downloads.remote_file import MediaStream, RemoteMedia
    from ._errors import (
        ApiConnectionError,
        ApiStatusError,
        ApiTimeoutError,
        AuthenticationError,
        BadRequestError,
        ConfigurationError,
        JournalError,
        MediaError,
        NotFoundError,
        PermissionDeniedError,
        PolyglotError,
        QuotaExhaustedError,
        RangeError,
        RateLimitError,
        RedirectError,
        ResponseDecodeError,
        ServerError,
        ServiceUnavailableError,
        SourceChangedError,
        SubmissionUncertainError,
        TaskCancelledError,
        TaskError,
        TaskFailedError,
        TransferError,
        WaitTimeoutError,
        WebhookVerificationError,
    )
    from ._http.streamed_response import StreamedResponse
    from ._models import Limits, Segment, Task, TaskPage, TaskStatus, Transcript, UrlValidation, WebhookEvent
    from ._runtime import Runtime
    from ._sync.client import Polyglot
    from ._sync.streams import SyncBatch, SyncMediaStream, SyncRemoteMedia, SyncStreamedResponse, SyncTaskList
    from ._sync.transcriptions import SyncRawTranscriptions, Transcriptions
    from ._tasks.calls import AsyncTranscriptions
    from ._tasks.pagination import TaskList
    from ._tasks.raw_calls import RawTranscriptions
    from ._tasks.schedule import PollSchedule
    from ._uploads.sources import MediaSource

__all__ = [
    "ApiConnectionError",
    "ApiStatusError",
    "ApiTimeoutError",
    "AsyncPolyglot",
    "AsyncTranscriptions",
    "AuthenticationError",
    "BadRequestError",
    "BatchProgress",
    "BatchStream",
    "ConfigurationError",
    "JournalError",
    "Limits",
    "MediaError",
    "MediaSource",
    "MediaStream",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "PollSchedule",
    "Polyglot",
    "PolyglotError",
    "QuotaExhaustedError",
    "RangeError",
    "RateLimitError",
    "RawResponse",
    "RawTranscriptions",
    "RedirectError",
    "RemoteMedia",
    "ResponseDecodeError",
    "Runtime",
    "Segment",
    "ServerError",
    "ServiceUnavailableError",
    "SourceChangedError",
    "StreamedResponse",
    "SubmissionUncertainError",
    "SyncBatch",
    "SyncMediaStream",
    "SyncRawTranscriptions",
    "SyncRemoteMedia",
    "SyncStreamedResponse",
    "SyncTaskList",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskList",
    "TaskPage",
    "TaskStatus",
    "Transcript",
    "Transcriptions",
    "TransferError",
    "Upload",
    "UrlValidation",
    "WaitTimeoutError",
    "WebhookEvent",
    "WebhookVerificationError",
    "__version__",
    "subtitles",
    "webhooks",
]

_LAZY_ATTRS = {name: "_errors" for name in __all__ if name.endswith("Error")} | {
    "AsyncPolyglot": "_client",
    "AsyncTranscriptions": "_tasks.calls",
    "BatchProgress": "_batch.outcomes",
    "BatchStream": "_batch.batch",
    "Limits": "_models",
    "MediaSource": "_uploads.sources",
    "MediaStream": "_downloads.remote_file",
    "Outcome": "_batch.outcomes",
    "PollSchedule": "_tasks.schedule",
    "Polyglot": "_sync.client",
    "RawResponse": "_api.messages",
    "RawTranscriptions": "_tasks.raw_calls",
    "RemoteMedia": "_downloads.remote_file",
    "Runtime": "_runtime",
    "Segment": "_models",
    "StreamedResponse": "_http.streamed_response",
    "SyncBatch": "_sync.streams",
    "SyncMediaStream": "_sync.streams",
    "SyncRawTranscriptions": "_sync.transcriptions",
    "SyncRemoteMedia": "_sync.streams",
    "SyncStreamedResponse": "_sync.streams",
    "SyncTaskList": "_sync.streams",
    "Task": "_models",
    "TaskList": "_tasks.pagination",
    "TaskPage": "_models",
    "TaskStatus": "_models",
    "Transcript": "_models",
    "Transcriptions": "_sync.transcriptions",
    "Upload": "_batch.outcomes",
    "UrlValidation": "_models",
    "WebhookEvent": "_models",
    "subtitles": "subtitles",
    "webhooks": "webhooks",
}

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _LAZY_ATTRS)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
