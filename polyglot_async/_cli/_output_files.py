"""Write result files. Nothing is replaced without --overwrite."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePath

from .._files import write_durably
from ._error_report import InputError

STDOUT = Path("-")
ALREADY_EXISTS = "already exists (--overwrite replaces it)"
_MAX_NAME_LENGTH = 150


def safe_name(name: str) -> str:
    """Make a file name of text from elsewhere: without folders, and with characters that every system takes."""
    name = PurePath(name.replace("\\", "/")).name
    name = "".join(character if character.isprintable() and character not in '<>:"|?*' else "_" for character in name)
    name = name.strip(" .") or "file"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    return stem[: _MAX_NAME_LENGTH - len(suffix)] + suffix[:_MAX_NAME_LENGTH]


def check_output_path(path: Path, *, overwrite: bool) -> Path:
    """Return `path` if a file can be written there. Called before any request.

    Raises:
        InputError: it exists already, or its folder is missing or not writable.
    """
    if path == STDOUT:
        return path
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it")
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path}: {ALREADY_EXISTS}")
    check_folder(path.parent)
    return path


def check_folder(folder: Path) -> None:
    """Check that files can be written there.

    Raises:
        InputError: it is missing, not a folder, or not writable.
    """
    if not folder.exists():
        raise InputError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: permission denied: files cannot be written there")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        InputError: it cannot be made, or not written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder: {error.strerror or error}") from None
    check_folder(folder)


def write_file(path: Path, text: str, *, overwrite: bool) -> None:
    """Write text as UTF-8. The file appears whole or not at all, and is on the disk when this returns.

    Raises:
        FileExistsError: a file with other content exists, and `overwrite` is false.
        OSError: it cannot be written.
    """
    content = text.encode("utf-8", "replace")
    try:
        write_durably(path, content, overwrite=overwrite)  # a journal may note at once that it is done
    except FileExistsError:
        if not _has_content(path, content):
            raise FileExistsError(errno.EEXIST, ALREADY_EXISTS, os.fspath(path)) from None


def write_beside_others(path: Path, text: str) -> Path:
    """Write text to `path`, or to the first of "path-2", "path-3" and so on that is missing; return where it stands.

    One that has this content already is kept.

    Raises:
        OSError: it cannot be written.
    """
    number, candidate = 1, path
    while True:
        try:
            write_file(candidate, text, overwrite=False)
        except FileExistsError:
            number += 1
            candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return candidate


def _has_content(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
