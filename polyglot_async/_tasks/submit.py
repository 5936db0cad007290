"""Start paid work at most once: send it, and where no answer tells whether it arrived, look for it.

A task is taken for ours only on positive evidence (A17): the service says when it was created, that moment lies within
the time our request was under way, its file name or URL is ours, and it is the only such task. Anything less is an
uncertainty for the caller to settle.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs

from .._api import endpoints
from .._api.messages import ApiRequest, ApiResponse, RawResponse
from .._errors import ApiConnectionError, PolyglotError, ResponseDecodeError, ServerError, SubmissionUncertainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._http.transport import Transport
    from .._limits.limiter import SlotLease
    from .._models import Task
    from .._uploads.form_body import FormBody

_PAGE = 50
_GATEWAY_STATUSES = frozenset({502, 504})  # a proxy gave up waiting; the service behind it may not have
_SLACK = timedelta(seconds=5)
_REMEMBERED_TASKS = 10_000


@attrs.define
class Submissions:
    """What this client has started, and the search for what it may have started."""

    _on_start: Callable[[str], None] = attrs.field(repr=False)
    _known: deque[str] = attrs.field(factory=lambda: deque(maxlen=_REMEMBERED_TASKS), repr=False)
    _under_way: Counter[str] = attrs.field(factory=Counter, repr=False)
    _doubts: dict[str, float] = attrs.field(factory=dict, repr=False)

    async def submit(
        self,
        transport: Transport,
        request: ApiRequest,
        name: str,
        body: FormBody | None = None,
        lease: SlotLease | None = None,
    ) -> RawResponse[Task]:
        """Send a call that starts work, once. With a `lease`, the permit comes with a task slot.

        Raises:
            SubmissionUncertainError: it went out, and neither an answer nor the list tells what became of it.
            PolyglotError: as the tree of errors says; the work was then not started.
        """
        started = time.monotonic()
        file_name = file_name_of(name)
        self._under_way[file_name] += 1
        try:
            answer = await transport.send(request, body, lease=lease)
            task = endpoints.parse_task(answer)
        except (ApiConnectionError, ResponseDecodeError, ServerError) as error:
            if not _is_doubtful(error):
                raise
            raw = await self._look_for(transport, name, body, started, error)
            task = raw.parse()
        else:
            raw = RawResponse(answer, lambda _: task)
        finally:
            self._under_way[file_name] -= 1
            if not self._under_way[file_name]:
                del self._under_way[file_name]
        self._known.append(task.task_id)
        self._on_start(task.task_id)
        return raw

    async def _look_for(
        self, transport: Transport, name: str, body: FormBody | None, started: float, error: PolyglotError
    ) -> RawResponse[Task]:
        candidates: list[Task] = []
        try:
            answer = await transport.send(endpoints.list_tasks(limit=_PAGE, offset=0, cursor=None, filters={}))
            unknown = [task for task in endpoints.parse_page(answer).items if task.task_id not in self._known]
            earliest = service_time(answer) - timedelta(seconds=time.monotonic() - started) - _SLACK
            candidates = list(_possible(unknown, name, earliest))
            proven = [task for task in candidates if task.created_at is not None and task.file_name is not None]
        except PolyglotError:
            proven = []
        if len(proven) == len(candidates) == 1 and self._is_alone(file_name_of(name), started):
            return RawResponse(answer, lambda _: proven[0])
        self._doubts[file_name_of(name)] = time.monotonic()
        raise SubmissionUncertainError(
            f"{name} may or may not have been accepted ({error}). It was not sent again: that could be paid for twice",
            source_name=name,
            size=body.media.size if body is not None else None,
            candidates=candidates,
        ) from error

    def _is_alone(self, file_name: str, started: float) -> bool:
        """Whether no other of this name is or was under way with it: the task in the list may be the other's."""
        doubted = self._doubts.get(file_name, -math.inf)
        return self._under_way[file_name] == 1 and doubted < started - _SLACK.total_seconds()


def _is_doubtful(error: PolyglotError) -> bool:
    """Whether the work may have been started: no answer to what was sent, one that cannot be read, or a gateway's."""
    if isinstance(error, ApiConnectionError):
        return error.maybe_sent
    return not isinstance(error, ServerError) or error.status_code in _GATEWAY_STATUSES


def file_name_of(name: str) -> str:
    """Give the name that a task's file will have: of a URL the last part of its path, of a file its own."""
    if not name.startswith(("http://", "https://")):
        return name
    return unquote(re.split(r"[?#]", name, maxsplit=1)[0].rpartition("/")[2])


def service_time(answer: ApiResponse) -> datetime:
    """Read the service's clock, which need not agree with ours."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)


def _possible(tasks: Iterable[Task], name: str, earliest: datetime) -> Iterable[Task]:
    for task in tasks:
        too_old = task.created_at is not None and task.created_at < earliest
        if not too_old and (task.file_name is None or has_name(task, name)):
            yield task


def has_name(task: Task, name: str) -> bool:
    """Whether a task is of the file `name`, or of the URL `name`."""
    return task.file_name in {name, file_name_of(name)}
