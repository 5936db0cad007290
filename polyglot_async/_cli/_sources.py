"""The sources of a transcription (files, folders, URLs), and the files that their results go to.

Two sources never share a result file.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import attrs

from .._api.urls import bare_url, clean_url, is_media_url
from .._errors import MediaError
from .._uploads.media_types import MEDIA_SUFFIXES
from .._uploads.sources import media_from
from ._error_report import InputError
from ._output_files import ALREADY_EXISTS, make_folder, safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FORMATS = ("srt", "vtt", "txt", "json")
_MAX_PROBLEMS_SHOWN = 3


@attrs.frozen
class Source:
    """One thing to transcribe.

    Attributes:
        given: a path or a URL, as it is sent.
        path: the file, or None for a URL.
        subfolder: the folders between a walked folder and the file.
    """

    given: str
    path: Path | None = None
    subfolder: Path = Path()

    @property
    def name(self) -> str:
        """The file's name; of a URL, the last part of its path."""
        if self.path is not None:
            return self.path.name
        return safe_name(unquote(PurePosixPath(urlsplit(self.given).path).name) or "audio")

    @property
    def label(self) -> str:
        """What is shown of it: the path, or the URL without its secrets."""
        return self.given if self.path is not None else bare_url(self.given)


def find_sources(arguments: Iterable[str], repeated: list[Source] | None = None) -> list[Source]:
    """Return what the arguments name, each file once; folders are searched for media files.

    What names a file or a URL that was named before is appended to `repeated`.

    Raises:
        InputError: something is missing, unreadable or empty. Files found in folders are not opened: one bad file in
            an archive fails by itself, later.
    """
    found: dict[object, Source] = {}
    problems: list[str] = []
    for argument in arguments:
        try:
            for source in _expand(argument):
                key = source.path.resolve() if source.path is not None else source.given
                if found.setdefault(key, source) is not source and repeated is not None:
                    repeated.append(source)
        except InputError as error:
            problems.append(error.message)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            problems.append(f"{argument}: cannot be read: {getattr(error, 'strerror', None) or error}")
    if problems:
        more = len(problems) - _MAX_PROBLEMS_SHOWN
        also = f"; and {more} more problems" if more > 0 else ""
        raise InputError("; ".join(problems[:_MAX_PROBLEMS_SHOWN]) + also + "; nothing was sent")
    return list(found.values())


def check_file(path: Path) -> None:
    """Check that a file can be uploaded.

    Raises:
        InputError: missing, unreadable, empty, or not a regular file.
    """
    try:
        media_from(path)
    except MediaError as error:
        raise InputError(error.message) from None


def parse_url(text: str) -> str:
    """Return an http(s) URL without the spaces around it and with its scheme in lower case.

    Raises:
        InputError: it is not one.
    """
    try:
        return clean_url(text)
    except MediaError as error:
        raise InputError(error.message) from None


def parse_formats(text: str) -> tuple[str, ...]:
    """Parse "srt,txt".

    Raises:
        InputError: one is unknown, or there is none.
    """
    words = dict.fromkeys(word.strip().lower().removeprefix(".") for word in text.split(",") if word.strip())
    unknown = [word for word in words if word not in FORMATS]
    if unknown or not words:
        raise InputError(f"invalid --format: {', '.join(unknown) or 'none given'} (choose from {', '.join(FORMATS)})")
    return tuple(words)


def plan_base_paths(sources: Sequence[Source], out: Path | None, suffixes: Sequence[str]) -> dict[Source, Path]:
    """Return for each source the path of its result files, without suffix.

    The stem where that is unique, else the whole name ("talk.mp3" -> "talk.mp3.srt"), else with a number.
    """
    stems = {source: _folder(source, out) / Path(source.name).stem for source in sources}
    names = {source: _folder(source, out) / source.name for source in sources}
    uses = Counter(_comparable(path) for path in stems.values())
    taken = {_comparable(source.path) for source in sources if source.path is not None}
    planned: dict[Source, Path] = {}
    # Those that keep their stem go first, so that no fallback of another takes it.
    for source in sorted(sources, key=lambda source: uses[_comparable(stems[source])] > 1):
        first = [stems[source]] if uses[_comparable(stems[source])] == 1 else []
        candidates = chain(first, _numbered(names[source]))
        base = next(path for path in candidates if not taken & _comparable_outputs(path, suffixes))
        taken |= _comparable_outputs(base, suffixes)
        planned[source] = base
    return planned


def with_suffix(base: Path, suffix: str) -> Path:
    """Append a suffix to a path that may contain dots of its own."""
    return base.with_name(f"{base.name}.{suffix}")


def make_output_folders(base_paths: Mapping[Source, Path]) -> None:
    """Make the folders of the result files.

    Raises:
        InputError: one cannot be made or written to.
    """
    for folder in sorted({base.parent for base in base_paths.values()}):
        make_folder(folder)


def existing_outputs(base_paths: Mapping[Source, Path], suffixes: Sequence[str]) -> dict[Source, list[Path]]:
    """Return the result files that exist already, for the sources that have some."""
    planned = {source: [with_suffix(base, suffix) for suffix in suffixes] for source, base in base_paths.items()}
    existing = {source: [file for file in files if os.path.lexists(file)] for source, files in planned.items()}
    return {source: files for source, files in existing.items() if files}


def refuse_existing(files: Sequence[Path]) -> None:
    """Refuse to go on if there are any files.

    Raises:
        InputError: a file would be replaced.
    """
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise InputError(f"{files[0]}{more}: {ALREADY_EXISTS}; nothing was sent")


def _expand(argument: str) -> Iterator[Source]:
    if is_media_url(argument) or "://" in argument:  # another scheme is a mistake, and not a path
        yield Source(parse_url(argument))
        return
    if not argument.strip():
        # Path("") is the current folder, and an unset variable of a script must not send all of that.
        raise InputError("a source is empty: name a file, a folder or a URL")
    path = Path(argument)
    if not path.is_dir():
        check_file(path)
        yield Source(argument, path)
        return
    files = list(_walk(path))
    if not files:
        raise InputError(f"{argument}: no audio or video files in this folder")
    yield from (Source(str(file), file, file.parent.relative_to(path)) for file in files)


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.rpartition(".")[2].lower() in MEDIA_SUFFIXES:
                yield Path(parent, name)


def _folder(source: Source, out: Path | None) -> Path:
    if out is not None:
        return out / source.subfolder
    return source.path.parent if source.path is not None else Path()


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _comparable_outputs(base: Path, suffixes: Sequence[str]) -> set[str]:
    return {_comparable(with_suffix(base, suffix)) for suffix in suffixes}


def _comparable(path: Path) -> str:
    # Folded: on a disk that ignores case, Talk.srt and talk.srt are one file.
    return os.path.abspath(path).casefold()  # noqa: PTH100 - resolve() would follow links, and asks the disk
