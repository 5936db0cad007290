"""Where results go on disk. Nothing is replaced unless the person says so."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path, PurePath

from ._failures import InputError

STDOUT = Path("-")
_LONGEST_NAME = 150


def safe_name(name: str) -> str:
    """Make a file name of words that came from elsewhere: a name is never a path."""
    name = PurePath(name.replace("\\", "/")).name
    name = "".join(character if character.isprintable() and character not in '<>:"|?*' else "_" for character in name)
    name = name.strip(" .") or "file"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    return stem[: _LONGEST_NAME - len(suffix)] + suffix[:_LONGEST_NAME]


def checked_target(path: Path, *, overwrite: bool) -> Path:
    """Check that a file can be written there, before anything is asked for.

    Raises:
        InputError: there is one already, or the folder is missing or closed to us.
    """
    if path == STDOUT:
        return path
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path}: exists already (--overwrite replaces it)")
    check_folder(path.parent)
    return path


def check_folder(folder: Path) -> None:
    """Check that files can be put there.

    Raises:
        InputError: it is missing, no folder, or closed to us.
    """
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written to (permission denied)")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
    check_folder(folder)


def free_path(path: Path, content: bytes) -> Path:
    """Give `path`, or the next like it, "-2" and so on, that holds nothing or these very bytes."""
    number, candidate = 1, path
    while os.path.lexists(candidate) and not _holds(candidate, content):
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def put(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text as UTF-8. The file appears whole or not at all, and is on the disk when this returns.

    Raises:
        FileExistsError: something else is there and is not to be replaced.
        OSError: it cannot be written.
    """
    content = text.encode("utf-8", "replace")
    if os.path.lexists(path) and not overwrite:
        if _holds(path, content):
            return
        raise FileExistsError(errno.EEXIST, "exists already (--overwrite replaces it)", os.fspath(path))
    beside = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a journal may say at once that it is done
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system can
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
