"""Which files a transcription writes. Two sources never share a file, and no file that is there is replaced unasked."""

from __future__ import annotations

import os
from collections import Counter
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from ._failures import InputError
from ._files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._sources import Source

FORMATS = ("srt", "vtt", "txt", "json")


def parse_formats(text: str) -> tuple[str, ...]:
    """Read "srt,txt".

    Raises:
        InputError: one is unknown, or there is none.
    """
    words = dict.fromkeys(word.strip().lower().removeprefix(".") for word in text.split(",") if word.strip())
    unknown = [word for word in words if word not in FORMATS]
    if unknown or not words:
        raise InputError(f"--format takes some of {','.join(FORMATS)}, not {', '.join(unknown) or 'nothing'}")
    return tuple(words)


def plan_bases(sources: Sequence[Source], out: Path | None, suffixes: Sequence[str]) -> dict[Source, Path]:
    """Give each source the path, without suffix, of its files.

    The stem where that is unique, else the whole name ("talk.mp3" -> "talk.mp3.srt"), else with a number.
    """
    stems = {source: _folder(source, out) / Path(source.name).stem for source in sources}
    names = {source: _folder(source, out) / source.name for source in sources}
    alike = Counter(_same(path) for path in stems.values())
    taken = {_same(source.path) for source in sources if source.path is not None}
    bases: dict[Source, Path] = {}
    # Those that keep their stem go first, so that no fallback of another takes it.
    for source in sorted(sources, key=lambda source: alike[_same(stems[source])] > 1):
        first = [stems[source]] if alike[_same(stems[source])] == 1 else []
        base = next(path for path in chain(first, _numbered(names[source])) if not taken & _outputs(path, suffixes))
        taken |= _outputs(base, suffixes)
        bases[source] = base
    return bases


def check_bases(bases: Mapping[Source, Path], suffixes: Sequence[str], *, overwrite: bool) -> None:
    """Make the folders, and see that nothing would be replaced.

    Raises:
        InputError: a folder cannot be made or written to, or a file is there already.
    """
    for folder in sorted({base.parent for base in bases.values()}):
        make_folder(folder)
    if overwrite:
        return
    files = (beside(base, suffix) for base in bases.values() for suffix in suffixes)
    there = [file for file in files if os.path.lexists(file)]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise InputError(f"{there[0]}{more}: exists already (--overwrite replaces it); nothing was sent")


def beside(base: Path, suffix: str) -> Path:
    """Put a suffix behind a base, which may hold dots of its own."""
    return base.with_name(f"{base.name}.{suffix}")


def _folder(source: Source, out: Path | None) -> Path:
    if out is not None:
        return out / source.below
    return source.path.parent if source.path is not None else Path()


def _outputs(base: Path, suffixes: Sequence[str]) -> set[str]:
    return {_same(beside(base, suffix)) for suffix in suffixes}


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _same(path: Path) -> str:
    # Folded: on a disk that ignores case, Talk.srt and talk.srt are one file.
    return os.path.abspath(path).casefold()  # noqa: PTH100 - resolve() would follow links, and asks the disk
