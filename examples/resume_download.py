"""Get a task's source media back, over four connections. If it breaks off, run it again: it resumes.

    python resume_download.py TASK_ID film.mp4

What has arrived waits in film.mp4.part. The next run takes it only if the service proves that it still has the same
version of the file; film.mp4 itself appears when it is whole.
"""

import asyncio
import sys

from polyglot_async import ApiConnectionError, AsyncPolyglot, ServerError


async def main(task_id: str, path: str) -> int:
    """Download; return the exit status."""
    steps: list[int] = []
    async with AsyncPolyglot() as client:
        try:
            await client.transcriptions.download_source(
                task_id, path, connections=4, on_progress=lambda done, _: steps.append(done)
            )
        except (ApiConnectionError, ServerError) as error:
            print(f"broken off after {steps[-1] if steps else 0} bytes, run this again: {error}")
            return 1
    print(f"{path}: began at {steps[0]} bytes, and has all {steps[-1]}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
