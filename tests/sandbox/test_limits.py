"""Every limit of a plan, enforced as the contract says: 429, and 400 or 413 where it leaves that open."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async.sandbox import Plan, ScriptedEngine
from polyglot_async.sandbox.server._limits import WINDOWS


@pytest.mark.parametrize("counting", ["sliding", "fixed", "bucket"])
def test_the_burst_is_of_the_user_whichever_the_credential(polyglot_sandbox_factory, connect, counting):
    sandbox = polyglot_sandbox_factory(plan=Plan(requests_per_minute=6, counting=counting, window_seconds=3600))
    clients = [
        connect(sandbox),
        connect(sandbox, sandbox.create_key().secret_key),
        connect(sandbox, sandbox.session_token()),
    ]
    statuses = [client.get("/transcriptions").status_code for client in clients * 3]
    assert statuses == [200] * 6 + [429] * 3
    assert connect(sandbox, sandbox.create_key(user="eve").secret_key).get("/transcriptions").status_code == 200


def test_a_refusal_says_which_limit_and_when(polyglot_sandbox_factory, connect):
    """A12."""
    sandbox = polyglot_sandbox_factory(plan=Plan(requests_per_minute=1, window_seconds=100))
    api = connect(sandbox)
    api.get("/transcriptions")
    answer = api.get("/transcriptions")
    assert answer.json() == {"detail": "Limit exceeded: 1 requests per minute (burst)."}
    assert answer.headers["retry-after"] == "100"
    assert sandbox.ledger.count(status=429) == 1


def test_a_short_window_opens_again(polyglot_sandbox_factory, connect, until):
    api = connect(polyglot_sandbox_factory(plan=Plan(requests_per_minute=2, window_seconds=0.3)))
    assert [api.get("/transcriptions").status_code for _ in range(3)] == [200, 200, 429]
    assert until(lambda: api.get("/transcriptions").status_code == 200, 2)


def test_uploads_have_a_burst_of_their_own(polyglot_sandbox_factory, connect):
    """It counts the calls that start a task; one that is refused by it spends nothing of the other."""
    api = connect(polyglot_sandbox_factory(plan=Plan(requests_per_minute=4, uploads_per_minute=2)))
    assert [api.upload().status_code for _ in range(3)] == [200, 200, 429]
    assert api.post("/transcriptions/from-url", json={"url": "x"}).status_code == 429
    assert [api.get("/transcriptions").status_code for _ in range(3)] == [200, 200, 429]


def test_the_day_counts_everything_that_carries_a_key(polyglot_sandbox_factory, connect):
    """Polls, misses and refusals included; session tokens are free, requests without a credential too."""
    sandbox = polyglot_sandbox_factory(plan=Plan(requests_per_day=4))
    api, other = connect(sandbox), connect(sandbox, sandbox.create_key().secret_key)
    connect(sandbox, sandbox.session_token()).get("/transcriptions")
    connect(sandbox, None).get("/transcriptions")
    statuses = [
        api.upload().status_code,
        other.get("/nothing").status_code,
        api.get("/developer/documentation").status_code,
    ]
    assert [*statuses, api.get("/transcriptions").status_code] == [200, 404, 403, 200]
    answer = other.get("/transcriptions")
    assert (answer.status_code, "daily" in answer.json()["detail"]) == (429, True)
    assert 0 < int(answer.headers["retry-after"]) <= 86400
    assert connect(sandbox, sandbox.session_token()).get("/transcriptions").status_code == 200
    assert set(sandbox.state()["usage"].values()) == {5}


def test_the_month_is_counted_too(polyglot_sandbox_factory, connect):
    api = connect(polyglot_sandbox_factory(plan=Plan(requests_per_month=1)))
    api.get("/transcriptions")
    assert "monthly" in api.get("/transcriptions").json()["detail"]


def test_day_and_month_turn_over_by_the_calendar_of_utc(polyglot_sandbox_factory, connect):
    clock = [datetime(2026, 1, 31, 23, 59, 30, tzinfo=UTC).timestamp()]
    plan = Plan(requests_per_day=1, requests_per_month=3)
    sandbox = polyglot_sandbox_factory(plan=plan, now=lambda: clock[0])
    api = connect(sandbox)

    def answers(count=1):
        got = [api.get("/transcriptions") for _ in range(count)]
        return [(answer.status_code, int(answer.headers.get("retry-after", 0))) for answer in got]

    assert answers(2) == [(200, 0), (429, 30)]
    clock[0] += 30
    assert answers() == [(200, 0)]
    assert sandbox.state()["usage"] == {"2026-01-31": 2, "2026-01": 2, "2026-02-01": 1, "2026-02": 1}
    assert answers(3)[-1] == (429, 28 * 86400)


def test_concurrent_tasks_are_those_that_are_not_finished(polyglot_sandbox_factory, connect):
    """A13: the call that starts one too many is refused; a slot is free as soon as a task is final."""
    sandbox = polyglot_sandbox_factory(plan=Plan(max_concurrent_tasks=2), engine=ScriptedEngine(seconds=60))
    api = connect(sandbox)
    first, _ = api.start(), api.start()
    answer = api.upload(b"x" * 5_000_000)
    assert (answer.status_code, "max_concurrent_tasks" in answer.json()["detail"]) == (429, True)
    assert sandbox.ledger.entries(status=429)[0].bytes_in == 0
    sandbox.cancel(first)
    assert api.upload().status_code == 200
    assert connect(sandbox, sandbox.create_key(user="eve").secret_key).upload().status_code == 200


def test_racing_uploads_do_not_overrun_the_concurrency(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(plan=Plan(max_concurrent_tasks=2), engine=ScriptedEngine(seconds=60))
    statuses: list[int] = []
    clients = [connect(sandbox) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda api=api: statuses.append(api.upload(b"x" * 2_000_000).status_code))
        for api in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200] + [429] * 6
    assert list((sandbox.folder / "incoming").iterdir()) == []


def test_too_long_audio_is_refused(polyglot_sandbox_factory, connect, silence):
    plan = Plan(max_audio_seconds=2)
    scripted = connect(polyglot_sandbox_factory(plan=plan, engine=ScriptedEngine(audio_seconds=3)))
    real = connect(polyglot_sandbox_factory(plan=plan, engine="pocketsphinx"))
    for api in (scripted, real):
        answer = api.upload(silence(3).read_bytes(), "long.wav")
        assert (answer.status_code, "max_audio_seconds" in answer.json()["detail"]) == (400, True)
        assert api.get("/transcriptions").json()["total"] == 0


def test_the_documentation_shows_an_unusual_window_and_of_no_limits(polyglot_sandbox_factory, connect):
    sandbox = polyglot_sandbox_factory(plan=Plan(requests_per_minute=5, window_seconds=2))
    limits = connect(sandbox, None).get("/developer/documentation").json()["rate_limits"]
    assert limits["burst"] == {"requests_per_minute": 5, "uploads_per_minute": None, "window_seconds": 2}
    assert limits["plan"]["max_upload_bytes"] is None


@pytest.mark.parametrize("wrong", [{"counting": "odd"}, {"window_seconds": 0}])
def test_a_plan_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r"counting|window_seconds"):
        Plan(**wrong)
    with pytest.raises(ValueError, match="unknown plan 'gold'"):
        Plan.named("gold")


@given(st.sampled_from(sorted(WINDOWS)), st.integers(1, 5), st.lists(st.floats(0, 3), max_size=60))
def test_no_window_lets_more_through_than_its_kind_allows(counting, limit, gaps):
    """Sliding: never more than the limit in any window; the others at most twice that; waiting always helps."""
    window = WINDOWS[counting](limit, 1.0)
    now, admitted = 1000.0, []
    for gap in gaps:
        now += gap
        if (wait := window.wait(now)) > 0:
            assert window.wait(now + wait + 1e-6) == 0
            now += wait + 1e-6
        window.record(now)
        admitted.append(now)
    most = max((sum(start <= at < start + 1 for at in admitted) for start in admitted), default=0)
    assert most <= (limit if counting == "sliding" else 2 * limit)
