"""What the calls of the API work with, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._answers import ApiError
from ._exchange import Exchange

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from ._accounts import Caller
    from ._outbound import Outbound
    from ._plans import Plan
    from ._runner import Runner
    from ._tasks import Task, TaskStore
    from ._workers import Workers


@dataclass(frozen=True, slots=True)
class Services:
    """The sandbox's parts, as far as the calls need them; `incoming` holds files that are still on their way."""

    plan: Plan
    store: TaskStore
    runner: Runner
    tools: Workers
    outbound: Outbound
    media: Path
    incoming: Path
    source_bytes_per_second: float | None


def caller_of(request: Request) -> Caller:
    """Who sent a request; the gate has let through nobody else."""
    caller = Exchange.of(request).caller
    assert caller is not None  # noqa: S101
    return caller


def task_of(request: Request, store: TaskStore) -> Task:
    """The task that a request's path names; another user's is as good as none: 404."""
    task = store.get(request.path_params["task_id"], caller_of(request).user)
    if task is None:
        raise ApiError(404, "Task not found.")
    return task
