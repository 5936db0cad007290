"""Options, help, and what is refused before any request."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from polyglot_async._cli._group import polyglot as group
from polyglot_async._cli.commands import NAMES
from polyglot_async.sandbox import Sandbox


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_short_help_with_an_example(name):
    result = CliRunner().invoke(group, [name, "-h"])
    assert result.exit_code == 0
    assert f"Example:\n    polyglot {name}" in result.output
    assert "--json" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.usefixtures("no_environment")
def test_the_help_lists_every_command_and_no_credential(monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", "sk_very_secret")
    result = CliRunner().invoke(group, ["--help"])
    assert all(f"  {name} " in result.output for name in NAMES)
    assert "secret" not in result.output


def test_the_version_is_that_of_the_package(polyglot):
    assert polyglot("--version").out == f"polyglot_async {importlib.metadata.version('polyglot_async')}\n"


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["get"], "Missing argument 'ID'"),
        (["get", ".."], "will not do"),
        (["get", " "], "will not do"),
        (["list", "--bogus"], "No such option"),
        (["list", "--limit", "0"], "--limit"),
        (["list"], "there is no credential: give --api-key, or set POLYGLOT_API_KEY"),
        (["transcribe", "missing.wav"], "missing.wav: there is no such file; nothing was sent"),
        (["--api-key", "k", "transcribe"], "Missing argument 'SOURCE...'"),
        (["--api-key", "k", "--base-url", "http://example.com", "list"], "give --allow-insecure-http"),
        (["--api-key", "k", "--base-url", "nonsense", "list"], "--base-url 'nonsense' is not"),
        (["--api-key", "k", "--timeout", "0", "list"], "timeout is 0.0"),
        (["--api-key", "k", "--max-retries", "-1", "list"], "--max-retries"),
        (["--api-key", "k\n", "--timeout", "x", "list"], "'x' is not a valid float"),
        (["--api-key", "two words", "list"], "the credential holds characters that no credential has"),
        (["transcribe", __file__, "--out", "-"], "--out is a folder"),
        (["demo", "--base-url", "http://127.0.0.1:1"], "leave --base-url away"),
        (["validate-url", "example.com/a.mp3"], "is not an http or https URL"),
        (["convert", "missing.wav", "a.mp3"], "there is no such file"),
        (["demo", "missing.wav"], "there is no such file"),
        (["sandbox", "--fault", "bogus"], "bogus"),
        (["sandbox", "--plan", "bogus"], "unknown plan"),
        (["sandbox", "--engine", "bogus"], "engine is"),
        (["transcribe", "--sandbox", "--base-url", "http://127.0.0.1:1", __file__], "leave --base-url away"),
    ],
)
def test_what_will_not_do_ends_with_2_and_one_line(polyglot, arguments, says):
    ended = polyglot(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert says in ended.err
    assert ended.err.count("\n") == 1


def test_without_a_command_the_help_comes_and_2(polyglot):
    ended = polyglot()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: polyglot")


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize("arguments", [["list", "--json"], ["--json", "list"], ["list", "--json", "--bogus"]])
def test_with_json_errors_are_json_on_stderr(polyglot, arguments):
    ended = polyglot(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert json.loads(ended.err)["error"]["message"]


@pytest.mark.usefixtures("no_environment")
def test_shared_options_may_stand_before_or_after_the_command(polyglot, sandbox):
    options = ["--api-key", sandbox.api_key, "--base-url", sandbox.url]
    assert polyglot(*options, "limits").code == 0
    assert polyglot("limits", *options).code == 0


def test_retries_may_be_switched_off(polyglot, environment, sandbox):
    fault = sandbox.faults.add("status call=list status=503 times=1")
    try:
        assert polyglot("list", "--max-retries", 0).code == 1
    finally:
        sandbox.faults.clear()
    assert fault is not None


@pytest.mark.usefixtures("environment")
def test_verbose_logs_requests_to_stderr_without_the_key(polyglot, sandbox):
    ended = polyglot("-v", "limits")
    assert "debug: GET" in ended.err
    assert sandbox.api_key not in ended.err
    assert "debug" not in ended.out


def test_a_wrong_key_is_not_repeated(polyglot, environment):
    ended = polyglot("list", "--api-key", "sk_mistyped_key")
    assert ended.code == 1
    assert "401" in ended.err
    assert "30 days" in ended.err
    assert "mistyped" not in ended.err


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_what_to_install(missing):
    program = f"import sys; sys.modules[{missing!r}] = None; from polyglot_async._cli import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", program, "demo"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == 'error: the command line needs an extra: pip install "polyglot_async[cli]"\n'


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize("arguments", [["demo"], ["sandbox"]])
def test_without_the_sandbox_extra_it_says_what_to_install(monkeypatch, polyglot, arguments):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = polyglot(*arguments)
    assert ended.code == 1
    assert ended.err == 'error: the local server needs an extra: pip install "polyglot_async[sandbox]"\n'


@pytest.mark.usefixtures("no_environment")
def test_an_error_that_nobody_foresaw_is_one_line_too(monkeypatch, polyglot):
    monkeypatch.setattr(Sandbox, "start", lambda self: {}["a bug"])
    ended = polyglot("demo")
    assert (ended.code, ended.err) == (1, "error: unforeseen KeyError: 'a bug' (-v shows where)\n")
    assert "Traceback" in polyglot("demo", "-v").err
