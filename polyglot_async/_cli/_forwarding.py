"""Forward verified events: to another server, with their signature, and to a command."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import anyio
import attrs
import httpx

from .._api.urls import bare_url
from .._version import __version__
from ._error_report import InputError
from ._listen_display import CURRENT_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._models import WebhookEvent
    from ._listen_display import ReceivedRequest, RequestDisplay

_TIMEOUT = 30.0
_MAX_PARALLEL_COMMANDS = 8


class ForwardingError(Exception):
    """The event could not be forwarded, and was shown as such. The answer 500 makes the service send it again."""


@attrs.define(eq=False)
class EventForwarder:
    """The receiver's event handler.

    Attributes:
        display: shows each step.
        http: the client that forwards.
        url: of the other server, or None.
        command: a program and its arguments, or empty.
    """

    display: RequestDisplay
    http: httpx.AsyncClient
    url: str | None
    command: Sequence[str]
    _running: anyio.CapacityLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._running = anyio.CapacityLimiter(_MAX_PARALLEL_COMMANDS)

    async def __call__(self, event: WebhookEvent) -> None:
        """Forward an event, first to the server, then to the command.

        Raises:
            ForwardingError: one of them failed.
        """
        request = CURRENT_REQUEST.get()
        request.is_new = True
        if self.url is not None:
            await self._send(request, self.url)
        if self.command:
            async with self._running:
                await self._run_command(request, event)

    async def _send(self, request: ReceivedRequest, url: str) -> None:
        headers = [(name, value) for name, value in request.headers if _is_forwarded(name)]
        problem: str | None = f"no answer within {_TIMEOUT:g} s"
        with anyio.move_on_after(_TIMEOUT):
            try:
                answer = await self.http.post(url, content=bytes(request.body), headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                problem = f"{type(error).__name__} {error}".rstrip()
            else:
                request.forward_status = answer.status_code
                problem = None if answer.is_success else f"answered {answer.status_code}"
        shown = bare_url(url)
        self.display.on_step(request, f"-> {shown}: {problem or f'answered {request.forward_status}'}")
        if problem is not None:
            _fail(request, f"{shown}: {problem}")

    async def _run_command(self, request: ReceivedRequest, event: WebhookEvent) -> None:
        program = self.command[0]
        variables = {
            "POLYGLOT_TASK_ID": event.task_id,
            "POLYGLOT_EVENT": event.event,
            "POLYGLOT_STATUS": str(event.status),
        }
        # From a file: a command that does not read its input breaks no pipe.
        with tempfile.TemporaryFile() as body:
            body.write(bytes(request.body).rstrip(b"\r\n") + b"\n")
            body.seek(0)
            try:
                # Its output goes to stderr: our stdout is for the events.
                process = await anyio.open_process(
                    self.command, stdin=body, stdout=_stderr_fileno(), stderr=None, env={**os.environ, **variables}
                )
            except (OSError, ValueError) as error:  # ValueError: a NUL in a variable
                self.display.on_step(request, f"$ {program}: {error}")
                _fail(request, f"{program}: {error}")
            async with process:
                request.exit_code = await process.wait()
        self.display.on_step(request, f"$ {program}: exit code {request.exit_code}")
        if request.exit_code != 0:
            _fail(request, f"{program}: exit code {request.exit_code}")


def parse_command(text: str) -> list[str]:
    """Split a command line as a shell does, and check that its program exists. No shell will run it.

    Raises:
        InputError: it cannot be run.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--exec {text!r}: {str(error).lower()}") from None
    if not words:
        raise InputError("--exec is empty: name a program")
    if shutil.which(words[0]) is None:
        raise InputError(f"--exec {words[0]}: no such program (it is not run by a shell)")
    return words


def make_http_client() -> httpx.AsyncClient:
    """Make the client that forwards."""
    return httpx.AsyncClient(timeout=_TIMEOUT, headers={"user-agent": f"polyglot_async/{__version__} listen"})


def _is_forwarded(header: bytes) -> bool:
    return header.lower().startswith(b"x-polyglot-") or header.lower() == b"content-type"


def _fail(request: ReceivedRequest, problem: str) -> None:
    request.problem = problem
    raise ForwardingError(problem)


def _stderr_fileno() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # closed before the process began, or not a file
        return subprocess.DEVNULL
