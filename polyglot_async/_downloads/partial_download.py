"""A partial download: a file that grows in any order, survives its process, and is renamed to its target when whole.

Beside the target `x` are `x.part`, the bytes, and `x.part.json`, the state: which bytes are there, and of which version
of the source. The state is written only after the bytes have been flushed to the disk, so that it never claims what a
power cut has taken.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import TransferError
from .._files import flush_folder
from .ranges import ByteRanges, Validator, add_range, covered_bytes, missing_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment, unused-ignore]

CHECKPOINT_BYTES = 64 << 20
_STATE_VERSION = 1
_LOCKED = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
"""What a lock that another holds is reported as (flock(2), and fcntl(2) where a network file system uses that)."""


class PathTakenError(TransferError):
    """A path that is to be written is another's: a file is there, or another download is writing it."""


class PartialDownload:
    """One download's file on the disk. All methods block: call them in a worker thread.

    Attributes:
        target: where the whole file will appear.
        total: the size that the whole will have, once known.
        done: the ranges that are there.
        validator: the version of the source that they are of.
    """

    def __init__(
        self, target: str | os.PathLike[str], source_id: str, *, checkpoint_bytes: int = CHECKPOINT_BYTES
    ) -> None:
        """Open and lock the file for a download of `source_id`; keep an earlier run's bytes if they can be trusted.

        Every `checkpoint_bytes` the bytes are flushed and the state is saved.

        Raises:
            TransferError: the target cannot be written, another download writes to it, or it cannot be locked.
        """
        self.target = Path(target)
        if self.target.is_dir():
            raise TransferError(f"{self.target}: is a directory, not a file")
        self._part = self.target.with_name(f"{self.target.name}.part")
        self._state = self.target.with_name(f"{self.target.name}.part.json")
        self._source_id = source_id
        self.total: int | None = None
        self.done: ByteRanges = ()
        self.validator = Validator()
        self._checkpoint_bytes = checkpoint_bytes
        self._unsaved = 0
        self._file = self._open()
        self._load()

    @property
    def done_bytes(self) -> int:
        """Number of bytes that are there."""
        return covered_bytes(self.done)

    def begin(self, total: int | None, validator: Validator) -> None:
        """Note the size and version of what will be written; drop bytes of another version, and reserve disk space.

        `total` is None where the size is not known before the end; set the attribute then.

        Raises:
            TransferError: the disk has too little space.
        """
        # Without a validator nobody can tell whether an earlier run's bytes are of the same file (A7).
        if total != self.total or validator != self.validator or validator.if_range is None:
            self.done = ()
        self.total, self.validator = total, validator
        with _disk_errors(self.target):
            if not self.done and self._state.exists():  # it tells of bytes that are overwritten from here on
                self._state.unlink()
                flush_folder(self._state.parent)
            _check_free_space(self._part, (total or 0) - self.done_bytes)
            self._file.truncate(total or 0)
            if total and hasattr(os, "posix_fallocate"):
                with suppress(OSError):  # some file systems cannot; the file is sparse there
                    os.posix_fallocate(self._file.fileno(), 0, total)

    def reset(self) -> None:
        """Drop the bytes of an earlier run."""
        self.total, self.done, self.validator = None, (), Validator()

    def write_at(self, offset: int, chunk: bytes | memoryview) -> None:
        """Write a chunk at its position.

        Raises:
            TransferError: the disk refuses.
        """
        view = memoryview(chunk)
        with _disk_errors(self.target):
            self._file.seek(offset)
            while view:
                view = view[self._file.write(view) :]
        self.done = add_range(self.done, offset, offset + len(chunk))
        self._unsaved += len(chunk)
        if self._unsaved >= self._checkpoint_bytes:
            self.save()

    def missing(self) -> ByteRanges:
        """Return the ranges that are not there yet; none while the size is unknown."""
        return missing_ranges(self.done, self.total or 0)

    def save(self) -> None:
        """Flush the bytes to the disk, then write the state."""
        self._unsaved = 0
        with _disk_errors(self.target):
            os.fsync(self._file.fileno())
            state = {
                "version": _STATE_VERSION,
                "source": self._source_id,
                "total": self.total,
                "etag": self.validator.etag,
                "last_modified": self.validator.last_modified,
                "done": self.done,
            }
            temporary = self._state.with_name(f"{self._state.name}.tmp")
            temporary.write_text(json.dumps(state), encoding="utf-8")
            temporary.replace(self._state)  # not flushed: a state that a power cut took or tore means to start over

    def finish(self) -> Path:
        """Flush the whole file and rename it to its target; return the target.

        Raises:
            TransferError: bytes are missing, or the disk refuses.
        """
        if self.total is None or self.missing():
            raise TransferError(f"{self.target}: {self.done_bytes} of {self.total} bytes are there")
        with _disk_errors(self.target):
            self._file.truncate(self.total)
            os.fsync(self._file.fileno())
            if fcntl is None:  # Windows renames no open file
                self._file.close()
            # Closing releases the lock, so the names go first: the next to lock must not find our file under them.
            self._part.replace(self.target)
            self._state.unlink(missing_ok=True)
            self._file.close()
            flush_folder(self.target.parent)
        return self.target

    def close(self) -> None:
        """Close an unfinished file and save its state for a later run; delete it where it cannot be resumed."""
        if self._file.closed:
            return
        try:
            if self.done and self.validator.if_range is not None:
                self.save()
            else:
                self._part.unlink(missing_ok=True)
                self._state.unlink(missing_ok=True)
        finally:
            self._file.close()

    def _open(self) -> FileIO:
        while True:
            with _disk_errors(self.target):
                # "r+b" does not create a file, and every other mode empties it or ignores positions.
                self._part.touch()
                file = self._part.open("r+b", buffering=0)
            if fcntl is None:
                return file
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise _lock_error(self._part, error) from error
            if _is_at(file, self._part):
                return file
            # The last holder of the lock has renamed this file to its target meanwhile: it is no longer ours to write.
            file.close()

    def _load(self) -> None:
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            if state["version"] != _STATE_VERSION or state["source"] != self._source_id:
                return
            done: ByteRanges = ()
            for start, stop in state["done"]:
                done = add_range(done, int(start), int(stop))
            size = os.fstat(self._file.fileno()).st_size
            if done and (done[0][0] < 0 or done[-1][1] > min(size, int(state["total"]))):
                return
            self.total, self.done = int(state["total"]), done
            self.validator = Validator(state["etag"], state["last_modified"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # no state, or none that can be trusted: start over


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """Raise OSError as TransferError."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, a closed file
        reason = getattr(error, "strerror", None) or str(error)
        raise TransferError(f"{target}: cannot be written: {reason}") from error


def _lock_error(path: Path, error: OSError) -> TransferError:
    if error.errno in _LOCKED:
        return PathTakenError(f"{path}: another download is writing here: wait for it, or choose another path")
    # Not written without a lock either: of two downloads to one path, each would write into the other's bytes.
    return TransferError(
        f"{path}: cannot be locked against other downloads ({error.strerror}), as on some network file systems: "
        "choose a path on a local disk, and move the file when it is complete"
    )


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _check_free_space(path: Path, size: int) -> None:
    """Raise OSError before the transfer, not at its end, if the disk is too small."""
    if hasattr(os, "statvfs"):
        found = os.statvfs(path)
        if found.f_bavail * found.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
