"""The sync client keeps step with the async one: same names, parameters, defaults, types and first lines."""

import inspect
import re

import pytest

from polyglot_async import (
    AsyncPolyglot,
    AsyncTranscriptions,
    BatchStream,
    MediaStream,
    Polyglot,
    RawTranscriptions,
    RemoteMedia,
    TaskList,
    Transcriptions,
)
from polyglot_async._http.transport import StreamedResponse
from polyglot_async._sync import streams
from polyglot_async._sync.transcriptions import SyncRawTranscriptions

PAIRS = [
    (AsyncPolyglot, Polyglot),
    (AsyncTranscriptions, Transcriptions),
    (RawTranscriptions, SyncRawTranscriptions),
    (TaskList, streams.SyncTaskList),
    (StreamedResponse, streams.SyncStreamedResponse),
    (MediaStream, streams.SyncMediaStream),
    (RemoteMedia, streams.SyncRemoteMedia),
    (BatchStream, streams.SyncBatch),
]

# How the sync side spells what the async side says.
SPELLING = [
    (r"^__aenter__$", "__enter__"),
    (r"^__aexit__$", "__exit__"),
    (r"^__aiter__$", "__iter__"),
    (r"^aclose$", "close"),
    (r"^AbstractAsyncContextManager\[BatchStream\]$", "SyncBatch"),
    (r"^AbstractAsyncContextManager\[(\w+)\]$", r"Iterator[\1]"),  # what stands under @contextmanager
    (r"^MediaStream$", "Iterator[bytes]"),  # it is its own iterator
    (r"\bAsync(Polyglot|Transcriptions|Iterator|Generator)\b", r"\1"),
    (r"\bGenerator\[bytes, None\]", "Iterator[bytes]"),
    (r"\b(TaskList|StreamedResponse|MediaStream|RemoteMedia|RawTranscriptions)\b", r"Sync\1"),
    (r"\b(async|await) ", ""),
]
# An iterator is a method of the async class, and what a generator gives in the sync one.
ONLY_ASYNC = {"__anext__", "__del__"}


def in_sync(text):
    for pattern, replacement in SPELLING:
        text = re.sub(pattern, replacement, text)
    return text


def is_public(name, value):
    special = name.startswith("__") and name in {"__aenter__", "__aexit__", "__aiter__", "__init__"}
    return (special or not name.startswith("_")) and (callable(value) or isinstance(value, property))


def is_ours(value):
    return "polyglot_async" in (getattr(value, "__module__", None) or "polyglot_async")


def members():
    for theirs, ours in PAIRS:
        for name, value in vars(theirs).items():
            plumbing = name == "__init__" and theirs is not AsyncPolyglot
            if is_public(name, value) and name not in ONLY_ASYNC and not plumbing:
                yield pytest.param(theirs, ours, name, id=f"{theirs.__name__}.{name}")


@pytest.mark.parametrize(("theirs", "ours", "name"), [*members()])
def test_each_member_has_a_sync_twin(theirs, ours, name):
    value, twin = inspect.getattr_static(theirs, name), inspect.getattr_static(ours, in_sync(name))
    assert isinstance(value, property) == isinstance(twin, property)
    if isinstance(value, property):
        value, twin = value.fget, twin.fget
    signature, of_twin = inspect.signature(value), inspect.signature(twin)
    assert [(p.name, p.kind, p.default) for p in signature.parameters.values()] == [
        (p.name, p.kind, p.default) for p in of_twin.parameters.values()
    ]
    assert [in_sync(str(p.annotation)) for p in signature.parameters.values()] == [
        str(p.annotation) for p in of_twin.parameters.values()
    ]
    assert in_sync(str(signature.return_annotation)) == str(of_twin.return_annotation)


@pytest.mark.parametrize(("theirs", "ours", "name"), [*members()])
def test_each_docstring_begins_alike(theirs, ours, name):
    value, twin = inspect.getattr_static(theirs, name), inspect.getattr_static(ours, in_sync(name))
    assert in_sync((value.__doc__ or "").partition("\n")[0]) == (twin.__doc__ or "").partition("\n")[0]


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda pair: pair.__name__)
def test_the_sync_side_has_nothing_of_its_own(theirs, ours):
    """But what the standard library's files, and a batch that is its own context, are made of."""
    of_a_file = {"readable", "readall", "readinto", "seekable"} if ours is streams.SyncRemoteMedia else set()
    names = {name for name, value in vars(ours).items() if not name.startswith("_") and is_ours(value)}
    assert names - of_a_file <= {in_sync(name) for name in vars(theirs)}


@pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=lambda pair: pair.__name__)
def test_the_attributes_are_the_same(theirs, ours):
    """Those that the docstrings name, for they are set in `__init__` on one side and fields on the other."""
    named = re.findall(r"^    (?:    )?(\w+): ", (theirs.__doc__ or "").partition("Attributes:")[2], re.MULTILINE)
    assert named == [name for name in named if re.search(rf"^ +{name}: ", ours.__doc__, re.MULTILINE)]


def test_overloads_are_the_same():
    from typing import get_overloads

    expected = [in_sync(str(inspect.signature(one))) for one in get_overloads(AsyncTranscriptions.download)]
    assert expected == [str(inspect.signature(one)) for one in get_overloads(Transcriptions.download)]
    assert 2 == len(expected)
