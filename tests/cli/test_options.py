"""Options, helps, and what is refused before any request."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys

import pytest

from polyglot_async.sandbox import Sandbox


@pytest.fixture
def help_of(polyglot, monkeypatch):
    """Return a help's text, as it is shown in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> str:
        ended = polyglot(*arguments, "--help")
        assert (ended.code, ended.err) == (0, "")
        assert max(map(len, ended.out.splitlines())) <= 80
        return ended.out

    return call


def listed_commands(text: str) -> dict[str, str]:
    """Return the names and descriptions in a help's list of commands."""
    found: dict[str, str] = {}
    for line in text.partition("Commands:\n")[2].split("\n\n")[0].splitlines():
        name, _, description = line.strip().partition("  ")
        if line.startswith("   "):
            last = list(found)[-1]
            found[last] = f"{found[last]} {line.strip()}"
        else:
            found[name] = description.strip()
    return found


def test_every_command_has_a_help_with_examples_that_begins_as_the_list_says(help_of):
    listed = listed_commands(help_of())
    assert len(listed) == 14
    for name, description in listed.items():
        text = help_of(name)
        assert description == " ".join(text.split("\n\n")[1].split())
        assert f"    polyglot {name}" in text.partition("Example")[2]
        assert "--json" in text


@pytest.mark.usefixtures("no_environment")
def test_the_help_shows_no_credential(help_of, monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", "sk_very_secret")
    assert "secret" not in help_of()


@pytest.mark.usefixtures("no_environment")
def test_the_help_loads_neither_the_client_nor_a_command():
    program = "import sys; from polyglot_async._cli import main; main(['-h']); "
    program += "print(*sorted(name for name in sys.modules if name.startswith(('polyglot_async.', 'httpx'))))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = ended.stdout.splitlines()[-1].split()
    assert "polyglot_async._cli" in loaded
    assert not {"httpx", "polyglot_async._client", "polyglot_async._cli.commands.transcribe"} & set(loaded)


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trnscribe", "a.mp3"], "No such command 'trnscribe'. Did you mean 'transcribe'?"),
        (["validate_url", "x"], "No such command 'validate_url'. Did you mean 'validate-url'?"),
        (["LIMITS"], "No such command 'LIMITS'. Did you mean 'limits' or 'list'?"),
        (["webhook", "verfy"], "No such command 'verfy'. Did you mean 'verify'?"),
        (["zzz"], "No such command 'zzz' (see: polyglot -h)"),
        (["list", "--limt", "3"], "No such option '--limt'. "),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(polyglot, arguments, suggestion):
    ended = polyglot(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {suggestion}")
    assert "mean" in ended.err or arguments == ["zzz"]


def test_the_version_is_that_of_the_package(polyglot):
    assert polyglot("--version").out == f"polyglot_async {importlib.metadata.version('polyglot_async')}\n"


@pytest.mark.usefixtures("no_environment")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["get"], "Missing argument 'ID'"),
        (["get", ".."], "invalid task id: '..'"),
        (["get", " "], "invalid task id: ' '"),
        (["list", "--bogus"], "No such option"),
        (["list", "--limit", "0"], "--limit"),
        (["list"], "--api-key"),
        (["list"], "POLYGLOT_API_KEY"),
        (["transcribe", "missing.wav"], "missing.wav: there is no such file; nothing was sent"),
        (["--api-key", "k", "transcribe"], "Missing argument 'SOURCE...'"),
        (["--api-key", "k", "--base-url", "http://example.com", "list"], "--allow-insecure-http"),
        (["--api-key", "k", "--base-url", "nonsense", "list"], "--base-url 'nonsense' is not"),
        (["--api-key", "k", "--timeout", "0", "list"], "Invalid value for '--timeout'"),
        (["--api-key", "k", "--max-retries", "-1", "list"], "--max-retries"),
        (["--api-key", "k\n", "--timeout", "x", "list"], "'x' is not a valid float"),
        (["--api-key", "two words", "list"], "the credential contains white space"),
        (["transcribe", __file__, "--out", "-"], "--out is a folder"),
        (["demo", "--base-url", "http://127.0.0.1:1"], "cannot be combined with --base-url"),
        (["validate-url", "example.com/a.mp3"], "is not an http or https URL"),
        (["validate-url", "ftp://u:s3cret@x.test/?k=s3cret"], "'ftp://x.test/' is not an http or https URL"),
        (["convert", "missing.wav", "a.mp3"], "there is no such file"),
        (["convert", __file__, "a.mp3", "--format", "exe"], "format is 'exe': pass 'mp3'"),
        (["--api-key", "k", "--timeout", "nan", "list"], "--timeout is nan"),
        (["--api-key", "k", "--timeout", "inf", "list"], "--timeout is inf"),
        (["demo", "missing.wav"], "there is no such file"),
        (["sandbox", "--fault", "bogus"], "bogus"),
        (["sandbox", "--plan", "bogus"], "unknown plan"),
        (["sandbox", "--engine", "bogus"], "engine is"),
        (
            ["transcribe", "--sandbox", "--base-url", "http://127.0.0.1:1", __file__],
            "cannot be combined with --base-url",
        ),
    ],
)
def test_invalid_input_is_2_and_one_line(polyglot, arguments, says):
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
def test_the_module_runs_the_same_command_line(process):
    out, err = process("limits", "--json").communicate(timeout=20)
    assert (json.loads(out)["plan"], err) == ("unlimited", "")


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
    monkeypatch.setitem(sys.modules, "av", None)
    ended = polyglot(*arguments)
    assert ended.code == 1
    assert ended.err == 'error: the local server needs an extra: pip install "polyglot_async[sandbox]"\n'


@pytest.mark.usefixtures("no_environment")
def test_a_bug_is_one_line_too(monkeypatch, polyglot):
    monkeypatch.setattr(Sandbox, "start", lambda self: {}["a bug"])
    ended = polyglot("demo")
    assert (ended.code, ended.err) == (
        1,
        "error: unexpected KeyError: 'a bug' (run again with --verbose for the traceback)\n",
    )
    assert "Traceback" in polyglot("demo", "-v").err
