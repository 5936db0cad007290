"""A batch through a front that goes out of service: `python benchmarks/outages.py [--files 100] [--seconds 6]`.

A real nginx stands before a sandbox, and is stopped, redeployed, or answers pages and errors for some seconds. Exits
with the number of the kinds of outage after which a file was missing, failed, or paid for twice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "client"))

import anyio
from test_outages import ENGINE, KINDS, PLAN, front_of, problems, through_outage

from polyglot_async.sandbox import Sandbox


def run(kind: str, files: int, seconds: float) -> dict[str, object]:
    """Return what is wrong with the end of a batch that met an outage of this kind."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(engine=ENGINE, plan=PLAN) as sandbox:
        with front_of(sandbox, Path(folder) / "nginx") as front:
            ended = anyio.run(partial(through_outage, front, sandbox, kind, files=files, seconds=seconds))
        return problems(sandbox, ended, files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    failures = 0
    for kind in KINDS:
        found = run(kind, options.files, options.seconds)
        print(f"{kind}: {found or 'all well'}", flush=True)
        failures += bool(found)
    return failures


if __name__ == "__main__":
    sys.exit(main())
