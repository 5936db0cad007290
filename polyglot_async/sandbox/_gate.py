"""The door that every request of the API goes through: ledger, identity, limits, faults, then the call itself."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from ._accounts import CredentialError
from ._answers import ApiError, error
from ._exchange import Exchange
from ._mischief import commit
from ._wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ._accounts import Accounts
    from ._faults import Faults
    from ._ledger import Ledger
    from ._limits import Limiter

LOGGER = logging.getLogger("polyglot_async.sandbox")
STARTS_TASK = frozenset({"upload", "from_url"})


class Gate:
    """An ASGI application around the routes of the API; the routes' names are the calls of the ledger."""

    def __init__(
        self, routes: Sequence[Route], *, accounts: Accounts, limiter: Limiter, faults: Faults, ledger: Ledger
    ) -> None:
        self._routes = routes
        self._accounts, self._limiter, self._faults, self._ledger = accounts, limiter, faults, ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route, refusal = self._find(scope)
        call = "other" if route is None else route.name
        entry = self._ledger.open_entry(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("ascii", "replace"),
            call=call,
            request_id=uuid.uuid4().hex,
        )
        exchange = Exchange(self._ledger, entry, receive, send)
        scope["exchange"] = exchange
        if task_id := scope.get("path_params", {}).get("task_id"):
            exchange.note(task_id=task_id)
        try:
            # Counted all the same: what was no call of the API was a request of this user.
            admission = self._admit(call, Headers(scope=scope), exchange)
            refusal = refusal or admission
            app = _Call(route, refusal)
            faults = self._faults.take(call)
            if faults:
                exchange.note(fault="+".join(fault.kind for fault in faults))
                await commit(faults, app, scope, exchange, Wire.of(scope))
            else:
                await app(scope, exchange.receive, exchange.send)
        except (ClientDisconnect, asyncio.CancelledError):
            # Cancelled is a request only when the sandbox closes, and then its connection is gone already.
            LOGGER.debug("the client left during %s", call)
        finally:
            exchange.finish()

    def _find(self, scope: Scope) -> tuple[Route | None, Response | None]:
        """The route of a request, its parameters put into the scope; or the 404 or 405 that it gets."""
        known_path = False
        for route in self._routes:
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
            caller = self._accounts.authenticate(authorization)
        except CredentialError as problem:
            return error(401, str(problem))
        exchange.identify(caller)
        refusal = self._limiter.admit(caller, starts_task=call in STARTS_TASK)
        if refusal is not None:
            return error(429, refusal.detail, retry_after=refusal.retry_after)
        if call == "documentation" and caller.kind == "key":
            return error(403, "An API key is good for transcriptions/* only.")
        return None


class _Call:
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
