"""The receiver: a plain ASGI 3 app, so that it runs in every ASGI framework, and alone under any ASGI server.

A delivery passes the cheap checks first (path, method, type, length), then its body is read within a deadline, and then
it is verified. Only after that is its JSON parsed, the subscribers told, and the handler called, once for each event.

| status | when |
|---|---|
| 200 | handled now, or handled before |
| 400 | the body is no event although its signature is right; headers are ambiguous; a bad Content-Length |
| 401 | the signature is wrong or missing, or the timestamp is |
| 404, 405, 415 | another path than `path`; not POST; not application/json |
| 408, 413 | the body took too long; it is too large |
| 500 | the handler failed: the event is not marked as seen, so the vendor's next attempt gets through |
| 503 | the handler is still at it, or the store failed: the vendor's next attempt will find out |
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
from anyio import to_thread

from .._errors import ConfigurationError, WebhookVerificationError
from ._asgi import Answer, ClientGoneError, RefusedError, check_request, live, normal_path, read_body, respond
from ._dedupe_store import Claim, MemorySeenStore
from ._verify import DEFAULT_TOLERANCE, check_secrets, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._models import WebhookEvent
    from ._asgi import Receive, Scope, Send
    from ._dedupe_store import SeenStore

logger = logging.getLogger("polyglot_async")

Handler: TypeAlias = "Callable[[WebhookEvent], object]"

_HANDLER_THREADS = 16
_STATUS_OF_REASON: Final = {"signature": 401, "timestamp": 401}
_HANDLED = Answer(200, "handled")
_KNOWN = Answer(200, "handled before")
_FAILED = Answer(500, "the handler failed")
_BUSY = Answer(503, "the event is being handled", ((b"retry-after", b"1"),))
_NO_STORE = Answer(503, "the store of seen events failed", ((b"retry-after", b"5"),))


class WebhookReceiver:
    """Receives webhooks, proves them and hands each event on once. An ASGI app.

    >>> uvicorn.run(WebhookReceiver(secret, on_event=print), port=9000)                # alone
    >>> app.mount("/polyglot", WebhookReceiver(secret, on_event=store, path="/hook"))  # in FastAPI, Starlette

    Give a mounted one a `path`, and the vendor the URL `.../polyglot/hook`: to `.../polyglot`, the bare mount,
    Starlette answers with a redirect, which senders of webhooks do not follow.

    The vendor's retries are answered with 200 and not handled again. Handling is *at least* once: a process that dies
    between the end of the handler and the note of it will see the event again, so let the handler bear that.

    What an ASGI app cannot see it cannot limit: slow request headers and the number of connections are the server's to
    bound, e.g. uvicorn's `limit_concurrency`, or a proxy's.

    Args:
        secret: the webhook's secret, or several while one replaces another.
        on_event: called with each new event; a coroutine function, or a function, which runs in a worker thread. When
            it returns, the vendor gets 200; when it raises, 500, and the vendor's retry calls it again. None: there
            are only subscribers.
        seen: remembers what was handled; None: a `MemorySeenStore`. Take `SqliteSeenStore` to survive a restart, and
            when several processes receive.
        tolerance: seconds that the timestamp may be off; None: it is not looked at. Should the vendor repeat an old
            delivery with its first timestamp, a larger one is needed; what stops replays is `seen`.
        path: the only path that is answered, within the mount; None: every path.
        max_body_bytes: the largest body that is read.
        body_timeout: seconds for the whole body to come in, however it trickles.
        handler_timeout: seconds that the vendor is kept waiting for the handler. After that the answer is 503 and the
            handler goes on, undisturbed; the vendor's retry learns how it ended.
        clock: gives Unix seconds, for tests.

    Raises:
        ConfigurationError: no secret, or a limit that is not positive.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        on_event: Handler | None = None,
        seen: SeenStore | None = None,
        tolerance: float | None = DEFAULT_TOLERANCE,
        path: str | None = None,
        max_body_bytes: int = 1 << 20,
        body_timeout: float = 10.0,
        handler_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            check_secrets(secret)
        except WebhookVerificationError as error:
            # Now, and not with the first delivery: an app without a secret should not come up.
            raise ConfigurationError(error.message) from None
        for name, limit in (
            ("max_body_bytes", max_body_bytes),
            ("body_timeout", body_timeout),
            ("handler_timeout", handler_timeout),
        ):
            if not limit > 0:
                raise ConfigurationError(f"{name} is {limit}, and must be more than 0")
        self._secret = (secret,) if isinstance(secret, str) else tuple(secret)
        self._on_event = on_event
        self._is_async = any(map(inspect.iscoroutinefunction, (on_event, type(on_event).__call__)))
        self._seen: SeenStore = MemorySeenStore() if seen is None else seen
        self._tolerance, self._clock = tolerance, clock
        self._path = None if path is None else normal_path(path)
        self._max_body_bytes, self._body_timeout = max_body_bytes, body_timeout
        self._handler_timeout = handler_timeout
        # Threads of its own: a host app's sync endpoints live off anyio's default ones.
        self._threads = anyio.CapacityLimiter(_HANDLER_THREADS)
        # A store's claim may expire under a handler that takes very long; this process knows that it is still at it.
        self._running: set[str] = set()
        self._subscribers: tuple[tuple[object, Handler], ...] = ()
        self._lock = threading.Lock()

    def subscribe(self, callback: Callable[[WebhookEvent], object]) -> Callable[[], None]:
        """Have `callback` called with every verified event; give the function that ends that.

        It is called before the handler, in the loop and the thread that run this app, which need not be those of the
        subscriber: hand the event over with a thread-safe call. It must return at once. What it raises is logged, and
        changes nothing. The vendor's retries are events here too, as this process may not be the one that saw the
        first: the callback must bear to hear of one twice. `subscribe` may be called from any thread.
        """
        entry = (object(), callback)
        with self._lock:
            self._subscribers = (*self._subscribers, entry)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(other for other in self._subscribers if other is not entry)

        return unsubscribe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: http, lifespan, or websocket, which is refused."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise RuntimeError(f"the ASGI scope {scope['type']!r} is not known")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_request(scope, path=self._path, max_body_bytes=self._max_body_bytes)
            body = await read_body(receive, max_body_bytes=self._max_body_bytes, timeout=self._body_timeout)
            event = self._verify(body, scope)
        except ClientGoneError:
            return
        except RefusedError as refused:
            logger.info("webhook refused with %d: %s", refused.answer.status, refused.answer.detail)
            await respond(scope, send, refused.answer)
            return
        self._tell(event)
        # As JSON the key is unambiguous, and ASCII whatever the task's id is.
        await self._hand_on(json.dumps([event.task_id, event.status]), event, scope, send)

    def _verify(self, body: bytes, scope: Scope) -> WebhookEvent:
        try:
            return verify(body, scope["headers"], self._secret, tolerance=self._tolerance, now=self._clock())
        except WebhookVerificationError as error:
            raise RefusedError(Answer(_STATUS_OF_REASON.get(error.reason, 400), error.message)) from None

    def _tell(self, event: WebhookEvent) -> None:
        for _, callback in self._subscribers:
            try:
                callback(event)
            except Exception:
                logger.exception("a webhook subscriber failed on task %s", event.task_id)

    async def _hand_on(self, key: str, event: WebhookEvent, scope: Scope, send: Send) -> None:
        if key in self._running:
            await respond(scope, send, _BUSY)
            return
        self._running.add(key)
        claim = None
        try:
            claim = await self._seen.claim(key)
        except Exception:
            logger.exception("the store of seen webhooks failed")
        finally:
            if claim is not Claim.NEW:
                self._running.discard(key)
        if claim is Claim.NEW:
            await self._handle(key, event, scope, send)
        else:
            await respond(scope, send, {Claim.DONE: _KNOWN, Claim.BUSY: _BUSY, None: _NO_STORE}[claim])

    async def _handle(self, key: str, event: WebhookEvent, scope: Scope, send: Send) -> None:
        answer, answered = _BUSY, anyio.Event()

        async def work() -> None:
            nonlocal answer
            try:
                answer = await self._settle(key, event)
            finally:
                self._running.discard(key)  # before the answer: the vendor's next attempt may be quick
                answered.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            with anyio.move_on_after(self._handler_timeout):
                await answered.wait()
            await respond(scope, send, answer)
            # Leaving the group waits for a handler that takes longer. The vendor has its answer.

    async def _settle(self, key: str, event: WebhookEvent) -> Answer:
        done = kept = False
        try:
            await self._call(event)
            done = True
        except Exception:
            logger.exception("the webhook handler failed on task %s", event.task_id)
        finally:
            # Also when the server cancels us: the next attempt must not find a claim that nobody holds.
            with anyio.CancelScope(shield=True):
                kept = await self._note(key, done=done)
        if not done:
            return _FAILED
        return _HANDLED if kept else _NO_STORE

    async def _call(self, event: WebhookEvent) -> None:
        handler = self._on_event
        if handler is None:
            return
        if self._is_async:
            result = handler(event)
        else:
            # In a tuple, because a function may give a coroutine, and Trio takes that alone for a mistake.
            (result,) = await to_thread.run_sync(lambda: (handler(event),), limiter=self._threads)
        if inspect.isawaitable(result):
            await result

    async def _note(self, key: str, *, done: bool) -> bool:
        try:
            await (self._seen.confirm(key) if done else self._seen.release(key))
        except Exception:
            logger.exception("the store of seen webhooks failed")
            return False
        return True
