"""A video to subtitles and a translation, with the progress of the upload on screen.

    python translate_and_subtitle.py talk.mp4 ru

The subtitles are of the words that were spoken, with their times. The translation is a text of its own: the
service's documentation promises no times for it.
"""

import asyncio
import sys
from pathlib import Path

from polyglot_async import AsyncPolyglot


def show(done: int, total: int | None) -> None:
    """Show how far the upload is; on a retry it starts from 0 again."""
    print(f"\r{100 * done // total if total else 0:3} % sent", end="", file=sys.stderr)


async def main(video: Path, language: str) -> None:
    """Write `video`'s subtitles as .srt and .vtt, and the translation as text, beside it."""
    async with AsyncPolyglot() as client:
        transcript = await client.transcribe(video, output_language=language, on_progress=show)
    for suffix in (".srt", ".vtt"):
        print(transcript.save(video.with_suffix(suffix)).name)
    if transcript.translation is not None:
        translated = video.with_suffix(f".{language}.txt")
        translated.write_text(f"{transcript.translation}\n", encoding="utf-8")
        print(translated.name)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
