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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


def make_folders(bases: Mapping[Source, Path]) -> None:
    """Make the folders that results go to.

    Raises:
        InputError: one cannot be made or written to.
    """
    for folder in sorted({base.parent for base in bases.values()}):
        make_folder(folder)


def files_there(bases: Mapping[Source, Path], suffixes: Sequence[str]) -> dict[Source, list[Path]]:
    """Give the sources of whose result files some are there already, and which."""
    all_files = {source: [beside(base, suffix) for suffix in suffixes] for source, base in bases.items()}
    there = {source: [file for file in files if os.path.lexists(file)] for source, files in all_files.items()}
    return {source: files for source, files in there.items() if files}


def refuse_files(there: Iterable[Path]) -> None:
    """Refuse to go on if there are any.

    Raises:
        InputError: a file would be replaced.
    """
    files = list(there)
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise InputError(f"{files[0]}{more}: exists already (--overwrite replaces it); nothing was sent")


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
