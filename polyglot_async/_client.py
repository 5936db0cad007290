"""AsyncPolyglot: puts the parts together and owns their lifetimes. It holds no logic."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs
import httpx

from ._api.endpoints import sent_options
from ._api.urls import is_media_url
from ._arguments import check_count, check_flag, check_function, check_seconds
from ._concurrency import from_any_thread
from ._errors import ConfigurationError, as_configuration_error
from ._http.base_url import DEFAULT_BASE_URL, checked_base_url
from ._http.credential import Credential, Secret
from ._http.transport import Transport
from ._limits.limiter import Limiter
from ._runtime import Runtime, checked_runtime
from ._tasks.account import fetch_limits
from ._tasks.calls import AsyncTranscriptions
from ._tasks.known_tasks import KnownTasks
from ._tasks.poller import TaskPoller
from ._tasks.schedule import PollSchedule
from ._tasks.submit import Submitter
from ._tasks.waits import when_there

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import EllipsisType, TracebackType

    from ._batch.batch import BatchStream, Sources
    from ._batch.options import OnBatchProgress, OnUncertain
    from ._concurrency import OnProgress
    from ._http.credential import ApiKey
    from ._models import Limits, Task, Transcript
    from ._uploads.sources import MediaSource
    from .webhooks import WebhookReceiver

logger = logging.getLogger("polyglot_async")


class AsyncPolyglot:
    """A client of the Polyglot Voice API, for asyncio and Trio.

    Use it as `async with AsyncPolyglot() as client:`, or call `aclose()` at the end. One client serves any number of
    concurrent calls of one event loop, and they share its connections, limits and poller: make one and keep it. In a
    process that was forked it begins with no connections; one with an `http_client` of yours has to be made anew there.

    Args:
        api_key: an `sk_` key, a session JWT, or a sync or async callable that returns one; a callable is asked once
            more when the service answers 401. Default: the environment's `POLYGLOT_API_KEY`.
        base_url: where the service is. Default: the environment's `POLYGLOT_BASE_URL`, else the public service.
        timeout: seconds without any progress on the network before a call fails, or None for no bound. It does not
            bound a whole upload, which may take hours.
        max_retries: further attempts after the first, of what may safely be sent again. It counts all of them.
        http_client: your own `httpx.AsyncClient`, for proxies, client certificates or another transport. It is not
            closed with this client.
        limits: the account's limits, where they are known better than from `limits()`. What is sent keeps to them, and
            waits where it must; what is not known is learned from 429 answers.
        on_quota: when the requests of the UTC day or month are spent, "raise" `QuotaExhaustedError` or "wait".
        allow_insecure_http: allow a plain http `base_url` on another machine.
        runtime: clock, sleep and randomness, for tests.

    Raises:
        ConfigurationError: there is no credential, or an argument is wrong.
    """

    _to_close = False
    _original: AsyncPolyglot | None = None

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
        runtime: Runtime | None = None,
    ) -> None:
        api_key = api_key if api_key is not None else os.environ.get("POLYGLOT_API_KEY")
        if not api_key:
            raise ConfigurationError("there is no credential: pass api_key=, or set POLYGLOT_API_KEY")
        if isinstance(api_key, str):
            api_key = Secret(api_key)  # a traceback that shows local variables may show this frame
        with as_configuration_error():
            _check_options(timeout, max_retries, http_client, allow_insecure_http=allow_insecure_http)
            runtime = checked_runtime(runtime)
            limiter = Limiter(limits, on_quota=on_quota, runtime=runtime)
        base_url = base_url if base_url is not None else os.environ.get("POLYGLOT_BASE_URL") or DEFAULT_BASE_URL
        base_url = checked_base_url(base_url, allow_insecure_http=allow_insecure_http)
        credential = Credential(api_key)
        self._http = _own_http_client() if http_client is None else http_client
        self._owns_http = self._to_close = http_client is None
        self._transport = Transport(
            http=self._http,
            base_url=base_url,
            credential=credential,
            limiter=limiter,
            runtime=runtime,
            timeout=timeout,
            max_retries=max_retries,
        )
        known = KnownTasks()
        self._poller = TaskPoller(known, runtime.poll_schedule or PollSchedule())
        self._submitter = Submitter.over(self._transport, known, self._poller.started)
        self._calls = AsyncTranscriptions(self._transport, self._submitter, self._poller)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport.base_url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Calls under way fail."""
        if self._owns_http:
            self._to_close = False
            await self._http.aclose()

    def _hand_over_closing(self) -> Callable[[], Awaitable[None]]:
        """Return what closes the connections, a caller's `http_client` included, for an owner that warns by itself."""
        self._owns_http, self._to_close = True, False
        return self.aclose

    def __del__(self) -> None:
        if self._to_close and self._transport.hosts_reached:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def with_options(
        self, *, timeout: float | EllipsisType | None = ..., max_retries: int | EllipsisType = ...
    ) -> Self:
        """Return a view of this client with other options; connections, limits and poller stay shared.

        Args:
            timeout: seconds without any progress on the network, or None for no bound.
            max_retries: further attempts after the first.
        """
        changes: dict[str, Any] = {
            name: value for name, value in (("timeout", timeout), ("max_retries", max_retries)) if value is not ...
        }
        view = copy.copy(self)
        view._owns_http = view._to_close = False  # noqa: SLF001 - a view of our own kind
        view._original = self._original or self  # noqa: SLF001 - it closes the connections, so it has to live as long
        view._transport = attrs.evolve(self._transport, **changes)  # noqa: SLF001
        with as_configuration_error():
            _check_options(view._transport.timeout, view._transport.max_retries)  # noqa: SLF001
        view._calls = AsyncTranscriptions(view._transport, self._submitter, self._poller)  # noqa: SLF001
        return view

    @property
    def transcriptions(self) -> AsyncTranscriptions:
        """The calls of the API."""
        return self._calls

    async def limits(self) -> Limits:
        """Get the account's live limits.

        What could not be read is named in `not_understood` and logged as a warning.
        """
        return await fetch_limits(self._transport)

    async def transcribe(
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
        """Upload media (or name a URL), wait until it is done, and return the transcript.

        Args:
            source: what `transcriptions.upload` takes, or an http(s) URL for the service to fetch.
            model: e.g. "fast".
            input_language: what is spoken, e.g. "en".
            output_language: what to translate to, e.g. "ru".
            timeout: seconds to wait for the task once it has started, or None for as long as it takes.
            on_progress: called with the bytes sent and in all (None where unknown); sync or async.
            extra: further options, sent as they are.

        Raises:
            MediaError: the media cannot be sent; before any request.
            SubmissionUncertainError: it cannot be found out whether the task was started.
            TaskFailedError: the service could not process the media.
            WaitTimeoutError: it was not done after `timeout` seconds.
            PolyglotError: whatever is raised after the start has the task as its `task`: it goes on, and can be waited
                for and fetched without being paid for again.
        """
        check_seconds("timeout", timeout)
        if on_progress is not None:
            check_function("on_progress", on_progress)
        calls = self._calls
        if is_media_url(source):
            task = await calls.from_url(
                source, model=model, input_language=input_language, output_language=output_language, extra=extra
            )
        else:
            task = await calls.upload(
                source,
                model=model,
                input_language=input_language,
                output_language=output_language,
                on_progress=on_progress,
                extra=extra,
            )
        try:
            task = await calls.wait(task, timeout=timeout)
            return await when_there(partial(calls.result, task), self._transport.runtime)
        except BaseException as error:
            _attach(task, error)
            raise

    def use_webhooks(self, receiver: WebhookReceiver) -> Callable[[], None]:
        """Use webhook events instead of polling, for waits and batches. Return a function that ends that.

        An async client's event loop must be running when this is called; the receiver may run in another thread.
        Polling stays a safety net: a task whose event does not come is found all the same.
        """
        if not callable(getattr(receiver, "subscribe", None)):
            raise TypeError(f"receiver is {receiver!r:.60}: pass a webhooks.WebhookReceiver")
        unsubscribe: Callable[[], None] | None = receiver.subscribe(from_any_thread(self._poller.notify))
        self._poller.receivers += 1

        def detach() -> None:
            nonlocal unsubscribe
            if unsubscribe is not None:
                unsubscribe()
                unsubscribe = None
                self._poller.receivers -= 1

        return detach

    def batch(
        self,
        sources: Sources,
        *,
        journal: str | os.PathLike[str] | None = None,
        concurrency: int | None = None,
        results: Literal["result", "task"] | Sequence[str] = "result",
        out: str | os.PathLike[str] | None = None,
        on_uncertain: OnUncertain = "report",
        retry_failed: bool = False,
        on_progress: OnBatchProgress | None = None,
        model: str | None = None,
        input_language: str | None = None,
        output_language: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[BatchStream]:
        """Transcribe many files under the account's limits: outcomes come as they complete.

        `async with client.batch(paths) as outcomes: async for outcome in outcomes: ...`. An item that fails comes as an
        outcome with an `error` and never sinks the rest. An item counts as done when its outcome has been dealt with,
        that is when the next one is asked for or the context is left without an error.

        Args:
            sources: paths, URLs, bytes or `(name, bytes)` pairs, from a list, a generator or an async iterator, which
                may be endless: it is read no further ahead than twice `concurrency`.
            journal: a file that remembers what was done. A later run skips what has ended, waits for what is running,
                and never sends twice what may have been accepted. Content is known by its SHA-256, so a renamed file is
                not paid for again. Without one, equal files are sent as often as they are given.
            concurrency: tasks in flight. Default: what the plan allows.
            results: "result" for transcripts, "task" for nothing but the task, or kinds of files to download to `out`,
                such as `("srt", "txt")`.
            out: the folder for downloaded files; it must exist.
            on_uncertain: what to do where it cannot be found out whether a submission was accepted: "report" it as an
                outcome with a `SubmissionUncertainError`, "retry" it at the risk of paying twice, or "raise".
            retry_failed: submit again what the journal knows as failed.
            on_progress: called with a `BatchProgress` at each change; sync or async.
            model: e.g. "fast".
            input_language: what is spoken.
            output_language: what to translate to.
            extra: further options, sent as they are.

        Raises:
            JournalError: another process writes the journal, another version made it, or it is no journal.
            AuthenticationError: the credential is not accepted; what is in flight stays in the journal.
            QuotaExhaustedError: the day's or the month's requests are spent.
        """
        from ._batch.batch import SourceFeed, run_batch  # noqa: PLC0415 - few clients run one
        from ._batch.options import BatchOptions  # noqa: PLC0415 - likewise

        named = {"model": model, "input_language": input_language, "output_language": output_language}
        options = BatchOptions(
            sent=sent_options(named, extra),
            journal=journal,
            concurrency=concurrency,
            results=results,
            out=out,
            on_uncertain=on_uncertain,
            retry_failed=retry_failed,
            on_progress=on_progress,
        )
        feed = SourceFeed(sources)
        return run_batch(feed, options, self._transport, self.transcriptions, self._submitter, self._poller)


def _own_http_client() -> httpx.AsyncClient:
    # Loaded here: httpcore takes as long to import as httpx, which loads it with its first client too.
    from ._http.fast_transport import default_transport  # noqa: PLC0415

    return httpx.AsyncClient(transport=default_transport())


def _check_options(
    timeout: float | None, max_retries: int, http_client: object = None, *, allow_insecure_http: bool = False
) -> None:
    check_seconds("timeout", timeout, above=True)
    check_count("max_retries", max_retries, least=0)
    check_flag("allow_insecure_http", allow_insecure_http)
    if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
        raise TypeError(f"http_client is {http_client!r:.60}: pass an httpx.AsyncClient, or None")


def _attach(task: Task, error: BaseException) -> None:
    """Note on what ends a call that its task was started. A cancellation carries it for the sync client's caller."""
    if getattr(error, "task", None) is None:
        vars(error)["task"] = task
    if not isinstance(error, Exception):  # as when another call of a task group failed: nobody looks at this one
        logger.warning("task %s was started and goes on: wait for it, do not send its media again", task.task_id)
