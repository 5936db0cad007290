"""How it is done without an SDK: a worker for each slot, which asks for its own task every three seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

POLL_SECONDS = 3.0


async def transcribe_all(
    http: httpx.AsyncClient, base_url: str, key: str, sources: Iterable[tuple[str, bytes]], concurrency: int
) -> None:
    """Upload, wait and fetch each; a 429 is waited out as it asks."""
    headers = {"authorization": f"Bearer {key}"}
    left: Iterator[tuple[str, bytes]] = iter(sources)

    async def call(method: str, path: str, **options: object) -> dict[str, str]:
        while True:
            answer = await http.request(method, f"{base_url}/transcriptions{path}", headers=headers, **options)  # type: ignore[arg-type]
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return dict(answer.raise_for_status().json())
            await anyio.sleep(float(answer.headers.get("retry-after", 1)))

    async def worker() -> None:
        for name, data in left:
            task = await call("POST", "/upload", files={"file": (name, data)})
            while task["status"] != "completed":
                await anyio.sleep(POLL_SECONDS)
                task = await call("GET", f"/{task['task_id']}")
            await call("GET", f"/{task['task_id']}/result")

    async with anyio.create_task_group() as workers:
        for _ in range(concurrency):
            workers.start_soon(worker)
