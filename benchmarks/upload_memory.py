"""What an upload adds to the memory of a process: `python benchmarks/upload_memory.py --size 2048 [--tls]`.

A file of so many MiB, and one of an eighth of that, by both clients: the growth must not depend on the size. The
column `memory MiB` is the peak of the resident memory during the upload, above what it was just before. The file is
sparse: it reads as zeros and takes no room on the disk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from _frame import compete, save
from _sink import running_sink
from upload import contender


def make_sparse_file(path: Path, mebibytes: int) -> Path:
    path.touch()
    os.truncate(path, mebibytes << 20)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048, help="MiB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_sink(tls=options.tls) as url:
        files = {
            size: make_sparse_file(Path(folder, f"{size}.mp3"), size) for size in (options.size // 8, options.size)
        }
        contenders = [
            replace(contender(name, url, path), name=f"{name}, {size} MiB")
            for size, path in files.items()
            for name in ("AsyncPolyglot", "Polyglot")
        ]
        rows = compete(contenders, options.rounds)
    settings = {key: getattr(options, key) for key in ("size", "rounds", "tls")}
    title = f"Growth of the memory in MiB during an upload, {'over TLS' if options.tls else 'in the clear'}"
    save(f"upload-memory{'-tls' if options.tls else ''}", title, rows, settings, column="rss_growth")


if __name__ == "__main__":
    main()
