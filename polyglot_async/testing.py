"""A pytest plugin: a local Polyglot Voice for each test.

It is registered by installing the package, so it is loaded in every run of pytest there: this module imports nothing
heavy, the server comes with the first test that asks for it. Needs the extra `sandbox`.

    def test_transcribes(polyglot_sandbox):
        client = Polyglot(api_key=polyglot_sandbox.api_key, base_url=polyglot_sandbox.url)
        polyglot_sandbox.faults.add("status call=upload status=503")
        ...
        assert polyglot_sandbox.ledger.count(call="upload", status=200) == 1  # what arrived
        assert list(polyglot_sandbox.ledger.starts().values()) == [1]  # what was paid for
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polyglot_async.sandbox import Sandbox

__all__ = ["SandboxFactory", "polyglot_sandbox", "polyglot_sandbox_factory"]


class SandboxFactory(Protocol):
    """The type of `polyglot_sandbox_factory`: starts a Sandbox with any arguments that Sandbox takes.

    By default the engine is "scripted", the plan "unlimited", the folder a fresh one under `tmp_path`.
    """

    def __call__(self, **arguments: Any) -> Sandbox:
        """Start one more; it is closed when the test is over."""
        ...


@pytest.fixture
def polyglot_sandbox_factory(tmp_path: Path) -> Iterator[SandboxFactory]:
    """Start as many sandboxes as a test needs; see SandboxFactory."""
    sandbox_class = _sandbox_class()
    with contextlib.ExitStack() as running:
        made = 0

        def make(**arguments: Any) -> Sandbox:
            nonlocal made
            made += 1
            folder = tmp_path / f"polyglot-sandbox-{made}"
            return running.enter_context(
                sandbox_class(**{"engine": "scripted", "plan": "unlimited", "folder": folder, **arguments})
            )

        yield make


@pytest.fixture
def polyglot_sandbox(polyglot_sandbox_factory: SandboxFactory) -> Sandbox:
    """A running sandbox: scripted engine, no limits, a fresh folder; with `.url`, `.api_key`, `.faults`, `.ledger`."""
    return polyglot_sandbox_factory()


def _sandbox_class() -> type[Sandbox]:
    try:
        from polyglot_async.sandbox import Sandbox  # noqa: PLC0415  (heavy, and an extra that may be missing)
    except ModuleNotFoundError as problem:
        if (problem.name or "").startswith("polyglot_async"):
            raise
        pytest.fail(
            f"the sandbox needs {problem.name}: pip install 'polyglot_async[sandbox]'",
            pytrace=False,
        )
    return Sandbox
