"""The receiver, called with ASGI scopes by hand, on asyncio and Trio."""

import functools
import logging
import threading

import anyio
import anyio.lowlevel
import pytest

from polyglot_async import ConfigurationError, Runtime, webhooks
from polyglot_async.webhooks import DedupeState, MemoryDedupeStore, SqliteDedupeStore

pytestmark = pytest.mark.anyio
NOW = 1_800_000_000.0


@pytest.fixture
def events():
    return []


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return MemoryDedupeStore() if request.param == "memory" else SqliteDedupeStore(tmp_path / "webhooks.db")


def chunk(data, *, more=True):
    return {"type": "http.request", "body": data, "more_body": more}


# -- what gets through


async def test_an_event_is_handled_by_an_async_handler(receiver, deliver, body):
    loops = []

    async def handler(event):
        await anyio.lowlevel.checkpoint()
        loops.append((event.task_id, threading.get_ident()))

    answer = await deliver(receiver(handler), body)
    assert (answer.status, answer.detail) == (200, "handled")
    assert loops == [("9b9c1b9a", threading.get_ident())]


async def test_an_event_is_handled_by_a_sync_handler_in_a_worker_thread(receiver, deliver, body):
    threads = []
    answer = await deliver(receiver(lambda event: threads.append(threading.get_ident())), body)
    assert answer.status == 200
    assert threads
    assert threads != [threading.get_ident()]


class AsyncObject:
    def __init__(self, events):
        self.events = events

    async def __call__(self, event):
        self.events.append(event)


async def _append(events, event):
    events.append(event)


@pytest.mark.parametrize(
    "make",
    [
        AsyncObject,
        lambda events: functools.partial(_append, events),
        lambda events: lambda event: _append(events, event),
        lambda events: events.append,
        lambda events: AsyncObject(events).__call__,
    ],
)
async def test_everything_that_can_be_called_is_a_handler(receiver, deliver, body, events, make):
    assert (await deliver(receiver(make(events)), body)).status == 200
    assert [event.task_id for event in events] == ["9b9c1b9a"]


async def test_without_a_handler_events_are_accepted_for_the_subscribers(receiver, deliver, body, events):
    app = receiver()
    app.subscribe(events.append)
    assert (await deliver(app, body)).status == 200
    assert len(events) == 1


async def test_a_body_in_pieces_is_put_together(receiver, exchange, body, events):
    request = exchange(receiver(events.append), headers=webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW))
    pieces = [chunk(body[i : i + 1]) for i in range(len(body))]
    await request.run(*pieces, chunk(b""), {"type": "http.request"})
    assert request.status == 200
    assert len(events) == 1


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        (None, {"path": "/whatever"}, 200),
        ("/hook", {"path": "/hook"}, 200),
        ("hook/", {"path": "/hook"}, 200),
        ("/hook", {"path": "/hook/"}, 200),
        ("/hook", {"path": "/polyglot/hook", "root_path": "/polyglot"}, 200),
        ("/hook", {"path": "/hook", "root_path": "/polyglot"}, 200),
        ("/", {"path": "/polyglot", "root_path": "/polyglot"}, 200),
        ("/hook", {"path": "/"}, 404),
        ("/hook", {"path": "/hook/more"}, 404),
        ("/hook", {"path": "/Hook"}, 404),
        ("/hook", {"path": "/hookpolyglot/hook", "root_path": "/hook"}, 404),
    ],
)
async def test_only_its_path_is_answered(receiver, deliver, body, *, path, scope, status):
    events = []
    assert (await deliver(receiver(events.append, path=path), body, **scope)).status == status
    assert len(events) == (status == 200)


# -- duplicates and failures


async def test_a_duplicate_is_answered_and_not_handled_again(receiver, deliver, body, events, store):
    app = receiver(events.append, dedupe_store=store)
    first, again = await deliver(app, body), await deliver(app, body)
    assert (first.status, again.status, again.detail) == (200, 200, "handled before")
    assert len(events) == 1


async def test_a_replay_with_a_forged_timestamp_is_not_handled_again(receiver, deliver, body, events, store):
    """The signature does not cover the timestamp: that the replay is refused is the store's work alone."""
    app = receiver(events.append, dedupe_store=store)
    for timestamp in (NOW, NOW + 200, NOW - 200):
        assert (await deliver(app, body, timestamp=timestamp)).status == 200
    assert len(events) == 1


async def test_another_status_of_the_same_task_is_another_event(receiver, deliver, make_body, events, store):
    app = receiver(events.append, dedupe_store=store)
    for task, status in (("a", "failed"), ("a", "completed"), ("b", "failed"), ('a"', "failed"), ("ж", "failed")):
        assert (await deliver(app, make_body(task, status))).detail == "handled"
    assert len(events) == 5


async def test_a_failing_handler_gets_the_event_again(receiver, deliver, body, store, caplog):
    outcomes = [RuntimeError("the disk is full"), ExceptionGroup("two", [ValueError()]), None]

    async def handler(event):
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    app = receiver(handler, dedupe_store=store)
    with caplog.at_level(logging.ERROR, "polyglot_async"):
        answers = [await deliver(app, body) for _ in range(4)]
    assert [answer.status for answer in answers] == [500, 500, 200, 200]
    assert [answer.detail for answer in answers][2:] == ["handled", "handled before"]
    assert "the disk is full" not in answers[0].detail
    assert "the disk is full" in caplog.text
    assert outcomes == []


async def test_a_failing_sync_handler_gets_the_event_again(receiver, deliver, body, events):
    def handler(event):
        events.append(event)
        if len(events) == 1:
            raise OSError

    app = receiver(handler)
    assert [(await deliver(app, body)).status for _ in range(3)] == [500, 200, 200]
    assert len(events) == 2


async def test_of_concurrent_duplicates_one_is_handled_and_the_others_are_to_come_again(
    receiver, deliver, body, events, store
):
    others_answered, answers = anyio.Event(), []

    async def handler(event):
        events.append(event)
        await others_answered.wait()

    app = receiver(handler, dedupe_store=store)

    async def one():
        answers.append(await deliver(app, body))
        if len(answers) == 4:
            others_answered.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
    assert [answer.status for answer in answers] == [503, 503, 503, 503, 200]
    assert answers[0].headers[b"retry-after"] == b"1"
    assert len(events) == 1
    assert (await deliver(app, body)).detail == "handled before"


async def test_two_receivers_with_one_store_handle_an_event_once(receiver, deliver, body, events, tmp_path):
    started, go_on, answers = anyio.Event(), anyio.Event(), []

    async def handler(event):
        events.append(event)
        started.set()
        await go_on.wait()

    first, second = (receiver(handler, dedupe_store=SqliteDedupeStore(tmp_path / "webhooks.db")) for _ in range(2))

    async def deliver_first():
        answers.append(await deliver(first, body))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver_first)
            await started.wait()
            assert (await deliver(second, body)).status == 503
            go_on.set()
    assert answers[0].status == 200
    assert (await deliver(second, body)).status == 200
    assert len(events) == 1


async def test_a_slow_handler_goes_on_after_the_answer(receiver, exchange, deliver, body, store):
    finish, events = anyio.Event(), []

    async def handler(event):
        await finish.wait()
        events.append(event)

    app = receiver(handler, dedupe_store=store, handler_timeout=0.01)
    first = exchange(app, headers=webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.run, chunk(body, more=False))
            await first.answered.wait()
            assert first.status == 503
            assert (await deliver(app, body)).status == 503
            finish.set()
    assert len(events) == 1
    assert (await deliver(app, body)).detail == "handled before"
    assert len(events) == 1


async def test_a_claim_that_expires_under_a_slow_handler_starts_no_second_one(
    receiver, exchange, deliver, body, tmp_path
):
    moments = iter(range(1000, 10_000_000, 1000))
    store = SqliteDedupeStore(
        tmp_path / "webhooks.db", runtime=Runtime(unix_time=lambda: next(moments)), claim_seconds=1
    )
    finish, events = anyio.Event(), []

    async def handler(event):
        events.append(event)
        await finish.wait()

    app = receiver(handler, dedupe_store=store, handler_timeout=0.01)
    first = exchange(app, headers=webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first.run, chunk(body, more=False))
            await first.answered.wait()
            assert (await deliver(app, body)).status == 503
            finish.set()
    assert len(events) == 1


async def test_a_handler_that_the_server_cancels_gives_the_event_back(receiver, deliver, body, events, store):
    async def handler(event):
        events.append(event)
        if len(events) == 1:
            await anyio.sleep_forever()

    app = receiver(handler, dedupe_store=store)
    with anyio.move_on_after(0.2) as scope:
        await deliver(app, body)
    assert scope.cancelled_caught
    assert (await deliver(app, body)).detail == "handled"
    assert len(events) == 2


class BrokenStore(MemoryDedupeStore):
    def __init__(self, broken):
        super().__init__()
        self.broken = broken

    async def claim(self, key):
        if "claim" in self.broken:
            raise OSError
        return await super().claim(key)

    async def confirm(self, key):
        if "confirm" in self.broken:
            raise OSError
        await super().confirm(key)

    async def release(self, key):
        if "release" in self.broken:
            raise OSError
        await super().release(key)


async def test_a_broken_store_is_answered_with_503(receiver, deliver, body, events):
    store = BrokenStore({"claim"})
    app = receiver(events.append, dedupe_store=store)
    assert [(await deliver(app, body)).status for _ in range(2)] == [503, 503]
    assert events == []
    store.broken = {"confirm"}
    assert (await deliver(app, body)).status == 503
    assert len(events) == 1
    store.broken = set()
    assert await store.claim("another") is DedupeState.NEW


async def test_a_store_that_cannot_take_a_key_back_does_not_hide_the_failure(receiver, deliver, body):
    def handler(event):
        raise ValueError

    assert (await deliver(receiver(handler, dedupe_store=BrokenStore({"release"})), body)).status == 500


async def test_a_client_that_does_not_take_its_answer_changes_nothing(receiver, exchange, deliver, body, events):
    app = receiver(events.append)
    request = exchange(app, headers=webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW))

    async def send(message):
        raise OSError("gone")

    request.send = send
    await request.run(chunk(body, more=False))
    assert len(events) == 1
    assert (await deliver(app, body)).detail == "handled before"


# -- what does not get through


@pytest.fixture
def guarded(receiver):
    """A receiver, and a check that nobody was told anything."""
    told = []
    app = receiver(told.append, max_body_bytes=1000, body_timeout=0.05)
    app.subscribe(told.append)
    yield app
    assert told == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", "PATCH"])
async def test_other_methods_are_refused(guarded, deliver, body, method):
    answer = await deliver(guarded, body, method=method)
    assert (answer.status, answer.headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize(
    "written", ["text/plain", "", "application/jsonp", "application/x-www-form-urlencoded", "json"]
)
async def test_other_types_are_refused(guarded, deliver, body, written):
    assert (await deliver(guarded, body, headers={"Content-Type": written})).status == 415


@pytest.mark.parametrize("written", ["application/json; charset=utf-8", "Application/JSON", " application/json "])
async def test_a_type_may_have_parameters(receiver, deliver, body, written):
    assert (await deliver(receiver(), body, headers={"Content-Type": written})).status == 200


async def test_a_missing_type_is_refused(guarded, exchange, body):
    signed = webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW)
    del signed["Content-Type"]
    assert (await exchange(guarded, headers=signed).run(chunk(body, more=False))).status == 415


@pytest.mark.parametrize("length", ["1001", "99999999999999999999", "9" * 5000, "0" * 5000 + "1001"])
async def test_a_length_that_is_too_large_is_refused_before_the_body_is_read(guarded, exchange, length):
    request = exchange(guarded, headers={"Content-Type": "application/json", "Content-Length": length})
    with anyio.fail_after(1):
        await request.run()
    assert (request.status, request.headers[b"connection"]) == (413, b"close")


@pytest.mark.parametrize("length", ["-1", "1e3", "", "0x10", "\u0661"])
async def test_a_length_that_is_no_number_is_refused(guarded, exchange, length):
    request = exchange(guarded, headers={"Content-Type": "application/json", "Content-Length": length})
    assert (await request.run()).status == 400


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "10"}, {"Content-Length": "0" * 5000}])
async def test_a_body_that_grows_too_large_is_refused_at_once(guarded, exchange, headers):
    request = exchange(guarded, headers={"Content-Type": "application/json", **headers}, http_version="2")
    await request.run(chunk(b"x" * 1000), chunk(b"x"))
    assert request.status == 413
    assert b"connection" not in request.headers  # HTTP/2 knows no such header


async def test_a_body_that_trickles_is_refused_when_its_time_is_up(guarded, exchange):
    request = exchange(guarded, headers={"Content-Type": "application/json"})
    with anyio.fail_after(1):
        await request.run(*[chunk(b"{")] * 100)
    assert (request.status, request.headers[b"connection"]) == (408, b"close")


async def test_a_client_that_leaves_is_not_answered(guarded, exchange):
    request = exchange(guarded, headers={"Content-Type": "application/json"})
    await request.run(chunk(b"{"), {"type": "http.disconnect"})
    assert request.sent == []


async def test_forgeries_are_refused(guarded, deliver, exchange, body):
    assert (await deliver(guarded, body, secret="guessed")).status == 401
    assert (await deliver(guarded, body, headers={"X-Polyglot-Signature": ""})).status == 401
    assert (await deliver(guarded, body, headers={"X-Polyglot-Signature": "\x00"})).status == 401
    bare = exchange(guarded, headers={"Content-Type": "application/json"})
    assert (await bare.run(chunk(body, more=False))).status == 401


async def test_a_duplicated_signature_is_refused(guarded, exchange, body):
    request = exchange(guarded, headers=webhooks.sign(body, "whsec-made-up-for-tests", timestamp=NOW))
    request.scope["headers"].append((b"x-polyglot-signature", b"0"))
    assert (await request.run(chunk(body, more=False))).status == 400


async def test_stale_deliveries_are_refused(guarded, deliver, body):
    assert (await deliver(guarded, body, timestamp=NOW - 301)).status == 401
    assert (await deliver(guarded, body, timestamp=NOW + 301)).status == 401
    assert (await deliver(guarded, body, headers={"X-Polyglot-Timestamp": "soon"})).status == 401


@pytest.mark.parametrize("malformed", [b"", b"{", b"[]", b"\xff", b"{}", b"[" * 900])
async def test_a_malformed_body_with_a_right_signature_is_refused(guarded, deliver, malformed):
    assert (await deliver(guarded, malformed)).status == 400


async def test_no_answer_holds_the_secret_or_the_right_signature(guarded, deliver, body):
    right = webhooks.sign(body, "whsec-made-up-for-tests")["X-Polyglot-Signature"]
    answer = await deliver(guarded, body, secret="guessed")
    assert right.encode() not in b"".join(message.get("body", b"") for message in answer.sent)
    assert "whsec" not in repr(guarded)


# -- subscribers


async def test_subscribers_hear_of_every_verified_delivery(receiver, deliver, body):
    heard = []

    def handler(event):
        raise ValueError

    app = receiver(handler)
    first = app.subscribe(lambda event: heard.append(1))
    second = app.subscribe(lambda event: heard.append(2))
    assert (await deliver(app, body)).status == 500  # the task is at its end, whatever the handler makes of it
    first()
    first()
    await deliver(app, body)
    second()
    await deliver(app, body)
    assert heard == [1, 2, 2]


async def test_a_failing_subscriber_changes_nothing(receiver, deliver, body, events, caplog):
    app = receiver(events.append)

    def broken(event):
        app.subscribe(events.append)
        raise ValueError("a bug")

    app.subscribe(broken)
    with caplog.at_level(logging.ERROR, "polyglot_async"):
        assert (await deliver(app, body)).status == 200
    assert len(events) == 1
    assert "a bug" in caplog.text


# -- the rest of ASGI, and configuration


async def test_the_lifespan_is_gone_through(receiver):
    coming, sent = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message["type"])

    await receiver()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_other_scopes_are_refused(receiver):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    await receiver()({"type": "websocket"}, receive, send)
    assert sent == ["websocket.close"]
    with pytest.raises(RuntimeError, match="gopher"):
        await receiver()({"type": "gopher"}, receive, send)


@pytest.mark.parametrize("secret", [None, "", " ", [], [""], ["good", ""], b"bytes"])
def test_a_receiver_without_a_secret_cannot_be_made(secret):
    with pytest.raises(ConfigurationError):
        webhooks.WebhookReceiver(secret, on_event=print)


@pytest.mark.parametrize("limit", ["max_body_bytes", "body_timeout", "handler_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "10", None, True])
def test_limits_are_positive(receiver, limit, value):
    with pytest.raises(ConfigurationError, match=limit):
        receiver(**{limit: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_event": "print"}, "on_event='print' cannot be called"),
        ({"on_event": ["store"]}, "cannot be called"),
        ({"dedupe_store": {}}, "has no claim, confirm, release"),
        ({"dedupe_store": "webhooks.db"}, "pass e.g. a SqliteDedupeStore"),
        ({"tolerance": "300"}, "tolerance is '300': pass seconds above 0, or None"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"path": 5}, "path=5 is not a string"),
    ],
)
def test_what_could_only_fail_with_the_first_delivery_is_refused_at_once(options, message):
    with pytest.raises(ConfigurationError, match=message):
        webhooks.WebhookReceiver("secret", **options)


@pytest.mark.parametrize("callback", [None, "print", 5])
def test_a_subscriber_can_be_called(receiver, callback):
    with pytest.raises(ConfigurationError, match="cannot be called"):
        receiver().subscribe(callback)


@pytest.mark.parametrize(
    ("options", "logged"),
    [
        ({"secret": "guessed"}, "webhook refused with 401 (signature): the signature does not match the body"),
        ({"timestamp": NOW - 1000}, "webhook refused with 401 (timestamp): the timestamp is 1000 s old"),
        ({"method": "GET"}, "webhook refused with 405 (request): only POST"),
        ({"headers": {"Content-Type": "text/plain"}}, "webhook refused with 415 (request): the content type"),
    ],
)
async def test_a_refusal_is_logged_as_a_warning_with_its_reason(receiver, deliver, body, caplog, options, logged):
    with caplog.at_level(logging.WARNING, "polyglot_async"):
        await deliver(receiver(print), body, **options)

    [record] = caplog.records
    assert ("WARNING", True) == (record.levelname, record.getMessage().startswith(logged))


async def test_an_odd_but_signed_event_is_handled(receiver, deliver, events):
    body = b'{"task_id": 17, "event": "transcription.completed", "has_transcript": 1}'

    assert 200 == (await deliver(receiver(events.append), body)).status
    assert [("17", "completed", True)] == [(e.task_id, e.status, e.has_transcript) for e in events]


async def test_secrets_can_rotate(deliver, body, events):
    app = webhooks.WebhookReceiver(
        ["new", "old"], on_event=events.append, runtime=Runtime(unix_time=lambda: NOW), dedupe_store=MemoryDedupeStore()
    )
    assert (await deliver(app, body, secret="old")).status == 200
    assert (await deliver(app, body, secret="older")).status == 401
    assert len(events) == 1
