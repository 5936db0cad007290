"""What a program does not use is not loaded: it starts as fast as what it stands on."""

import subprocess
import sys
import types

import pytest

from polyglot_async._lazy import lazy_names

NOT_AT_THE_START = ("asyncio", "cattrs", "sqlite3", "statistics")


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package with a module `tools`, in which there is `hammer`."""
    (tmp_path / "shed").mkdir()
    (tmp_path / "shed" / "__init__.py").touch()
    (tmp_path / "shed" / "tools.py").write_text("hammer = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("shed")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shed"]:
        del sys.modules[name]


def test_a_module_is_loaded_when_the_first_of_its_names_is_used(package):
    package.__getattr__ = lazy_names("shed", {"hammer": "tools", "tools": "tools"})
    assert "shed.tools" not in sys.modules
    hammer = package.hammer
    assert hammer is sys.modules["shed.tools"].hammer
    assert vars(package)["hammer"] is hammer, "the second use asks again"


def test_a_module_is_a_name_of_its_own(package):
    package.__getattr__ = lazy_names("shed", {"hammer": "tools", "tools": "tools"})
    assert isinstance(package.tools, types.ModuleType)


def test_what_is_not_there_is_an_attribute_error(package):
    package.__getattr__ = lazy_names("shed", {"hammer": "tools"})
    with pytest.raises(AttributeError, match="module 'shed' has no attribute 'nail'"):
        _ = package.nail


@pytest.mark.parametrize("name", ["AsyncPolyglot", "Polyglot"])
def test_importing_a_client_loads_nothing_that_is_only_used_later(name):
    program = f"""
import sys, httpx, anyio
before = set(sys.modules)
from polyglot_async import {name}
print(*sorted((set(sys.modules) - before) & set({NOT_AT_THE_START})))
"""
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "" == loaded.strip()


@pytest.mark.parametrize("call", ["upload(b'RIFF')", "from_url('https://example.com/a.wav')"])
def test_what_a_paid_call_needs_is_loaded_before_it_is_sent(call):
    """An import can fail, for want of a free file descriptor perhaps; then the answer would be lost."""
    program = f"""
import asyncio, sys, httpx
from polyglot_async import AsyncPolyglot

def answer(request):
    loaded.update(sys.modules)
    return httpx.Response(200, json={{"task_id": "t1", "status": "queued", "created_at": "2026-01-01T00:00:00Z"}})

async def main():
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await AsyncPolyglot("sk_key", http_client=http).transcriptions.{call}

loaded = set()
asyncio.run(main())
assert loaded
print(*sorted(name for name in set(sys.modules) - loaded if name.startswith(("cattr", "polyglot_async"))))
"""
    loaded_late = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "" == loaded_late.strip()
