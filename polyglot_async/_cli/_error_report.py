"""Turn an exception into one line, a hint, an exit code and fields for scripts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._errors import (
    ApiStatusError,
    AuthenticationError,
    ConfigurationError,
    PolyglotError,
    SubmissionUncertainError,
    TaskCancelledError,
    TaskFailedError,
)
from ._formatting import scrub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._models import Task

_TASKS = "unreturned_tasks"
FAILED, USAGE, INTERRUPTED, BROKEN_PIPE, TERMINATED = 1, 2, 130, 141, 143


class InputError(click.ClickException):
    """An argument or option cannot be used; found before any request was sent."""

    exit_code = USAGE


class IncompleteError(click.ClickException):
    """Some sources have no result, and each of them has been reported already.

    Attributes:
        summary: counts by outcome, for scripts.
    """

    exit_code = FAILED

    def __init__(self, message: str, summary: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.summary = summary


class InterruptedCommandError(Exception):
    """Ctrl-C, SIGTERM or SIGHUP; the message says what was done so far."""


@attrs.frozen
class ErrorReport:
    """What is shown of an exception.

    Attributes:
        message: one line.
        exit_code: see `main`.
        kind: the exception's class name, for scripts.
        hint: what to do next, or None.
        fields: further values for scripts.
    """

    message: str
    exit_code: int
    kind: str
    hint: str | None = None
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object that stands under "error"."""
        return {"type": self.kind, "message": self.message, "hint": self.hint, **self.fields}


def describe_error(error: BaseException, *, secret: str | None = None) -> ErrorReport:
    """Return what to show of an exception; `secret` is a credential that is removed from all of it."""
    error = _first_of_group(error)
    message, code = _message_and_code(error)
    hint = _hint(error)
    return ErrorReport(
        message=scrub(message, secret),
        exit_code=code,
        kind=type(error).__name__,
        hint=scrub(hint, secret) if hint else None,
        fields=_scrubbed(dict(_fields(error)), secret) | attached_tasks(error, secret=secret),
    )


def attach_tasks(error: BaseException, tasks: Mapping[str, str]) -> None:
    """Add to an error the ids of the tasks that a run has left, each with its source's name, for scripts."""
    vars(error)[_TASKS] = dict(tasks)


def attached_tasks(error: BaseException, *, secret: str | None = None) -> dict[str, Any]:
    """Return the field that `attach_tasks` has added, without credentials; nothing where there are no tasks."""
    tasks = vars(error).get(_TASKS)
    return {_TASKS: _scrubbed(tasks, secret)} if tasks else {}


def is_expected(error: BaseException) -> bool:
    """Return whether this is an ordinary failure, and not a bug of ours."""
    return isinstance(_first_of_group(error), PolyglotError | OSError | ValueError | click.ClickException)


def _scrubbed(value: Any, secret: str | None) -> Any:
    """Return a value with each text in it scrubbed, however deep."""
    if isinstance(value, str):
        return scrub(value, secret)
    if isinstance(value, list | tuple):
        return [_scrubbed(part, secret) for part in value]
    if isinstance(value, dict):
        return {_scrubbed(name, secret): _scrubbed(part, secret) for name, part in value.items()}
    return value


def _first_of_group(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def _message_and_code(error: BaseException) -> tuple[str, int]:
    if isinstance(error, click.UsageError):
        see = f" (see: {error.ctx.command_path} -h)" if error.ctx else ""
        return error.format_message().rstrip(".") + see, USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError) and not isinstance(error, PolyglotError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror or str(error) or type(error).__name__}", FAILED
    if isinstance(error, ConfigurationError):
        return str(error), USAGE
    if is_expected(error):
        return str(error) or type(error).__name__, FAILED
    return f"unexpected {type(error).__name__}: {error} (run again with --verbose for the traceback)", FAILED


def _hint(error: BaseException) -> str | None:
    if isinstance(error, SubmissionUncertainError):
        found = ", ".join(task.task_id for task in error.candidates)
        return f"it may be {found}: polyglot get ID" if found else "check whether it was started: polyglot list"
    task = _task_left(error)
    fetch = f"the task is paid for; fetch it later: polyglot result {task.task_id}" if task is not None else None
    if isinstance(error, AuthenticationError):
        renew = "an sk_ key is valid for 30 days; make a new one in your profile on the site"
        return f"{renew}; {fetch}" if fetch else renew
    return fetch


def _task_left(error: BaseException) -> Task | None:
    """Return the task that goes on at the service, or is done there, although the call failed."""
    if not isinstance(error, PolyglotError) or isinstance(error, TaskFailedError | TaskCancelledError):
        return None
    return error.task


def _fields(error: BaseException) -> list[tuple[str, Any]]:
    fields: list[tuple[str, Any]] = []
    if isinstance(error, PolyglotError) and error.task is not None:
        fields += [("task_id", error.task.task_id), ("status", str(error.task.status))]
    if isinstance(error, ApiStatusError):
        fields += [(name, getattr(error, name)) for name in ("status_code", "detail", "request_id", "retry_after")]
    if isinstance(error, IncompleteError):
        fields += [("summary", error.summary)]
    if isinstance(error, SubmissionUncertainError):
        fields += [("source_name", error.source_name), ("candidates", [task.task_id for task in error.candidates])]
    return fields
