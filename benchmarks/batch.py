"""A batch against the theoretical bound, and what it spends: `python benchmarks/batch.py [--virtual]`.

Real time: our batch and a naive one (`_naive.py`) against a sandbox each, in a process of its own, scripted engine.
Virtual time: how the requests grow with the number of files, up to 10,000, against a stub of the service.

- `x bound` is the time from the first request to the last outcome, over max(requests / L x W, work / C), where
  requests are two for each file: an upload and a result.
- `x schedule` is the same over what no schedule can beat: whole rounds of C tasks for tasks of one length, and for a
  burst (requests - 1) // L whole windows.

Tasks of varied lengths are a trade-off, and the table shows where it stands: who looks more often is told sooner.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import anyio
import httpx
from _frame import Row, save
from _naive import transcribe_all
from virtual import StubService, in_virtual_time

from polyglot_async import AsyncPolyglot
from polyglot_async.sandbox import Plan, Sandbox, ScriptedEngine, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LATENCY = 0.05


@dataclass(frozen=True)
class Scenario:
    """What is to be done: `files` tasks of `shortest` to `longest` seconds, `concurrency` at once."""

    name: str
    files: int
    shortest: float
    longest: float
    concurrency: int = 8
    burst: int | None = None
    window: float = 60.0

    def seconds(self, number: int) -> float:
        """How long the task of a file takes; the same in every run."""
        return random.Random(number).uniform(self.shortest, self.longest)

    def sources(self) -> Iterator[tuple[str, bytes]]:
        """The files."""
        return ((f"{number}.mp3", b"%d" % number) for number in range(self.files))

    def row(self, who: str, seconds: float, requests: int, refused: int) -> Row:
        """What came out."""
        work = sum(map(self.seconds, range(self.files))) / self.concurrency
        least = 2 * self.files  # an upload and a result each
        by_burst = least / self.burst * self.window if self.burst else 0.0
        windows = (least - 1) // self.burst * self.window if self.burst else 0.0
        rounds = math.ceil(self.files / self.concurrency) * self.longest if self.shortest == self.longest else work
        return Row(
            name=f"{self.name}: {who}",
            seconds=seconds,
            ratio=seconds / max(work, by_burst),
            lag_p99=None,
            lag_max=None,
            rss_growth=None,
            extra={
                "x bound": seconds / max(work, by_burst),
                "x schedule": seconds / max(rounds, windows),
                "requests per file": requests / self.files,
                "429s": float(refused),
            },
        )


REAL = (
    Scenario("80 x 10 s", 80, 10.0, 10.0),
    Scenario("240 x 5 s", 240, 5.0, 5.0),
    Scenario("120 x 5..15 s", 120, 5.0, 15.0),
    Scenario("300 x 1 s, 30 per 3 s", 300, 1.0, 1.0, burst=30, window=3.0),
)
VIRTUAL = (
    *tuple(Scenario(f"{files} x 10 s", files, 10.0, 10.0) for files in (10, 100, 1000, 10000)),
    Scenario("1000 x 30 s, 60 per 60 s", 1000, 30.0, 30.0, concurrency=32, burst=60),
    Scenario("1000 x 9.5..10.5 s", 1000, 9.5, 10.5),
    Scenario("1000 x 5..15 s", 1000, 5.0, 15.0),
    Scenario("1000 x 1..19 s", 1000, 1.0, 19.0),
)


# Real time.


@contextmanager
def running_sandbox(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Start a sandbox in a process; give its URL and key."""
    argv = [sys.executable, __file__, "--serve", json.dumps(asdict(scenario))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield tuple(process.stdout.readline().split())  # type: ignore[misc]
        finally:
            process.terminate()


def run_server(scenario: Scenario) -> None:
    engine = ScriptedEngine("words", seconds=lambda name, _: scenario.seconds(int(name.split(".")[0])))
    plan = Plan(
        requests_per_minute=scenario.burst,
        window_seconds=scenario.window,
        max_concurrent_tasks=scenario.concurrency,
    )
    serve(
        Sandbox(engine=engine, plan=plan),
        announce=lambda sandbox: print(sandbox.root_url, sandbox.api_key, flush=True),
    )


async def ours(root: str, key: str, scenario: Scenario) -> None:
    async with AsyncPolyglot(key, base_url=f"{root}/api/v1") as client, client.batch(scenario.sources()) as outcomes:
        ended = [outcome.ok async for outcome in outcomes]
    assert ended == [True] * scenario.files


async def naive(root: str, key: str, scenario: Scenario) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        await transcribe_all(http, f"{root}/api/v1", key, scenario.sources(), scenario.concurrency)


async def in_real_time(scenario: Scenario, who: str, contender: Callable[..., Any]) -> Row:
    with running_sandbox(scenario) as (root, key):
        began = time.monotonic()
        await contender(root, key, scenario)
        seconds = time.monotonic() - began
        async with httpx.AsyncClient(trust_env=False) as http:
            ledger = (await http.get(f"{root}/_sandbox/ledger")).json()
    entries = ledger if isinstance(ledger, list) else ledger["entries"]
    refused = sum(entry["status"] == httpx.codes.TOO_MANY_REQUESTS for entry in entries)
    row = scenario.row(who, seconds, len(entries), refused)
    print(f"{row.name}: {seconds:.1f} s, {row.extra}", file=sys.stderr)
    return row


async def all_in_real_time() -> list[Row]:
    """Both contenders at once, for they wait nearly all the time; one scenario after the other."""
    rows: list[Row] = []
    for scenario in REAL:
        runs = [in_real_time(scenario, who, run) for who, run in (("ours", ours), ("naive", naive))]
        rows += await asyncio.gather(*runs)
    return rows


# Virtual time.


def in_stub_time(scenario: Scenario, who: str) -> Row:
    async def main() -> Row:
        service = StubService(
            scenario.seconds,
            latency=LATENCY,
            burst=(scenario.burst, scenario.window) if scenario.burst else None,
            concurrency=scenario.concurrency,
        )
        if who == "ours":
            async with service.client() as client, client.batch(scenario.sources()) as outcomes:
                assert all([outcome.ok async for outcome in outcomes])
        else:
            async with httpx.AsyncClient(transport=service) as http:
                url = "http://127.0.0.1:1/api/v1"
                await transcribe_all(http, url, "sk_virtual", scenario.sources(), scenario.concurrency)
        return scenario.row(who, anyio.current_time(), service.requests, service.answers[429])

    row: Row = in_virtual_time(main)
    print(f"{row.name}: {row.seconds:.1f} s, {row.extra}", file=sys.stderr)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--virtual", action="store_true", help="leave out what takes real time (about 10 minutes)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run_server(Scenario(**json.loads(options.serve)))
        return
    settings = {"concurrency": 8, "naive poll": "3 s"}
    if not options.virtual:
        rows = asyncio.run(all_in_real_time())
        save("batch", "A batch against the sandbox: time over the bound", rows, settings)
    rows = [in_stub_time(scenario, who) for scenario in VIRTUAL for who in ("ours", "naive")]
    for row in rows:
        row.extra["requests per file"] = round(row.extra["requests per file"], 3)
    save("batch-virtual", "A batch in virtual time: time over the bound", rows, {**settings, "latency": LATENCY})


if __name__ == "__main__":
    main()
