"""A key for a piece of work: what the media is and what was asked for, whatever the file is called."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from .._errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def key_of_file(path: Path, options: Mapping[str, Any]) -> str:
    """Read a file to its end and give its key. Blocks: call it in a worker thread.

    Raises:
        MediaError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    return f"{size}-{digest}{_suffix(options)}"


def key_of_bytes(data: bytes, options: Mapping[str, Any]) -> str:
    """Give the key of media in memory."""
    return f"{len(data)}-{hashlib.sha256(data).hexdigest()}{_suffix(options)}"


def key_of_url(url: str, options: Mapping[str, Any]) -> str:
    """Give the key of media at a URL: what lies there is not looked at."""
    return f"url-{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()}{_suffix(options)}"


def _suffix(options: Mapping[str, Any]) -> str:
    """Tell one wish from another: the same file translated to another language is other work."""
    asked = {name: value for name, value in options.items() if value is not None}
    if not asked:
        return ""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, default=str)
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
