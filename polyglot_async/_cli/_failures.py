"""From an exception to one line, a hint, and an exit code. No credential comes through here."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._errors import (
    ApiStatusError,
    AuthenticationError,
    ConfigurationError,
    PolyglotError,
    SubmissionUncertainError,
    TaskError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FAILED, USAGE, INTERRUPTED, BROKEN_PIPE, TERMINATED = 1, 2, 130, 141, 143
_KEY = re.compile(r"\bsk_[\w-]{4,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class InputError(Exception):
    """Something that the person gave will not do; found before any request."""


class IncompleteError(Exception):
    """Some of what was asked for could not be done, and each part has been told already.

    Attributes:
        summary: how many ended how, for scripts.
    """

    def __init__(self, message: str, summary: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.summary = summary


class InterruptedCommandError(Exception):
    """Ctrl-C or SIGTERM, with what there is to say about it."""


@attrs.frozen
class Failure:
    """What to tell of an exception.

    Attributes:
        message: one line.
        exit_code: see `main`.
        kind: the class's name, for scripts.
        hint: what to do next, or None.
        facts: further values for scripts.
    """

    message: str
    exit_code: int
    kind: str
    hint: str | None = None
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the object that stands under "error"."""
        return {"type": self.kind, "message": self.message, "hint": self.hint, **self.facts}


def failure_of(error: BaseException, *, secret: str | None = None) -> Failure:
    """Tell what an exception means to the person; `secret` is a credential to keep out of the message."""
    error = _unwrapped(error)
    message, code = _message_and_code(error)
    hint = _hint(error)
    return Failure(
        message=scrubbed(message, secret),
        exit_code=code,
        kind=type(error).__name__,
        hint=scrubbed(hint, secret) if hint else None,
        facts=_facts(error),
    )


def is_foreseen(error: BaseException) -> bool:
    """Whether this is how things go wrong, and no bug of ours."""
    foreseen = (PolyglotError, OSError, ValueError, click.ClickException, InputError, IncompleteError)
    return isinstance(_unwrapped(error), foreseen)


def scrubbed(text: str, secret: str | None = None) -> str:
    """Make one line of it, without control characters and without anything that looks like a credential."""
    for value in (secret, os.environ.get("POLYGLOT_API_KEY")):
        if value and value.strip():
            text = text.replace(value, "***").replace(value.strip(), "***")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", " ".join(_KEY.sub("sk_***", text).split()))


def _unwrapped(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error


def _message_and_code(error: BaseException) -> tuple[str, int]:
    if isinstance(error, click.UsageError):
        asked = f" (see: {error.ctx.command_path} -h)" if error.ctx else ""
        return error.format_message().rstrip(".") + asked, USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError) and not isinstance(error, PolyglotError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror or str(error) or type(error).__name__}", FAILED
    if isinstance(error, InputError | ConfigurationError):
        return str(error), USAGE
    if is_foreseen(error):
        return str(error) or type(error).__name__, FAILED
    return f"unforeseen {type(error).__name__}: {error} (-v shows where)", FAILED


def _hint(error: BaseException) -> str | None:
    if isinstance(error, SubmissionUncertainError):
        found = ", ".join(task.task_id for task in error.candidates)
        return f"it may be {found}: polyglot get ID" if found else "look for it with: polyglot list"
    if isinstance(error, WaitTimeoutError):
        return f"it goes on; fetch it later with: polyglot result {error.task.task_id}"
    if isinstance(error, AuthenticationError):
        return "an sk_ key lasts 30 days; a new one is made in the profile on the site"
    return None


def _facts(error: BaseException) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if isinstance(error, ApiStatusError):
        facts = {name: getattr(error, name) for name in ("status_code", "detail", "request_id", "retry_after")}
    if isinstance(error, TaskError):
        facts = {"task_id": error.task.task_id, "status": str(error.task.status)}
    if isinstance(error, IncompleteError):
        facts = {"summary": error.summary}
    if isinstance(error, SubmissionUncertainError):
        facts = {"source_name": error.source_name, "candidates": [task.task_id for task in error.candidates]}
    return {name: scrubbed(value) if isinstance(value, str) else value for name, value in facts.items()}
