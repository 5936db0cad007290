"""The tree of exceptions. What a call raises is one of these, or a plain ValueError or TypeError for a wrong argument.

```
PolyglotError
|- ConfigurationError                 no credential, a bad base URL, a missing extra, a closed client
|- MediaError                         unreadable, empty, too large for the plan; raised before the request is whole
|- ApiConnectionError                 no answer: refused, lost, malformed
|  `- ApiTimeoutError                 no answer in time
|- ApiStatusError                     an answer with an error status
|  |- BadRequestError                 400, 409, 413, 415, 416, 422 and every other 4xx not named here
|  |- AuthenticationError             401
|  |- PermissionDeniedError           403
|  |- NotFoundError                   404, 410
|  |- RateLimitError                  429, and a 403 that speaks of concurrent tasks
|  |- RedirectError                   a redirect that is not followed: to another origin, or without an end
|  `- ServerError                     5xx
|- ResponseDecodeError                an answer that does not have the promised shape
|- TaskError                          the task ended without a result, or did not end
|  |- TaskFailedError
|  |- TaskCancelledError
|  `- WaitTimeoutError                also a TimeoutError
|- SubmissionUncertainError           work may have been started, and it cannot be found out
|- ServiceUnavailableError            the service has not been reachable for so long that a batch stops
|- QuotaExhaustedError                the day's or the month's requests are spent
|- TransferError                      a download that cannot go on
|  |- RangeError                      an answer that does not fit the range asked for
|  `- SourceChangedError              the file changed on the server between two parts
|- JournalError                       a batch's journal is in use, moved, hard-linked, another version's, or none
`- WebhookVerificationError           a delivery that is not proven to be the service's
```

Errors hold plain data and never a live response, so that they can be pickled and logged. No error holds a credential.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ._models import Task


def _rebuild(cls: type[PolyglotError], message: str, state: dict[str, Any]) -> PolyglotError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class PolyglotError(Exception):
    """The root of the tree: catch this to catch what calls raise.

    Attributes:
        task: the task that was started before the call failed, or None. It goes on at the service: pass it to
            `transcriptions.wait` and `transcriptions.result` instead of uploading again.
    """

    task: Task | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ would call the class with `args` alone, which keyword-only parameters refuse.
        return _rebuild, (type(self), self.message, self.__dict__.copy())


class ConfigurationError(PolyglotError):
    """The client cannot be used as configured: no credential, a bad base URL, a missing extra."""


@contextmanager
def as_configuration_error() -> Iterator[None]:
    """Raise what is raised of a wrong argument, TypeError or ValueError, as ConfigurationError."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


class MediaError(PolyglotError):
    """The media cannot be sent: missing, unreadable, empty, changing under the reader, or too large.

    Raised before any request, or, when reading fails midway, before the request is whole: then no task is started.
    """


class ApiConnectionError(PolyglotError):
    """The service gave no usable answer: refused, reset, closed early, or not speaking HTTP.

    Attributes:
        method: HTTP method of the request.
        url: its URL, without query.
        maybe_sent: False when the request certainly did not reach the service as a whole.
        connected: False when there was no connection at all, so that the service cannot have counted the request.
        permanent: True when no repetition mends it: a certificate, an unknown host, a proxy that wants a password.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        maybe_sent: bool = True,
        connected: bool = True,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.maybe_sent = maybe_sent
        self.connected = connected
        self.permanent = permanent


class ApiTimeoutError(ApiConnectionError, TimeoutError):
    """The service did not connect, accept or answer within `timeout` seconds. Also a `TimeoutError`."""


class ApiStatusError(PolyglotError):
    """The service answered with an error status (contract: "HTTP errors").

    Attributes:
        status_code: the HTTP status.
        detail: the body's `detail` as a readable sentence, or None.
        request_id: the service's or its proxy's id of this request, where a header names one.
        retry_after: seconds to wait, where the service said so.
        body: the answer's body, at most 64 KiB of it.
        method: HTTP method of the request.
        url: its URL, without query.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        detail: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
        method: str = "",
        url: str = "",
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.method = method
        self.url = url


class BadRequestError(ApiStatusError):
    """400, and every other 4xx without a class of its own: parameters, format, URL or state are not accepted."""


class AuthenticationError(ApiStatusError):
    """401: the credential is missing, invalid or expired. An `sk_` key lasts 30 days (contract)."""


class PermissionDeniedError(ApiStatusError):
    """403: the credential is good, but not for this."""


class NotFoundError(ApiStatusError):
    """404 or 410: no such task or file."""


class RateLimitError(ApiStatusError):
    """429: a limit is exceeded: burst, daily, monthly, or concurrent tasks.

    Attributes:
        limit: which limit, where the answer lets one tell: "burst", "daily", "monthly", "concurrency"; else None.
    """

    limit: str | None = None


class RedirectError(ApiStatusError):
    """3xx that is not followed: it leads to another origin, where the credential is not sent, in a circle, or nowhere.

    Attributes:
        location: where it leads, without query, or None.
        status_code: the HTTP status, or 0 where it is not known: a `Location` that is no URL hides it over httpx's own
            transport (an `http_client` of your own, a proxy, Windows).
    """

    location: str | None = None


class ServerError(ApiStatusError):
    """5xx: the service, or a proxy before it, failed."""


class ResponseDecodeError(PolyglotError):
    """The answer is not what the contract promises: not JSON, or JSON of another shape.

    Attributes:
        status_code: the HTTP status of the answer, where it came from one.
        body: the answer's body, at most 64 KiB of it.
        method: HTTP method of the request.
        url: its URL, without query.
        request_id: the service's or its proxy's id of this request, where a header names one.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        body: bytes = b"",
        method: str = "",
        url: str = "",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.body = body
        self.method = method
        self.url = url
        self.request_id = request_id


class TaskError(PolyglotError):
    """A task did not come to a result.

    Attributes:
        task: the task as it was last seen.
    """

    task: Task

    def __init__(self, message: str, *, task: Task) -> None:
        super().__init__(message)
        self.task = task


class TaskFailedError(TaskError):
    """The service could not process the media."""

    @property
    def failure_reason(self) -> str | None:
        """The service's reason, or None."""
        return self.task.failure_reason


class TaskCancelledError(TaskError):
    """The task was cancelled by the user, on the site."""


class WaitTimeoutError(TaskError, TimeoutError):
    """The task did not reach a final status within `timeout` seconds. It goes on, and can be waited for again."""


def require_result(task: Task) -> None:
    """Raise TaskFailedError or TaskCancelledError for a task that will never have a result."""
    if task.status == "failed":
        raise TaskFailedError(f"task {task.task_id} failed: {task.failure_reason or 'no reason given'}", task=task)
    if task.status == "cancelled":
        raise TaskCancelledError(f"task {task.task_id} was cancelled", task=task)


class SubmissionUncertainError(PolyglotError):
    """A request that starts paid work was sent whole, and it cannot be found out whether it was accepted.

    It was not sent again: that could be paid for twice. Neither an answer nor the list proves what became of it.

    Attributes:
        source_name: the file's name, or the URL without user, password and query.
        size: bytes of the media, where known.
        candidates: tasks in the list that may be the one, newest first; often empty.
    """

    def __init__(
        self, message: str, *, source_name: str, size: int | None = None, candidates: Sequence[Task] = ()
    ) -> None:
        super().__init__(message)
        self.source_name = source_name
        self.size = size
        self.candidates: tuple[Task, ...] = tuple(candidates)


class ServiceUnavailableError(PolyglotError):
    """The service gave no usable answer for so long that a batch stops. What was started stays in its journal."""


class QuotaExhaustedError(PolyglotError):
    """The requests of the UTC calendar day or month are spent, by this client's count or by an answer of the service.

    Attributes:
        resets_at: when the quota resets, an aware UTC datetime.
        limit: "daily" or "monthly".
    """

    def __init__(self, message: str, *, resets_at: datetime, limit: str) -> None:
        super().__init__(message)
        self.resets_at = resets_at
        self.limit = limit


class TransferError(PolyglotError):
    """A download cannot go on: the server keeps breaking off, or the disk refuses."""


class RangeError(TransferError):
    """The answer does not fit the byte range that was asked for (RFC 9110, section 14)."""


class SourceChangedError(TransferError):
    """The file on the server is no longer the one that the download began with. Nothing was spliced."""


class JournalError(PolyglotError):
    """A batch's journal cannot be used: another batch is writing it, another version wrote it, or it is no journal.

    Also where it has other names (hard links), or was moved, deleted or replaced while a batch was writing it, or
    another batch began to write it after its lock was deleted.
    """


class WebhookVerificationError(PolyglotError):
    """A delivery is not proven to come from the service: wrong, missing or stale signature, malformed body.

    Attributes:
        reason: a keyword: "secret", "signature", "timestamp", "headers" or "body".
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
