"""The group `polyglot`, its shared options, and the decorator that every command wears."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from .._version import __version__
from ._failures import USAGE, InterruptedCommandError
from ._settings import Settings
from .commands import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class RoomsGroup(click.Group):
    """Loads a command's room when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Give the names in the order of the help."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load the room of this name."""
        if cmd_name not in NAMES:
            return None
        room = importlib.import_module(f".commands.{cmd_name.replace('-', '_')}", __package__)
        command: click.Command = room.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Click would write an empty line for Ctrl-C, so it must not see it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedCommandError from None


def one_word(text: str) -> str:
    """Take what can be one segment of a path: a task's id, a kind of file. A click type, as any function may be."""
    word = text.strip()
    if not word or word in {".", ".."} or not word.isprintable():
        raise click.BadParameter(f"{text!r} will not do")
    return word


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a shared option where it was given, before or after the command's name."""
    # Not `in`: a 0 equals False, and is a word of the person's.
    if value is not None and value is not False and param.name is not None:
        setattr(ctx.ensure_object(Settings), param.name, value)


def _shared(*, hidden: bool) -> list[click.Option]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_keep, hidden=hidden, **more)

    return [
        option("--api-key", metavar="KEY", help="An sk_ key or a session token; better: set POLYGLOT_API_KEY."),
        option("--base-url", metavar="URL", help="Where the service is. Also POLYGLOT_BASE_URL."),
        option("--timeout", type=float, metavar="SECONDS", help="Give up after so long without progress (60)."),
        option("--max-retries", type=click.IntRange(min=0), metavar="N", help="Further attempts of what may be (2)."),
        option("--allow-insecure-http", is_flag=True, help="Allow plain http to another machine."),
        option("-v", "--verbose", is_flag=True, help="Log every request to stderr."),
        option("--json", is_flag=True, help="JSON on stdout, and errors as JSON on stderr."),
    ]


def command(name: str, *, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of a function whose first parameter is the `Settings`."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, epilog=_epilog(example), context_settings=_CONTEXT)(click.pass_obj(function))
        made.params.extend(_shared_by_commands())
        return made

    return decorate


def group(name: str, *, help: str, example: str) -> click.Group:  # noqa: A002 - click's name
    """Make a click group for commands that belong together."""

    @click.pass_context
    def alone(ctx: click.Context) -> None:
        _help_without_command(ctx)

    made = click.Group(
        name,
        callback=alone,
        help=help,
        epilog=_epilog(example),
        context_settings=_CONTEXT,
        invoke_without_command=True,
    )
    made.params.extend(_shared_by_commands())
    return made


def _help_without_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def _epilog(example: str) -> str:
    return f"\b\nExample:\n  {example}"


def _shared_by_commands() -> list[click.Option]:
    shared = _shared(hidden=True)
    shared[-1].hidden = False  # --json is for every command: it is shown with each
    return shared


@click.group(
    cls=RoomsGroup,
    context_settings=_CONTEXT,
    invoke_without_command=True,
    params=_shared(hidden=False),
    epilog="\b\nTry it with no key and no network:\n  polyglot demo",
)
@click.version_option(__version__, package_name="polyglot_async", message="polyglot_async %(version)s")
@click.pass_context
def polyglot(ctx: click.Context) -> None:
    """Transcribe audio and video with Polyglot Voice."""
    _help_without_command(ctx)
