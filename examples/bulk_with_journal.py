"""A whole folder, a few files at a time, to subtitles. Stop it at any moment and run it again: it resumes.

    python bulk_with_journal.py recordings/

The journal remembers what was sent, by content. A second run skips what is done, waits for what is under way, and
never sends twice what may have been accepted.
"""

import asyncio
import sys
from pathlib import Path

from polyglot_async import AsyncPolyglot, SubmissionUncertainError

MEDIA = {".mp3", ".mp4", ".m4a", ".wav", ".ogg", ".flac", ".mov", ".mkv", ".webm"}


async def main(folder: Path, paths: list[Path]) -> int:
    """Transcribe all `paths`; return the number of files without a transcript."""
    async with AsyncPolyglot() as client, client.batch(paths, journal=folder / "journal.db") as outcomes:
        async for outcome in outcomes:
            if outcome.transcript is not None:
                print(outcome.name, "->", outcome.transcript.save(folder / f"{outcome.name}.srt").name)
            elif isinstance(outcome.error, SubmissionUncertainError):
                print(outcome.name, "may have been accepted, look at the site:", outcome.error)
            else:
                print(outcome.name, "failed:", outcome.error)
        progress = outcomes.progress
    print(f"{progress.done} done, {progress.failed} failed, {progress.skipped} skipped as known")
    return progress.failed


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    recordings = sorted(path for path in folder.iterdir() if path.suffix.lower() in MEDIA)
    sys.exit(1 if asyncio.run(main(folder, recordings)) else 0)
