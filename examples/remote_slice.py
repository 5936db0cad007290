"""Look into a long recording at the service without downloading it.

    pip install av
    python remote_slice.py TASK_ID

`open_source` of the sync client returns a binary file as the standard library knows it, so whatever takes a file object
can read from it: `wave` here, PyAV for all other media. Only the blocks that they touch are fetched.
"""

import sys
import wave
from typing import BinaryIO, cast

import av

from polyglot_async import Polyglot


def describe_wav(file: BinaryIO) -> str:
    """Read the header, and one second from the middle."""
    with wave.open(file) as sound:
        rate, frames = sound.getframerate(), sound.getnframes()
        sound.setpos(frames // 2)
        second = sound.readframes(rate)
    return f"{frames / rate:.1f} s at {rate} Hz, the loudest byte in the middle is {max(second)}"


def describe_media(file: BinaryIO) -> str:
    """Read the head, and decode the first picture or sound."""
    with av.open(file, "r") as container:
        first = next(container.decode(container.streams[0]))
        seconds = (container.duration or 0) / av.time_base
        return f"{seconds:.1f} s of {container.format.name}, first comes a {type(first).__name__}"


def main(task_id: str) -> None:
    """Describe the source of a task."""
    with Polyglot() as client, client.transcriptions.open_source(task_id) as media:
        is_wav = media.read_at(0, 4) == b"RIFF"
        print(describe_wav(cast("BinaryIO", media)) if is_wav else describe_media(cast("BinaryIO", media)))
        print(f"fetched {media.fetched} of {media.size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
