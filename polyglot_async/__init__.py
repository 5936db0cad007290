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
    from . import subtitles as subtitles
    from ._client import AsyncPolyglot as AsyncPolyglot
    from ._errors import ApiConnectionError as ApiConnectionError
    from ._errors import ApiStatusError as ApiStatusError
    from ._errors import ApiTimeoutError as ApiTimeoutError
    from ._errors import AuthenticationError as AuthenticationError
    from ._errors import BadRequestError as BadRequestError
    from ._errors import ConfigurationError as ConfigurationError
    from ._errors import JournalError as JournalError
    from ._errors import MediaError as MediaError
    from ._errors import NotFoundError as NotFoundError
    from ._errors import PermissionDeniedError as PermissionDeniedError
    from ._errors import PolyglotError as PolyglotError
    from ._errors import QuotaExhaustedError as QuotaExhaustedError
    from ._errors import RangeError as RangeError
    from ._errors import RateLimitError as RateLimitError
    from ._errors import ResponseDecodeError as ResponseDecodeError
    from ._errors import ServerError as ServerError
    from ._errors import SourceChangedError as SourceChangedError
    from ._errors import SubmissionUncertainError as SubmissionUncertainError
    from ._errors import TaskCancelledError as TaskCancelledError
    from ._errors import TaskError as TaskError
    from ._errors import TaskFailedError as TaskFailedError
    from ._errors import TransferError as TransferError
    from ._errors import WaitTimeoutError as WaitTimeoutError
    from ._errors import WebhookVerificationError as WebhookVerificationError
    from ._models import Limits as Limits
    from ._models import Segment as Segment
    from ._models import Task as Task
    from ._models import TaskPage as TaskPage
    from ._models import TaskStatus as TaskStatus
    from ._models import Transcript as Transcript
    from ._models import UrlValidation as UrlValidation
    from ._models import WebhookEvent as WebhookEvent
    from ._protocol.messages import RawResponse as RawResponse
    from ._sync.client import Polyglot as Polyglot

_ROOMS = {
    "_client": ("AsyncPolyglot",),
    "_errors": (
        "ApiConnectionError",
        "ApiStatusError",
        "ApiTimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "ConfigurationError",
        "JournalError",
        "MediaError",
        "NotFoundError",
        "PermissionDeniedError",
        "PolyglotError",
        "QuotaExhaustedError",
        "RangeError",
        "RateLimitError",
        "ResponseDecodeError",
        "ServerError",
        "SourceChangedError",
        "SubmissionUncertainError",
        "TaskCancelledError",
        "TaskError",
        "TaskFailedError",
        "TransferError",
        "WaitTimeoutError",
        "WebhookVerificationError",
    ),
    "_models": (
        "Limits",
        "Segment",
        "Task",
        "TaskPage",
        "TaskStatus",
        "Transcript",
        "UrlValidation",
        "WebhookEvent",
    ),
    "_protocol.messages": ("RawResponse",),
    "_sync.client": ("Polyglot",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "ApiConnectionError",
    "ApiStatusError",
    "ApiTimeoutError",
    "AsyncPolyglot",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "JournalError",
    "Limits",
    "MediaError",
    "NotFoundError",
    "PermissionDeniedError",
    "Polyglot",
    "PolyglotError",
    "QuotaExhaustedError",
    "RangeError",
    "RateLimitError",
    "RawResponse",
    "ResponseDecodeError",
    "Segment",
    "ServerError",
    "SourceChangedError",
    "SubmissionUncertainError",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskPage",
    "TaskStatus",
    "Transcript",
    "TransferError",
    "UrlValidation",
    "WaitTimeoutError",
    "WebhookEvent",
    "WebhookVerificationError",
    "__version__",
    "subtitles",
]


def __getattr__(name: str) -> Any:
    if name == "subtitles":
        return importlib.import_module(".subtitles", __name__)
    room = _HOME.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{room}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
