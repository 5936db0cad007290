"""The arguments of a batch, checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import attrs

from .._api.endpoints import plain_value
from .._arguments import check_choice, check_count, check_flag, check_function, check_path
from .outcomes import BatchProgress

OnUncertain: TypeAlias = Literal["report", "retry", "raise"]
_SEPARATORS = frozenset("/\\")
_WITHOUT_FILES = ("result", "task")
OnBatchProgress: TypeAlias = Callable[[BatchProgress], Awaitable[None] | None]


def _kinds(results: object) -> tuple[str, ...]:
    if results == "result":
        return ("result",)
    if isinstance(results, str | Enum):
        results = (results,)
    if isinstance(results, bytes) or not isinstance(results, Iterable):
        raise TypeError(f"results is {results!r:.60}: pass 'result', 'task' or kinds of files")
    kinds = tuple(plain_value(kind) for kind in results)
    for kind in kinds:  # each becomes the suffix of a file's name as well
        is_suffix = isinstance(kind, str) and kind.isprintable() and _SEPARATORS.isdisjoint(kind)
        if not is_suffix or not kind.strip(" ."):
            raise ValueError(f"invalid kind in results: {kind!r:.60}: pass kinds of files, such as 'srt'")
    return kinds


def _folder(out: object) -> Path:
    check_path("out", out)
    return Path(os.fspath(out))  # type: ignore[call-overload]


@attrs.frozen(kw_only=True)
class BatchOptions:
    """The arguments of `AsyncPolyglot.batch`.

    Attributes:
        sent: the options beside the media, see `sent_options`: part of what makes two pieces of work the same.
    """

    sent: Mapping[str, Any]
    journal: str | os.PathLike[str] | None
    concurrency: int | None
    results: tuple[str, ...] = attrs.field(converter=_kinds)
    out: Path | None = attrs.field(converter=attrs.converters.optional(_folder))
    on_uncertain: OnUncertain
    retry_failed: bool
    on_progress: OnBatchProgress | None

    def __attrs_post_init__(self) -> None:
        if self.journal is not None:
            check_path("journal", self.journal)
        if self.concurrency is not None:
            check_count("concurrency", self.concurrency)
        check_choice("on_uncertain", self.on_uncertain, get_args(OnUncertain))
        check_flag("retry_failed", self.retry_failed)
        if self.on_progress is not None:
            check_function("on_progress", self.on_progress)
        if not self.results:
            raise ValueError("results is empty: pass 'result', 'task' or kinds of files")
        if len(self.results) == 1 and self.results[0] in _WITHOUT_FILES:
            return
        if not set(_WITHOUT_FILES).isdisjoint(self.results):
            raise ValueError(f"results is {self.results!r:.60}: 'result' and 'task' cannot be combined with others")
        if self.out is None or not self.out.is_dir():
            raise ValueError(f"to download {', '.join(self.results)}, pass out= as an existing folder, not {self.out}")
