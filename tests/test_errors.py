"""The tree of exceptions: as drawn, complete, and safe to pickle, copy and print."""

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime

import pytest

import polyglot_async
from polyglot_async import PolyglotError, Task, TaskStatus

MODULE = inspect.getmodule(PolyglotError)
TASK = Task(task_id="a", status=TaskStatus("paused"), failure_reason="too quiet", extra={"new": [1]})
STATUS = {"status_code": 429, "detail": "d", "request_id": "r", "retry_after": 1.5, "body": b"b\xff", "method": "GET",
          "url": "u"}  # fmt: skip
REQUIRED = {
    polyglot_async.ApiConnectionError: {"method": "GET", "url": "u", "maybe_sent": False},
    polyglot_async.ApiStatusError: STATUS,
    polyglot_async.ResponseDecodeError: {
        name: STATUS[name] for name in ("status_code", "body", "method", "url", "request_id")
    },
    polyglot_async.TaskError: {"task": TASK},
    polyglot_async.SubmissionUncertainError: {"source_name": "a.mp3", "size": 5, "candidates": (TASK,)},
    polyglot_async.QuotaExhaustedError: {"resets_at": datetime(2026, 6, 1, tzinfo=UTC), "limit": "monthly"},
    polyglot_async.WebhookVerificationError: {"reason": "body"},
}


def tree_of(cls):
    return {base.__name__: tree_of(base) for base in cls.__subclasses__() if base.__module__ == MODULE.__name__}


def all_below(cls):
    return [cls, *(found for base in cls.__subclasses__() for found in all_below(base))]


ERRORS = [cls for cls in all_below(PolyglotError) if cls.__module__ == MODULE.__name__]


def make(cls):
    values = next((values for base, values in REQUIRED.items() if issubclass(cls, base)), {})
    error = cls("what went wrong", **values)
    if cls is polyglot_async.RateLimitError:
        error.limit = "daily"
    return error, values


def test_the_tree_at_the_head_of_the_file_is_the_real_one():
    drawing = inspect.getdoc(MODULE).split("```")[1].strip().splitlines()
    drawn = {}
    branches = {-1: drawn}
    for line in drawing:
        lead, name = re.match(r"([|`\- ]*)(\w+)", line).groups()
        depth = len(lead) // 3
        branches[depth] = branches[depth - 1].setdefault(name, {})

    assert {"PolyglotError": tree_of(PolyglotError)} == drawn


def test_every_error_is_public():
    assert {cls.__name__ for cls in ERRORS} <= set(polyglot_async.__all__)


def test_the_module_defines_no_exception_outside_the_tree():
    defined = {
        value
        for value in vars(MODULE).values()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == MODULE.__name__
    }

    assert set(ERRORS) == defined


@pytest.mark.parametrize("cls", ERRORS)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_every_error_pickles_and_copies_with_all_it_knows(cls, again):
    error, values = make(cls)
    error.add_note("a note")

    other = again(error)

    assert cls is type(other)
    assert "what went wrong" == str(other) == other.message
    assert ("what went wrong",) == other.args == error.args
    assert vars(error) == vars(other)
    assert values == {name: getattr(other, name) for name in values}
    assert ["a note"] == other.__notes__
    assert repr(error) == repr(other)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pickle_with_every_protocol(protocol):
    error, _ = make(polyglot_async.WaitTimeoutError)

    assert TASK == pickle.loads(pickle.dumps(error, protocol)).task


@pytest.mark.parametrize("cls", ERRORS)
def test_every_error_can_be_raised_and_printed(cls):
    error, _ = make(cls)

    with pytest.raises(cls) as caught:
        raise error

    assert "what went wrong" == str(caught.value)
    assert f"{cls.__name__}('what went wrong')" == repr(caught.value)


@pytest.mark.parametrize("cls", ERRORS)
def test_every_attribute_is_documented(cls):
    _, values = make(cls)
    documented = "".join(inspect.getdoc(base) or "" for base in cls.__mro__ if issubclass(base, PolyglotError))

    assert [] == [name for name in values if f"{name}: " not in documented]


def test_a_limit_is_kept_through_a_pickle():
    error, _ = make(polyglot_async.RateLimitError)

    assert "daily" == pickle.loads(pickle.dumps(error)).limit


@pytest.mark.parametrize("cls", [polyglot_async.ApiTimeoutError, polyglot_async.WaitTimeoutError])
def test_what_ran_out_of_time_is_a_timeout_error_too(cls):
    error, _ = make(cls)

    assert isinstance(error, TimeoutError)
    assert "what went wrong" == str(error)


def test_a_failed_task_has_its_reason():
    error, _ = make(polyglot_async.TaskFailedError)

    assert "too quiet" == error.failure_reason == pickle.loads(pickle.dumps(error)).failure_reason
