"""Packages that load a module when the first of its names is used (PEP 562)."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # from `typing`, which takes longer to import than all that stands here
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package: `modules` says in which of its modules a name is; its own is the module.

    Type checkers read the same names from imports under `if TYPE_CHECKING`, and must not see it: to them a package that
    has a `__getattr__` has every name.
    """

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{modules[name]}", package)
        value = module if modules[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)  # from now on it is found without this
        return value

    return load
