"""Runs the group and turns however it ends into an exit code and at most two lines. No traceback leaves here."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import traceback
from typing import TYPE_CHECKING

import click

from .._cli import _screen
from ._failures import (
    BROKEN_PIPE,
    INTERRUPTED,
    TERMINATED,
    Failure,
    InterruptedCommandError,
    failure_of,
    is_foreseen,
    scrubbed,
)
from ._group import polyglot
from ._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType


def run(arguments: Sequence[str]) -> int:
    """Run `polyglot` with these arguments; return the exit code."""
    _screen.prepare()
    settings = Settings(json="--json" in arguments)  # a mistake in the options is to be told as JSON too
    with _terminable() as terminated, _logging(settings):
        try:
            code = polyglot.main(list(arguments), prog_name="polyglot", standalone_mode=False, obj=settings)
        except _screen.OutputClosedError:
            return BROKEN_PIPE
        except (InterruptedCommandError, KeyboardInterrupt, click.Abort) as end:
            return _told_of_interruption(settings, str(end), TERMINATED if terminated else INTERRUPTED)
        except SystemExit as end:  # shell completion
            return end.code if isinstance(end.code, int) else 0
        except Exception as error:  # noqa: BLE001 - a person is owed a line, whatever it was
            return _told(settings, error)
        return code if isinstance(code, int) else 0


def _told(settings: Settings, error: Exception) -> int:
    failure = failure_of(error, secret=settings.api_key)
    if settings.verbose and not is_foreseen(error):
        for part in traceback.format_exception(error):
            for text in part.splitlines():
                _screen.note(_scrubbed_line(text, settings))
    _tell(settings, failure)
    return failure.exit_code


def _scrubbed_line(text: str, settings: Settings) -> str:
    """Keep a line's indentation and no credential."""
    return text[: len(text) - len(text.lstrip())] + scrubbed(text, settings.api_key)


def _told_of_interruption(settings: Settings, words: str, code: int) -> int:
    what = "terminated" if code == TERMINATED else "interrupted"
    message = scrubbed(f"{what}: {words}" if words else what, settings.api_key)
    if settings.json:
        _tell(settings, Failure(message, code, "Interrupted"))
    else:
        _screen.note(message)
    return code


def _tell(settings: Settings, failure: Failure) -> None:
    if settings.json:
        _screen.note(json.dumps({"error": failure.as_json()}, default=str))
        return
    _screen.note(f"error: {failure.message}")
    if failure.hint:
        _screen.note(f"hint: {failure.hint}")


@contextlib.contextmanager
def _terminable() -> Iterator[list[bool]]:
    """Let SIGTERM end a command as cleanly as Ctrl-C; the list is filled when it came."""
    came: list[bool] = []

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        came.append(True)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell's background job ignores Ctrl-C, and is to be ended by SIGTERM all the same.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _logging(settings: Settings) -> Iterator[None]:
    """Send the SDK's log to stderr: warnings always, all of it with -v."""
    logger = logging.getLogger("polyglot_async")
    handler = _LogHandler(settings)
    level = logger.level
    logger.addHandler(handler)
    # The level is set here and the rest is left to the handler: -v is read only later, by click.
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _LogHandler(logging.Handler):
    """Writes to stderr what the settings want to see."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not self._settings.verbose:
            return
        try:
            text = f"{record.levelname.lower()}: {record.getMessage()}"
        except Exception:  # noqa: BLE001 - as logging itself: a bad log call must not end the work
            self.handleError(record)
            return
        _screen.note(scrubbed(text, self._settings.api_key))
