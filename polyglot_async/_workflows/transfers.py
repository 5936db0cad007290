"""Streams to disk, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from .._errors import TransferError

if TYPE_CHECKING:
    from .._io.transport import StreamedResponse


async def save_stream(response: StreamedResponse, path: str | os.PathLike[str]) -> Path:
    """Write a stream beside `path`, then rename it there."""
    target = Path(path)
    beside = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        try:
            async with await anyio.open_file(beside, "wb") as file:
                async for chunk in response.chunks():
                    await file.write(chunk)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target
