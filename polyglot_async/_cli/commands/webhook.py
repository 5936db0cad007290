"""`polyglot webhook verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from ..._errors import WebhookVerificationError
from ...webhooks import SIGNATURE_HEADER, TIMESTAMP_HEADER, Explanation, explain
from .._error_report import FAILED, InputError
from .._formatting import format_duration, to_json
from .._group import command as polyglot_command
from .._group import group as polyglot_group
from .._output import print_fields, print_json
from .._output_files import STDOUT
from .._settings import SECRET_VARIABLE, webhook_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._settings import Settings

_MAX_BYTES = 16 << 20
_TOLERANCE = 300.0
EXAMPLES = """
polyglot webhook verify body.json --signature 4f0c... --timestamp 1767225600
polyglot webhook verify body.json -H 'X-Polyglot-Signature: 4f0c...' --any-age
"""


command = polyglot_group(
    "webhook",
    help="Find out why a webhook's signature fails.",
    examples="polyglot webhook verify body.json --signature 4f0c... --timestamp 1767225600",
)


@polyglot_command("verify", examples=EXAMPLES)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="SECRET",
    help=f"Webhook secret; may be repeated. Prefer {SECRET_VARIABLE}.",
)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Header as received; may be repeated."
)
@click.option("--signature", metavar="TEXT", help=f"Short for --header '{SIGNATURE_HEADER}: TEXT'.")
@click.option("--timestamp", metavar="TEXT", help=f"Short for --header '{TIMESTAMP_HEADER}: TEXT'.")
@click.option("--any-age", is_flag=True, help=f"Accept any timestamp (default: at most {_TOLERANCE:g} s off).")
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
    """Check a signature, and explain why it fails.

    FILE is the raw body of the request, byte for byte, or - for stdin. Exit code: 0 if verified, 1 if not.
    """
    secrets = webhook_secrets(secrets)
    if not secrets:
        raise InputError(f"no webhook secret: set {SECRET_VARIABLE}, or use --secret")
    pairs = [_parse_header(header) for header in headers]
    pairs += [(SIGNATURE_HEADER, signature)] if signature is not None else []
    pairs += [(TIMESTAMP_HEADER, timestamp)] if timestamp is not None else []
    try:
        found = explain(_read_body(file), pairs, secrets, tolerance=None if any_age else _TOLERANCE)
    except WebhookVerificationError as error:
        raise InputError(error.message) from None
    if found.reason == "timestamp" and found.encoding is not None:
        found = attrs.evolve(found, hints=(*found.hints, "the signature matches; --any-age ignores the timestamp"))
    if settings.json:
        print_json(_to_json(_masked(found, secrets)))
    else:
        print_fields(_fields(_masked(found, secrets)))
    return 0 if found.verified else FAILED


command.add_command(verify)


def _parse_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise InputError("invalid --header: write 'NAME: VALUE'")
    return name.strip(), value.strip()


def _read_body(file: Path) -> bytes:
    try:
        if file == STDOUT:
            body = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                body = opened.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(body) > _MAX_BYTES:
        raise InputError(f"{file} is larger than {_MAX_BYTES} bytes: not the body of a webhook")
    return body


def _fields(found: Explanation) -> Iterator[tuple[str, str]]:
    yield "verdict", found.verdict
    yield "body", f"{found.body_bytes} bytes, SHA-256 {found.body_sha256}"
    for number, mac in enumerate(found.computed, 1):
        which = f" with secret {number}" if len(found.computed) > 1 else ""
        yield f"computed{which}", mac
    yield "signature", found.signature if found.signature is not None else "(none)"
    if found.encoding is not None:
        which = f", secret {(found.secret_index or 0) + 1}" if len(found.computed) > 1 else ""
        yield "matches as", f"{found.encoding}{which}"
    else:
        yield "tried", ", ".join(found.encodings_tried)
    yield "timestamp", found.timestamp if found.timestamp is not None else "(none)"
    if found.timestamp_age is not None:
        ahead = found.timestamp_age < 0
        yield "", f"{format_duration(abs(found.timestamp_age))} {'ahead of this clock' if ahead else 'ago'}"
    if found.event is not None:
        yield "event", f"{found.event.event} {found.event.task_id} {found.event.status}"
    for hint in dict.fromkeys(found.hints):
        yield "hint", hint


def _to_json(found: Explanation) -> dict[str, Any]:
    document = attrs.asdict(found, recurse=False)
    return document | {"verified": found.verified, "event": to_json(found.event) if found.event is not None else None}


def _masked(found: Explanation, secrets: Sequence[str]) -> Explanation:
    """Remove the secrets, even where one was given as the signature."""

    def mask(text: str | None) -> str | None:
        for secret in secrets if text is not None else ():
            text = text.replace(secret.strip(), "***") if text is not None else None
        return text

    masked = attrs.evolve(found, signature=mask(found.signature), timestamp=mask(found.timestamp))
    if masked.signature != found.signature:
        masked = attrs.evolve(masked, hints=(*found.hints, "the secret was given as the signature"))
    return masked
