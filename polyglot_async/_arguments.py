"""Checks of arguments: nonsense is refused before anything is sent, with the argument's name and what to pass. Pure.

A wrong type is a TypeError, a wrong value a ValueError. A client, a webhook receiver and its stores raise both as
`ConfigurationError`: see `as_configuration_error`.
"""

from __future__ import annotations

import math
import os
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_seconds(name: str, value: object, *, above: bool = False, needed: bool = False) -> None:
    """Raise for what is no finite number of seconds from 0 on; with `above`, 0 is none either.

    None stands for no bound, unless seconds are `needed`.
    """
    if value is None and not needed:
        return
    what = f"seconds {'above 0' if above else 'from 0 on'}{'' if needed else ', or None'}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r:.60}: pass {what}")
    if not (value > 0 if above else value >= 0) or value == math.inf:
        raise ValueError(f"{name} is {value!r:.60}: pass {what}")


def check_number(name: str, value: object) -> None:
    """Raise for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r:.60}: pass a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}: pass a finite number")


def check_whole(name: str, value: object) -> int:
    """Return a whole number; raise for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r:.60}: pass a whole number")
    return value


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise for what is no whole number of at least `least`."""
    if check_whole(name, value) < least:
        raise ValueError(f"{name} is {value!r:.60}: pass {least} or more")


def check_flag(name: str, value: object) -> None:
    """Raise for what is neither True nor False: the text "false" would count as true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r:.60}: pass True or False")


def check_function(name: str, value: object) -> None:
    """Raise for what cannot be called; None stands for no function."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} is {value!r:.60}: pass a function, or None")


def check_path(name: str, value: object) -> None:
    """Raise for what is no path of text: bytes are media everywhere else."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} is {value!r:.60}: pass a path, as str or Path")
    if not os.fspath(value):  # `Path("")` would be the current folder
        raise ValueError(f"{name} is empty: pass a path, as str or Path")


def check_text(name: str, value: object) -> None:
    """Raise for what is no text."""
    if not isinstance(value, str | Enum):
        raise TypeError(f"{name} is {value!r:.60}: pass a str")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise for what is none of `choices`."""
    known = tuple(choices)
    if value not in known:
        raise ValueError(f"{name} is {value!r:.60}: pass {', '.join(map(repr, known[:-1]))} or {known[-1]!r}")
