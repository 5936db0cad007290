"""No module of the SDK imports itself through others: not at run time, not in a function, not for type checkers."""

import ast
from pathlib import Path

import polyglot_async

PACKAGE = Path(polyglot_async.__file__).parent


def dotted(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


# The sandbox is a program of its own, with a contract of its own in pyproject.toml.
MODULES = {dotted(path): path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts}


def imports(module, source, modules):
    """Return the modules that an import statement anywhere in `source` names; `module` is where it stands."""
    found = set()
    is_package = modules[module].name == "__init__.py"
    parents = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join([*base, *filter(None, [node.module])])
            submodules = {f"{base}.{name.name}" for name in node.names}
            found |= (submodules & modules.keys()) or {base}
    return (found & modules.keys()) - {module}


def circles(graph):
    """Return the groups of modules that reach each other, each as a sorted list."""

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            fresh = graph[waiting.pop()] - seen
            seen |= fresh
            waiting += fresh
        return seen

    reach = {module: reached(module) for module in graph}
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in graph}
    return sorted(sorted(group) for group in groups if group)


def test_no_module_imports_itself_through_others():
    graph = {module: imports(module, path.read_text(encoding="utf-8"), MODULES) for module, path in MODULES.items()}
    assert "polyglot_async._batch.outcomes" in graph["polyglot_async._batch.batch"]
    assert [] == circles(graph)


def test_a_circle_under_type_checking_is_found():
    modules = {"p": Path("p/__init__.py"), "p.a": Path("p/a.py"), "p.b": Path("p/b.py"), "p.c": Path("p/c.py")}
    sources = {
        "p": "",
        "p.a": "from .b import B",
        "p.b": "if TYPE_CHECKING:\n    from . import c",
        "p.c": "def call():\n    from .a import A",
    }
    graph = {module: imports(module, source, modules) for module, source in sources.items()}
    assert [["p.a", "p.b", "p.c"]] == circles(graph)
