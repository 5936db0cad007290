"""The sandbox as a program of its own."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ._sandbox import Sandbox
from .faults._fault import Fault
from .faults._kinds import describe_faults
from .server._limits import PLANS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def serve(sandbox: Sandbox, *, announce: Callable[[Sandbox], None] | None = None) -> None:
    """Run a sandbox until Ctrl-C or SIGTERM; `announce` is called once it listens (default: print URL and key)."""
    stop = threading.Event()
    # Only the main thread may set a handler; elsewhere the process's own stays.
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set()) if in_main else None
    try:
        with sandbox:
            (announce or _announce)(sandbox)
            while not stop.wait(1.0):
                pass  # a wait without an end would keep Ctrl-C waiting on some systems
    except KeyboardInterrupt:
        return
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, previous)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m polyglot_async.sandbox`: 0 after Ctrl-C, 1 if it cannot start, 2 for a wrong option."""
    options = _parser().parse_args(arguments)
    try:
        sandbox = Sandbox(
            host=options.host,
            port=options.port,
            folder=options.folder,
            engine=options.engine,
            plan=options.plan,
            faults=options.fault,
            webhook_url=options.webhook_url,
            source_bytes_per_second=options.source_bytes_per_second,
        )
    except ValueError as problem:
        _parser().error(str(problem))
    try:
        serve(sandbox)
    except (OSError, RuntimeError) as problem:
        sys.stderr.write(f"polyglot sandbox: {problem}\n")
        return 1
    return 0


def _announce(sandbox: Sandbox) -> None:
    sys.stdout.write(
        f"POLYGLOT_BASE_URL={sandbox.url}\nPOLYGLOT_API_KEY={sandbox.api_key}\n"
        f"POLYGLOT_WEBHOOK_SECRET={sandbox.webhook_secret}\n"
    )
    sys.stdout.flush()


def _fault(text: str) -> Fault:
    try:
        return Fault.parse(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polyglot sandbox",
        description="A local Polyglot Voice to develop against.",
        epilog=describe_faults(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default 8000)")
    parser.add_argument("--folder", type=Path, help="keeps the state over restarts (default: a temporary folder)")
    parser.add_argument("--engine", default="pocketsphinx", help="pocketsphinx, scripted, or module:Class of yours")
    parser.add_argument("--plan", default="pro", choices=sorted(PLANS))
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        type=_fault,
        metavar="'KIND NAME=VALUE ...'",
        help="something that goes wrong, e.g. 'status call=upload status=503 times=2'; may be repeated; see below",
    )
    parser.add_argument("--webhook-url", help="of the key that is printed")
    parser.add_argument("--source-bytes-per-second", type=float, help="caps each connection that reads a source")
    return parser
