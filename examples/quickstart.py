"""One file in, its transcript and subtitles out.

    export POLYGLOT_API_KEY=sk_...        # without one: start `polyglot sandbox`, and paste the two lines it prints
    python quickstart.py audio/austen-0880.wav

The subtitles stand beside the recording.
"""

import asyncio
import sys
from pathlib import Path

from polyglot_async import AsyncPolyglot


async def main(path: Path) -> None:
    """Transcribe `path`, and write the subtitles beside it."""
    async with AsyncPolyglot() as client:
        transcript = await client.transcribe(path)
    print(transcript.text)
    print("subtitles:", transcript.save(path.with_suffix(".srt")))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
