"""`polyglot limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._cli import _screen
from .._group import command as polyglot_command
from .._values import as_json, limit_facts

if TYPE_CHECKING:
    from .._settings import Settings


@polyglot_command("limits", example="polyglot limits --json")
def command(settings: Settings) -> None:
    """Show what your account may do."""
    limits = settings.call(lambda client: client.limits())
    if settings.json:
        _screen.document(as_json(limits))
    else:
        _screen.facts(limit_facts(limits))
