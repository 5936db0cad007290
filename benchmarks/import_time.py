"""Cold imports: `python benchmarks/import_time.py --rounds 15`.

Every round is a fresh interpreter; the clock runs inside it, so that Python's own start is not counted. All modules are
compiled beforehand, as they are in an installed package. Ratios are times, to importing what the SDK stands on.

Then it lists which heavy modules the SDK loads by itself, and which come with what it stands on (httpx loads click and
rich, where they are installed, for a command of its own; httpcore loads trio).
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import json
import subprocess
import sys

from _frame import Contender, compete, save

ROOM = "from polyglot_async import AsyncPolyglot"
DEPENDENCIES = "import httpx, attrs, cattrs, anyio"
STATEMENTS = {
    "httpx, attrs, cattrs, anyio": DEPENDENCIES,
    "httpx": "import httpx",
    "polyglot_async": "import polyglot_async",
    "AsyncPolyglot": ROOM,
    "Polyglot": "from polyglot_async import Polyglot",
    "the first httpx.AsyncClient": f"{DEPENDENCIES}; httpx.AsyncClient()",
    "the first AsyncPolyglot": f"{ROOM}; AsyncPolyglot('sk_benchmark')",
}
TIMED = """
import time
began = time.perf_counter()
{statement}
seconds = time.perf_counter() - began
import json
print(json.dumps({{"seconds": seconds}}))
"""
LISTED = "{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
HEAVY = frozenset(
    """
    aiohttp anyio attrs av cattrs click concurrent dask email h2 httpcore httpx importlib.metadata multiprocessing numpy
    pdb pocketsphinx pydantic pydoc redis requests rich socket sqlite3 ssl starlette statistics trio unittest
    urllib.request uvicorn xml
    """.split()  # noqa: SIM905 - a list of words
)


def loaded(statement: str) -> set[str]:
    """The modules that stand after `statement` in a fresh interpreter."""
    argv = [sys.executable, "-c", LISTED.format(statement=statement)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def compile_package() -> None:
    """Write the .pyc files of the SDK: an editable install under PYTHONDONTWRITEBYTECODE has none."""
    spec = importlib.util.find_spec("polyglot_async")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        compileall.compile_dir(folder, quiet=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    contenders = [
        Contender(name, [sys.executable, "-c", TIMED.format(statement=statement)])
        for name, statement in STATEMENTS.items()
    ]
    compile_package()
    compete(contenders, 1)  # warms the page cache
    rows = compete(contenders, options.rounds, costs=True)
    save("import", "Cold import", rows, {"rounds": options.rounds})
    bare, below = loaded("pass"), loaded(DEPENDENCIES)
    for name in ("polyglot_async", "AsyncPolyglot", "Polyglot"):
        heavy = HEAVY & (loaded(STATEMENTS[name]) - bare)
        print(f"{name} loads, of what is heavy: {', '.join(sorted(heavy - below)) or 'nothing'} by itself;", end=" ")
        print(f"{', '.join(sorted(heavy & below)) or 'nothing'} by what it stands on")


if __name__ == "__main__":
    main()
