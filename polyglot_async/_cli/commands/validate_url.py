"""`polyglot validate-url`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..._cli import _screen
from .._failures import FAILED, scrubbed
from .._group import command as polyglot_command
from .._sources import checked_url
from .._values import as_json

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("validate-url", example="polyglot validate-url https://example.com/talk.mp3")
@click.argument("url", metavar="URL")
def command(settings: Settings, *, url: str) -> int:
    """Ask whether the service can use a URL.

    Nothing is started. Exits with 0 if it can, with 1 if not.
    """
    url = checked_url(url)
    answer = settings.call(lambda client: client.transcriptions.validate_url(url))
    if settings.json:
        _screen.document(as_json(answer))
    else:
        reason = f": {scrubbed(answer.reason)}" if answer.reason else ""
        _screen.line("usable" if answer.valid else f"not usable{reason}")
    return 0 if answer.valid else FAILED
