"""A test module uses private names of the one module that it tests, and of no other.

`tests/<package>/test_<module>*.py` tests `polyglot_async._<package>.<module>`, or `polyglot_async.<package>._<module>`
where the package is public; `tests/test_<module>.py` tests `polyglot_async._<module>`. What that module itself imports
may be taken from it. Everything else, helpers and conftests included, uses public names.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "polyglot_async"
FILES = sorted(TESTS.rglob("*.py"))
ENTRYPOINT = "polyglot_async._cli.main"  # what the `polyglot` command calls (pyproject.toml)
REACHING_CALLS = {"patch", "object", "setattr", "getattr", "delattr", "hasattr", "import_module", "attrgetter"}
# Attributes of httpx.AsyncClient and tempfile.SpooledTemporaryFile, which are called as some of ours are.
NAMES_OF_OTHER_LIBRARIES = {"test_fast_transport.py": {"_transport"}, "test_sources.py": {"_file"}}


def is_private(name):
    return name.startswith("_") and not name.endswith("__") and name != "_"


def dotted(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


def module_under_test(path):
    """Return the name of the module that a test module tests, or None."""
    if not path.stem.startswith("test_") or not path.is_relative_to(TESTS):
        return None
    folder = path.parent.relative_to(TESTS)
    folders = (PACKAGE / folder, PACKAGE / f"_{folder}")
    stems = {
        module: file.stem.lstrip("_")
        for module, file in MODULES.items()
        if file.parent in folders or (folder.parts and file.is_relative_to(folders[0]))
    }
    subject = path.stem.removeprefix("test_")
    fitting = [module for module, stem in stems.items() if f"{subject}_".startswith(f"{stem}_")]
    return max(fitting, key=lambda module: len(stems[module]), default=None)


@cache
def names_defined_in(path):
    """Return the private names that a file binds: functions, classes, variables, attributes, parameters."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
    return {name for name in names if is_private(name)}


PRIVATE_NAMES = set().union(*map(names_defined_in, MODULES.values()))


def imported(node):
    """Return the dotted names of the package that an import statement names."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [f"{node.module}.{name.name}" for name in node.names]


def reached_in_text(text):
    """Return the dotted private names in a string: a patch's target, or a program for another process."""
    froms = re.findall(r"from (polyglot_async[\w.]*) import ([\w, ]+)", text)
    text = re.sub(r"from polyglot_async[\w.]* import", "", text)
    found = re.findall(r"\bpolyglot_async(?:\.\w+)*\._\w[\w.]*", text)
    return found + [
        f"{module}.{name.split()[0]}" for module, names in froms for name in names.split(",") if name.strip()
    ]


def called(call):
    """Return the last part of the name of what is called."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def offences_in(path):
    """Iterate over the private names of other modules that a file uses, each with its line."""
    subject = module_under_test(path)
    allowed = names_defined_in(path) | (names_defined_in(MODULES[subject]) if subject else set())
    allowed |= NAMES_OF_OTHER_LIBRARIES.get(path.name, set())
    foreign = PRIVATE_NAMES - allowed
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}

    def reaches(name):
        belongs = subject is not None and f"{name}.".startswith(f"{subject}.")
        return any(map(is_private, name.split("."))) and not belongs and name != ENTRYPOINT

    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom(level=0):
                names = [name for name in imported(node) if name.startswith("polyglot_async") and reaches(name)]
            case ast.Attribute(attr=name, value=owner):
                ours = isinstance(owner, ast.Name) and owner.id in {"self", "cls"}
                names = [name] if name in foreign and not ours else []
            case ast.Constant(value=str(text)) if "import " in text and id(node) not in prose:
                names = [name for name in reached_in_text(text) if reaches(name)]
            case ast.Call(args=arguments) if called(node) in REACHING_CALLS:
                texts = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
                texts = [text for text in texts if isinstance(text, str) and "import " not in text]
                names = [name for text in texts for name in reached_in_text(text) if reaches(name)]
                names += [text for text in texts if text in foreign]
            case _:
                continue
        yield from (f"line {node.lineno}: {name}" for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_private_name_of_another_module_is_used(path):
    if path == Path(__file__):
        return
    assert [] == list(offences_in(path))


@pytest.mark.parametrize(
    ("test", "module"),
    [
        ("uploads/test_sources.py", "polyglot_async._uploads.sources"),
        ("uploads/test_sources_of_urls.py", "polyglot_async._uploads.sources"),
        ("downloads/test_ranges.py", "polyglot_async._downloads.ranges"),
        ("webhooks/test_verify.py", "polyglot_async.webhooks._verify"),
        ("webhooks/conftest.py", None),
        ("test_models.py", "polyglot_async._models"),
        ("client/test_batch.py", None),
    ],
)
def test_a_test_module_is_named_after_what_it_tests(test, module):
    assert module == module_under_test(TESTS / test)


@pytest.mark.parametrize(
    "line",
    [
        "from polyglot_async._http.retry import delay",
        "from polyglot_async._http import retry",
        "import polyglot_async._http.retry",
        "import polyglot_async._http as http",
        "from polyglot_async import _client",
        "client._transport.timeout",
        "mock.patch('polyglot_async._http.retry.delay')",
        "monkeypatch.setattr(client, '_transport', None)",
        "script('from polyglot_async import _client')",
        "script('import polyglot_async._http.retry')",
        "sandbox._store.save(task)",
        "from polyglot_async._models import Task",
    ],
)
def test_each_way_of_reaching_in_is_seen(line, tmp_path):
    path = tmp_path / "client" / "test_it.py"
    path.parent.mkdir()
    path.write_text(line)
    assert 1 == len(list(offences_in(path)))


@pytest.mark.parametrize(
    "line",
    [
        "from polyglot_async import Runtime, webhooks",
        "from polyglot_async.sandbox import Sandbox",
        "from polyglot_async._cli import main",
        "self._store = cls._store",
        "sys._getframe(); httpx.__version__",
        "logging.getLogger('polyglot_async')",
        "assert 'polyglot_async._client' not in sys.modules",
        "script('from polyglot_async._cli import main; main()')",
    ],
)
def test_what_is_public_may_be_used(line, tmp_path):
    path = tmp_path / "test_it.py"
    path.write_text(line)
    assert [] == list(offences_in(path))
