"""What a batch returns: an outcome for each item, and its progress."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

import attrs

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from .._errors import PolyglotError
    from .._models import Task, Transcript

BatchSource: TypeAlias = "str | os.PathLike[str] | bytes | tuple[str, bytes]"
"""A path, an http(s) URL, bytes, or a pair of a name and bytes."""


@attrs.frozen(kw_only=True)
class Outcome:
    """How one item of a batch ended.

    Attributes:
        source: the item as it was given.
        name: its file name, or its URL without user, password and query. Two items may have the same.
        key: fingerprint of the content and of the options; None without a journal.
        task: the task as last seen, or None if none was started.
        transcript: the transcript, where that was asked for.
        files: result files that were downloaded.
        error: why there is no result, or None.
        attempts: submissions of this run of which at least one byte left.
        timings: seconds spent on "upload" (waiting for permits included), "task" and "result".
    """

    source: BatchSource = attrs.field(repr=lambda source: f"{source!r:.60}")
    name: str
    key: str | None = None
    task: Task | None = None
    transcript: Transcript | None = None
    files: tuple[Path, ...] = ()
    error: PolyglotError | None = None
    attempts: int = 0
    timings: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    @property
    def unique_name(self) -> str:
        """A name for result files that no other item has, in this batch or a later one: the stem and the task's id."""
        return stem_of(self.name) if self.task is None else unique_name(self.name, self.task.task_id)


@attrs.frozen(kw_only=True)
class Upload:
    """An upload under way: bytes sent, and in all where known."""

    name: str
    sent: int
    total: int | None


@attrs.frozen(kw_only=True)
class BatchProgress:
    """Progress of a batch.

    Attributes:
        taken: items read from the sources so far.
        uploading: uploads under way.
        processing: tasks that the service works on.
        done: items with a result.
        failed: items without one.
        uncertain: of the failed, those of which it cannot be found out whether they were started.
        skipped: items that the journal knew as ended.
        requests_today: requests counted against the day, as far as this client knows.
    """

    taken: int = 0
    uploading: tuple[Upload, ...] = ()
    processing: int = 0
    done: int = 0
    failed: int = 0
    uncertain: int = 0
    skipped: int = 0
    requests_today: int = 0


_LONGEST_STEM_BYTES = 150
"""The task's id, the suffix and those of an unfinished download must fit behind it."""


def unique_name(name: str, task_id: str) -> str:
    """Return a name for result files that no other task has."""
    return f"{stem_of(name)}-{re.sub(r'[^A-Za-z0-9-]', '_', task_id)}"


def stem_of(name: str) -> str:
    """Return a file name's stem, or that of the last part of a URL, short enough for any suffix."""
    if "://" in name:
        name = unquote(re.split(r"[?#]", name, maxsplit=1)[0].rpartition("/")[2])
    stem = Path(name.replace("/", "_")).stem.encode("utf-8", "replace")[:_LONGEST_STEM_BYTES].decode("utf-8", "ignore")
    return stem or "result"
