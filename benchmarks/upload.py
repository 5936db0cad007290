"""Upload one file as a form: `python benchmarks/upload.py --size 1024 --rounds 5 [--tls]`.

Ratios are to `curl -F`. The file is in the page cache and the connection is open before the clock starts, except for
curl, whose connection is a matter of milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from _frame import Contender, compete, measured, metered, save
from _sink import make_file, running_sink

if TYPE_CHECKING:
    from collections.abc import Callable

ROUTE = "transcriptions/upload"


async def by_aiohttp(url: str, path: Path) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/") as warm:
            await warm.read()
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("file", file, filename=path.name)
            async with metered(), session.post(f"{url}/{ROUTE}", data=form) as response:
                await response.read()


async def by_httpx(url: str, path: Path) -> None:
    import httpx

    async with httpx.AsyncClient(timeout=60) as client:
        await client.get(f"{url}/")
        with path.open("rb") as file:
            async with metered():
                await client.post(f"{url}/{ROUTE}", files={"file": file})


async def by_openai(url: str, path: Path) -> None:
    import openai

    async with openai.AsyncOpenAI(api_key="sk_benchmark", base_url=url, max_retries=0) as client:
        await client.models.retrieve("fast")
        async with metered():
            await client.audio.transcriptions.create(file=path, model="fast")


async def by_polyglot_async(url: str, path: Path) -> None:
    from polyglot_async import AsyncPolyglot

    async with AsyncPolyglot("sk_benchmark", base_url=url) as client:
        await client.transcriptions.get("1")
        async with metered():
            await client.transcriptions.upload(path)


def by_requests(url: str, path: Path) -> None:
    import requests

    with requests.Session() as session, path.open("rb") as file:
        session.get(f"{url}/")
        with measured():
            session.post(f"{url}/{ROUTE}", files={"file": file})


def by_polyglot(url: str, path: Path) -> None:
    from polyglot_async import Polyglot

    with Polyglot("sk_benchmark", base_url=url) as client:
        client.transcriptions.get("1")
        with measured():
            client.transcriptions.upload(path)


def in_loop(run: Callable[..., object]) -> Callable[[str, Path], None]:
    return lambda url, path: asyncio.run(run(url, path))  # type: ignore[arg-type]


IN_PYTHON: dict[str, Callable[[str, Path], None]] = {
    "AsyncPolyglot": in_loop(by_polyglot_async),
    "Polyglot": by_polyglot,
    "aiohttp FormData": in_loop(by_aiohttp),
    "httpx files=": in_loop(by_httpx),
    "requests files=": by_requests,
    "openai": in_loop(by_openai),
}


def contender(name: str, url: str, path: Path) -> Contender:
    """One of those in Python, in a process of its own; `upload_memory.py` starts its contenders here too."""
    return Contender(name, [sys.executable, __file__, "--url", url, "--path", str(path), "--contender", name])


def by_curl(url: str, path: Path) -> Contender:
    form = ["-F", f"file=@{path}", "-o", os.devnull, "-w", '{"seconds": %{time_total}}']
    return Contender("curl -F", ["curl", "-sf", *form, f"{url}/{ROUTE}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--only", nargs="+", choices=IN_PYTHON, default=list(IN_PYTHON), help="beside curl")
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        IN_PYTHON[options.contender](options.url, options.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source.mp3")
        make_file(path, options.size)
        with running_sink(tls=options.tls) as url:
            contenders = [by_curl(url, path), *(contender(name, url, path) for name in options.only)]
            rows = compete(contenders, options.rounds)
    how = "over TLS" if options.tls else "in the clear"
    settings = {key: getattr(options, key) for key in ("size", "rounds", "tls")}
    save(f"upload{'-tls' if options.tls else ''}", f"Upload of {options.size} MiB, {how}", rows, settings)


if __name__ == "__main__":
    main()
