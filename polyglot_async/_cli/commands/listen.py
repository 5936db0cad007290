"""`polyglot listen`."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import anyio
import click

from ..._cli import _screen
from ...webhooks import WebhookReceiver
from .._deliveries import Display
from .._failures import InputError, InterruptedCommandError
from .._group import command as polyglot_command
from .._hand_on import Relay, make_http, read_command
from .._listening import Tap, bind, check_server, quiet_log, serving, take_unverified
from .._sources import checked_url

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from .._settings import Settings

SECRET = "POLYGLOT_WEBHOOK_SECRET"  # noqa: S105 - a variable's name


@polyglot_command("listen", example="polyglot listen --port 9000 --forward http://localhost:8000/hook")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=9000, show_default=True, help="0 takes a free one.")
@click.option("--secret", "secrets", multiple=True, metavar="SECRET", help=f"Better: set {SECRET}; may be repeated.")
@click.option("--forward", metavar="URL", help="Send verified events on, with their signature.")
@click.option("--exec", "exec_", metavar="CMD", help="Run for each verified event, its JSON on stdin; no shell.")
@click.option("--insecure-skip-verify", is_flag=True, help="Print whatever comes; without --forward and --exec.")
def command(
    settings: Settings,
    *,
    host: str,
    port: int,
    secrets: tuple[str, ...],
    forward: str | None,
    exec_: str | None,
    insecure_skip_verify: bool,
) -> None:
    """Receive webhooks, verify them and print the events, until Ctrl-C.

    An event that was not verified is shown with the reason, answered with 401, and never handed on. If --forward is not
    answered with 2xx, or --exec does not end with 0, the answer is 500: it is sent again later. CMD finds
    POLYGLOT_TASK_ID, POLYGLOT_EVENT and POLYGLOT_STATUS in its environment. In a pipe: a line a delivery,
    tab-separated: time, verified or not, event, task id, status, answer, first words or problem.
    """
    check_server()
    if not host.strip():
        # To a socket that is every address of the machine, and an unset variable of a script no order for that.
        raise InputError("--host is empty: name an address, such as 127.0.0.1")
    secrets = given_secrets(secrets)
    if insecure_skip_verify and (forward or exec_):
        raise InputError("what is not verified is not handed on: leave --insecure-skip-verify or --forward/--exec away")
    if not insecure_skip_verify and not secrets:
        raise InputError(f"there is no secret: give --secret, or set {SECRET} (or only print: --insecure-skip-verify)")
    forward = checked_url(forward) if forward is not None else None
    words = read_command(exec_) if exec_ is not None else ()
    display = Display(as_json=settings.json, verifies=not insecure_skip_verify)

    async def run() -> None:
        async with make_http() as http:
            app: Any = Tap(take_unverified, display, ())
            if not insecure_skip_verify:
                app = _verified(secrets, Relay(display, http, forward, words), display)
            with contextlib.closing(bind(host, port)) as sock:
                async with serving(app, sock):
                    _announce(sock, verifies=not insecure_skip_verify)
                    await display.ended.wait()

    try:
        with quiet_log():
            anyio.run(run)
    except KeyboardInterrupt:
        raise InterruptedCommandError(f"{display.count} deliveries") from None
    if display.error is not None:
        raise display.error


def given_secrets(secrets: Sequence[str]) -> tuple[str, ...]:
    """Give the secrets of the command line, else that of the environment."""
    held = os.environ.get(SECRET)
    return tuple(secrets) or ((held,) if held else ())


def _verified(secrets: tuple[str, ...], relay: Relay, display: Display) -> Tap:
    receiver = WebhookReceiver(secrets, on_event=relay)
    tap = Tap(receiver, display, secrets)
    receiver.subscribe(tap.heard)
    return tap


def _announce(sock: socket.socket, *, verifies: bool) -> None:
    host, port = sock.getsockname()[:2]
    _screen.note(f"listening on http://{f'[{host}]' if ':' in host else host}:{port} (any path); Ctrl-C ends it")
    if not verifies:
        _screen.note("WARNING: nothing is verified: anybody who reaches this address can invent what is shown here")
