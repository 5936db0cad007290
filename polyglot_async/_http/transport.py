"""Send a call and read its answer: permits, redirects, retries by the one policy. This package is all that knows httpx.

The way of a call: credential, permit of the limiter, one exchange over httpx, the answer parsed; on a failure the table
in `retry` decides. What a table cannot decide (what became of an ambiguous submission) is raised to `_tasks.submit`.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs
import httpx
from anyio import to_thread

from .._api.messages import KEPT_BODY_BYTES, ApiRequest, ApiResponse, RawResponse
from .._api.status_errors import error_of
from .._api.urls import bare_url, is_same_origin
from .._errors import (
    AuthenticationError,
    ConfigurationError,
    PolyglotError,
    ResponseDecodeError,
)
from .._runtime import Runtime
from .._version import __version__
from .fast_transport import EARLY_SUCCESS, SURVIVES_FORK
from .httpx_errors import explained, location_error, status_error, translate
from .redirects import (
    MOST_REDIRECTS,
    may_follow,
    names_started_task,
    redirect_error,
    redirect_location,
    redirect_target,
)
from .retry import Attempts
from .streamed_response import StreamedResponse, close, drop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from .._limits.limiter import Limiter, TaskSlotLease
    from .._uploads.form_body import FormBody, JsonBody
    from .credential import Credential

    RequestBody = FormBody | JsonBody

T = TypeVar("T")

logger = logging.getLogger("polyglot_async")

USER_AGENT = f"polyglot_async/{__version__} httpx/{httpx.__version__}"
CONNECT_SECONDS = 10.0
LARGEST_BUFFERED_ANSWER = 256 << 20
LARGE_ANSWER = 128 << 10
"""A long recording has megabytes of segments: from this size on an answer is parsed in a worker thread."""


@attrs.frozen(kw_only=True)
class Transport:
    """Sends calls. Cheap to copy with other options: copies share connections, credential and limits.

    Attributes:
        http: the httpx client that sends.
        base_url: without a last slash.
        credential: what to send as a bearer.
        limiter: grants a permit for each attempt.
        runtime: clock, sleep and randomness.
        timeout: seconds without any progress on the network, or None for no bound.
        max_retries: attempts after the first one.
        hosts_reached: hosts that have answered.
        processes: those with connections that a fork copies, by id.
    """

    http: httpx.AsyncClient = attrs.field(repr=False)
    base_url: str
    credential: Credential = attrs.field(repr=False)
    limiter: Limiter = attrs.field(repr=False)
    runtime: Runtime = attrs.field(factory=Runtime, repr=False)
    timeout: float | None = 60.0
    max_retries: int = 2
    hosts_reached: set[str] = attrs.field(factory=set, repr=False)
    processes: set[int] = attrs.field(factory=set, repr=False)

    async def call(
        self,
        request: ApiRequest,
        parse: Callable[[ApiResponse], T],
        body: RequestBody | None = None,
        *,
        attempts: Attempts | None = None,
        task_slot: TaskSlotLease | None = None,
        anonymous: bool = False,
    ) -> RawResponse[T]:
        """Send a call and read its whole answer; retry by the policy.

        With a `task_slot` the permit comes with one, which the caller releases when the task is final.

        Raises:
            PolyglotError: as the tree of errors says.
        """
        attempts = attempts or Attempts(self.max_retries)
        refused: str | None = None
        while True:
            token = None if anonymous else await self.credential.get(refused=refused)
            try:
                response = await self._send(request, body, {}, token, task_slot)
                if body is not None and not body.complete:
                    await body.accepted_early()
                answer = await self._read(response, request)
                if len(answer.body) > LARGE_ANSWER:
                    return RawResponse(answer, await to_thread.run_sync(parse, answer))
                return RawResponse(answer, parse(answer))
            except PolyglotError as error:
                refused = await self._before_retry(error, request, body, attempts, token, refused)

    @asynccontextmanager
    async def stream(
        self, request: ApiRequest, body: RequestBody | None = None, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[StreamedResponse]:
        """Send a call and yield its answer when the head is there; retries end where the body begins.

        The body is asked for without a content encoding, so that its bytes are those that ranges count.

        Raises:
            PolyglotError: as the tree of errors says.
        """
        wanted = {"accept-encoding": "identity", **(headers or {})}
        attempts = Attempts(self.max_retries)
        response: httpx.Response | None = None
        refused: str | None = None
        while response is None:
            token = await self.credential.get(refused=refused)
            try:
                response = await self._send(request, body, wanted, token)
            except PolyglotError as error:
                refused = await self._before_retry(error, request, body, attempts, token, refused)
        try:
            yield StreamedResponse(response.status_code, dict(response.headers.items()), response)
        finally:
            await close(response)

    async def _before_retry(
        self,
        error: PolyglotError,
        request: ApiRequest,
        body: RequestBody | None,
        attempts: Attempts,
        token: str | None,
        refused: str | None,
    ) -> str | None:
        """Wait until the next attempt, and return the token that was refused; or raise the error."""
        if body is not None and (not body.can_be_sent or error is body.failure):
            raise error
        if isinstance(error, AuthenticationError) and refused is None and token and self.credential.renewable:
            if body is not None:
                body.complete = False  # not accepted
            return token
        seconds: float | None = 0.0
        if not self.limiter.waits_out(error):
            complete = body is None or body.complete
            seconds = attempts.next_delay(error, request, body_complete=complete, random=self.runtime.random())
        if seconds is None:
            raise error
        if body is not None:
            body.complete = False  # not accepted: a call that is cancelled while it waits is not ambiguous
        if seconds:
            logger.debug("%s again in %.2f s: %s", request.endpoint.call, seconds, error)
            await self.runtime.sleep(seconds)
        return refused

    async def _send(
        self,
        request: ApiRequest,
        body: RequestBody | None,
        headers: Mapping[str, str],
        token: str | None,
        task_slot: TaskSlotLease | None = None,
    ) -> httpx.Response:
        """Send one attempt under a permit; return the answer with its body unread, or raise the error of its status."""
        # Requests with an `sk_` key are the ones that the day's and the month's counters count (contract: "Limits").
        counted = token is not None and token.startswith("sk_")
        permit = await self.limiter.acquire(request.endpoint, counted=counted, task_slot=task_slot)
        problem: PolyglotError | None = None
        answered = False
        try:
            response = await self._follow_redirects(request, body, headers, token)
            answered = True
        except PolyglotError as error:
            problem = None if body is not None and error is body.failure else error
            raise
        finally:
            await self.limiter.settle(permit, problem, answered=answered)
        return response

    async def _follow_redirects(
        self, request: ApiRequest, body: RequestBody | None, headers: Mapping[str, str], token: str | None
    ) -> httpx.Response:
        url = httpx.URL(self.base_url + request.path)
        if request.query:
            url = url.copy_merge_params(request.query)
        visited = [url]
        while True:
            response = await self._exchange(request, body, url, headers, token)
            if response.is_success or response.status_code in request.endpoint.answers:
                return response
            location = redirect_location(response)
            target = None if location is None else redirect_target(response, location)
            if target is not None and names_started_task(response, request, target, self.base_url):
                return response
            answer = await self._read(response, request, most=KEPT_BODY_BYTES)
            if location is None:
                error = error_of(answer, self.runtime.utc_now(), billable=request.endpoint.billable)
                raise explained(error, url.scheme)
            if target is None:
                raise location_error(location, response.request, response.status_code)
            if target in visited or len(visited) == MOST_REDIRECTS:  # each time round, the whole file would be sent
                raise redirect_error(response, request, target, endless=True)
            if not may_follow(response, request, target) or (body is not None and not body.can_be_sent):
                raise redirect_error(response, request, target)
            if not is_same_origin(str(target), str(url)):
                token = None
            url = target
            visited.append(url)

    async def _exchange(
        self,
        request: ApiRequest,
        body: RequestBody | None,
        url: httpx.URL,
        headers: Mapping[str, str],
        token: str | None,
    ) -> httpx.Response:
        """Send one request and return its answer's head, whatever its status."""
        if self.http.is_closed:
            raise ConfigurationError("the client is closed: make a new one, or keep it open for as long as it is used")
        if self.processes and os.getpid() not in self.processes:
            # Both would write to the same sockets, and read each other's answers.
            raise ConfigurationError("the client was used before os.fork: make a new one in the child")
        response: httpx.Response | None = None
        try:
            async with nullcontext() if body is None else body.attempt() as content:
                outgoing = self._build(request, body, content, url, headers, token)
                started = self.runtime.monotonic()
                try:
                    response = await self.http.send(outgoing, stream=True, follow_redirects=False)
                except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                    raise self._translated(error, outgoing, body) from error
                self.hosts_reached.add(url.host)
                if SURVIVES_FORK not in response.extensions:
                    self.processes.add(os.getpid())
                if logger.isEnabledFor(logging.DEBUG):
                    _log_answer(response, self.runtime.monotonic() - started)
        except BaseException:
            if response is not None:  # cancelled while the media was being closed
                await close(response)
            raise
        return response

    def _translated(self, error: Exception, outgoing: httpx.Request, body: RequestBody | None) -> PolyglotError:
        if isinstance(error, httpx.HTTPStatusError):
            return status_error(error, outgoing, self.runtime.utc_now())
        if not isinstance(error, httpx.HTTPError):
            return location_error(str(error), outgoing)
        reached = outgoing.url.host in self.hosts_reached
        return translate(error, outgoing, body_complete=body is None or body.complete, reached_before=reached)

    def _build(
        self,
        request: ApiRequest,
        body: RequestBody | None,
        content: AsyncIterator[bytes] | None,
        url: httpx.URL,
        headers: Mapping[str, str],
        token: str | None,
    ) -> httpx.Request:
        extensions: dict[str, Any] = {}
        merged = {"accept": request.endpoint.accept, "user-agent": USER_AGENT, **headers}
        if token is not None:
            merged["authorization"] = self.credential.header(token)
        if body is not None:
            merged.update(body.headers)
            extensions[EARLY_SUCCESS] = body.accepted_early
        if self.timeout is None:
            timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        else:
            # Waiting for one of our own connections is no failure of the service, hence no bound.
            timeout = httpx.Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout), pool=None)
        return self.http.build_request(
            request.endpoint.method, url, headers=merged, content=content, timeout=timeout, extensions=extensions
        )

    async def _read(self, response: httpx.Response, request: ApiRequest, most: int | None = None) -> ApiResponse:
        """Read the whole body, or with `most` the first bytes of an error's, and close the response."""
        method, url = request.endpoint.method, self.base_url + request.path
        body = bytearray()
        chunks = response.aiter_bytes()
        try:
            async for chunk in chunks:
                body += chunk
                if len(body) > (LARGEST_BUFFERED_ANSWER if most is None else most):
                    await drop(response, chunks)
                    if most is None:
                        problem = f"{method} {url}: the answer has more than {LARGEST_BUFFERED_ANSWER >> 20} MiB"
                        raise ResponseDecodeError(problem, method=method, url=url)
                    break
        except httpx.HTTPError as error:
            if most is None:  # of an error's body, what has come is enough: the status says the most
                raise translate(error, response.request, body_complete=True) from error
        finally:
            # Shielded, so that a cancelled call still returns its connection to the pool or closes it.
            with anyio.CancelScope(shield=True):
                await response.aclose()
        headers = dict(response.headers.items())
        return ApiResponse(status_code=response.status_code, headers=headers, body=bytes(body), method=method, url=url)


def _log_answer(response: httpx.Response, seconds: float) -> None:
    method, url = response.request.method, bare_url(str(response.request.url))
    answer = ApiResponse(status_code=response.status_code, headers=dict(response.headers.items()), body=b"")
    request_id = answer.request_id or "-"
    logger.debug("%s %s -> %d in %.3f s (request %s)", method, url, response.status_code, seconds, request_id)
