"""`polyglot validate-url`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .._error_report import FAILED
from .._formatting import scrub, to_json
from .._group import command as polyglot_command
from .._output import print_json, print_line
from .._sources import parse_url

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("validate-url", examples="polyglot validate-url https://example.com/talk.mp3")
@click.argument("url", metavar="URL")
def command(settings: Settings, *, url: str) -> int:
    """Check whether the service can use a media URL.

    Nothing is transcribed. Exit code: 0 if it can be used, 1 if not.
    """
    url = parse_url(url)
    answer = settings.call(lambda client: client.transcriptions.validate_url(url))
    if settings.json:
        print_json(to_json(answer))
    else:
        reason = f": {scrub(answer.reason)}" if answer.reason else ""
        print_line("usable" if answer.valid else f"not usable{reason}")
    return 0 if answer.valid else FAILED
