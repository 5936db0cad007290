"""The command line: `polyglot`. Needs the extra `cli`; this module itself needs nothing, so that it can say so."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._runtime import Runtime

_EXTRA = frozenset({"click", "rich"})


def main(arguments: Sequence[str] | None = None, *, runtime: Runtime | None = None) -> int:
    """Run `polyglot` with these arguments (default: the process's own) and return the exit code.

    0 is success, 1 a failure, 2 wrong usage or input (nothing was sent), 130 Ctrl-C, 141 a closed pipe, 143 SIGTERM
    or a closed terminal. Tests pass `runtime` to replace clock and sleep.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments, runtime)
    except KeyboardInterrupt:  # while modules were being loaded, or a second one during shutdown
        sys.stderr.write("interrupted\n")
        return 130


def _run(arguments: Sequence[str], runtime: Runtime | None) -> int:
    try:
        # Not a plain import: without the extra it would fail before the message below could be written.
        entrypoint = importlib.import_module("._entrypoint", __name__)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('error: the command line needs an extra: pip install "polyglot_async[cli]"\n')
        return 1
    code: int = entrypoint.run(arguments, runtime)
    return code
