"""kill -9 a hundred times, in every phase and at random moments: what the sandbox's ledger says of it.

    python benchmarks/kill.py [--kills 100] [--files 400] [--seed 1] [--list "no names and times"]

A batch with a journal runs in a process of its own against a sandbox in this one, is killed, and is started again until
it is done. Exits with 1 if a file was lost, paid for twice, or left in doubt.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "client"))

from _frame import RESULTS, machine
from test_kill import ENGINE, LISTS, PLAN, SLOW_ACCEPTANCE, all_well, kill_again_and_again

from polyglot_async.sandbox import Sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", choices=LISTS, default="as documented", help="what the service's list shows")
    options = parser.parse_args()
    began = time.monotonic()
    faults = [SLOW_ACCEPTANCE, *LISTS[options.list]]
    with tempfile.TemporaryDirectory() as folder, Sandbox(engine=ENGINE, plan=PLAN, faults=faults) as sandbox:
        verdict = kill_again_and_again(
            sandbox, Path(folder), kills=options.kills, files=options.files, seed=options.seed
        )
    result = {
        "title": "A batch killed with SIGKILL in every phase and at random moments",
        "machine": machine(),
        "settings": vars(options),
        "seconds": round(time.monotonic() - began, 1),
        "verdict": verdict,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "kill.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(all_well(verdict) != verdict)


if __name__ == "__main__":
    sys.exit(main())
