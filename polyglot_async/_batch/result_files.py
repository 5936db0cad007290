"""The result files of a batch: names that no two items share, in this process or another, and their download."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from .. import _downloads
from .._api import endpoints
from .outcomes import stem_of, unique_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .._http.transport import Transport
    from .._models import Task
    from .item import BatchItem


@attrs.define(eq=False)
class ResultFiles:
    """The folder of a batch's result files. What another owns, now or earlier, is never overwritten.

    Attributes:
        transport: sends the requests.
        out: the folder.
        kinds: of the files of each item; each is a suffix as well.
    """

    transport: Transport
    out: Path
    kinds: Sequence[str]
    _reserved: set[Path] = attrs.field(factory=set, init=False)

    @contextmanager
    def reserve(self, found: BatchItem, task: Task) -> Iterator[Mapping[str, Path]]:
        """Choose the paths of an item's files, which no other item of this batch is given meanwhile."""
        for stem in (stem_of(found.name), unique_name(found.name, task.task_id)):
            paths = {kind: self.out / f"{stem}.{kind}" for kind in self.kinds}
            if not any(path in self._reserved or path.exists() for path in paths.values()):
                break
        self._reserved.update(paths.values())
        try:
            yield paths
        finally:
            self._reserved.difference_update(paths.values())

    async def download(self, found: BatchItem, task: Task, kind: str, path: Path) -> Path:
        """Download to `path`, or to a name that only this task has where another batch has taken the path meanwhile."""
        own = path.with_name(f"{unique_name(found.name, task.task_id)}.{kind}")
        if path != own:
            with suppress(_downloads.PathTakenError):
                return await self._save(task, kind, path, overwrite=False)
        return await self._save(task, kind, own, overwrite=True)

    async def _save(self, task: Task, kind: str, path: Path, *, overwrite: bool) -> Path:
        file = _downloads.RangedFile(self.transport, endpoints.download(task.task_id, kind))
        return await _downloads.download_file(file, path, overwrite=overwrite)
