"""What a batch tells: an outcome for each item, and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from .._errors import PolyglotError
    from .._models import Task, Transcript

BatchSource: TypeAlias = "str | os.PathLike[str] | bytes | tuple[str, bytes]"
"""A path, an http(s) URL, bytes, or a pair of a name and bytes."""


@attrs.frozen(kw_only=True)
class Outcome:
    """How one item of a batch ended.

    Attributes:
        source: the item as it was given.
        name: its file name, or its URL.
        key: fingerprint of the content and of what was asked for; None without a journal.
        task: the task as last seen, or None if none was started.
        transcript: what it says, where that was asked for.
        files: result files that were downloaded.
        error: why there is no result, or None.
        attempts: submissions that were made in this run.
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


@attrs.frozen(kw_only=True)
class Upload:
    """An upload under way: bytes sent, and in all where known."""

    name: str
    sent: int
    total: int | None


@attrs.frozen(kw_only=True)
class BatchProgress:
    """How far a batch has come.

    Attributes:
        taken: items read from the sources so far.
        uploading: uploads under way.
        processing: tasks that the service works on.
        done: items with a result.
        failed: items without one.
        uncertain: of the failed, those of which nobody can tell whether they were started.
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
