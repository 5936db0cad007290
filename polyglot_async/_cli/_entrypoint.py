"""Run a command and turn every way it can end into an exit code and one or two lines on stderr, never a traceback."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import traceback
from typing import TYPE_CHECKING

import click

from .._batch.stats import logger as batch_logger
from ._error_report import (
    BROKEN_PIPE,
    INTERRUPTED,
    TERMINATED,
    ErrorReport,
    InterruptedCommandError,
    attached_tasks,
    describe_error,
    is_expected,
)
from ._formatting import scrub
from ._group import polyglot
from ._output import OutputClosedError, escape_unencodable, print_note
from ._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from .._runtime import Runtime


def run(arguments: Sequence[str], runtime: Runtime | None = None) -> int:
    """Run `polyglot` with these arguments and return the exit code."""
    escape_unencodable()
    settings = Settings(json="--json" in arguments)  # click may fail before it has read --json
    if runtime is not None:
        settings.runtime = runtime
    with _termination_as_interrupt() as terminated, _log_to_stderr(settings):
        try:
            code = polyglot.main(list(arguments), prog_name="polyglot", standalone_mode=False, obj=settings)
        except OutputClosedError:
            return BROKEN_PIPE
        except (InterruptedCommandError, KeyboardInterrupt, click.Abort) as end:
            return _report_interruption(settings, end, TERMINATED if terminated else INTERRUPTED)
        except SystemExit as end:  # shell completion
            return end.code if isinstance(end.code, int) else 0
        except Exception as error:  # noqa: BLE001 - whatever it was, it becomes a line and an exit code
            return _report_error(settings, error)
        return code if isinstance(code, int) else 0


def _report_error(settings: Settings, error: Exception) -> int:
    report = describe_error(error, secret=settings.api_key)
    if settings.verbose and not is_expected(error):
        for part in traceback.format_exception(error):
            for text in part.splitlines():
                indentation = text[: len(text) - len(text.lstrip())]
                print_note(indentation + scrub(text, settings.api_key))
    _print_report(settings, report)
    return report.exit_code


def _report_interruption(settings: Settings, end: BaseException, code: int) -> int:
    details = str(end)
    verb = "terminated" if code == TERMINATED else "interrupted"
    message = scrub(f"{verb}: {details}" if details else verb, settings.api_key)
    if settings.json:
        fields = attached_tasks(end, secret=settings.api_key)
        _print_report(settings, ErrorReport(message, code, "Interrupted", fields=fields))
    else:
        print_note(message)
    return code


def _print_report(settings: Settings, report: ErrorReport) -> None:
    if settings.json:
        print_note(json.dumps({"error": report.to_json()}, default=str))
        return
    print_note(f"error: {report.message}")
    if report.hint:
        print_note(f"hint: {report.hint}")


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[list[bool]]:
    """Make SIGTERM and SIGHUP end a command as cleanly as Ctrl-C; the list is non-empty once one of them came."""
    received: list[bool] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        received.append(True)
        if number != signal.SIGTERM:
            # SIGHUP comes from the kernel and again from the shell: a second interruption would cut the first short.
            signal.signal(number, signal.SIG_IGN)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell's background job ignores SIGINT, and SIGTERM still has to end it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = [signal.SIGTERM]
    # Not where it is ignored, as under nohup. Windows has none.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield received
    finally:
        for number, action in previous.items():
            if signal.getsignal(number) is handler:  # else the process ends, and is not to be killed on its last steps
                signal.signal(number, action)


@contextlib.contextmanager
def _log_to_stderr(settings: Settings) -> Iterator[None]:
    """Write the SDK's log to stderr: warnings always, everything with --verbose."""
    logger = logging.getLogger("polyglot_async")
    handler = _LogHandler(settings)
    level = logger.level
    logger.addHandler(handler)
    # The handler filters, not the level: click reads --verbose only later.
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _LogHandler(logging.Handler):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def emit(self, record: logging.LogRecord) -> None:
        is_reported_elsewhere = record.name == batch_logger.name  # `transcribe` names the tasks that are left
        if is_reported_elsewhere or (record.levelno < logging.WARNING and not self._settings.verbose):
            return
        try:
            text = f"{record.levelname.lower()}: {record.getMessage()}"
        except Exception:  # noqa: BLE001 - as logging itself does: a bad log call must not end the command
            self.handleError(record)
            return
        print_note(scrub(text, self._settings.api_key))
