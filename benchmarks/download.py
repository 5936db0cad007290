"""Download one file to disk: `python benchmarks/download.py --size 1024 --rounds 5 [--tls] [--cap 20]`.

Ratios are to `curl -o`. With `--cap`, the server gives each connection so many MB/s, as object stores do. Ours flush
the file to the disk before they give it its name, which curl does not: `curl -o; sync` shows what that costs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from _frame import Contender, compete, metered, save
from _sink import make_file, running_sink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECTIONS = (1, 2, 4, 8)


async def by_aiohttp(url: str, out: Path) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/") as warm:
            await warm.read()
        async with metered(), session.get(f"{url}/source") as response:
            with out.open("wb", buffering=0) as file:
                async for chunk in response.content.iter_any():
                    file.write(chunk)


async def by_httpx(url: str, out: Path) -> None:
    import httpx

    async with httpx.AsyncClient() as client:
        await client.get(f"{url}/")
        async with metered(), client.stream("GET", f"{url}/source") as response:
            with out.open("wb", buffering=0) as file:
                async for chunk in response.aiter_raw():
                    file.write(chunk)


async def by_polyglot(url: str, out: Path, *, connections: int, stock: bool = False) -> None:
    import httpx

    from polyglot_async import AsyncPolyglot

    http = httpx.AsyncClient() if stock else None
    async with AsyncPolyglot("sk_benchmark", base_url=url, http_client=http) as client:
        await client.transcriptions.get("1")
        async with metered():
            await client.transcriptions.download_source("1", out, connections=connections)
    if http is not None:
        await http.aclose()


def ours(connections: int) -> str:
    return f"AsyncPolyglot, connections={connections}"


IN_PYTHON: dict[str, Callable[[str, Path], Awaitable[None]]] = {
    **{ours(count): partial(by_polyglot, connections=count) for count in CONNECTIONS},
    "AsyncPolyglot on httpx's transport": partial(by_polyglot, connections=1, stock=True),
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
}


def contenders(url: str, out: Path, names: list[str]) -> list[Contender]:
    def clean() -> None:
        out.unlink(missing_ok=True)

    curl = ["curl", "-sf", "-o", str(out), f"{url}/transcriptions/1/source"]
    timed = [*curl, "-w", '{"seconds": %{time_total}}']
    # aria2c heeds no variable for the authorities; it asks for parts of 1 MiB and more, as ours do.
    aria = ["aria2c", "-q", "-x4", "-s4", "-k1M", "--file-allocation=none", "--allow-overwrite=true"]
    aria += [f"--ca-certificate={os.environ['SSL_CERT_FILE']}"] if url.startswith("https") else []
    aria += ["-d", str(out.parent), "-o", out.name, f"{url}/transcriptions/1/source"]
    own = [sys.executable, __file__, "--url", url, "--out", str(out), "--contender"]
    return [
        Contender("curl -o", timed, clean),
        Contender("curl -o; sync", ["sh", "-c", '"$@" && sync "$0"', str(out), *curl], clean),
        Contender("aria2c -x4", aria, clean),
        *(Contender(name, [*own, name], clean) for name in names),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--cap", type=float, default=0, help="MB/s and connection, 0 for no cap")
    parser.add_argument("--folder", type=Path, help="where the files are, for a disk other than the temporary one")
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        asyncio.run(IN_PYTHON[options.contender](options.url, options.out))
        return
    # Capped, all that use one connection take the same time: it is told once.
    names = [ours(count) for count in CONNECTIONS] if options.cap else list(IN_PYTHON)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        make_file(source, options.size)
        with running_sink(tls=options.tls, file=source, cap=options.cap * 1e6) as url:
            rows = compete(contenders(url, out, names), options.rounds)
    how = "over TLS" if options.tls else "in the clear"
    cap = f", {options.cap:g} MB/s a connection" if options.cap else ""
    settings = {key: getattr(options, key) for key in ("size", "rounds", "tls", "cap")}
    name = f"download{'-tls' if options.tls else ''}{'-capped' if options.cap else ''}"
    save(name, f"Download of {options.size} MiB to a file, {how}{cap}", rows, settings)


if __name__ == "__main__":
    main()
