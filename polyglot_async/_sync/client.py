"""Polyglot: `AsyncPolyglot` for callers that do not await."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, Self

from .._client import AsyncPolyglot
from .portal import Portal
from .streams import SyncBatch
from .transcriptions import Transcriptions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import EllipsisType, TracebackType

    import httpx

    from .._batch.batch import OnBatchProgress, OnUncertain, Sources
    from .._concurrency import OnProgress
    from .._http.credential import ApiKey
    from .._models import Limits, Transcript
    from .._uploads.sources import MediaSource
    from ..webhooks import WebhookReceiver


class Polyglot:
    """A client of the Polyglot Voice API for scripts and notebooks: `AsyncPolyglot`'s words, without `await`.

    Use it as `with Polyglot() as client:`, or call `close()` at the end. It runs an event loop in a thread of its own,
    which starts with the first call; it may be used from several threads, and from a thread that runs a loop, such as
    a notebook's. Ctrl-C cancels the call under way and closes its connection. After `os.fork` make a new client.

    The parameters and errors are those of `AsyncPolyglot`. A callback for the progress of a call is called in the
    thread that made the call. An `http_client` of your own is closed with this client, whose loop its connections are
    bound to.
    """

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        base_url: str | None = None,
        timeout: float | None = 60.0,
        max_retries: int = 2,
        http_client: httpx.AsyncClient | None = None,
        limits: Limits | None = None,
        on_quota: Literal["raise", "wait"] = "raise",
        allow_insecure_http: bool = False,
    ) -> None:
        self._client = AsyncPolyglot(
            api_key,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            http_client=http_client,
            limits=limits,
            on_quota=on_quota,
            allow_insecure_http=allow_insecure_http,
        )
        self._client._to_close = False  # noqa: SLF001 - the portal closes it, and warns if nobody closes the portal
        self._portal = Portal(repr(self), self._client._http.aclose)  # noqa: SLF001 - see the class's last words
        self._is_original = True

    def __repr__(self) -> str:
        return repr(self._client).replace("Async", "", 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls under way fail."""
        if self._is_original:
            self._portal.close()

    def with_options(
        self, *, timeout: float | EllipsisType | None = ..., max_retries: int | EllipsisType = ...
    ) -> Self:
        """Give a view of this client with other options; connections, limits and poller stay shared.

        Args:
            timeout: seconds without any progress on the network, or None for no bound.
            max_retries: further attempts after the first.
        """
        view = copy.copy(self)
        view._is_original = False  # noqa: SLF001 - a view of our own kind; the original is to be closed
        view._client = self._client.with_options(timeout=timeout, max_retries=max_retries)  # noqa: SLF001
        return view

    @property
    def transcriptions(self) -> Transcriptions:
        """The calls of the API."""
        return Transcriptions(self._client.transcriptions, self._portal)

    def limits(self) -> Limits:
        """Get the account's live limits (A10, A16)."""
        return self._portal.call(self._client.limits)

    def transcribe(
        self,
        source: MediaSource,
        *,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Transcript:
        """Upload media (or name a URL), wait until it is done, and return the transcript."""
        return self._portal.call(
            self._client.transcribe,
            source,
            model=model,
            input_language=input_language,
            output_language=output_language,
            timeout=timeout,
            on_progress=on_progress,
            extra=extra,
        )

    def use_webhooks(self, receiver: WebhookReceiver) -> Callable[[], None]:
        """Let a receiver's events end waits and batches, so that they need no polls. Returns what ends that."""

        async def attach() -> Callable[[], None]:
            return self._client.use_webhooks(receiver)

        return self._portal.call(attach)

    def batch(
        self,
        sources: Sources,
        *,
        journal: str | os.PathLike[str] | None = None,
        concurrency: int | None = None,
        results: Literal["result", "task"] | Sequence[str] = "result",
        out: str | os.PathLike[str] | None = None,
        on_uncertain: OnUncertain = "park",
        retry_failed: bool = False,
        on_progress: OnBatchProgress | None = None,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> SyncBatch:
        """Transcribe many files under the account's limits: outcomes come as they complete.

        `for outcome in client.batch(paths): ...`, or `with client.batch(paths) as outcomes:` to hold it open. The
        parameters are those of `AsyncPolyglot.batch`; `on_progress` is called in the client's own thread.
        """
        manager = self._client.batch(
            sources,
            journal=journal,
            concurrency=concurrency,
            results=results,
            out=out,
            on_uncertain=on_uncertain,
            retry_failed=retry_failed,
            on_progress=on_progress,
            model=model,
            input_language=input_language,
            output_language=output_language,
            extra=extra,
        )
        return SyncBatch(manager, self._portal)
