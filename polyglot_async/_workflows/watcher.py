"""One poller that serves every wait of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs

from .._errors import ApiConnectionError, ServerError, WaitTimeoutError
from .._models import Task, TaskStatus, require_result
from .._protocol import endpoints

if TYPE_CHECKING:
    from .._io.transport import Transport


@attrs.define
class Watcher:
    """Waits for tasks."""

    _transport: Transport = attrs.field(repr=False)

    async def wait(self, task: Task | str, *, timeout: float | None, poll_interval: float | None) -> Task:
        """Wait until the task is completed."""
        latest = task if isinstance(task, Task) else Task(task_id=task, status=TaskStatus.QUEUED)
        with anyio.move_on_after(timeout):
            delay = 0.2
            while not latest.status.is_final:
                try:
                    answer = await self._transport.send(endpoints.get(latest.task_id))
                    latest = endpoints.parse_task(answer)
                except (ApiConnectionError, ServerError):
                    pass
                if not latest.status.is_final:
                    await anyio.sleep(poll_interval or delay)
                    delay = min(delay * 1.5, 5.0)
            require_result(latest)
            return latest
        raise WaitTimeoutError(f"task {latest.task_id} is {latest.status} after {timeout} s of waiting", task=latest)
