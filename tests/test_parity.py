"""The sync client has all that the async one has: the same names, parameters, types and docstrings."""

import inspect
import re

from polyglot_async import (
    AsyncPolyglot,
    AsyncTranscriptions,
    BatchStream,
    MediaStream,
    Polyglot,
    RawTranscriptions,
    RemoteMedia,
    StreamedResponse,
    SyncBatch,
    SyncMediaStream,
    SyncRawTranscriptions,
    SyncRemoteMedia,
    SyncStreamedResponse,
    SyncTaskList,
    TaskList,
    Transcriptions,
)

# Each public class of the async client with its sync twin.
PAIRS = [
    (AsyncPolyglot, Polyglot),
    (AsyncTranscriptions, Transcriptions),
    (RawTranscriptions, SyncRawTranscriptions),
    (TaskList, SyncTaskList),
    (StreamedResponse, SyncStreamedResponse),
    (MediaStream, SyncMediaStream),
    (RemoteMedia, SyncRemoteMedia),
    (BatchStream, SyncBatch),
]
# How the sync side spells what the async side says.
SPELLING = [
    (r"^__aenter__$", "__enter__"),
    (r"^__aexit__$", "__exit__"),
    (r"^__aiter__$", "__iter__"),
    (r"^aclose$", "close"),
    (r"^AbstractAsyncContextManager\[BatchStream\]$", "SyncBatch"),  # it may be iterated over without a `with`
    (r"AbstractAsyncContextManager", "AbstractContextManager"),
    (r"\bAsync(Polyglot|Transcriptions|Iterator|Generator)\b", r"\1"),
    (r"\bGenerator\[bytes, None\]", "Iterator[bytes]"),
    (r"\b(TaskList|StreamedResponse|MediaStream|RemoteMedia|RawTranscriptions)\b", r"Sync\1"),
    (r"\basync (?=with|for)|\bawait ", ""),
]
SPECIAL = {"__init__", "__aenter__", "__aexit__", "__aiter__"}
OF_A_FILE = {"readable", "readall", "readinto", "seekable", "writable"}  # what the standard library's files have beside


def in_sync(text):
    for pattern, replacement in SPELLING:
        text = re.sub(pattern, replacement, text)
    return text


def public_names(cls):
    """Return the names that a class offers its users; its constructor is public only if users call it."""
    special = SPECIAL if cls is AsyncPolyglot else SPECIAL - {"__init__"}
    return {name for name in dir(cls) if name in special or not name.startswith("_")}


def without_twin(theirs, ours):
    return {f"{theirs.__name__}.{name}" for name in public_names(theirs) if not hasattr(ours, in_sync(name))}


def members():
    """Iterate over what both sides have: a name for messages, and the two, functions or properties."""
    for theirs, ours in PAIRS:
        for name in sorted(public_names(theirs)):
            value = inspect.getattr_static(theirs, name)
            yield f"{theirs.__name__}.{name}", value, inspect.getattr_static(ours, in_sync(name), None)


def functions():
    return [(name, value, twin) for name, value, twin in members() if inspect.isfunction(value)]


def parameters(function):
    return [
        (one.name, one.kind, one.default, one.annotation) for one in inspect.signature(function).parameters.values()
    ]


def test_each_public_member_has_a_twin():
    assert [] == [name for theirs, ours in PAIRS for name in without_twin(theirs, ours)]


def test_a_method_without_a_twin_is_noticed():
    class Grown(AsyncTranscriptions):
        async def cancel(self, task):
            """Cancel a task."""

    assert set() == without_twin(AsyncTranscriptions, Transcriptions)
    assert {"Grown.cancel"} == without_twin(Grown, Transcriptions)


def test_each_method_has_the_same_parameters():
    different = {
        name: (parameters(value), parameters(twin))
        for name, value, twin in functions()
        if parameters(value) != parameters(twin)
    }
    assert {} == different
    assert 30 < len(functions())


def test_each_method_returns_the_same_without_await():
    answers = {
        name: (in_sync(str(inspect.signature(value).return_annotation)), inspect.signature(twin).return_annotation)
        for name, value, twin in functions()
        if not name.endswith("__aiter__")  # a class that is its own iterator says so
    }
    assert {} == {name: both for name, both in answers.items() if both[0] != both[1]}


def test_each_docstring_is_the_same_without_await():
    docs = {name: (inspect.getdoc(value), inspect.getdoc(twin)) for name, value, twin in members()}
    assert {} == {
        name: both for name, both in docs.items() if "__" not in name and in_prose(both[0] or "") != (both[1] or "")
    }


def in_prose(text):
    return re.sub(r"\basync (?=with|for)|\bawait |\bAsync(?=Polyglot|Transcriptions)", "", text)


def test_each_function_is_named_after_where_it_stands():
    for theirs, ours in PAIRS:
        for name in public_names(theirs):
            twin = inspect.getattr_static(ours, in_sync(name))
            if inspect.isfunction(twin):
                assert (in_sync(name), f"{ours.__name__}.{in_sync(name)}") == (twin.__name__, twin.__qualname__)


def test_no_twin_is_taken_for_a_coroutine_function():
    """Not even by what looks below a wrapper: FastAPI would await the result of such a dependency."""
    assert [] == [name for name, _, twin in functions() if inspect.iscoroutinefunction(inspect.unwrap(twin))]


def test_each_property_has_the_same_type():
    def type_of(cls, name):
        declared = inspect.get_annotations(cls).get(name)
        if declared is None:
            declared = inspect.getattr_static(cls, name).fget.__annotations__["return"]
        return re.sub(r"^Forwarded\[(.*)\]$", r"\1", declared)

    values = [
        (cls, twin, name)
        for cls, twin in PAIRS
        for name in public_names(cls)
        if not inspect.isfunction(inspect.getattr_static(cls, name))
    ]
    assert 8 <= len(values)
    assert [] == [
        (cls, name) for cls, twin, name in values if in_sync(type_of(cls, name)) != in_sync(type_of(twin, name))
    ]


def test_the_sync_side_has_nothing_of_its_own():
    """But what the standard library's files, and a batch that is its own context, are made of."""
    for theirs, ours in PAIRS:
        names = {name for name, value in vars(ours).items() if not name.startswith("_")}
        named = set(re.findall(r"^ +(\w+): ", (theirs.__doc__ or "").partition("Attributes:")[2], re.MULTILINE))
        assert set() == names - OF_A_FILE - named - {in_sync(name) for name in dir(theirs)}


def test_the_attributes_are_the_same():
    """Those that the docstrings name, for some are set in `__init__`."""
    for theirs, ours in PAIRS:
        named = re.findall(
            r"^ +(\w+): ", inspect.cleandoc(theirs.__doc__ or "").partition("Attributes:")[2], re.MULTILINE
        )
        assert [] == [name for name in named if not hasattr(ours, name)]
