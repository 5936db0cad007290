"""Downloads: byte ranges, file writer, partial files, remote files.

The names below are for the calls, and are loaded with the first download: most clients make none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .download import conversion_format, download_file, save_stream
    from .file_answer import file_body, open_file_stream
    from .partial_download import PathTakenError
    from .range_reader import RangedFile
    from .remote_file import open_media, open_stream

__all__ = [
    "PathTakenError",
    "RangedFile",
    "conversion_format",
    "download_file",
    "file_body",
    "open_file_stream",
    "open_media",
    "open_stream",
    "save_stream",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(
        __name__,
        {
            "PathTakenError": "partial_download",
            "RangedFile": "range_reader",
            "conversion_format": "download",
            "download_file": "download",
            "file_body": "file_answer",
            "open_file_stream": "file_answer",
            "open_media": "remote_file",
            "open_stream": "remote_file",
            "save_stream": "download",
        },
    )
