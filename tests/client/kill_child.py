"""A batch in a process of its own, to be killed: argv is the URL, the key, the journal and the folder."""

import sys
from pathlib import Path

import anyio

from polyglot_async import AsyncPolyglot
from polyglot_async._tasks import recovery

recovery.SETTLING_SECONDS = 0.5  # the sandbox is on this machine: what has not arrived by then never will


async def main() -> None:
    url, key, journal, folder = sys.argv[1:]
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())  # noqa: ASYNC240 - before anything runs
    async with (
        AsyncPolyglot(key, base_url=url) as client,
        client.batch(paths, journal=journal, concurrency=6, results="task") as outcomes,
    ):
        async for outcome in outcomes:
            print(outcome.name, type(outcome.error).__name__, flush=True)  # noqa: T201 - for whoever reads a failure


anyio.run(main)
