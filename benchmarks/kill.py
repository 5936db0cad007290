"""kill -9 at a hundred random moments: what the sandbox's ledger says of it.

    python benchmarks/kill.py [--kills 100] [--files 400] [--seed 1]

A batch with a journal runs in a process of its own against a sandbox in this one, is killed, and is started again until
it is done. Exits with 1 if a file was lost or submitted twice.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "workflows"))

from _frame import RESULTS, machine
from test_kill import ENGINE, FAULT, PLAN, kill_again_and_again

from polyglot_async.sandbox import Sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Sandbox(engine=ENGINE, plan=PLAN, faults=[FAULT]) as sandbox:
        told = kill_again_and_again(sandbox, Path(folder), kills=options.kills, files=options.files, seed=options.seed)
    result = {
        "title": "A batch killed with SIGKILL at random moments",
        "machine": machine(),
        "settings": vars(options),
        "seconds": round(time.monotonic() - began, 1),
        "told": told,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kill.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(bool(told["doubled"] or told["lost"] or told["other states"]))


if __name__ == "__main__":
    sys.exit(main())
