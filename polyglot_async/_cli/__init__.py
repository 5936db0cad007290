"""The command line: `polyglot`. Needs the extra `cli`; this room itself needs nothing, so that it can say so."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTRA = frozenset({"click", "rich"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `polyglot` with these arguments (default: the process's own); return the exit code.

    0 is success, 1 a failure, 2 wrong usage or input (nothing was sent), 130 Ctrl-C, 143 SIGTERM.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # while the rooms were loaded, or a second one in the middle of ending
        sys.stderr.write("interrupted\n")
        return 130


def _run(arguments: Sequence[str]) -> int:
    try:
        # Not a plain import: without the extra it would fail before a word could be said.
        door = importlib.import_module("._door", __name__)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('error: the command line needs an extra: pip install "polyglot_async[cli]"\n')
        return 1
    code: int = door.run(arguments)
    return code
