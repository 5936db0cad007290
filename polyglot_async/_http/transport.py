"""Send, stream, retry, translate errors: with `wire`, the only rooms that know httpx."""

from __future__ import annotations

import json
import logging
import random
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs
import httpx

from .._api.messages import KEPT_BODY_BYTES, ApiRequest, ApiResponse, error_of
from .._errors import ApiConnectionError, ApiTimeoutError, AuthenticationError, PolyglotError, ResponseDecodeError
from .._version import __version__
from .retry import LONGEST_RETRY_AFTER, Verdict, delay, judge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from .._limits.limiter import Limiter, SlotLease
    from .._uploads.form_body import FormBody
    from .credential import Credential

T = TypeVar("T")

logger = logging.getLogger("polyglot_async")

USER_AGENT = f"polyglot_async/{__version__} httpx/{httpx.__version__}"
CONNECT_SECONDS = 10.0
LARGEST_BUFFERED_ANSWER = 256 << 20


@attrs.define
class StreamedResponse:
    """An answer whose body is still on the wire.

    Attributes:
        status_code: HTTP status, 200 or 206.
        headers: names in lower case.
    """

    status_code: int
    headers: Mapping[str, str]
    _response: httpx.Response = attrs.field(repr=False)

    @property
    def url(self) -> str:
        """The URL that answered, without query."""
        return _bare(self._response.request.url)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Iterate over the body as it arrives, undecoded.

        Raises:
            ApiConnectionError: the connection was lost before the end.
        """
        pieces = self._response.aiter_raw()
        try:
            async for chunk in pieces:
                yield chunk
        except httpx.HTTPError as error:
            raise translate(error, self._response.request, maybe_sent=True) from error
        except GeneratorExit:
            await _drop(self._response, pieces)
            raise


@attrs.frozen(kw_only=True)
class Transport:
    """The way to the service. Cheap to copy with other options: copies share connections, credential and limits.

    Attributes:
        http: the httpx client that sends.
        base_url: without a last slash.
        credential: what to send as a bearer.
        limiter: gives a permit for each attempt.
        timeout: seconds without any progress on the network, or None for no bound.
        max_retries: attempts after the first one.
        sleep: how to wait; tests hand in another.
    """

    http: httpx.AsyncClient = attrs.field(repr=False)
    base_url: str
    credential: Credential = attrs.field(repr=False)
    limiter: Limiter = attrs.field(repr=False)
    timeout: float | None = 60.0
    max_retries: int = 2
    sleep: Callable[[float], Awaitable[None]] = attrs.field(default=anyio.sleep, repr=False)

    async def send(
        self,
        request: ApiRequest,
        body: FormBody | None = None,
        *,
        anonymous: bool = False,
        lease: SlotLease | None = None,
    ) -> ApiResponse:
        """Send a call and read its whole answer, again where that is safe and may help.

        With a `lease` the permit comes with a task slot, which the caller gives back when the task is final.

        Raises:
            PolyglotError: as the tree of errors says.
        """

        async def once(token: str | None) -> ApiResponse:
            response = await self._open(request, body, {}, token, lease)
            try:
                return await _read(response)
            finally:
                await _close(response)

        return await self._retrying(request, body, once, anonymous=anonymous)

    @asynccontextmanager
    async def stream(
        self, request: ApiRequest, body: FormBody | None = None, *, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[StreamedResponse]:
        """Send a call and hand over its answer when the head is there; retries end where the body begins.

        The body is asked for without a content encoding, so that its bytes are those that ranges count.

        Raises:
            PolyglotError: as the tree of errors says.
        """
        wanted = {"accept-encoding": "identity", **(headers or {})}
        response = await self._retrying(request, body, lambda token: self._open(request, body, wanted, token))
        try:
            yield StreamedResponse(response.status_code, _lower(response.headers), response)
        finally:
            await _close(response)

    async def _retrying(
        self,
        request: ApiRequest,
        body: FormBody | None,
        once: Callable[[str | None], Awaitable[T]],
        *,
        anonymous: bool = False,
    ) -> T:
        refused: str | None = None
        attempt = 0
        while True:
            token = None if anonymous else await self.credential.get(refused=refused)
            try:
                return await once(token)
            except AuthenticationError:
                if refused is not None or anonymous or not self.credential.renewable or not _can_be_sent(body):
                    raise
                refused = token
            except PolyglotError as error:
                if self.limiter.waits_out(error) and _can_be_sent(body):
                    continue
                attempt += 1
                if attempt > self.max_retries or not _can_be_sent(body):
                    raise
                if judge(request.endpoint, error) is not Verdict.RETRY:
                    raise
                seconds = delay(attempt, error, random=random.random())  # noqa: S311 - jitter, no secret
                if seconds > LONGEST_RETRY_AFTER:
                    raise
                logger.debug("%s again in %.2f s: %s", request.endpoint.call, seconds, error)
                await self.sleep(seconds)

    async def _open(
        self,
        request: ApiRequest,
        body: FormBody | None,
        headers: Mapping[str, str],
        token: str | None,
        lease: SlotLease | None = None,
    ) -> httpx.Response:
        """Send one attempt; give the answer with its body unread, or raise what its status deserves."""
        # Requests with an `sk_` key are the ones that the day's and the month's counters count (contract: "Limits").
        counted = token is not None and token.startswith("sk_")
        async with self.limiter.permit(request.endpoint, counted=counted, lease=lease):
            response = await self._exchange(request, body, headers, token)
            if response.is_success or response.status_code in request.endpoint.answers:
                return response
            try:
                answer = await _read(response, most=KEPT_BODY_BYTES)
            finally:
                await _close(response)
            raise error_of(answer, datetime.now(UTC), billable=request.endpoint.billable)

    async def _exchange(
        self, request: ApiRequest, body: FormBody | None, headers: Mapping[str, str], token: str | None
    ) -> httpx.Response:
        """Send the request and give the answer's head, whatever its status."""
        response: httpx.Response | None = None
        try:
            async with _content(request, body) as content:
                outgoing = self._build(request, body, content, headers, token)
                started = time.monotonic()
                try:
                    response = await self.http.send(outgoing, stream=True, follow_redirects=outgoing.method == "GET")
                except httpx.HTTPError as error:
                    problem = translate(error, outgoing, maybe_sent=body is None or body.complete)
                    logger.debug("%s in %.3f s", problem, _since(started))
                    raise problem from error
                _log_answer(outgoing, response, _since(started))
        except BaseException:
            if response is not None:  # cancelled while the media was being closed
                await _close(response)
            raise
        return response

    def _build(
        self,
        request: ApiRequest,
        body: FormBody | None,
        content: AsyncIterator[bytes] | bytes | None,
        headers: Mapping[str, str],
        token: str | None,
    ) -> httpx.Request:
        merged = {"accept": request.endpoint.accept, "user-agent": USER_AGENT, **headers}
        if token is not None:
            merged["authorization"] = f"Bearer {token}"
        if body is not None:
            merged.update(body.headers)
        elif request.json is not None:
            merged["content-type"] = "application/json"
        return self.http.build_request(
            request.endpoint.method,
            f"{self.base_url}{request.path}",
            params=request.query or None,
            headers=merged,
            content=content,
            timeout=self._timeouts(),
        )

    def _timeouts(self) -> httpx.Timeout:
        if self.timeout is None:
            return httpx.Timeout(None, connect=CONNECT_SECONDS)
        # Waiting for one of our own connections is no failure of the service, hence no bound.
        return httpx.Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout), pool=None)


def translate(error: httpx.HTTPError, request: httpx.Request, *, maybe_sent: bool) -> PolyglotError:
    """Turn any error of httpx into one of ours."""
    method, url = request.method, _bare(request.url)
    if isinstance(error, httpx.HTTPStatusError):  # raised by an event hook of the caller's own client
        answer = ApiResponse(
            status_code=error.response.status_code,
            headers=_lower(error.response.headers),
            body=b"",
            method=method,
            url=url,
        )
        return error_of(answer, datetime.now(UTC))
    what = f"{method} {url}: {type(error).__name__}{f': {error}' if str(error) else ''}"
    if isinstance(error, httpx.DecodingError):
        return ResponseDecodeError(what, method=method, url=url)
    cls = ApiTimeoutError if isinstance(error, httpx.TimeoutException) else ApiConnectionError
    connected = not isinstance(error, _NEVER_SENT)
    return cls(what, method=method, url=url, maybe_sent=maybe_sent and connected, connected=connected)


_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


async def _read(response: httpx.Response, most: int | None = None) -> ApiResponse:
    """Read the body: all of it, or with `most` no more than its first so many bytes."""
    method, url = response.request.method, _bare(response.request.url)
    body = bytearray()
    chunks = response.aiter_bytes()
    try:
        async for chunk in chunks:
            body += chunk
            if most is not None and len(body) >= most:
                await _drop(response, chunks)
                break
            if len(body) > LARGEST_BUFFERED_ANSWER:
                await _drop(response, chunks)
                raise ResponseDecodeError(f"{method} {url}: the answer does not end", method=method, url=url)
    except httpx.HTTPError as error:
        if most is None:
            raise translate(error, response.request, maybe_sent=True) from error
        # Of an error's body, what has come is enough: the status says the most.
    return ApiResponse(
        status_code=response.status_code, headers=_lower(response.headers), body=bytes(body), method=method, url=url
    )


async def _drop(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response that is not read to its end, and let the generators below see that it is over.

    Trio complains of generators that are forgotten midway, and there are five of httpx and httpcore in a row.
    """
    await _close(response)
    with anyio.CancelScope(shield=True), suppress(Exception):
        for _ in range(_BUFFERED_PIECES):
            await anext(chunks)


_BUFFERED_PIECES = 100


async def _close(response: httpx.Response) -> None:
    # Shielded, so that a cancelled call still gives its connection back or closes it.
    with anyio.CancelScope(shield=True):
        await response.aclose()


def _can_be_sent(body: FormBody | None) -> bool:
    return body is None or body.can_be_sent


@asynccontextmanager
async def _content(request: ApiRequest, body: FormBody | None) -> AsyncIterator[AsyncIterator[bytes] | bytes | None]:
    if body is not None:
        async with body.attempt() as chunks:
            yield chunks
    elif request.json is not None:
        yield json.dumps(request.json, ensure_ascii=False).encode("utf-8", "replace")
    else:
        yield None


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _bare(url: httpx.URL) -> str:
    """Give the URL without query or user: neither belongs in a message."""
    return str(url.copy_with(query=None, fragment=None, username=None, password=None))


def _since(started: float) -> float:
    return time.monotonic() - started


def _log_answer(request: httpx.Request, response: httpx.Response, seconds: float) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        answer = ApiResponse(status_code=response.status_code, headers=_lower(response.headers), body=b"")
        logger.debug(
            "%s %s -> %d in %.3f s (request %s)",
            request.method,
            _bare(request.url),
            response.status_code,
            seconds,
            answer.request_id or "-",
        )
