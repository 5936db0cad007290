"""`polyglot sandbox`."""

from __future__ import annotations

import contextlib
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from ..._errors import PolyglotError
from .._group import command as polyglot_command
from .._local import make_sandbox

if TYPE_CHECKING:
    from ...sandbox import Sandbox
    from .._settings import Settings


@polyglot_command("sandbox", example="polyglot sandbox --port 8000 --fault 'status call=upload status=503 times=2'")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--folder", type=click.Path(path_type=Path), metavar="DIR", help="Keeps the state; default: none is kept."
)
@click.option("--engine", default="pocketsphinx", show_default=True, help="pocketsphinx, scripted or module:Class.")
@click.option("--plan", default="pro", show_default=True, help="The account's limits: free, pro, unlimited.")
@click.option("--fault", "faults", multiple=True, metavar="TEXT", help="Something to go wrong; may be repeated.")
@click.option("--webhook-url", metavar="URL", help="Where to announce tasks that are done.")
def command(
    settings: Settings,
    *,
    host: str,
    port: int,
    folder: Path | None,
    engine: str,
    plan: str,
    faults: tuple[str, ...],
    webhook_url: str | None,
) -> None:
    """Run a local Polyglot Voice to develop against.

    It runs until Ctrl-C. Paste the lines that it prints into another terminal: `polyglot` and your program there then
    talk to this server.
    """
    sandbox = make_sandbox(
        host=host, port=port, folder=folder, engine=engine, plan=plan, faults=faults, webhook_url=webhook_url
    )
    try:
        sandbox.start()
    except RuntimeError as error:
        raise PolyglotError(str(error)) from None
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), f"{host}:{port}") from None
    with contextlib.closing(sandbox):
        _announce(sandbox, as_json=settings.json)
        # An endless wait would keep Ctrl-C waiting on some systems.
        stop = threading.Event()
        while not stop.wait(1.0):
            pass


def _announce(sandbox: Sandbox, *, as_json: bool) -> None:
    if as_json:
        facts = {"base_url": sandbox.url, "api_key": sandbox.api_key, "webhook_secret": sandbox.webhook_secret}
        _screen.document(facts)
        return
    _screen.line(f"export POLYGLOT_BASE_URL={shlex.quote(sandbox.url)}")
    _screen.line(f"export POLYGLOT_API_KEY={shlex.quote(sandbox.api_key)}")
    _screen.line(f"export POLYGLOT_WEBHOOK_SECRET={shlex.quote(sandbox.webhook_secret)}")
    _screen.note("A local Polyglot Voice is running; it knows US English and cannot translate. Ctrl-C stops it.")
