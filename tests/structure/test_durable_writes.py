"""How a file appears whole and stays after a power cut is written in one place, and where bytes come in parts."""

import ast
from pathlib import Path

import polyglot_async

PACKAGE = Path(polyglot_async.__file__).parent
# A download's bytes are flushed where they arrive, in parts and in a file that other runs go on with.
ALLOWED = {"_files.py": {"fsync", "replace", "urandom"}, "_downloads/partial_download.py": {"fsync", "replace"}}
OF_A_WRITE = {"fsync", "fdatasync", "rename", "replace", "urandom", "mkstemp", "NamedTemporaryFile"}


def calls_of(source):
    """Return the names of what durable writes are made of; `replace` with one argument, which that of a `str` lacks."""
    return {
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OF_A_WRITE
        if node.func.attr != "replace" or (len(node.args) == 1 and not node.keywords)
    }


def test_files_are_written_durably_in_one_place():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" not in path.parts and (calls := calls_of(path.read_text(encoding="utf-8"))):
            found[path.relative_to(PACKAGE).as_posix()] = calls
    assert ALLOWED == found


def test_a_write_of_its_own_is_found():
    source = 'beside.replace(path); os.fsync(file.fileno()); "a".replace("b", "c"); moment.replace(tzinfo=UTC)'
    assert {"replace", "fsync"} == calls_of(source)
