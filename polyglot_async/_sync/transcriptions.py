"""`client.transcriptions` of the sync client: one line a call, by construction."""

from __future__ import annotations

from typing import Final

from .._tasks.calls import AsyncTranscriptions
from .._tasks.raw_calls import RawTranscriptions
from .streams import SyncMediaStream, SyncRemoteMedia, SyncStreamedResponse, SyncTaskList
from .twin import Forwarded, Twin, blocking, opening, returning


class SyncRawTranscriptions(Twin[RawTranscriptions]):
    """The same calls, answered with status, headers and body: `.parse()` returns the value."""

    _usage = "the calls of the API, answered with status, headers and body"

    upload: Final = blocking(RawTranscriptions.upload)
    from_url: Final = blocking(RawTranscriptions.from_url)
    validate_url: Final = blocking(RawTranscriptions.validate_url)
    list: Final = blocking(RawTranscriptions.list)
    get: Final = blocking(RawTranscriptions.get)
    result: Final = blocking(RawTranscriptions.result)
    download: Final = blocking(RawTranscriptions.download)


class Transcriptions(Twin[AsyncTranscriptions]):
    """The calls below `transcriptions/`.

    Wherever a task is asked for, pass a `Task` or its id. Every call may raise `ApiConnectionError`, `ApiStatusError`
    and its children, `ResponseDecodeError`, and plain `ValueError` or `TypeError` for a wrong argument.
    """

    _usage = "the calls of the API, such as upload(), wait() and result()"

    with_raw_response: Forwarded[SyncRawTranscriptions] = Forwarded(
        AsyncTranscriptions, "with_raw_response", SyncRawTranscriptions
    )
    upload: Final = blocking(AsyncTranscriptions.upload)
    from_url: Final = blocking(AsyncTranscriptions.from_url)
    validate_url: Final = blocking(AsyncTranscriptions.validate_url)
    list: Final = returning(SyncTaskList, AsyncTranscriptions.list)
    get: Final = blocking(AsyncTranscriptions.get)
    wait: Final = blocking(AsyncTranscriptions.wait)
    result: Final = blocking(AsyncTranscriptions.result)
    download: Final = blocking(AsyncTranscriptions.download)
    stream_download: Final = opening(SyncStreamedResponse, AsyncTranscriptions.stream_download)
    source: Final = opening(SyncMediaStream, AsyncTranscriptions.source)
    open_source: Final = opening(SyncRemoteMedia, AsyncTranscriptions.open_source)
    download_source: Final = blocking(AsyncTranscriptions.download_source)
    convert_audio: Final = blocking(AsyncTranscriptions.convert_audio)
