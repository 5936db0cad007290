"""`polyglot webhook verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from ..._cli import _screen
from ..._errors import WebhookVerificationError
from ...webhooks import SIGNATURE_HEADER, TIMESTAMP_HEADER, Explanation, explain
from .._failures import FAILED, InputError
from .._files import STDOUT
from .._group import command as polyglot_command
from .._group import group as polyglot_group
from .._values import as_json
from .listen import SECRET, given_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._settings import Settings

_MOST_BYTES = 16 << 20
_TOLERANCE = 300.0


command = polyglot_group(
    "webhook",
    help="Find out about webhooks.",
    example="polyglot webhook verify body.json --signature 4f0c... --timestamp 1767225600",
)


@polyglot_command(
    "verify", example="polyglot webhook verify body.json --header 'X-Polyglot-Signature: 4f0c...' --any-age"
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--secret", "secrets", multiple=True, metavar="SECRET", help=f"Better: set {SECRET}; may be repeated.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="As it came; may be repeated.")
@click.option("--signature", metavar="TEXT", help=f"The same as --header '{SIGNATURE_HEADER}: TEXT'.")
@click.option("--timestamp", metavar="TEXT", help=f"The same as --header '{TIMESTAMP_HEADER}: TEXT'.")
@click.option("--any-age", is_flag=True, help=f"Do not ask for a timestamp of the last {_TOLERANCE:g} s.")
def verify(
    settings: Settings,
    *,
    file: Path,
    secrets: tuple[str, ...],
    headers: tuple[str, ...],
    signature: str | None,
    timestamp: str | None,
    any_age: bool,
) -> int:
    """Say whether a signature fits a body, and if not, why.

    FILE holds the raw body of the request, byte for byte; - is stdin. Exits with 0 if it is verified, with 1 if not.
    """
    secrets = given_secrets(secrets)
    if not secrets:
        raise InputError(f"there is no secret: give --secret, or set {SECRET}")
    pairs = [_pair(header) for header in headers]
    pairs += [(SIGNATURE_HEADER, signature)] if signature is not None else []
    pairs += [(TIMESTAMP_HEADER, timestamp)] if timestamp is not None else []
    try:
        found = explain(_body(file), pairs, secrets, tolerance=None if any_age else _TOLERANCE)
    except WebhookVerificationError as error:
        raise InputError(error.message) from None
    if found.reason == "timestamp" and found.encoding is not None:
        found = attrs.evolve(found, hints=(*found.hints, "the signature is right; --any-age leaves the time away"))
    if settings.json:
        _screen.document(_document(_masked(found, secrets)))
    else:
        _screen.facts(_facts(_masked(found, secrets)))
    return 0 if found.verified else FAILED


command.add_command(verify)


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise InputError(f"--header takes 'NAME: VALUE', and there is no colon in {len(header)} characters of one")
    return name.strip(), value.strip()


def _body(file: Path) -> bytes:
    try:
        if file == STDOUT:
            body = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with file.open("rb") as opened:
                body = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(body) > _MOST_BYTES:
        raise InputError(f"{file}: is larger than {_MOST_BYTES} bytes, and no body of a webhook")
    return body


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    yield "verdict", found.verdict
    yield "body", f"{found.body_bytes} bytes, SHA-256 {found.body_sha256}"
    for number, mac in enumerate(found.computed, 1):
        which = f" with secret {number}" if len(found.computed) > 1 else ""
        yield f"computed{which}", mac
    yield "signature", found.signature if found.signature is not None else "(none)"
    if found.encoding is not None:
        which = f", secret {(found.secret_index or 0) + 1}" if len(found.computed) > 1 else ""
        yield "it fits as", f"{found.encoding}{which}"
    else:
        yield "tried", ", ".join(found.encodings_tried)
    yield "timestamp", found.timestamp if found.timestamp is not None else "(none)"
    if found.timestamp_age is not None:
        ahead = found.timestamp_age < 0
        yield "", f"{_screen.seconds(abs(found.timestamp_age))} {'ahead of this clock' if ahead else 'ago'}"
    if found.event is not None:
        yield "event", f"{found.event.event} {found.event.task_id} {found.event.status}"
    for hint in dict.fromkeys(found.hints):
        yield "hint", hint


def _document(found: Explanation) -> dict[str, Any]:
    document = attrs.asdict(found, recurse=False)
    return document | {"verified": found.verified, "event": as_json(found.event) if found.event is not None else None}


def _masked(found: Explanation, secrets: Sequence[str]) -> Explanation:
    """Keep the secrets out, even where one was given for the signature."""

    def mask(text: str | None) -> str | None:
        for secret in secrets if text is not None else ():
            text = text.replace(secret.strip(), "***") if text is not None else None
        return text

    masked = attrs.evolve(found, signature=mask(found.signature), timestamp=mask(found.timestamp))
    if masked.signature != found.signature:
        masked = attrs.evolve(masked, hints=(*found.hints, "the secret itself was given as the signature"))
    return masked
