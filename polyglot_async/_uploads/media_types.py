"""What kind of media something is, told by its first bytes and else by its name's suffix.

The suffixes are those of the contract ("mp3, wav, m4a, ogg, mp4, webm and more") and their relatives. An unknown kind
is no error here: the service decides what it takes.
"""

from __future__ import annotations

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
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
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
_SAME_CONTAINER = (
    frozenset({"audio/mp4", "video/mp4", "video/quicktime", "video/3gpp"}),
    frozenset({"audio/ogg", "video/ogg"}),
    frozenset({"video/webm", "video/x-matroska"}),
)


def media_type_of(name: str, start: bytes) -> str:
    """Tell the MIME type from the first 16 bytes, else from `name`; `application/octet-stream` if neither tells."""
    kind = next((kind for offset, magic, kind in _MAGIC if start[offset:].startswith(magic)), UNKNOWN_TYPE)
    return refined_by_name(kind, name)


def refined_by_name(kind: str, name: str) -> str:
    """Let `name` say what `kind`, told by the first bytes, leaves open."""
    dot, suffix = name.rpartition(".")[1:]
    by_name = _BY_SUFFIX.get(suffix.lower()) if dot else None
    if by_name is None:
        return kind
    return by_name if kind == UNKNOWN_TYPE or any({by_name, kind} <= family for family in _SAME_CONTAINER) else kind
