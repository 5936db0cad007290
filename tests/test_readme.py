"""README tells the truth: its blocks run, its names exist, and the package shows what README speaks of and no more."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polyglot_async
from polyglot_async import AsyncPolyglot, AsyncTranscriptions, Polyglot, WebhookEvent, webhooks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("examples/*.md")]
SCRIPTS = sorted(ROOT.glob("examples/*.py"))
PUBLIC_ROOMS = ("sandbox", "subtitles", "testing", "webhooks")


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
    assert "This is a scripted transcript of call.mp3.\n" == capsys.readouterr().out


async def test_the_block_of_an_archive(folder, client, polyglot_sandbox, capsys):
    paths = [folder / "interview.mp4", folder / "call.mp3", folder / "missing.mp3"]
    await run_block("client.batch(", client=client, paths=paths)
    assert {"interview.mp4.srt", "call.mp3.srt", "archive.db"} <= {path.name for path in folder.iterdir()}
    assert "missing.mp3" in capsys.readouterr().out
    polyglot_sandbox.ledger.clear()
    await run_block("client.batch(", client=client, paths=paths[:2])
    assert 0 == polyglot_sandbox.ledger.count("upload")


async def test_the_block_of_single_steps(folder, client, polyglot_sandbox):
    steps = []
    names = await run_block("on_progress=bar", client=client, bar=lambda *at: steps.append(at))
    size = len("the bytes of call.mp3")
    assert (0, size) == steps[0]
    assert (size, size) == steps[-1]
    assert b"the bytes of call.mp3" == names["head"] == (folder / "call.mp3").read_bytes()
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
            client.transcriptions.upload(b"audio")

    names = {"my_service": my_service}
    exec(block_with("def test_my_service"), names)
    names["test_my_service"](polyglot_sandbox)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_each_name_in_the_text_exists(page):
    """Whatever looks like a class of ours, and every `client.something`."""
    text = page.read_text(encoding="utf-8")
    inline = " ".join(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))
    known = {*polyglot_async.__all__, *webhooks.__all__, "AsyncClient"}
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
    source = (ROOT / "polyglot_async" / "__init__.py").read_text(encoding="utf-8")
    [block] = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    static = {name.name: node.module for node in block.body for name in node.names}
    assert polyglot_async._ROOMS == {name: room for name, room in static.items() if room is not None}
    assert {*static, "__version__"} == set(polyglot_async.__all__)


@pytest.mark.parametrize("room", PUBLIC_ROOMS)
def test_public_rooms_say_what_is_public(room):
    module = importlib.import_module(f"polyglot_async.{room}")
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_all_other_rooms_are_private():
    rooms = {path.stem for path in (ROOT / "polyglot_async").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(PUBLIC_ROOMS) == {room for room in rooms if not room.startswith((".", "_"))}


HEAVY = ("anyio", "asyncio", "attrs", "cattrs", "click", "httpx", "rich", "sqlite3", "starlette")


@pytest.mark.parametrize("module", ["polyglot_async", "polyglot_async._errors", "polyglot_async.subtitles"])
def test_importing_is_light(module):
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY})))"
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
