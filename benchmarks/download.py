"""Download one file to disk: `python benchmarks/download.py --size 1024 --rounds 5 [--tls] [--cap 20]`.

Ratios are to `curl -o`. With `--cap`, the server gives each connection so many MB/s, as object stores do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import queue
import ssl
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from _frame import Contender, compete, metered, save
from _sink import Sink, running_sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOM = 4  # slices that wait for the disk


@asynccontextmanager
async def write_behind(path: Path) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """Hand over what is to be written, in order, to one thread; the end of the context waits for the last byte."""
    loop = asyncio.get_running_loop()
    room = asyncio.Semaphore(ROOM)
    slices: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def work() -> None:
        with path.open("wb", buffering=0) as file:
            while (data := slices.get()) is not None:
                file.write(data)
                loop.call_soon_threadsafe(room.release)

    async def put(data: bytes) -> None:
        await room.acquire()
        slices.put(data)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield put
    finally:
        slices.put(None)
        await asyncio.to_thread(thread.join)


def trust(ca: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca)


async def by_aiohttp(sink: Sink, out: Path) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust(sink.ca))) as session:
        async with session.get(f"{sink.url}/") as warm:
            await warm.read()
        async with metered(), session.get(f"{sink.url}/file") as response:
            with out.open("wb", buffering=0) as file:
                async for chunk in response.content.iter_any():
                    file.write(chunk)


async def by_httpx(sink: Sink, out: Path, *, wire: bool, behind: bool) -> None:
    import httpx

    from polyglot_async._io.wire import WireTransport

    verify = trust(sink.ca)
    async with httpx.AsyncClient(transport=WireTransport(verify=verify) if wire else None, verify=verify) as client:
        await client.get(f"{sink.url}/")
        async with metered(), client.stream("GET", f"{sink.url}/file") as response:
            if behind:
                async with write_behind(out) as put:
                    async for chunk in response.aiter_raw():
                        await put(chunk)
            else:
                with out.open("wb", buffering=0) as file:
                    async for chunk in response.aiter_raw():
                        file.write(chunk)


IN_PYTHON: dict[str, Callable[[Sink, Path], Awaitable[None]]] = {
    "aiohttp": by_aiohttp,
    "httpx": lambda sink, out: by_httpx(sink, out, wire=False, behind=False),
    "httpx on our wire": lambda sink, out: by_httpx(sink, out, wire=True, behind=False),
    "httpx on our wire, writer thread": lambda sink, out: by_httpx(sink, out, wire=True, behind=True),
    # The SDK itself, over 1, 2, 4 and 8 connections, joins here; aria2c joins beside curl below.
}


def contenders(sink: Sink, out: Path) -> list[Contender]:
    def clean() -> None:
        out.unlink(missing_ok=True)

    trusted = ["--cacert", sink.ca] if sink.ca else []
    curl = ["curl", "-sf", "-o", str(out), *trusted, "-w", '{"seconds": %{time_total}}', f"{sink.url}/file"]
    own = [sys.executable, __file__, "--url", sink.url, "--out", str(out), *(["--ca", sink.ca] if sink.ca else [])]
    ours = [Contender(name, [*own, "--contender", name], clean) for name in IN_PYTHON]
    return [Contender("curl -o", curl, clean), *ours]


def make_file(path: Path, mebibytes: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--cap", type=float, default=0, help="MB/s and connection, 0 for no cap")
    parser.add_argument("--folder", type=Path, help="where the files are, for a disk other than the temporary one")
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--ca", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        asyncio.run(IN_PYTHON[options.contender](Sink(options.url, options.ca), options.out))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        make_file(source, options.size)
        with running_sink(tls=options.tls, file=source, cap=options.cap * 1e6) as sink:
            rows = compete(contenders(sink, out), options.rounds)
    how = "over TLS" if options.tls else "in the clear"
    cap = f", {options.cap:g} MB/s a connection" if options.cap else ""
    settings = {key: getattr(options, key) for key in ("size", "rounds", "tls", "cap")}
    name = f"download{'-tls' if options.tls else ''}{'-capped' if options.cap else ''}"
    save(name, f"Download {options.size} MiB to a file, {how}{cap}", rows, settings)


if __name__ == "__main__":
    main()
