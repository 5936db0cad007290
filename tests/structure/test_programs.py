"""Tests that need a program of the system ask for it, so that a machine without it runs all others."""

import ast
import re
from pathlib import Path

import pytest
from programs import require_program

TESTS = Path(__file__).parents[1]
PROGRAMS = {"aria2c", "chromium", "curl", "ffmpeg", "nginx", "openssl", "redis-server"}
SHELL_LINE = re.compile(rf"\s*({'|'.join(PROGRAMS)}) -")


def programs_started_in(path):
    """Return the programs that commands in a file begin with, less those that it asks for."""
    started, asked_for = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="require_program"), args=[ast.Constant(value=name), *_]):
                asked_for.add(name)
            case ast.List(elts=[ast.Constant(value=str(name)), *_]) if name in PROGRAMS:
                started.add(name)
            case ast.Constant(value=str(text)) if line := SHELL_LINE.match(text):
                started.add(line[1])
    return started - asked_for


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_programs_of_the_system_are_asked_for(path):
    if path != Path(__file__):
        assert set() == programs_started_in(path)


def test_a_test_without_its_program_is_skipped_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed: apt-get install it"):
        require_program("no-such-program", "apt-get install it")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require_program("no-such-program", "apt-get install it")
    assert require_program("sh", "").endswith("/sh")
