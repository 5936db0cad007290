"""`/_sandbox/...`: what only a sandbox has, for tests and people: ledger, faults, deliveries, state, cancelling."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..faults._fault import Fault
from ._responses import ApiError, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from .._ledger import Ledger
    from ..engines._task_runner import TaskRunner
    from ..faults._fault import Faults
    from ..webhooks._deliveries import DeliveryLog


class ControlPages:
    """An ASGI application; it asks for no credential and enters nothing into the ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        faults: Faults,
        deliveries: DeliveryLog,
        runner: TaskRunner,
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._ledger, self._faults, self._deliveries = ledger, faults, deliveries
        self._runner, self._state = runner, state
        self._routes = [
            Route("/_sandbox/ledger", self._get_ledger, methods=["GET"]),
            Route("/_sandbox/ledger", self._clear_ledger, methods=["DELETE"]),
            Route("/_sandbox/starts", self._get_starts, methods=["GET"]),
            Route("/_sandbox/faults", self._get_faults, methods=["GET"]),
            Route("/_sandbox/faults", self._add_fault, methods=["POST"]),
            Route("/_sandbox/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_sandbox/deliveries", self._get_deliveries, methods=["GET"]),
            Route("/_sandbox/state", self._get_state, methods=["GET"]),
            Route("/_sandbox/tasks/{task_id}/cancel", self._cancel, methods=["POST"]),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        for route in self._routes:
            match, child_scope = route.matches(scope)
            if match is match.FULL:
                scope.update(child_scope)
                try:
                    await route.handle(scope, receive, send)
                except ApiError as refusal:
                    await refusal.response()(scope, receive, send)
                except HTTPException as refusal:
                    await error(refusal.status_code, refusal.detail)(scope, receive, send)
                return
        await error(404, "Not found.")(scope, receive, send)

    async def _get_ledger(self, request: Request) -> Response:
        query = request.query_params
        status = query.get("status", "")
        entries = self._ledger.entries(
            query.get("call"), query.get("method"), int(status) if status.isdecimal() else None, query.get("path")
        )
        return JSONResponse([asdict(entry) for entry in entries])

    async def _clear_ledger(self, request: Request) -> Response:  # noqa: ARG002
        self._ledger.clear()
        return Response(status_code=204)

    async def _get_starts(self, request: Request) -> Response:  # noqa: ARG002
        """How often work was started for each medium, and how many bodies of uploads arrived whole."""
        starts = self._ledger.starts()
        return JSONResponse({"starts": starts, "total": sum(starts.values()), "bodies": self._ledger.bodies("upload")})

    async def _get_faults(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse([asdict(fault) for fault in self._faults.pending()])

    async def _add_fault(self, request: Request) -> Response:
        """A fault in its text form, as a JSON string or plain, or as a JSON object."""
        try:
            given = await request.json() if "json" in request.headers.get("content-type", "") else None
            if given is None:
                given = (await request.body()).decode()
            fault = Fault.from_mapping(given) if isinstance(given, dict) else Fault.parse(str(given))
        except (ValueError, TypeError) as problem:
            raise ApiError(400, str(problem)) from None
        self._faults.add(fault)
        return JSONResponse(asdict(fault), 201)

    async def _clear_faults(self, request: Request) -> Response:  # noqa: ARG002
        self._faults.clear()
        return Response(status_code=204)

    async def _get_deliveries(self, request: Request) -> Response:
        return JSONResponse([asdict(item) for item in self._deliveries.attempts(request.query_params.get("task_id"))])

    async def _get_state(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self._state())

    async def _cancel(self, request: Request) -> Response:
        task = self._runner.cancel(request.path_params["task_id"])
        if task is None:
            raise ApiError(404, "There is no task to cancel.")
        return JSONResponse(task.public())
