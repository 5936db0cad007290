"""The live limits (contract: "Limits"): from the document's `rate_limits`, whose shape is assumed (A10).

Every number in the document is looked at once, by the words on its path. What is not understood is named, never
guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .._models import Limits

_WORD = re.compile(r"[a-z]+")

# Each line: the words that a path must hold, any one of each set; the field of Limits. The first match decides.
_RULES: tuple[tuple[tuple[frozenset[str], ...], str], ...] = (
    ((frozenset({"concurrent", "concurrency", "simultaneous", "parallel"}),), "max_concurrent_tasks"),
    ((frozenset({"audio", "duration"}), frozenset({"seconds", "second", "sec"})), "max_audio_seconds"),
    ((frozenset({"audio", "duration"}), frozenset({"minutes", "min"})), "max_audio_minutes"),
    ((frozenset({"upload", "size", "file"}), frozenset({"bytes", "byte"})), "max_upload_bytes"),
    ((frozenset({"upload", "size", "file"}), frozenset({"mb", "megabytes", "mib"})), "max_upload_megabytes"),
    ((frozenset({"window"}), frozenset({"seconds", "second", "sec"})), "window_seconds"),
    ((frozenset({"uploads", "upload", "submissions"}), frozenset({"minute", "burst"})), "uploads_per_window"),
    ((frozenset({"minute", "burst"}),), "requests_per_window"),
    ((frozenset({"uploads", "upload"}), frozenset({"day", "daily"})), ""),  # the website's own limit, not the API's
    ((frozenset({"day", "daily"}),), "requests_per_day"),
    ((frozenset({"month", "monthly"}),), "requests_per_month"),
)
_WHOLE = frozenset(
    {
        "requests_per_window",
        "uploads_per_window",
        "requests_per_day",
        "requests_per_month",
        "max_concurrent_tasks",
        "max_upload_bytes",
    }
)


def read_limits(document: Any) -> Limits:
    """Read `Limits` out of the documentation's JSON.

    Raises:
        ValueError: it is no object, or has no object `rate_limits`.
    """
    if not isinstance(document, dict) or not isinstance(document.get("rate_limits"), dict):
        raise ValueError("there is no object `rate_limits`")
    raw = document["rate_limits"]
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for path, value in _leaves(raw, ()):
        if path[-2:] == ("plan", "name") or path == ("plan",):
            found["plan"] = str(value)
        elif value is not None and not _take(path, value, found):
            unknown.append(".".join(path))
    _convert_units(found)
    return Limits(**found, not_understood=tuple(unknown), raw=raw)


def _take(path: tuple[str, ...], value: object, found: dict[str, Any]) -> bool:
    field = _field_of(path)
    if field is None or type(value) not in {int, float} or not 0 < value < float(2**63):  # type: ignore[operator]
        return False
    if field and field not in found:
        found[field] = value
    return True


def _field_of(path: tuple[str, ...]) -> str | None:
    """Match the last name by itself first: what stands above it is only a hint."""
    for depth in range(1, len(path) + 1):
        words = frozenset(_WORD.findall(" ".join(path[-depth:]).lower()))
        for wanted, field in _RULES:
            if all(words & any_of for any_of in wanted):
                return field
    return None


def _convert_units(found: dict[str, Any]) -> None:
    if (minutes := found.pop("max_audio_minutes", None)) is not None:
        found.setdefault("max_audio_seconds", minutes * 60)
    if (megabytes := found.pop("max_upload_megabytes", None)) is not None:
        found.setdefault("max_upload_bytes", megabytes * 1_000_000)
    for field in _WHOLE & found.keys():
        found[field] = int(found[field])


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping) and len(path) < 8:  # noqa: PLR2004 - deeper than any real document
        for name, item in value.items():
            yield from _leaves(item, (*path, str(name)))
    elif path:
        yield path, value
