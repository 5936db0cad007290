"""What every request of the API passes: ledger, identity, limits, faults, then the call itself."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from .._storage import FINAL
from . import _injection
from ._accounts import CredentialError
from ._exchange import Exchange
from ._responses import ApiError, error
from ._uvicorn import ClientConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .._ledger import Ledger
    from .._storage import TaskStore
    from ..faults._fault import Fault, Faults
    from ._accounts import Accounts
    from ._limits import RequestLimits

LOGGER = logging.getLogger("polyglot_async.sandbox")
STARTS_TASK = frozenset({"upload", "from_url"})


@dataclass(frozen=True, slots=True)
class Middleware:
    """An ASGI application around the routes of the API; the routes' names are the calls of the ledger."""

    routes: Sequence[Route]
    accounts: Accounts
    limits: RequestLimits
    faults: Faults
    ledger: Ledger
    store: TaskStore
    now: Callable[[], float] = field(repr=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route, refusal = self._find(scope)
        call = "other" if route is None else route.name
        exchange = self._open_exchange(call, scope, receive, send)
        try:
            # Counted all the same: what was no call of the API was a request of this user.
            admission = self._admit(call, Headers(scope=scope), exchange)
            app = _CallHandler(route, refusal or admission)
            exchange.faults = self._take_faults(call, scope, exchange)
            if exchange.faults:
                exchange.note(fault="+".join(fault.kind for fault in exchange.faults))
                await _injection.apply(exchange.faults, app, scope, exchange, ClientConnection.of(scope))
            else:
                await app(scope, exchange.receive, exchange.send)
        except (ClientDisconnect, asyncio.CancelledError):
            # Cancelled is a request only when the sandbox closes, and then its connection is gone already.
            LOGGER.debug("the client left during %s", call)
        finally:
            exchange.finish()

    def _open_exchange(self, call: str, scope: Scope, receive: Receive, send: Send) -> Exchange:
        entry = self.ledger.open_entry(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("ascii", "replace"),
            call=call,
            request_id=uuid.uuid4().hex,
        )
        exchange = scope["exchange"] = Exchange(self.ledger, entry, receive, send)
        if task_id := scope.get("path_params", {}).get("task_id"):
            exchange.note(task_id=task_id)
        return exchange

    def _find(self, scope: Scope) -> tuple[Route | None, Response | None]:
        """Return the route of a request, its parameters put into the scope; or the 404 or 405 that it gets."""
        known_path = False
        for route in self.routes:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                scope.update(child_scope)
                return route, None
            known_path = known_path or match is Match.PARTIAL
        return None, error(405, "Method not allowed.") if known_path else error(404, "Not found.")

    def _admit(self, call: str, headers: Headers, exchange: Exchange) -> Response | None:
        """Identify and count a request; the answer that refuses it, or None."""
        authorization = headers.get("authorization")
        if call == "documentation" and authorization is None:
            return None  # A16: anybody may read the limits
        try:
            caller = self.accounts.authenticate(authorization)
        except CredentialError as problem:
            return error(401, str(problem))
        exchange.identify(caller)
        exceeded = self.limits.admit(caller.user, with_key=caller.kind == "key", starts_task=call in STARTS_TASK)
        if exceeded is not None:
            return error(429, exceeded.detail, retry_after=exceeded.retry_after)
        if call == "documentation" and caller.kind == "key":
            return error(403, "An API key is good for transcriptions/* only.")
        return None

    def _take_faults(self, call: str, scope: Scope, exchange: Exchange) -> list[Fault]:
        if not self.faults.pending():
            return []
        refused = any(name == b"authorization" for name, _ in scope["headers"])
        credential = exchange.caller.kind if exchange.caller is not None else "refused" if refused else "none"
        return self.faults.take(call, credential=credential, age=self._age(call, exchange.entry.task_id))

    def _age(self, call: str, task_id: str | None) -> float | None:
        """Return the seconds since a task was started; since it ended, where its result is asked for."""
        task = None if task_id is None else self.store.get(task_id)
        if task is None:
            return None
        ended = call in {"result", "download"} and task.status in FINAL
        return self.now() - (task.updated_at if ended else task.created_at)


class _CallHandler:
    """The call itself, or its refusal; whatever it raises becomes an answer."""

    def __init__(self, route: Route | None, refusal: Response | None) -> None:
        self._route, self._refusal = route, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._refusal is not None or self._route is None:
            app: ASGIApp = self._refusal or error(404, "Not found.")
            await app(scope, receive, send)
            return
        try:
            await self._route.handle(scope, receive, send)
        except ClientDisconnect:
            raise
        except ApiError as refusal:
            await refusal.response()(scope, receive, send)
        except HTTPException as refusal:
            await error(refusal.status_code, refusal.detail)(scope, receive, send)
        except Exception:
            LOGGER.exception("%s failed", self._route.name)
            if not scope["exchange"].answered:
                await error(500, "Internal server error.")(scope, receive, send)
