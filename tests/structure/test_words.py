"""Names, docstrings, comments and messages use the field's plain words, not metaphors."""

import ast
import importlib
import inspect
import io
import re
import tokenize
from pathlib import Path

import polyglot_async

PACKAGE = Path(polyglot_async.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC_MODULES = ("", ".sandbox", ".subtitles", ".testing", ".webhooks")

BANNED = (
    "rooms?|floors?|doors?|houses?|boards?|mischief|lessons?|witness(?:es)?|barren|will not do|patience|impatient|"
    "wish(?:es)?"
)
BANNED_TEXT = re.compile(rf"\b(?:{BANNED})\b", re.IGNORECASE)
BANNED_NAME = re.compile(rf"(?:^|_)(?:{BANNED})(?:$|_)", re.IGNORECASE)
BANNED_OPENING = re.compile(r"(?:Give|Gives|Say|Says|Tell|Tells|Let|Lets|Be one)\b")
ASSUMPTION = re.compile(r"\bA\d{1,2}\b")


def words(path):
    """Iterate over the comments, strings and names that a file defines, each with its line."""
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING}:
            yield token.start[0], BANNED_TEXT.search(token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, BANNED_NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name))


def public_objects():
    """Iterate over the names that users see, with what they stand for: exported objects and their public members."""
    for suffix in PUBLIC_MODULES:
        module = importlib.import_module(f"polyglot_async{suffix}")
        yield module.__name__, module
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                members = ((member, getattr(value, member, None)) for member in dir(value))
                yield from (
                    (f"{module.__name__}.{name}.{member}", found) for member, found in members if member[0] != "_"
                )


def test_no_metaphor_is_used():
    assert [] == [
        f"{path.relative_to(PACKAGE)}:{line}: {found[0]}" for path in FILES for line, found in words(path) if found
    ]
    parts = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert set() == set(filter(BANNED_NAME.search, parts))


def test_docstrings_begin_with_the_usual_verbs():
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    docstrings = [
        (path, ast.get_docstring(node) or "")
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, documented)
    ]
    assert [] == [f"{path.relative_to(PACKAGE)}: {text:.60}" for path, text in docstrings if BANNED_OPENING.match(text)]


def test_public_docstrings_name_no_assumption():
    """Their numbers stand in comments, beside the code that relies on them."""
    docs = {name: inspect.getdoc(value) or "" for name, value in public_objects()}
    assert {} == {name: ASSUMPTION.findall(doc) for name, doc in docs.items() if ASSUMPTION.search(doc)}
