"""What a person named for transcription: files, folders to walk, URLs; looked at before anything is sent."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import attrs

from .._errors import MediaError
from .._uploads.media_types import MEDIA_SUFFIXES
from .._uploads.sources import media_from
from ._failures import InputError
from ._files import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHOWN_PROBLEMS = 3


@attrs.frozen
class Source:
    """One thing to transcribe.

    Attributes:
        given: a path or a URL, as it is shown and sent.
        path: the file, or None for a URL.
        below: the folders between a walked folder and the file.
    """

    given: str
    path: Path | None = None
    below: Path = Path()

    @property
    def name(self) -> str:
        """The file's name; of a URL, the last part of its path."""
        if self.path is not None:
            return self.path.name
        return safe_name(unquote(PurePosixPath(urlsplit(self.given).path).name) or "audio")


def find_sources(named: Iterable[str]) -> list[Source]:
    """Find what the arguments name, each file once.

    Raises:
        InputError: something is missing, unreadable or empty. Files found by walking are not looked into: one bad
            file in an archive fails by itself, later.
    """
    found: dict[object, Source] = {}
    problems: list[str] = []
    for word in named:
        try:
            for source in _expand(word):
                found.setdefault(source.path.resolve() if source.path is not None else source.given, source)
        except InputError as error:
            problems.append(str(error))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            problems.append(f"{word}: cannot be read: {getattr(error, 'strerror', None) or error}")
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        also = f"; and {more} more like this" if more > 0 else ""
        raise InputError("; ".join(problems[:_SHOWN_PROBLEMS]) + also + "; nothing was sent")
    return list(found.values())


def check_file(path: Path) -> None:
    """See that a file can be sent.

    Raises:
        InputError: missing, unreadable, empty, or no file at all.
    """
    try:
        media_from(path)
    except MediaError as error:
        raise InputError(error.message) from None


def checked_url(word: str) -> str:
    """See that it is a URL that a service can fetch.

    Raises:
        InputError: it is not.
    """
    try:
        parts = urlsplit(word)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise InputError(f"{word}: is not an http or https URL")
    # The core tells a URL by its beginning, in lower case.
    return f"{parts.scheme.lower()}{word[len(parts.scheme) :]}"


def _expand(word: str) -> Iterator[Source]:
    if "://" in word:
        yield Source(checked_url(word))
        return
    if not word.strip():
        # Path("") is the current folder, and an unset variable of a script no order to send all of that.
        raise InputError("an empty name names nothing")
    path = Path(word)
    if not path.is_dir():
        check_file(path)
        yield Source(word, path)
        return
    files = list(_walk(path))
    if not files:
        raise InputError(f"{word}: there are no audio or video files in this folder")
    yield from (Source(str(file), file, file.parent.relative_to(path)) for file in files)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.rpartition(".")[2].lower() in MEDIA_SUFFIXES:
                yield Path(parent, name)
