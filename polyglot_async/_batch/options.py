"""The arguments of a batch, checked before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from .._api.endpoints import check_options, plain_value
from .outcomes import BatchProgress

if TYPE_CHECKING:
    from pathlib import Path

OnUncertain: TypeAlias = Literal["report", "retry", "raise"]
OnBatchProgress: TypeAlias = Callable[[BatchProgress], Awaitable[None] | None]


def _check_concurrency(_: object, __: object, concurrency: int | None) -> None:
    value: object = concurrency
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"concurrency is {value!r}: pass 1 or more")


def _check_uncertain(_: object, __: object, value: str) -> None:
    if value not in {"report", "retry", "raise"}:
        raise ValueError(f"on_uncertain is {value!r}: pass 'report', 'retry' or 'raise'")


@attrs.frozen(kw_only=True)
class BatchOptions:
    """The arguments of `AsyncPolyglot.batch`."""

    options: Mapping[str, Any]
    extra: Mapping[str, Any] | None
    journal: str | os.PathLike[str] | None
    concurrency: int | None = attrs.field(validator=_check_concurrency)
    results: Sequence[str]
    out: Path | None
    on_uncertain: OnUncertain = attrs.field(validator=_check_uncertain)
    retry_failed: bool
    on_progress: OnBatchProgress | None

    def __attrs_post_init__(self) -> None:
        check_options(self.options, self.extra)
        for name, value, expected, is_right in (
            ("journal", self.journal, "a path", isinstance(self.journal, str | os.PathLike)),
            ("extra", self.extra, "a mapping of names to values", isinstance(self.extra, Mapping)),
            ("on_progress", self.on_progress, "a function", callable(self.on_progress)),
        ):
            if value is not None and not is_right:
                raise TypeError(f"{name} is {value!r:.60}: pass {expected}, or None")
        if not self.results:
            raise ValueError("results is empty: pass 'result', 'task' or kinds of files")
        if self.results not in {("result",), ("task",)} and (self.out is None or not self.out.is_dir()):
            raise ValueError(f"to download {', '.join(self.results)}, pass out= as an existing folder, not {self.out}")

    @property
    def all(self) -> Mapping[str, Any]:
        """All options beside the media, as sent: part of what makes two pieces of work the same."""
        sent: Mapping[str, Any] = plain_value({**self.options, **(self.extra or {})})
        return sent
