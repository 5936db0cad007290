"""What media is and what it is called, decided from its first bytes, its name and a server's headers.

The suffixes are those of the contract ("mp3, wav, m4a, ogg, mp4, webm and more") and their relatives. An unknown type
is no error here: the service decides what it takes.
"""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import PurePath
from urllib.parse import unquote

_BY_SUFFIX = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wma": "audio/x-ms-wma",
    "amr": "audio/amr",
    "aiff": "audio/aiff",
    "aif": "audio/aiff",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpg": "video/mpeg",
    "mpeg": "video/mpeg",
    "ts": "video/mp2t",
    "3gp": "video/3gpp",
    "flv": "video/x-flv",
    "ogv": "video/ogg",
}
UNKNOWN_TYPE = "application/octet-stream"
MEDIA_SUFFIXES = frozenset(_BY_SUFFIX)
DEFAULT_NAME = "upload.bin"
SNIFFED_BYTES = 16

# The first suffix of a type is the one that a name is given; servers and callers know some types under other names.
_SUFFIX_OF_TYPE = {kind: suffix for suffix, kind in reversed(_BY_SUFFIX.items())} | {
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mp3": "mp3",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/x-flac": "flac",
    "audio/opus": "opus",
    "audio/webm": "webm",
    "application/ogg": "ogg",
}
# Suffixes of an archive, a compressor or a place holder: they say nothing of the media inside.
_EMPTY_SUFFIXES = frozenset({"bin", "tmp", "dat", "part", "gz", "bz2", "xz", "zst", "tar", "tgz", "zip"})
_SUFFIX = re.compile(r"(?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,5}")
_UNTYPED = frozenset({UNKNOWN_TYPE, "binary/octet-stream", "application/x-download", "application/force-download"})
_PAGE_TYPE = re.compile(r"text/html|(text|application)/(json|xml)|[^/]+/[^/]+\+(xml|json)")
_PAGE_START = (b"<!doctype html", b"<html", b"<head", b"<?xml", b'{"')
_MIME_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MIME_TYPE = re.compile(rf"{_MIME_WORD}/{_MIME_WORD}( *;[\x20-\x7e]*)?")
_EXTENDED_FILE_NAME = re.compile(r"filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
_FILE_NAME = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^";\s]+))', re.IGNORECASE | re.DOTALL)

# (offset, bytes, type), the RIFF and ftyp families apart
_MAGIC = (
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"FLV", "video/x-flv"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"AIFF", "audio/aiff"),
    (8, b"M4A ", "audio/mp4"),
    (8, b"qt  ", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
)
# One container, two uses: the name may tell which, the first bytes cannot.
_SAME_CONTAINER = frozenset(
    pair
    for family in (
        ("audio/mp4", "video/mp4", "video/quicktime", "video/3gpp"),
        ("audio/ogg", "video/ogg"),
        ("video/webm", "video/x-matroska"),
    )
    for pair in permutations(family, 2)
)


def media_type_of(name: str, start: bytes = b"", kind: str = UNKNOWN_TYPE) -> str:
    """Return the MIME type by the first 16 bytes, else by `name`, else `kind`, what is known of it so far.

    The name's suffix refines the type that the first bytes or `kind` tell, where both use the same container.
    """
    for offset, magic, found in _MAGIC:
        if start.startswith(magic, offset):
            kind = found
            break
    _, dot, suffix = name.rpartition(".")
    by_name = _BY_SUFFIX.get(suffix.lower()) if dot else None
    if by_name is None:
        return kind
    return by_name if kind == UNKNOWN_TYPE or (kind, by_name) in _SAME_CONTAINER else kind


def with_suffix(name: str, kind: str) -> str:
    """Return `name` with the suffix of the type `kind`, if it has none or one that says nothing: `upload.wav`.

    Some services look at the suffix alone, and answer 400 to an `upload.bin`.
    """
    suffix = _SUFFIX_OF_TYPE.get(kind) or _SUFFIX_OF_TYPE.get(_essence(kind))
    if suffix is None:
        return name
    stem, dot, last = name.rpartition(".")
    while stem and last.lower() in _EMPTY_SUFFIXES:
        name = stem
        stem, dot, last = name.rpartition(".")
    return name if dot and _SUFFIX.fullmatch(last) else f"{name}.{suffix}"


def base_name(name: str) -> str:
    """Return the last part of a path or of a URL's path, with either slash; `upload.bin` if there is none."""
    last = PurePath(name.replace("\\", "/")).name
    return last if last not in {"", ".", ".."} else DEFAULT_NAME


def is_mime_type(text: str) -> bool:
    """Return whether it can stand in a Content-Type header."""
    return _MIME_TYPE.fullmatch(text) is not None


def type_of_response(content_type: str, name: str) -> str:
    """Return the type that a server stated, or the type by `name` where it stated none, nonsense or "any bytes"."""
    stated = content_type.strip()
    return stated if is_mime_type(stated) and _essence(stated) not in _UNTYPED else media_type_of(name)


def is_page_type(content_type: str) -> bool:
    """Return whether it is the type of a page or of an API's answer (HTML, JSON, XML), and so never of media."""
    return _PAGE_TYPE.match(_essence(content_type)) is not None


def is_media_type(content_type: str) -> bool:
    """Return whether it is a type of audio or video."""
    return content_type.strip().lower().startswith(("audio/", "video/"))


def starts_like_page(start: bytes) -> bool:
    """Return whether the first bytes are of HTML, XML or JSON."""
    return start[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE_START)


def name_in_disposition(header: str) -> str | None:
    """Return the file name of a Content-Disposition header (RFC 6266), `filename*` before `filename`."""
    if (extended := _EXTENDED_FILE_NAME.search(header)) is not None:
        return unquote(extended[2], extended[1], "replace")
    if (plain := _FILE_NAME.search(header)) is not None:
        return re.sub(r"\\(.)", r"\1", plain[1], flags=re.DOTALL) if plain[1] is not None else plain[2]
    return None


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
