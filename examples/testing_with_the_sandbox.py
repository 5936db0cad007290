"""Tests of your own integration, without a key: the fixtures come with the extra `sandbox`.

pip install 'polyglot_async[sandbox]' pytest
pytest testing_with_the_sandbox.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from polyglot_async import Polyglot, TaskFailedError
from polyglot_async.sandbox import ScriptedEngine

if TYPE_CHECKING:
    from polyglot_async.sandbox import Sandbox
    from polyglot_async.testing import SandboxFactory


def words_in(recording: bytes, *, api_key: str, base_url: str) -> int:
    """Count the words of a recording: it stands for the code that you want to test."""
    with Polyglot(api_key, base_url=base_url) as polyglot:
        return len(polyglot.transcribe(recording).text.split())


def test_it_counts_words(polyglot_sandbox_factory: SandboxFactory) -> None:
    """The scripted engine returns the text that you pass to it."""
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine("one two three"))
    assert words_in(b"audio", api_key=sandbox.api_key, base_url=sandbox.url) == 3


def test_it_survives_a_busy_service(polyglot_sandbox: Sandbox) -> None:
    """A fault is one line of text, and the ledger has what arrived."""
    polyglot_sandbox.faults.add("status call=result status=503 times=1")
    assert words_in(b"audio", api_key=polyglot_sandbox.api_key, base_url=polyglot_sandbox.url) > 0
    assert [entry.status for entry in polyglot_sandbox.ledger.entries(call="result")] == [503, 200]


def test_a_failed_task_is_an_error(polyglot_sandbox_factory: SandboxFactory) -> None:
    """So that nobody takes a failure for silence."""
    sandbox = polyglot_sandbox_factory(engine=ScriptedEngine(fail=lambda _name, _size: "no speech found"))
    with pytest.raises(TaskFailedError, match="no speech found"):
        words_in(b"audio", api_key=sandbox.api_key, base_url=sandbox.url)
