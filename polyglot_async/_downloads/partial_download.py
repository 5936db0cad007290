"""A file that grows in any order, survives its process, and appears at its place only when it is whole.

Beside the target `x` stand `x.part`, the bytes, and `x.part.json`, which says which of them are there and of which
version of the source. The second is written only after the first has been flushed to the disk, so that it never claims
what a power cut has taken.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .._errors import TransferError
from .ranges import Spans, Validator, covered_bytes, missing_spans, with_span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment, unused-ignore]

CHECKPOINT_BYTES = 64 << 20
_STATE_VERSION = 1


class PartFile:
    """One download's file. All methods block: call them in a worker thread.

    Attributes:
        total: the size that the whole will have, once known.
        done: the bytes that are there.
        validator: which version of the source they are of.
    """

    def __init__(self, target: str | os.PathLike[str], source_id: str) -> None:
        """Take `target` for a download of `source_id`, going on from an earlier run's bytes if they can be trusted.

        Raises:
            TransferError: the place cannot be written, or another process is downloading there.
        """
        self.target = Path(target)
        if self.target.is_dir():
            raise TransferError(f"{self.target}: is a directory, not a file")
        self._part = self.target.with_name(f"{self.target.name}.part")
        self._state = self.target.with_name(f"{self.target.name}.part.json")
        self._source_id = source_id
        self.total: int | None = None
        self.done: Spans = ()
        self.validator = Validator()
        self._unsaved = 0
        self._file = self._open()
        self._load()

    @property
    def done_bytes(self) -> int:
        """How many bytes are there."""
        return covered_bytes(self.done)

    def begin(self, total: int | None, validator: Validator) -> None:
        """Say what is coming. Bytes of another version are dropped, and room on the disk is taken.

        `total` is None where the size is not known before the end; set the attribute then.

        Raises:
            TransferError: the disk has not that much room.
        """
        # Without a validator nobody can tell whether an earlier run's bytes are of the same file (A7).
        if total != self.total or validator != self.validator or validator.if_range is None:
            self.done = ()
        self.total, self.validator = total, validator
        with _told(self.target):
            _check_room(self._part, (total or 0) - self.done_bytes)
            self._file.truncate(total or 0)
            if total and hasattr(os, "posix_fallocate"):
                with suppress(OSError):  # some file systems cannot; the file is sparse there
                    os.posix_fallocate(self._file.fileno(), 0, total)

    def forget(self) -> None:
        """Trust no byte of an earlier run."""
        self.total, self.done, self.validator = None, (), Validator()

    def write_at(self, offset: int, chunk: bytes | memoryview) -> None:
        """Write a chunk at its position.

        Raises:
            TransferError: the disk refuses.
        """
        view = memoryview(chunk)
        with _told(self.target):
            self._file.seek(offset)
            while view:
                view = view[self._file.write(view) :]
        self.done = with_span(self.done, offset, offset + len(chunk))
        self._unsaved += len(chunk)
        if self._unsaved >= CHECKPOINT_BYTES:
            self.save()

    def missing(self) -> Spans:
        """Say what is not there yet; nothing while the size is unknown."""
        return missing_spans(self.done, self.total or 0)

    def save(self) -> None:
        """Flush the bytes to the disk, then note which are there."""
        self._unsaved = 0
        with _told(self.target):
            os.fsync(self._file.fileno())
            state = {
                "version": _STATE_VERSION,
                "source": self._source_id,
                "total": self.total,
                "etag": self.validator.etag,
                "last_modified": self.validator.last_modified,
                "done": self.done,
            }
            beside = self._state.with_name(f"{self._state.name}.tmp")
            beside.write_text(json.dumps(state), encoding="utf-8")
            beside.replace(self._state)

    def finish(self) -> Path:
        """Flush the whole file and put it in its place, in one step.

        Raises:
            TransferError: bytes are missing, or the disk refuses.
        """
        if self.total is None or self.missing():
            raise TransferError(f"{self.target}: {self.done_bytes} of {self.total} bytes are there")
        with _told(self.target):
            self._file.truncate(self.total)
            os.fsync(self._file.fileno())
            if fcntl is None:  # Windows renames no open file
                self._file.close()
            # Closing gives the lock up, so the names go first: who gets it next must not find our file under them.
            self._part.replace(self.target)
            self._state.unlink(missing_ok=True)
            self._file.close()
            _sync_folder(self.target.parent)
        return self.target

    def close(self) -> None:
        """Close an unfinished file, noting what is there for a later run; drop it where nothing can be gone on from."""
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
            with _told(self.target):
                # "r+b" does not create a file, and every other mode empties it or ignores positions.
                self._part.touch()
                file = self._part.open("r+b", buffering=0)
            if fcntl is None:
                return file
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                raise TransferError(f"{self._part}: another download is writing here") from None
            if _is_at(file, self._part):
                return file
            # Whoever had the lock before has put this file in its place meanwhile: it is no longer ours to write.
            file.close()

    def _load(self) -> None:
        try:
            state = json.loads(self._state.read_text(encoding="utf-8"))
            if state["version"] != _STATE_VERSION or state["source"] != self._source_id:
                return
            spans: Spans = ()
            for start, stop in state["done"]:
                spans = with_span(spans, int(start), int(stop))
            size = os.fstat(self._file.fileno()).st_size
            if spans and (spans[0][0] < 0 or spans[-1][1] > min(size, int(state["total"]))):
                return
            self.total, self.done = int(state["total"]), spans
            self.validator = Validator(state["etag"], state["last_modified"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # no state, or none that can be trusted: begin anew


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Turn what the system says into an error of ours."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, a closed file
        reason = getattr(error, "strerror", None) or str(error)
        raise TransferError(f"{target}: cannot be written: {reason}") from error


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _check_room(path: Path, size: int) -> None:
    """Find out before the transfer, not at its end, that the disk is too small."""
    if hasattr(os, "statvfs"):
        found = os.statvfs(path)
        if found.f_bavail * found.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sync_folder(folder: Path) -> None:
    """Flush the rename itself. Windows cannot open a folder, and there the rename is journalled anyway."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
