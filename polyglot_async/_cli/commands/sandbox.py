"""`polyglot sandbox`."""

from __future__ import annotations

import contextlib
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..._errors import PolyglotError
from .._group import command as polyglot_command
from .._output import print_json, print_line, print_note
from .._settings import make_sandbox

if TYPE_CHECKING:
    from ...sandbox import Sandbox
    from .._settings import Settings

EXAMPLES = """
polyglot sandbox
polyglot sandbox --port 9000 --plan free
polyglot sandbox --fault 'status call=upload status=503 times=2'
"""


@polyglot_command("sandbox", examples=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep tasks and keys in DIR (default: keep nothing).",
)
@click.option(
    "--engine",
    default="pocketsphinx",
    show_default=True,
    metavar="NAME",
    help="Recogniser: pocketsphinx, scripted, or module:Class.",
)
@click.option(
    "--plan", default="pro", show_default=True, metavar="NAME", help="Account limits: free, pro or unlimited."
)
@click.option(
    "--fault", "faults", multiple=True, metavar="TEXT", help="Make requests fail, as in the example; may be repeated."
)
@click.option("--webhook-url", metavar="URL", help="Send webhooks of finished tasks to URL.")
def command(settings: Settings, *, host: str, port: int, **options: object) -> None:
    """Run a local server of the API to develop against.

    It transcribes real speech, enforces limits and sends webhooks, without a key or a network. Paste the lines that it
    prints into another terminal: `polyglot` and your programs there then use this server. Ctrl-C stops it.
    """
    sandbox = make_sandbox(host=host, port=port, **options)
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
        # In short steps: on some systems an endless wait would delay Ctrl-C.
        stop = threading.Event()
        while not stop.wait(1.0):
            pass


def _announce(sandbox: Sandbox, *, as_json: bool) -> None:
    if as_json:
        print_json({"base_url": sandbox.url, "api_key": sandbox.api_key, "webhook_secret": sandbox.webhook_secret})
        return
    print_line(f"export POLYGLOT_BASE_URL={shlex.quote(sandbox.url)}")
    print_line(f"export POLYGLOT_API_KEY={shlex.quote(sandbox.api_key)}")
    print_line(f"export POLYGLOT_WEBHOOK_SECRET={shlex.quote(sandbox.webhook_secret)}")
    print_note("The local server is running. It knows US English only and cannot translate. Ctrl-C stops it.")
