"""Changes fields of a JSON answer: how any odd but possible answer of the service is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._fault import Fault


def rewrite(document: Any, fault: Fault) -> None:
    """Change a document in place, and each task of a list, as a rewrite fault says."""
    for target in _targets(document):
        if all(_holds(target, path, value) for path, value in fault.conditions):
            _change(target, fault)


def _change(target: dict[str, Any], fault: Fault) -> None:
    for path, value in fault.assignments:
        for parent, key in _places(target, path):
            parent[key] = value
    for path in fault.drop:
        for parent, key in _places(target, path):
            if isinstance(parent, dict):
                parent.pop(key, None)
    if fault.utc_offset is not None:
        _localise(target, timedelta(hours=fault.utc_offset))


def _targets(document: Any) -> Iterator[dict[str, Any]]:
    items = document if isinstance(document, list) else [document]
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        items = [*document["items"], document]
    yield from (item for item in items if isinstance(item, dict))


def _holds(target: Any, path: str, value: Any) -> bool:
    places = list(_places(target, path))
    return bool(places) and all(
        (parent.get(key) if isinstance(parent, dict) else parent[key]) == value for parent, key in places
    )


def _places(node: Any, path: str) -> Iterator[tuple[Any, Any]]:
    """Find what a path names: each container with a key or an index; a key need not be there, its container must."""
    *parents, last = path.split(".")
    nodes = [node]
    for name in parents:
        nodes = [
            parent[key] for parent in nodes for key in _keys(parent, name) if isinstance(key, int) or key in parent
        ]
    for parent in nodes:
        yield from ((parent, key) for key in _keys(parent, last))


def _keys(node: Any, name: str) -> list[Any]:
    if isinstance(node, dict):
        return list(node) if name == "*" else [name]
    if isinstance(node, list):
        if name == "*":
            return list(range(len(node)))
        return [int(name)] if name.isascii() and name.isdecimal() and int(name) < len(node) else []
    return []


def _localise(target: dict[str, Any], offset: timedelta) -> None:
    for name, value in target.items():
        if not name.endswith("_at") or not isinstance(value, str):
            continue
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            continue
        if at.tzinfo is not None:
            target[name] = (at.astimezone(UTC) + offset).replace(tzinfo=None).isoformat()
