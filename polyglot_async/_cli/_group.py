"""The group `polyglot`, its shared options, and the decorator that makes a command."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

import click

from .._version import __version__
from ._error_report import USAGE, InterruptedCommandError
from ._settings import Settings
from .commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = """
polyglot demo
polyglot transcribe talk.mp3
polyglot transcribe archive/ --out subtitles/ --journal archive.db
"""
_MORE_OPTIONS = "\n\nOptions of all commands, such as --api-key and --verbose: polyglot -h"
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class CommandGroup(click.Group):
    """A group that shows its help when no command is named, and suggests one for a mistyped name."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. On Ctrl-C click would write an empty line, so it must not see it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedCommandError from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            similar = difflib.get_close_matches(args[0].lower(), self.list_commands(ctx))
            names = " or ".join(repr(name) for name in similar)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {names}?" if names else ""))
        return super().resolve_command(ctx, args)


class LazyGroup(CommandGroup):
    """Imports a command's module when it runs; its own help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".commands.{cmd_name.replace('-', '_')}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def parse_path_segment(text: str) -> str:
    """Parse a task id or a kind of file, one segment of a URL's path. A click type, as any function can be."""
    word = text.strip()
    if not word or word in {".", ".."} or not word.isprintable():
        raise click.BadParameter(f"invalid value: {text!r}")
    return word


def parse_task_id(text: str) -> str:
    """Parse a task id, as a click type."""
    try:
        return parse_path_segment(text)
    except click.BadParameter:
        raise click.BadParameter(f"invalid task id: {text!r}") from None


def command(name: str, *, examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a click command of a function whose first parameter is the `Settings`.

    `examples` are command lines, one a line; the help shows them.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        epilog = _epilog(examples) + _MORE_OPTIONS
        made = click.command(name, epilog=epilog, context_settings=_CONTEXT)(click.pass_obj(function))
        made.params.extend(_shared_options(hidden=True))
        return made

    return decorate


def group(name: str, *, help: str, examples: str) -> click.Group:  # noqa: A002 - click's name
    """Make a click group for commands that belong together."""
    made = CommandGroup(
        name,
        callback=click.pass_context(_show_help_without_command),
        help=help,
        epilog=_epilog(examples) + _MORE_OPTIONS,
        context_settings=_CONTEXT,
        invoke_without_command=True,
    )
    made.params.extend(_shared_options(hidden=True))
    return made


def _show_help_without_command(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def _epilog(examples: str) -> str:
    lines = [line.strip() for line in examples.strip().splitlines()]
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def _store_setting(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Store a shared option, which may stand before or after the command's name."""
    # Not `in`: a 0 equals False, and was given.
    if value is not None and value is not False and param.name is not None:
        setattr(ctx.ensure_object(Settings), param.name, value)


def _shared_options(*, hidden: bool) -> list[click.Option]:
    def option(*names: str, **more: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_store_setting, **{"hidden": hidden, **more})

    return [
        option(
            "--api-key",
            metavar="KEY",
            help="API key (sk_...) or session token. Better set POLYGLOT_API_KEY: other users can see command lines.",
        ),
        option("--base-url", metavar="URL", help="Base URL of the API (default: POLYGLOT_BASE_URL, or the service)."),
        option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Network timeout, without progress (default: 60).",
        ),
        option(
            "--max-retries",
            type=click.IntRange(min=0),
            metavar="N",
            help="Maximum retries for safe requests (default: 2).",
        ),
        option(
            "--allow-insecure-http", is_flag=True, help="Allow plain http to other hosts: the key is readable there."
        ),
        option("-v", "--verbose", is_flag=True, help="Log every request to stderr."),
        option("--json", is_flag=True, help="Print JSON to stdout, and errors as JSON to stderr.", hidden=False),
    ]


@click.group(
    cls=LazyGroup,
    context_settings=_CONTEXT,
    invoke_without_command=True,
    params=_shared_options(hidden=False),
    epilog=_epilog(EXAMPLES),
)
@click.version_option(__version__, package_name="polyglot_async", message="polyglot_async %(version)s")
@click.pass_context
def polyglot(ctx: click.Context) -> None:
    """Transcribe audio and video with the Polyglot Voice API.

    Set POLYGLOT_API_KEY to your sk_ key first. The command demo needs neither a key nor a network. The options below
    may also follow the command's name.
    """
    _show_help_without_command(ctx)
