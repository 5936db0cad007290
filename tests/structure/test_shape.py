"""Functions fit on a screen, and their nesting in a head."""

import ast
from pathlib import Path

import polyglot_async

PACKAGE = Path(polyglot_async.__file__).parent
MOST_LINES = 40  # from `def` to the end, the docstring not counted
DEEPEST = 4
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def functions():
    """Iterate over all functions of the package, each with the place where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS):
                yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}", node


def lines(function):
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if documented else 0)


def depth(node):
    """Return how deep the blocks below a node are nested; an `elif` is no deeper than its `if`."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
                continue
            is_elif = isinstance(node, ast.If) and field == "orelse" and len(value) == 1 and isinstance(child, ast.If)
            deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def test_no_function_is_longer_than_a_screen():
    assert [] == [f"{place}: {lines(node)} lines" for place, node in functions() if lines(node) > MOST_LINES]


def test_no_function_is_nested_deeper_than_four_blocks():
    assert [] == [f"{place}: {depth(node)} deep" for place, node in functions() if depth(node) > DEEPEST]


def test_an_elif_does_not_nest_and_a_function_within_counts_for_itself():
    [function] = ast.parse(
        """
def outer():
    "A docstring."
    if a:
        pass
    elif b:
        with c:
            pass
    def inner():
        for d in e:
            pass
"""
    ).body
    assert (2, 9) == (depth(function), lines(function))
