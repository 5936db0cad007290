"""The frame of every benchmark: rounds that interleave, processes that are fresh, ratios to the first contender.

A contender is a command. It prints, as the last line of its output, a JSON object with its `seconds` and whatever
else it measured of itself (see `Sample`); a command that prints none is timed from outside. Rounds go A B C A B C, so
that a machine which slows down slows everybody down, and only medians and ratios are told.

A contender in Python measures itself with `measured`, which also watches the memory, or inside an event loop with
`metered`, which also watches the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

RESULTS = Path(__file__).resolve().parent / "results"
LAG_INTERVAL = 0.002
PACKAGES = ("httpx", "httpcore", "h11", "anyio", "attrs", "cattrs", "aiohttp", "requests", "openai", "pydantic")
BAR_HEIGHT, BAR_WIDTH, LABEL_WIDTH = 22, 360, 220


@dataclass(frozen=True)
class Contender:
    """A name for the table and the command that runs once; `before` is called ahead of each run, untimed."""

    name: str
    argv: Sequence[str]
    before: Callable[[], None] | None = None


@dataclass
class Sample:
    """One run. Lags are milliseconds that the event loop came late, memory is MiB above where the run began."""

    seconds: float = 0.0
    lag_p99: float | None = None
    lag_max: float | None = None
    rss_growth: float | None = None
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """The medians of one contender, but of lag and memory the worst; `ratio` is to the first, round by round."""

    name: str
    seconds: float
    ratio: float
    lag_p99: float | None
    lag_max: float | None
    rss_growth: float | None
    extra: dict[str, float]


def run_once(contender: Contender) -> Sample:
    """Run the command of a contender, and read what it says of itself."""
    if contender.before is not None:
        contender.before()
    began = time.perf_counter()
    done = subprocess.run(contender.argv, check=False, capture_output=True, text=True, env=_environment())
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{contender.name} failed: {done.stderr.strip() or done.stdout.strip()}")
    lines = done.stdout.strip().splitlines()
    with contextlib.suppress(ValueError, IndexError, TypeError):
        return Sample(**json.loads(lines[-1]))
    return Sample(seconds=wall)


def _environment() -> dict[str, str]:
    """The environment without its proxies: all that is measured here stays on the loopback interface."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def compete(contenders: Sequence[Contender], rounds: int, *, costs: bool = False) -> list[Row]:
    """Run all contenders in turn, `rounds` times, and sum each up; progress goes to standard error.

    `Row.ratio` is how many times faster than the first a contender was; with `costs`, how many times longer it took.
    """
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            sample = run_once(contender)
            samples[contender.name].append(sample)
            print(f"round {number + 1}/{rounds} {contender.name}: {sample.seconds:.3f} s", file=sys.stderr)
    first = samples[contenders[0].name]
    return [_row(name, own, first, -1 if costs else 1) for name, own in samples.items()]


def _row(name: str, own: Sequence[Sample], first: Sequence[Sample], power: int) -> Row:
    # Of the same round: what else the machine did then weighs on both.
    ratios = [(theirs.seconds / ours.seconds) ** power for ours, theirs in zip(own, first, strict=True)]
    return Row(
        name=name,
        seconds=statistics.median(sample.seconds for sample in own),
        ratio=statistics.median(ratios),
        lag_p99=_median([sample.lag_p99 for sample in own]),
        lag_max=max((sample.lag_max for sample in own if sample.lag_max is not None), default=None),
        rss_growth=max((sample.rss_growth for sample in own if sample.rss_growth is not None), default=None),
        extra={key: statistics.median(sample.extra[key] for sample in own) for key in own[0].extra},
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


@contextlib.contextmanager
def measured() -> Iterator[Sample]:
    """Measure the body, and print its `Sample` at its end; the body may add to it."""
    sample = Sample()
    _forget_peak()
    rss = _memory("VmRSS")
    began = time.perf_counter()
    yield sample
    sample.seconds = time.perf_counter() - began
    sample.rss_growth = _memory("VmHWM") - rss
    print(json.dumps(asdict(sample)))


@contextlib.asynccontextmanager
async def metered() -> AsyncIterator[Sample]:
    """Do as `measured`, and watch the asyncio loop that runs."""
    lags: list[float] = []
    sampler = asyncio.create_task(_sample_lag(lags))
    await asyncio.sleep(0)
    with measured() as sample:
        yield sample
        sampler.cancel()
        lags.sort()
        if lags:
            sample.lag_p99 = 1e3 * lags[int(len(lags) * 0.99)]
            sample.lag_max = 1e3 * lags[-1]


async def _sample_lag(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(LAG_INTERVAL)
        lags.append(time.perf_counter() - began - LAG_INTERVAL)


def _forget_peak() -> None:
    """Let VmHWM begin anew (Linux), so that a peak of the imports does not hide a growth of the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory(which: str) -> float:
    """VmRSS or VmHWM (the peak) of this process in MiB; where there is no /proc, the peak stands for both."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(which):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def machine() -> str:
    """The machine, as the table names it."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """The versions of what took part, as far as it is installed."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    for program in ("curl", "aria2c"):
        with contextlib.suppress(OSError, IndexError):
            told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
            found[program] = next(word for word in told.split() if word[0].isdigit())
    return found


def save(name: str, title: str, rows: Sequence[Row], settings: dict[str, Any], *, column: str = "ratio") -> None:
    """Print the table, and write it to `results/` as JSON and as a bar chart of `column`."""
    RESULTS.mkdir(exist_ok=True)
    result = {
        "title": title,
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "rows": [asdict(row) for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (RESULTS / f"{name}.svg").write_text(_chart(f"{title} ({machine()})", rows, column))
    keys = list(dict.fromkeys(key for row in rows for key in row.extra))
    heads = ["contender", "seconds", f"x {rows[0].name}", "lag p99 ms", "lag max ms", "memory MiB", *keys]
    print(f"{title}; {machine()}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        numbers = (row.lag_p99, row.lag_max, row.rss_growth)
        cells = [f"{row.seconds:.3f}", f"{row.ratio:.2f}", *map(_cell, numbers)]
        cells += [f"{row.extra[key]:.2f}" if key in row.extra else "" for key in keys]
        print(f"| {row.name} | {' | '.join(cells)} |")
    print()


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _chart(title: str, rows: Sequence[Row], column: str) -> str:
    values = [float(getattr(row, column) or 0) for row in rows]
    scale = BAR_WIDTH / (max(values) or 1)
    width, height = LABEL_WIDTH + BAR_WIDTH + 60, BAR_HEIGHT * (len(rows) + 2)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
            f' font-size="12" role="img"><title>{escape(title)}</title>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>'
            f'<text x="8" y="16" font-weight="bold">{escape(title)}'
            "</text>"
        )
    ]
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        top, bar = BAR_HEIGHT * (number + 1) + 8, value * scale
        parts.append(
            f'<text x="{LABEL_WIDTH - 8}" y="{top + 13}" text-anchor="end">{escape(row.name)}</text>'
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{bar:.1f}" height="{BAR_HEIGHT - 6}" fill="#4c78a8"/>'
            f'<text x="{LABEL_WIDTH + bar + 6:.1f}" y="{top + 13}">{value:.2f}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
