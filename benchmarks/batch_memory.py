"""What a batch of 100,000 items adds to the memory of a process: `python benchmarks/batch_memory.py [--journal]`.

The sources are a generator of small bytes, the service is a stub in the same process that keeps its last 1,000 tasks,
time is virtual. The column `memory MiB` is the peak of the resident memory during the batch, above what it was
just before. A tenth as many items beside it: the growth must not depend on how many there are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from _frame import Contender, compete, measured, save
from virtual import StubService, in_virtual_time


def run(items: int, *, journal: bool) -> None:
    async def main(folder: str) -> None:
        service = StubService(lambda _: 10.0, latency=0.05, concurrency=32, keeps=1000)
        sources = ((f"{number}.mp3", b"some bytes of audio %d" % number) for number in range(items))
        options = {"journal": Path(folder, "archive.db")} if journal else {}
        async with service.client() as client, client.batch(iter(sources), **options) as outcomes:
            ended = 0
            async for outcome in outcomes:
                ended += outcome.ok
        assert ended == items

    async def nothing() -> None:
        async with StubService().client() as client, client.batch([("a", b"a")]) as outcomes:
            assert [outcome.ok async for outcome in outcomes] == [True]

    in_virtual_time(nothing)  # what is imported late is imported now
    with tempfile.TemporaryDirectory() as folder, measured():
        in_virtual_time(main, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--journal", action="store_true", help="with a journal, which takes several times as long")
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, journal=options.journal)
        return
    flags = ["--journal"] if options.journal else []
    contenders = [
        Contender(f"{items:,} items", [sys.executable, __file__, "--run", str(items), *flags])
        for items in (options.items // 10, options.items)
    ]
    rows = compete(contenders, 1, costs=True)
    title = f"Growth of the memory in MiB during a batch {'with' if options.journal else 'without'} a journal"
    name = f"batch-memory{'-journal' if options.journal else ''}"
    save(name, title, rows, {"items": options.items}, column="rss_growth")


if __name__ == "__main__":
    main()
