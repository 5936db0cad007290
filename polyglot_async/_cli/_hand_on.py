"""Hands a verified event on: to another server, with the signature that it came with, and to a command."""

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

from .._version import __version__
from ._deliveries import CURRENT
from ._failures import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._models import WebhookEvent
    from ._deliveries import Delivery, Display

_PATIENCE = 30.0
_COMMANDS_AT_ONCE = 8


class NotTakenError(Exception):
    """The event was not taken, as has been told. The answer 500 has the vendor send it again."""


@attrs.define(eq=False)
class Relay:
    """The handler of the receiver.

    Attributes:
        display: what shows how it goes.
        http: sends to the other server.
        forward: its URL, or None.
        command: the program and its arguments, or none.
    """

    display: Display
    http: httpx.AsyncClient
    forward: str | None
    command: Sequence[str]
    _running: anyio.CapacityLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._running = anyio.CapacityLimiter(_COMMANDS_AT_ONCE)

    async def __call__(self, event: WebhookEvent) -> None:
        """Hand an event on, first to the server, then to the command.

        Raises:
            NotTakenError: one of them did not take it.
        """
        delivery = CURRENT.get()
        delivery.is_new = True
        if self.forward is not None:
            await self._forward(delivery, self.forward)
        if self.command:
            async with self._running:
                await self._execute(delivery, event)

    async def _forward(self, delivery: Delivery, url: str) -> None:
        kept = [(name, value) for name, value in delivery.headers if _belongs_to_it(name)]
        problem: str | None = f"no answer within {_PATIENCE:g} s"
        with anyio.move_on_after(_PATIENCE):
            try:
                answer = await self.http.post(url, content=bytes(delivery.body), headers=kept)
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                problem = f"{type(error).__name__} {error}".rstrip()
            else:
                delivery.forwarded = answer.status_code
                problem = None if answer.is_success else f"answered {answer.status_code}"
        self.display.handed_on(delivery, f"-> {url}: {problem or f'answered {delivery.forwarded}'}")
        if problem is not None:
            _refuse(delivery, f"{url}: {problem}")

    async def _execute(self, delivery: Delivery, event: WebhookEvent) -> None:
        facts = {
            "POLYGLOT_TASK_ID": event.task_id,
            "POLYGLOT_EVENT": event.event,
            "POLYGLOT_STATUS": str(event.status),
        }
        # From a file: a command that reads none of its input breaks no pipe.
        with tempfile.TemporaryFile() as body:
            body.write(bytes(delivery.body).rstrip(b"\r\n") + b"\n")
            body.seek(0)
            try:
                # Its output goes to stderr: our stdout is for the events.
                process = await anyio.open_process(
                    self.command, stdin=body, stdout=_stderr(), stderr=None, env={**os.environ, **facts}
                )
            except (OSError, ValueError) as error:  # ValueError: a NUL in what would be the environment
                self.display.handed_on(delivery, f"$ {self.command[0]}: {error}")
                _refuse(delivery, f"{self.command[0]}: {error}")
            async with process:
                delivery.exec_code = await process.wait()
        self.display.handed_on(delivery, f"$ {self.command[0]}: ended with {delivery.exec_code}")
        if delivery.exec_code != 0:
            _refuse(delivery, f"{self.command[0]}: ended with {delivery.exec_code}")


def read_command(text: str) -> list[str]:
    """Split a command as a shell does, and see that its program is there; no shell will run it.

    Raises:
        InputError: it cannot be run.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--exec {text!r}: {str(error).lower()}") from None
    if not words:
        raise InputError("--exec names no command")
    if shutil.which(words[0]) is None:
        raise InputError(f"--exec {words[0]}: there is no such program (it is not run by a shell)")
    return words


def make_http() -> httpx.AsyncClient:
    """Make the client that forwards."""
    return httpx.AsyncClient(timeout=_PATIENCE, headers={"user-agent": f"polyglot_async/{__version__} listen"})


def _belongs_to_it(name: bytes) -> bool:
    return name.lower().startswith(b"x-polyglot-") or name.lower() == b"content-type"


def _refuse(delivery: Delivery, problem: str) -> None:
    delivery.problem = problem
    raise NotTakenError(problem)


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # closed before we began, or not a file
        return subprocess.DEVNULL
