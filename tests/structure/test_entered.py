"""One call stays cheap to follow: how many of the package's functions it enters.

Counted in a process of its own, so that threads which other tests have left idle cannot hide anything.
"""

import subprocess
import sys
from pathlib import Path

import pytest

MOST_FUNCTIONS = {"get": 35, "transcribe": 90, "batch": 130}
COUNTER = Path(__file__).with_name("entered.py")


@pytest.mark.parametrize("call", MOST_FUNCTIONS)
def test_a_call_enters_few_functions(call):
    run = subprocess.run([sys.executable, str(COUNTER), call], capture_output=True, text=True, check=True)
    entered = [line for line in run.stdout.splitlines() if line.startswith("  ") and ":" in line]
    assert entered, "the profiler saw nothing"
    assert len(entered) <= MOST_FUNCTIONS[call], f"more than {MOST_FUNCTIONS[call]} functions:\n{run.stdout}"
