"""`polyglot limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import AuthenticationError, PermissionDeniedError, PolyglotError
from .._formatting import limits_fields, to_json
from .._group import command as polyglot_command
from .._output import print_fields, print_json

if TYPE_CHECKING:
    from ..._client import AsyncPolyglot
    from ..._models import Limits
    from .._settings import Settings


@polyglot_command("limits", examples="polyglot limits\npolyglot limits --json")
def command(settings: Settings) -> None:
    """Show account limits.

    The limits are requests per minute, day and month, concurrent tasks, upload size and audio length. Transcribing
    also works where the service does not show them.
    """
    limits = settings.call(_fetch)
    if settings.json:
        print_json(to_json(limits))
    else:
        print_fields(limits_fields(limits))


async def _fetch(client: AsyncPolyglot) -> Limits:
    try:
        limits = await client.limits()
    except (AuthenticationError, PermissionDeniedError) as error:
        raise PolyglotError(
            f"the service does not show account limits to this key (HTTP {error.status_code}: "
            f"{error.detail or 'no reason given'}); transcribing does not need them"
        ) from error
    if not limits.raw:
        raise PolyglotError("the service does not show account limits to this key; transcribing does not need them")
    return limits
