"""What comes out of a task group: one error, and never less than what ended the program."""

import asyncio

import pytest

from polyglot_async._concurrency import unwrapped


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ([ValueError("a"), ValueError("b")], ValueError),
        ([asyncio.CancelledError(), ValueError("a")], ValueError),
        ([ValueError("a"), KeyboardInterrupt()], KeyboardInterrupt),
        ([ValueError("a"), BaseExceptionGroup("inner", [asyncio.CancelledError(), SystemExit(3)])], SystemExit),
        ([asyncio.CancelledError()], asyncio.CancelledError),
    ],
    ids=str,
)
def test_one_error_of_a_group_is_raised(raised, expected):
    with pytest.raises(expected), unwrapped():
        raise BaseExceptionGroup("tasks", raised)
