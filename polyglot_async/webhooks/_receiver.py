"""The receiver: a plain ASGI 3 app, so that it runs in every ASGI framework, and alone under any ASGI server.

The cheap checks come first (path, method, type, length), then the body is read within a deadline, then it is verified.
Only after that is its JSON parsed, the subscribers notified, and the handler called, once for each event.

| status | when |
|---|---|
| 200 | handled now, or handled before |
| 400 | the body is no event although its signature is right; headers are ambiguous; a bad Content-Length |
| 401 | the signature is wrong or missing, or the timestamp is |
| 404, 405, 415 | another path than `path`; not POST; not application/json |
| 408, 413 | the body took too long; it is too large |
| 500 | the handler failed: the event is not marked as done, so the service's next attempt gets through |
| 503 | the handler is still running, or the store failed: the service's next attempt is answered with the outcome |

Every refusal is logged at WARNING with its reason.
"""

from __future__ import annotations

import inspect
import json
import logging
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio
from anyio import to_thread

from .._arguments import check_count, check_seconds
from .._errors import ConfigurationError, WebhookVerificationError, as_configuration_error
from .._runtime import checked_runtime
from ._asgi import (
    Answer,
    ClientGoneError,
    RefusedError,
    check_request,
    handle_lifespan,
    normal_path,
    read_body,
    respond,
)
from ._dedupe_store import DedupeState, MemoryDedupeStore
from ._verify import DEFAULT_TOLERANCE, check_secrets, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._models import WebhookEvent
    from .._runtime import Runtime
    from ._asgi import Receive, Scope, Send
    from ._dedupe_store import DedupeStore

logger = logging.getLogger("polyglot_async")

Handler: TypeAlias = "Callable[[WebhookEvent], object]"

_HANDLER_THREADS = 16
_STATUS_OF_REASON: Final = {"signature": 401, "timestamp": 401}
_HANDLED = Answer(200, "handled")
_KNOWN = Answer(200, "handled before")
_FAILED = Answer(500, "the handler failed")
_BUSY = Answer(503, "the event is being handled", ((b"retry-after", b"1"),))
_STORE_FAILED = Answer(503, "the dedupe store failed", ((b"retry-after", b"5"),))


class WebhookReceiver:
    """Receives webhooks, verifies them and dispatches each event once. An ASGI app.

    >>> uvicorn.run(WebhookReceiver(secret, on_event=print), port=9000)                # alone
    >>> app.mount("/polyglot", WebhookReceiver(secret, on_event=store, path="/hook"))  # in FastAPI, Starlette

    If it is mounted, set `path`, and set the key's webhook URL to `.../polyglot/hook`: at `.../polyglot`, the bare
    mount, Starlette answers with a redirect, which senders of webhooks do not follow.

    The service's retries are answered with 200 and not handled again. Handling is *at least* once: a process that dies
    between the end of the handler and its confirmation gets the event again, so the handler has to be idempotent.

    Slow request headers and the number of connections are for the server to limit, e.g. with uvicorn's
    `limit_concurrency`, or for a proxy.

    Args:
        secret: the webhook's secret, or several while one replaces another.
        on_event: called with each new event; a coroutine function, or a function, which runs in a worker thread. When
            it returns, the answer is 200; when it raises, 500, and the service's retry calls it again. None: events go
            to subscribers only.
        dedupe_store: where the events that were handled are kept; None: a `MemoryDedupeStore`. Use `SqliteDedupeStore`
            to survive a restart, or when several processes receive.
        tolerance: seconds that the timestamp may be off; None: it is not checked. If the service repeats an old
            delivery with its first timestamp, a larger one is needed; what stops replays is `dedupe_store`.
        path: the only path that is answered, within the mount; None: every path.
        max_body_bytes: the largest body that is read.
        body_timeout: seconds for the whole body to come in, however it trickles.
        handler_timeout: seconds that the answer waits for the handler. After that the answer is 503 and the handler
            goes on; the service's retry is answered with the outcome.
        runtime: the clock, for tests.

    Raises:
        ConfigurationError: no secret, a handler that cannot be called, a `dedupe_store` that is none, a limit that is
            not positive.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        on_event: Handler | None = None,
        dedupe_store: DedupeStore | None = None,
        tolerance: float | None = DEFAULT_TOLERANCE,
        path: str | None = None,
        max_body_bytes: int = 1 << 20,
        body_timeout: float = 10.0,
        handler_timeout: float = 10.0,
        runtime: Runtime | None = None,
    ) -> None:
        try:
            check_secrets(secret)
        except WebhookVerificationError as error:
            # Now, and not with the first delivery: an app without a secret should not come up.
            raise ConfigurationError(error.message) from None
        if on_event is not None and not callable(on_event):
            raise ConfigurationError(f"on_event={on_event!r} cannot be called: pass a function that takes an event")
        with as_configuration_error():
            check_count("max_body_bytes", max_body_bytes)
            _check_times(tolerance, body_timeout, handler_timeout)
            self._now = checked_runtime(runtime).unix_time
        if path is not None and not isinstance(path, str):
            raise ConfigurationError(f"path={path!r} is not a string")
        self._secret = (secret,) if isinstance(secret, str) else tuple(secret)
        self._on_event = on_event
        self._is_async = any(map(inspect.iscoroutinefunction, (on_event, type(on_event).__call__)))
        self._store: DedupeStore = _checked_store(MemoryDedupeStore() if dedupe_store is None else dedupe_store)
        self._tolerance = tolerance
        self._path = None if path is None else normal_path(path)
        self._max_body_bytes, self._body_timeout = max_body_bytes, body_timeout
        self._handler_timeout = handler_timeout
        # A limiter of its own: a host app's sync endpoints use anyio's default one.
        self._threads = anyio.CapacityLimiter(_HANDLER_THREADS)
        # A store's claim may expire under a handler that takes very long, while it still runs in this process.
        self._running: set[str] = set()
        self._subscribers: tuple[tuple[object, Handler], ...] = ()
        self._lock = threading.Lock()

    def subscribe(self, callback: Callable[[WebhookEvent], object]) -> Callable[[], None]:
        """Call `callback` with every verified event, until the returned function is called.

        It is called before the handler, in the loop and the thread that run this app, which need not be those of the
        subscriber: pass the event on with a thread-safe call. It must return at once. What it raises is logged, and
        changes nothing. It is called for the service's retries too, as another process may have received the first
        delivery, so it has to be idempotent. `subscribe` may be called from any thread.

        Raises:
            ConfigurationError: `callback` cannot be called.
        """
        if not callable(callback):
            raise ConfigurationError(f"callback={callback!r} cannot be called: pass a function that takes an event")
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
            await handle_lifespan(receive, send)
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
            logger.warning(
                "webhook refused with %d (%s): %s", refused.answer.status, refused.reason, refused.answer.detail
            )
            await respond(scope, send, refused.answer)
            return
        self._notify(event)
        # As JSON the key is unambiguous, and ASCII whatever the task's id is.
        await self._dispatch(json.dumps([event.task_id, event.status]), event, scope, send)

    def _verify(self, body: bytes, scope: Scope) -> WebhookEvent:
        try:
            return verify(body, scope["headers"], self._secret, tolerance=self._tolerance, now=self._now())
        except WebhookVerificationError as error:
            raise RefusedError(Answer(_STATUS_OF_REASON.get(error.reason, 400), error.message), error.reason) from None

    def _notify(self, event: WebhookEvent) -> None:
        for _, callback in self._subscribers:
            try:
                callback(event)
            except Exception:
                logger.exception("a webhook subscriber failed on task %s", event.task_id)

    async def _dispatch(self, key: str, event: WebhookEvent, scope: Scope, send: Send) -> None:
        if key in self._running:
            await respond(scope, send, _BUSY)
            return
        self._running.add(key)
        claim = None
        try:
            claim = await self._store.claim(key)
        except Exception:
            logger.exception("the dedupe store failed")
        finally:
            if claim is not DedupeState.NEW:
                self._running.discard(key)
        if claim is DedupeState.NEW:
            await self._handle(key, event, scope, send)
        else:
            await respond(scope, send, {DedupeState.DONE: _KNOWN, DedupeState.BUSY: _BUSY, None: _STORE_FAILED}[claim])

    async def _handle(self, key: str, event: WebhookEvent, scope: Scope, send: Send) -> None:
        answer, answered = _BUSY, anyio.Event()

        async def work() -> None:
            nonlocal answer
            try:
                answer = await self._settle(key, event)
            finally:
                self._running.discard(key)  # before the answer: the service's next attempt may be quick
                answered.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            with anyio.move_on_after(self._handler_timeout):
                await answered.wait()
            await respond(scope, send, answer)
            # Leaving the group waits for a handler that takes longer. The service has its answer.

    async def _settle(self, key: str, event: WebhookEvent) -> Answer:
        done = kept = False
        try:
            await self._call(event)
            done = True
        except Exception:
            logger.exception("the webhook handler failed on task %s", event.task_id)
        finally:
            # Also when the server cancels us: a claim that nobody works on would block the next attempt.
            with anyio.CancelScope(shield=True):
                kept = await self._update_store(key, done=done)
        if not done:
            return _FAILED
        return _HANDLED if kept else _STORE_FAILED

    async def _call(self, event: WebhookEvent) -> None:
        handler = self._on_event
        if handler is None:
            return
        if self._is_async:
            result = handler(event)
        else:
            # In a tuple, because a function may return a coroutine, and Trio takes that alone for a mistake.
            (result,) = await to_thread.run_sync(lambda: (handler(event),), limiter=self._threads)
        if inspect.isawaitable(result):
            await result

    async def _update_store(self, key: str, *, done: bool) -> bool:
        try:
            await (self._store.confirm(key) if done else self._store.release(key))
        except Exception:
            logger.exception("the dedupe store failed")
            return False
        return True


def _check_times(tolerance: float | None, body_timeout: float, handler_timeout: float) -> None:
    check_seconds("tolerance", tolerance, above=True)
    check_seconds("body_timeout", body_timeout, above=True, needed=True)
    check_seconds("handler_timeout", handler_timeout, above=True, needed=True)


def _checked_store(store: DedupeStore) -> DedupeStore:
    missing = [name for name in ("claim", "confirm", "release") if not callable(getattr(store, name, None))]
    if missing:
        raise ConfigurationError(f"dedupe_store={store!r} has no {', '.join(missing)}: pass e.g. a SqliteDedupeStore")
    return store
