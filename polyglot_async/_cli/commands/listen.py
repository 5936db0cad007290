"""`polyglot listen`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio
import click

from ...webhooks import WebhookReceiver
from .._error_report import InputError, InterruptedCommandError
from .._forwarding import EventForwarder, make_http_client, parse_command
from .._group import command as polyglot_command
from .._listen_display import RequestDisplay
from .._listen_server import (
    RecordingApp,
    accept_unverified,
    bind,
    check_server_installed,
    serve,
    without_forwarding_errors,
)
from .._output import print_note
from .._settings import SECRET_VARIABLE, webhook_secrets
from .._sources import parse_url

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from .._settings import Settings

EXAMPLES = """
polyglot listen
polyglot listen --forward http://localhost:8000/hook
polyglot listen --exec 'python on_event.py' --json
"""


@polyglot_command("listen", examples=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="SECRET",
    help=f"Webhook secret; may be repeated. Prefer {SECRET_VARIABLE}.",
)
@click.option("--forward", metavar="URL", help="Send verified events on to URL, with their signature.")
@click.option(
    "--exec", "exec_", metavar="CMD", help="Run CMD for each verified event, without a shell; stdin is its JSON."
)
@click.option("--insecure-skip-verify", is_flag=True, help="Show all events, verified or not.")
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
    """Receive webhooks, verify them and print the events.

    It runs until Ctrl-C and answers on every path. A request that cannot be verified is shown with the reason,
    answered with 401, and neither forwarded nor passed to CMD.

    If --forward is not answered with 2xx, or CMD fails, the answer is 500 and the service sends the event again. CMD
    finds POLYGLOT_TASK_ID, POLYGLOT_EVENT and POLYGLOT_STATUS in its environment.

    In a pipe, each request is a line, tab-separated: time, verified or unverified, event, task id, status, HTTP status
    of the answer, first words or problem.
    """
    check_server_installed()
    secrets = webhook_secrets(secrets)
    _check_options(host, secrets, forwards=bool(forward or exec_), skip_verify=insecure_skip_verify)
    url = parse_url(forward) if forward is not None else None
    words = parse_command(exec_) if exec_ is not None else ()
    display = RequestDisplay(as_json=settings.json, verify=not insecure_skip_verify)

    async def listen() -> None:
        async with make_http_client() as http:
            forwarder = None if insecure_skip_verify else EventForwarder(display, http, url, words)
            app = _make_app(settings, secrets, display, forwarder)
            with contextlib.closing(bind(host, port)) as sock:
                async with serve(app, sock):
                    _announce(sock, verify=not insecure_skip_verify)
                    await display.ended.wait()

    try:
        with without_forwarding_errors():
            anyio.run(listen)
    except KeyboardInterrupt:
        raise InterruptedCommandError(f"{display.count} requests received") from None
    if display.error is not None:
        raise display.error


def _check_options(host: str, secrets: Sequence[str], *, forwards: bool, skip_verify: bool) -> None:
    if not host.strip():
        # For a socket that is every address of the machine, which an unset variable of a script must not open.
        raise InputError("--host is empty: name an address, such as 127.0.0.1")
    if skip_verify and forwards:
        raise InputError("--insecure-skip-verify cannot be combined with --forward or --exec")
    if not skip_verify and not secrets:
        raise InputError(f"no webhook secret: set {SECRET_VARIABLE}, or use --secret or --insecure-skip-verify")


def _make_app(
    settings: Settings, secrets: Sequence[str], display: RequestDisplay, forwarder: EventForwarder | None
) -> RecordingApp:
    if forwarder is None:
        return RecordingApp(accept_unverified, display, (), settings.runtime.utc_now)
    receiver = WebhookReceiver(secrets, on_event=forwarder)
    app = RecordingApp(receiver, display, secrets, settings.runtime.utc_now)
    receiver.subscribe(app.on_verified)
    return app


def _announce(sock: socket.socket, *, verify: bool) -> None:
    host, port = sock.getsockname()[:2]
    print_note(f"listening on http://{f'[{host}]' if ':' in host else host}:{port} (any path); Ctrl-C stops it")
    if not verify:
        print_note("WARNING: events are not verified: anyone who can reach this address can send false ones")
