"""Start paid work at most once: send it, and where no answer tells whether it arrived, look for it.

A task is taken for ours only on positive evidence (A17): the service says when it was created, that moment lies within
the time our request was under way, its file name or URL is ours, and it is the only such task. Anything less is an
uncertainty for the caller to settle.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import attrs

from .._errors import ApiConnectionError, PolyglotError, ResponseDecodeError, SubmissionUncertainError
from .._protocol import endpoints
from .._protocol.messages import ApiRequest, ApiResponse, RawResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._io.form_body import FormBody
    from .._io.transport import Transport
    from .._models import Task

_PAGE = 50
_SLACK = timedelta(seconds=5)
_REMEMBERED_TASKS = 10_000


@attrs.define
class Submissions:
    """What this client has started, and the search for what it may have started."""

    _known: deque[str] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED_TASKS), repr=False)
    _under_way: Counter[str] = attrs.field(factory=Counter, repr=False)

    async def submit(
        self, transport: Transport, request: ApiRequest, name: str, body: FormBody | None = None
    ) -> RawResponse[Task]:
        """Send a call that starts work, once.

        Raises:
            SubmissionUncertainError: it went out, and neither an answer nor the list tells what became of it.
            PolyglotError: as the tree of errors says; the work was then not started.
        """
        started = time.monotonic()
        self._under_way[name] += 1
        try:
            answer = await transport.send(request, body)
            task = endpoints.parse_task(answer)
        except (ApiConnectionError, ResponseDecodeError) as error:
            if isinstance(error, ApiConnectionError) and not error.maybe_sent:
                raise
            raw = await self._look_for(transport, name, body, started, error)
            task = raw.parse()
        else:
            raw = RawResponse(answer, lambda _: task)
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]
        self._known.append(task.task_id)
        return raw

    async def _look_for(
        self, transport: Transport, name: str, body: FormBody | None, started: float, error: PolyglotError
    ) -> RawResponse[Task]:
        candidates: list[Task] = []
        try:
            answer = await transport.send(endpoints.list_tasks(limit=_PAGE, offset=0, cursor=None, filters={}))
            unknown = [task for task in endpoints.parse_page(answer).items if task.task_id not in self._known]
            earliest = _service_time(answer) - timedelta(seconds=time.monotonic() - started) - _SLACK
            candidates = list(_possible(unknown, name, earliest))
            proven = [task for task in candidates if task.created_at is not None and task.file_name is not None]
        except PolyglotError:
            proven = []
        # Two of one name under way at once: the one in the list may be the other.
        if len(proven) == len(candidates) == 1 and self._under_way[name] == 1:
            return RawResponse(answer, lambda _: proven[0])
        raise SubmissionUncertainError(
            f"{name} may or may not have been accepted ({error}). It was not sent again: that could be paid for twice",
            source_name=name,
            size=body.media.size if body is not None else None,
            candidates=candidates,
        ) from error


def _service_time(answer: ApiResponse) -> datetime:
    """Read the service's clock, which need not agree with ours."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)


def _possible(tasks: Iterable[Task], name: str, earliest: datetime) -> Iterable[Task]:
    for task in tasks:
        too_old = task.created_at is not None and task.created_at < earliest
        other = task.file_name is not None and task.file_name != name
        if not too_old and not other:
            yield task
