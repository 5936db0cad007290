"""Files that appear whole or not at all, and are on the disk when the call returns."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


def write_durably(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write beside `path` and rename; a link is followed, and a file that is replaced keeps its mode. Blocks.

    Without `overwrite`, nothing is replaced, not even what appears at `path` meanwhile.

    Raises:
        FileExistsError: without `overwrite`, something is there.
        OSError: it cannot be written; what was there before is still there.
    """
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    target = Path(os.path.realpath(path))
    mode: int | None = None
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
    if mode is not None and not stat.S_ISREG(mode):  # a device, a pipe; a folder raises
        path.write_bytes(content)
        return
    beside = target.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        with beside.open("xb") as file:
            if mode is not None:
                beside.chmod(stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(target)
        else:
            _rename_to_free_name(beside, target)
        flush_folder(target.parent)
    finally:
        beside.unlink(missing_ok=True)


def _rename_to_free_name(file: Path, target: Path) -> None:
    """Rename a file as `os.rename` does, but raise FileExistsError where something has the new name."""
    try:
        target.hardlink_to(file)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without hard links
        # The name is taken first; a crash between the two steps leaves an empty file, and never a part of one.
        target.open("xb").close()
        file.replace(target)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries, without which a file that was renamed may be gone after a power cut. Blocks.

    Raises:
        OSError: the disk refuses. A folder that cannot be opened, or a file system without this, is no error.
    """
    if os.name != "posix":  # elsewhere a folder cannot be opened, and renames are journalled
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a file system without it
            raise
    finally:
        os.close(descriptor)
