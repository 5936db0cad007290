"""A local server to run a command against: the only place that knows of the sandbox."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from .._errors import PolyglotError
from ._failures import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..sandbox import Sandbox
    from ._settings import Settings

_NEEDED = ("starlette", "uvicorn", "python_multipart", "av", "pocketsphinx")


def make_sandbox(**options: Any) -> Sandbox:
    """Make a sandbox, not yet started.

    Raises:
        PolyglotError: the extra is not installed.
        InputError: an option will not do.
    """
    # The recogniser and the decoder are loaded by worker processes, where it would be late to complain.
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise PolyglotError('the local server needs an extra: pip install "polyglot_async[sandbox]"')
    room: Any = importlib.import_module("polyglot_async.sandbox")
    try:
        sandbox: Sandbox = room.Sandbox(**options)
    except ValueError as error:
        raise InputError(str(error)) from None
    return sandbox


@contextlib.contextmanager
def local(settings: Settings, *, plan: str = "unlimited") -> Iterator[Settings]:
    """Start a sandbox with the real recogniser; give settings that point at it.

    Raises:
        InputError: an address was given as well.
    """
    if settings.base_url is not None:
        raise InputError("this runs against a local server of its own: leave --base-url away")
    with make_sandbox(plan=plan) as sandbox:
        yield settings.pointed_at(sandbox)
