"""What a public call returns has a public name: whoever hands it on can annotate it."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import polyglot_async

PACKAGE = Path(polyglot_async.__file__).parent
SPECIAL = {"__aenter__", "__aiter__", "__anext__", "__call__", "__enter__", "__iter__", "__next__"}
PUBLIC_MODULES = ["polyglot_async", "polyglot_async.webhooks", "polyglot_async.subtitles"]
EXPORTED = {name for module in PUBLIC_MODULES for name in importlib.import_module(module).__all__}
OURS = {
    node.name
    for path in PACKAGE.rglob("*.py")
    if "sandbox" not in path.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.ClassDef)
}
# An attribute of a context manager, which is used as one and is no value to hand on.
WITHOUT_A_NAME = {"Forwarded"}


def returned(value):
    """Return the names in what a function, a property or a class's public members return."""
    if inspect.isclass(value):
        members = {name: member for name, member in vars(value).items() if name[0] != "_" or name in SPECIAL}
        fields = [str(kind) for name, kind in vars(value).get("__annotations__", {}).items() if name[0] != "_"]
        return set().union(*map(returned, members.values()), *(re.findall(r"\w+", text) for text in fields))
    function = getattr(value, "fget", None) or getattr(value, "__func__", value)
    if not inspect.isroutine(function):
        return set()
    return set(re.findall(r"\w+", str(inspect.signature(function).return_annotation)))


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_each_class_that_a_public_call_returns_is_exported(module):
    module = importlib.import_module(module)
    named = {name: returned(getattr(module, name)) & OURS - EXPORTED - WITHOUT_A_NAME for name in module.__all__}
    assert {} == {name: missing for name, missing in named.items() if missing}


def test_what_calls_return_is_read():
    assert {"TaskList", "StreamedResponse", "RawTranscriptions"} <= returned(polyglot_async.AsyncTranscriptions)
    assert {"SyncTaskList", "SyncStreamedResponse", "SyncRawTranscriptions"} <= returned(polyglot_async.Transcriptions)
