"""README is true: its blocks run and type-check, its names and links exist, and nothing else is public."""

import ast
import builtins
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import polyglot_async
from polyglot_async import AsyncPolyglot, AsyncTranscriptions, Polyglot, WebhookEvent, webhooks

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "polyglot_async"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("examples/*.md")]
SCRIPTS = sorted(ROOT.glob("examples/*.py"))
PUBLIC_MODULES = ("sandbox", "subtitles", "testing", "webhooks")


def block_with(words):
    [block] = [block for block in BLOCKS if words in block]
    return block


async def run_block(words, **names):
    """Run a block that awaits outside of any function, with the names that the text leaves open."""
    code = compile(block_with(words), "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    coroutine = eval(code, names)
    if inspect.iscoroutine(coroutine):
        await coroutine
    return names


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where README's files lie."""
    monkeypatch.chdir(tmp_path)
    for name in ("interview.mp4", "call.mp3"):
        (tmp_path / name).write_bytes(f"the bytes of {name}".encode())
    return tmp_path


@pytest.fixture
def environment(polyglot_sandbox, monkeypatch):
    monkeypatch.setenv("POLYGLOT_API_KEY", polyglot_sandbox.api_key)
    monkeypatch.setenv("POLYGLOT_BASE_URL", polyglot_sandbox.url)


@pytest.fixture
async def client(anyio_backend, environment):
    async with AsyncPolyglot() as client:
        yield client


def test_each_block_is_run_by_a_test_here():
    assert 6 == len(BLOCKS)


def test_the_first_block(folder, environment, capsys):
    exec(block_with("asyncio.run(main())"), {})
    assert "This is a scripted transcript of interview.mp4.\n" == capsys.readouterr().out
    assert "scripted transcript of interview.mp4" in (folder / "interview.srt").read_text()


def test_the_sync_block(folder, environment, capsys):
    exec(block_with("with Polyglot() as client"), {})
    text, translation = capsys.readouterr().out.splitlines()
    assert "This is a scripted transcript of call.mp3." == text
    assert translation.startswith("[ru] ")


async def test_the_block_of_an_archive(folder, client, polyglot_sandbox, capsys):
    """Files of one name in two folders are two transcripts, and a second run sends nothing."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "001.wav").write_bytes(name.encode())
    paths = [folder / "one" / "001.wav", folder / "two" / "001.wav", folder / "missing.mp3"]
    await run_block("client.batch(", client=client, paths=paths)
    saved = {path.stem for path in folder.glob("*.srt")}
    assert saved == {f"001-{entry.task_id}" for entry in polyglot_sandbox.ledger.entries("upload")}
    assert 2 == len(saved)
    assert "missing.mp3 failed: " in capsys.readouterr().out
    polyglot_sandbox.ledger.clear()
    await run_block("client.batch(", client=client, paths=paths[:2])
    assert 0 == polyglot_sandbox.ledger.count("upload")


async def test_the_block_of_single_steps(folder, client, polyglot_sandbox):
    steps = []
    names = await run_block("on_progress=bar", client=client, bar=lambda *at: steps.append(at))
    size = len("the bytes of call.mp3")
    assert (0, size) == steps[0]
    assert (size, size) == steps[-1]
    assert b"the bytes of call.mp3" == names["head"] == (folder / "call-copy.mp3").read_bytes()
    assert b"the bytes of call.mp3" == (folder / "call.mp3").read_bytes(), "the user's own file is left alone"
    assert "This is a scripted transcript of call.mp3." == names["transcript"].text
    assert (folder / "call.srt").read_text().startswith("1\n")
    assert "unlimited" == names["limits"].plan


async def test_the_block_of_webhooks(client):
    events = []
    document = {"event": "transcription.completed", "task_id": "9b9c", "status": "completed"}
    body = json.dumps(document).encode()
    signed = webhooks.sign(body, "whsec")
    names = await run_block(
        "webhooks.verify(", body=body, headers=signed, secret="whsec", handle=events.append, client=client
    )
    assert ("9b9c", WebhookEvent) == (names["event"].task_id, type(names["event"]))


def test_the_block_of_the_fixture(polyglot_sandbox):
    def my_service(api_key, base_url):
        with Polyglot(api_key, base_url=base_url) as client:
            client.transcribe(b"audio")

    names = {"my_service": my_service}
    exec(block_with("def test_my_service"), names)
    names["test_my_service"](polyglot_sandbox)


PREAMBLE = """
from collections.abc import Mapping, Sequence
from pathlib import Path
from polyglot_async import AsyncPolyglot, WebhookEvent
from polyglot_async.sandbox import Sandbox

def bar(sent: int, total: int | None) -> None: ...
async def handle(event: WebhookEvent) -> None: ...
def my_service(*, api_key: str, base_url: str) -> None: ...
"""
FREE_NAMES = "client: AsyncPolyglot, paths: Sequence[Path], body: bytes, headers: Mapping[str, str], secret: str"
PYRIGHT = {"typeCheckingMode": "strict", "reportUnusedImport": False, "reportUnusedVariable": False}


def as_module(block):
    """Return a block as a module: what its text leaves open is a typed parameter, and pytest's fixture has its type."""
    block = block.replace("(polyglot_sandbox):", "(polyglot_sandbox: Sandbox) -> None:")
    uses_a_client = "client." in block and "as client" not in block
    return PREAMBLE + (
        f"async def block({FREE_NAMES}) -> None:\n{textwrap.indent(block, '    ')}" * uses_a_client or block
    )


@pytest.mark.parametrize(
    "checker",
    [("mypy", "--strict", "--no-incremental", "."), ("pyright", "--pythonpath", sys.executable)],
    ids=lambda it: it[0],
)
def test_the_blocks_pass_strict_type_checkers(checker, tmp_path):
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"block_{number}.py").write_text(as_module(block))
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    run = subprocess.run([sys.executable, "-m", *checker], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert 0 == run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=lambda path: str(path.parent.name))
def test_each_link_to_a_file_leads_to_one(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [] == [target for target in targets if not (page.parent / target).exists()]


def test_each_path_named_in_the_text_exists():
    """Scripts, modules and folders: `benchmarks/upload.py`, `_api/endpoints.py`, `tests/structure`."""
    for page in PAGES[:3]:
        named = re.findall(r"`(?:python )?((?:[\w.]+/)+[\w.]*)[^`]*`", page.read_text(encoding="utf-8"))
        named = [path for path in named if not path.startswith(("archive/", "transcriptions/"))]
        assert [] == [path for path in named if not any((base / path).exists() for base in (ROOT, PACKAGE))]


def test_each_number_of_an_assumption_is_explained_before_it_is_used():
    before, table = README.split("| # | open question |")
    assert [] == re.findall(r"\bA\d+\b", before)
    assert [f"A{number}" for number in range(1, 22)] == re.findall(r"^\| (A\d+) \|", table, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_name_in_the_text_exists(page):
    """Whatever looks like a class of ours, and every `client.something`."""
    text = page.read_text(encoding="utf-8")
    inline = " ".join(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))
    known = {*polyglot_async.__all__, *webhooks.__all__, *dir(builtins), "AsyncClient"}
    assert set() == set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", inline)) - known
    for name in re.findall(r"\bclient\.transcriptions\.(\w+)", text):
        assert hasattr(AsyncTranscriptions, name)
    for name in re.findall(r"\bclient\.(\w+)", text):
        assert hasattr(AsyncPolyglot, name)
    for name in re.findall(r"\bwebhooks\.(\w+)\(", text):
        assert hasattr(webhooks, name)


def test_the_methods_named_in_passing_exist():
    [also] = re.findall(r"^Also (.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    methods = {"convert_audio", "from_url", "source", "validate_url", "with_raw_response"}
    assert methods == {name for name in re.findall(r"`(\w+)`", also) if hasattr(AsyncTranscriptions, name)}
    assert {"timeout", "max_retries"} <= inspect.signature(AsyncPolyglot.with_options).parameters.keys()
    assert "http_client" in inspect.signature(AsyncPolyglot).parameters


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_examples_use_public_names_only(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("polyglot_async"):
            public = importlib.import_module(node.module).__all__
            assert {name.name for name in node.names} <= set(public)


def test_all_is_sorted_and_each_name_can_be_imported():
    assert sorted(polyglot_async.__all__) == polyglot_async.__all__
    names: dict[str, object] = {}
    exec("from polyglot_async import *", names)
    assert set(polyglot_async.__all__) <= names.keys()
    for name in polyglot_async.__all__:
        value = getattr(polyglot_async, name)
        assert value is getattr(polyglot_async, name)
        if inspect.isclass(value) or inspect.ismodule(value):
            assert name == value.__name__.removeprefix("polyglot_async.")


def test_dir_shows_what_is_public_and_no_more():
    public = {name for name in dir(polyglot_async) if not name.startswith("_")}
    assert set(polyglot_async.__all__) - {"__version__"} == public
    assert "__version__" in dir(polyglot_async)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'polyglot_async' has no attribute 'Nothing'"):
        polyglot_async.Nothing  # noqa: B018


def test_type_checkers_see_the_names_that_python_sees():
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    [block] = [node for node in ast.parse(source).body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    static = {name.name: node.module for node in block.body for name in node.names}
    assert {*static, "__version__"} == set(polyglot_async.__all__)
    for name, module in static.items():
        if module is not None:
            assert getattr(polyglot_async, name) is getattr(importlib.import_module(f"polyglot_async.{module}"), name)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_public_modules_list_what_is_public(module):
    module = importlib.import_module(f"polyglot_async.{module}")
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_all_other_modules_are_private():
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(PUBLIC_MODULES) == {module for module in modules if not module.startswith((".", "_"))}


HEAVY = ("anyio", "asyncio", "attrs", "cattrs", "click", "httpx", "rich", "sqlite3", "starlette")


@pytest.mark.parametrize(
    "line",
    ["import polyglot_async", "from polyglot_async import PolyglotError", "from polyglot_async import subtitles"],
)
def test_importing_is_light(line):
    program = f"import sys; {line}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "" == loaded.strip()


def test_the_pytest_plugin_brings_no_server_before_it_is_asked_for():
    program = f"""
import pytest, sys
before = set(sys.modules)
import polyglot_async.testing
print(*(set(sys.modules) - before) & set({HEAVY}))
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "" == loaded.strip()
