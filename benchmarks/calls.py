"""Small JSON calls: `python benchmarks/calls.py --calls 1000 --rounds 5`.

One task is asked for again and again: by raw httpx (the answer only parsed as JSON) and by the SDK, one after another
and many at once, and through the sync clients. Ratios are times, to httpx in the same round. `ms` is the median of one
call, `ms p99` its 99th percentile; the last line says what a sync call costs over an async one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from _frame import Contender, compete, measured, metered, save
from _sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from _frame import Sample

HEADERS = {"authorization": "Bearer sk_benchmark"}
WARM_CALLS = 20


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    times.append(1e3 * (time.perf_counter() - began))


def note(sample: Sample, times: list[float]) -> None:
    times.sort()
    sample.extra = {"ms": times[len(times) // 2], "ms p99": times[int(len(times) * 0.99)]}


async def run(call: Callable[[], Awaitable[object]], calls: int, at_once: int) -> None:
    times: list[float] = []
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            with timed(times):
                await call()

    # As many at once as are measured, and no more: idle connections of a larger burst would slow httpx's pool down.
    for _ in range(WARM_CALLS):
        await asyncio.gather(*(call() for _ in range(at_once)))
    async with metered() as sample:
        await asyncio.gather(*(work() for _ in range(at_once)))
        note(sample, times)


def run_sync(call: Callable[[], object], calls: int) -> None:
    times: list[float] = []
    for _ in range(WARM_CALLS):
        call()
    with measured() as sample:
        for _ in range(calls):
            with timed(times):
                call()
        note(sample, times)


async def by_httpx(url: str, calls: int, at_once: int) -> None:
    import httpx

    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def get() -> object:
            return (await client.get(f"{url}/transcriptions/1")).json()

        await run(get, calls, at_once)


async def by_polyglot(url: str, calls: int, at_once: int) -> None:
    from polyglot_async import AsyncPolyglot

    async with AsyncPolyglot("sk_benchmark", base_url=url) as client:
        await run(lambda: client.transcriptions.get("1"), calls, at_once)


def by_httpx_sync(url: str, calls: int, _: int) -> None:
    import httpx

    with httpx.Client(headers=HEADERS) as client:
        run_sync(lambda: client.get(f"{url}/transcriptions/1").json(), calls)


def by_polyglot_sync(url: str, calls: int, _: int) -> None:
    from polyglot_async import Polyglot

    with Polyglot("sk_benchmark", base_url=url) as client:
        run_sync(lambda: client.transcriptions.get("1"), calls)


IN_PYTHON: dict[str, Callable[[str, int, int], object]] = {
    "httpx": lambda *args: asyncio.run(by_httpx(*args)),
    "AsyncPolyglot": lambda *args: asyncio.run(by_polyglot(*args)),
    "httpx, sync": by_httpx_sync,
    "Polyglot": by_polyglot_sync,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        IN_PYTHON[options.contender](options.url, options.calls, options.at_once)
        return
    own = [sys.executable, __file__, "--calls", str(options.calls)]
    settings = {"calls": options.calls, "rounds": options.rounds}
    with running_sink() as url:
        own += ["--url", url]
        single = [Contender(name, [*own, "--at-once", "1", "--contender", name]) for name in IN_PYTHON]
        rows = compete(single, options.rounds, costs=True)
        save("calls", f"{options.calls} small calls, one after another", rows, settings)
        many = [*own, "--at-once", str(options.at_once), "--contender"]
        together = [Contender(name, [*many, name]) for name in ("httpx", "AsyncPolyglot")]
        title = f"{options.calls} small calls, {options.at_once} at once"
        settings["at_once"] = options.at_once
        save("calls-at-once", title, compete(together, options.rounds, costs=True), settings)
    ms = {row.name: row.extra["ms"] for row in rows}
    more = ms["Polyglot"] - ms["AsyncPolyglot"]
    print(f"A call through Polyglot takes {more:.2f} ms more than through AsyncPolyglot (medians).")


if __name__ == "__main__":
    main()
