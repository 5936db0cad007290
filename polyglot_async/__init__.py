"""An SDK for the Polyglot Voice speech-to-text API: asyncio and Trio first, with a sync client over the same core.

>>> async with AsyncPolyglot() as client:
...     transcript = await client.transcribe("interview.mp4")
...     transcript.save("interview.srt")

Start at `AsyncPolyglot` or `Polyglot`; every error is a `PolyglotError`. Importing this package is light: a room is
loaded when the first of its names is used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import subtitles, webhooks
    from ._client import AsyncPolyglot
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
        ResponseDecodeError,
        ServerError,
        SourceChangedError,
        SubmissionUncertainError,
        TaskCancelledError,
        TaskError,
        TaskFailedError,
        TransferError,
        WaitTimeoutError,
        WebhookVerificationError,
    )
    from ._io.media import MediaSource
    from ._models import Limits, Segment, Task, TaskPage, TaskStatus, Transcript, UrlValidation, WebhookEvent
    from ._protocol.messages import RawResponse
    from ._sync.client import Polyglot
    from ._sync.transcriptions import Transcriptions
    from ._workflows.batch import BatchStream
    from ._workflows.listing import TaskList
    from ._workflows.outcomes import BatchProgress, Outcome, Upload
    from ._workflows.raw_transcriptions import RawTranscriptions
    from ._workflows.remote_media import MediaStream, RemoteMedia
    from ._workflows.transcriptions import AsyncTranscriptions

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
    "Polyglot",
    "PolyglotError",
    "QuotaExhaustedError",
    "RangeError",
    "RateLimitError",
    "RawResponse",
    "RawTranscriptions",
    "RemoteMedia",
    "ResponseDecodeError",
    "Segment",
    "ServerError",
    "SourceChangedError",
    "SubmissionUncertainError",
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

_MODULES = ("subtitles", "webhooks")
_ROOMS = {name: "_errors" for name in __all__ if name.endswith("Error")} | {
    "AsyncPolyglot": "_client",
    "AsyncTranscriptions": "_workflows.transcriptions",
    "BatchProgress": "_workflows.outcomes",
    "BatchStream": "_workflows.batch",
    "Limits": "_models",
    "MediaSource": "_io.media",
    "MediaStream": "_workflows.remote_media",
    "Outcome": "_workflows.outcomes",
    "Polyglot": "_sync.client",
    "RawResponse": "_protocol.messages",
    "RawTranscriptions": "_workflows.raw_transcriptions",
    "RemoteMedia": "_workflows.remote_media",
    "Segment": "_models",
    "Task": "_models",
    "TaskList": "_workflows.listing",
    "TaskPage": "_models",
    "TaskStatus": "_models",
    "Transcript": "_models",
    "Transcriptions": "_sync.transcriptions",
    "Upload": "_workflows.outcomes",
    "UrlValidation": "_models",
    "WebhookEvent": "_models",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_ROOMS[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
