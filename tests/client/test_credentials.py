"""The credential: asked for again when refused, and shown to nobody but the service."""

import logging
import pickle
import traceback

import anyio
import anyio.lowlevel
import httpx
import pytest

from polyglot_async import (
    AsyncPolyglot,
    AuthenticationError,
    ConfigurationError,
    Polyglot,
    PolyglotError,
    RedirectError,
    Runtime,
)

pytestmark = pytest.mark.anyio


class Keys:
    """Returns one credential after the other, and the last one for ever."""

    def __init__(self, *credentials):
        self.credentials = list(credentials)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.credentials.pop(0) if len(self.credentials) > 1 else self.credentials[0]


def as_async(keys):
    async def ask():
        await anyio.lowlevel.checkpoint()
        return keys()

    return ask


class Asynchronous:
    """An object whose call is a coroutine function, which nothing but calling it tells."""

    def __init__(self, keys):
        self.keys = keys

    async def __call__(self):
        return self.keys()


@pytest.fixture(params=[lambda keys: keys, as_async, Asynchronous], ids=["sync", "async", "object"])
def kind(request):
    return request.param


async def test_a_callable_is_asked_once_and_kept(sandbox, connect, kind):
    keys = Keys(sandbox.session_token())
    async with connect(kind(keys)) as client:
        assert 0 == keys.asked, "not before the first call"
        assert [task async for task in client.transcriptions.list()] == []
        await client.limits()
    assert (1, 2) == (keys.asked, sandbox.ledger.count(status=200))


async def test_a_key_that_cannot_be_read_fails_no_file_but_stops_a_batch(sandbox, connect, tmp_path):
    async with connect((tmp_path / "key").read_text) as client:
        with pytest.raises(ConfigurationError, match="api_key raised FileNotFoundError: No such file") as caught:
            await client.transcriptions.upload(b"audio")
        assert str(tmp_path / "key") == caught.value.__cause__.filename
        with pytest.raises(ConfigurationError):
            async with client.batch([b"one", b"two"]) as outcomes:
                [outcome async for outcome in outcomes]
    assert 0 == sandbox.ledger.count()


async def test_a_callable_is_asked_once_more_after_a_401(sandbox, connect, kind):
    keys = Keys(sandbox.session_token(expires_in=-1), sandbox.session_token())
    async with connect(kind(keys), max_retries=0) as client:
        await client.limits()
        await client.limits()
    assert (2, [401, 200, 200]) == (keys.asked, [entry.status for entry in sandbox.ledger.entries()])


async def test_after_a_second_401_the_error_is_raised(sandbox, connect, kind):
    keys = Keys("sk_wrong", "sk_wrong_too", sandbox.api_key)
    async with connect(kind(keys)) as client:
        with pytest.raises(AuthenticationError):
            await client.transcriptions.get("any")
        assert (2, [401, 401]) == (keys.asked, [entry.status for entry in sandbox.ledger.entries()])
        assert [] == client.sleeps


async def test_a_string_is_not_tried_twice(sandbox, connect):
    async with connect("sk_wrong") as client:
        with pytest.raises(AuthenticationError, match="Invalid token"):
            await client.transcriptions.get("any")
    assert 1 == sandbox.ledger.count()


async def test_many_calls_refused_at_once_ask_for_one_new_credential(sandbox, connect):
    keys = Keys(sandbox.session_token(expires_in=-1), sandbox.session_token())
    async with connect(keys) as client, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(client.limits)
    assert (2, 20) == (keys.asked, sandbox.ledger.count(status=200))


async def test_an_upload_that_is_refused_is_sent_again_whole_and_a_one_shot_one_is_not(sandbox, connect):
    async with connect(Keys("sk_expired", sandbox.api_key)) as client:
        await client.transcriptions.upload(b"some bytes of audio")
    assert [(401, None), (200, 19)] == [(entry.status, entry.file_size) for entry in sandbox.ledger.entries()]
    async with connect(Keys("sk_expired", sandbox.api_key)) as client:
        with pytest.raises(AuthenticationError):
            await client.transcriptions.upload(iter([b"some bytes of audio"]))
    assert 3 == sandbox.ledger.count()


@pytest.mark.parametrize("value", ["", None, 5, "two words", "line\nbreak", "ключ"])
async def test_what_is_no_credential_is_refused_without_showing_it(sandbox, connect, value):
    async with connect(lambda: value) as client:
        with pytest.raises(ConfigurationError) as caught:
            await client.limits()
    assert not value or str(value) not in str(caught.value)
    assert 0 == sandbox.ledger.count()


async def test_the_credential_shows_nowhere(sandbox, serve, caplog, connect):
    """Neither in a repr, nor in the log, nor in a traceback, nor in an error that is pickled."""
    secret = "sk_very_secret_indeed"
    caplog.set_level(logging.DEBUG)
    for name in ("polyglot_async", "httpx", "httpcore", "asyncio", "anyio", "trio"):
        caplog.set_level(logging.DEBUG, logger=name)
    echo = serve(lambda asked: (500, {"x-request-id": "r-1"}, b'{"detail": "broken"}'))
    shown = []
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    runtime = Runtime(sleep=sleep, monotonic=lambda: anyio.current_time() + sum(slept))
    for base_url in (sandbox.url, echo.url, "http://127.0.0.1:9"):
        async with connect(secret, base_url=base_url, max_retries=1, runtime=runtime) as client:
            shown += [repr(client), repr(client.transcriptions), str(client.__dict__)]
            shown += [repr(client.transcriptions.with_raw_response), repr(client.transcriptions.list())]
            for call in (client.transcriptions.get("id"), client.transcriptions.upload(b"audio")):
                with pytest.raises(PolyglotError) as caught:
                    await call
                error = caught.value
                with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
                shown += [line for line in with_locals.format() if "secret = " not in line]
                shown += [repr(error), str(vars(error)), "".join(traceback.format_exception(error))]
                shown += [pickle.dumps(error).decode("latin-1"), str(vars(pickle.loads(pickle.dumps(error))))]
    assert caplog.records, "the log was listened to"
    shown += [record.getMessage() for record in caplog.records] + [str(record.args) for record in caplog.records]
    assert not [text for text in shown if secret in text]
    assert "sk_" not in str(AsyncPolyglot("sk_short", base_url=sandbox.url).__dict__)
    assert "sk_" not in repr(Polyglot("sk_short", base_url=sandbox.url))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_call_follows_no_redirect_to_another_origin(serve, connect, status):
    elsewhere = serve(lambda _: (200, {}, b'{"task_id": "t", "status": "queued"}'))
    here = serve(lambda _: (status, {"Location": f"{elsewhere.url}/api/transcriptions/t"}, b""))
    async with connect("sk_secret", base_url=here.url) as client:
        with pytest.raises(RedirectError, match=f"set base_url to {elsewhere.url}/api") as caught:
            await client.transcriptions.get("t")
    assert f"{elsewhere.url}/api/transcriptions/t" == caught.value.location
    assert (1, []) == (len(here.asked), elsewhere.asked)


async def test_a_file_may_lie_elsewhere_and_is_fetched_there_without_the_credential(serve, connect):
    elsewhere = serve(lambda _: (200, {}, b"the file"))
    here = serve(lambda _: (302, {"Location": f"{elsewhere.url}/bucket/file?signed"}, b""))
    async with connect("sk_secret", base_url=here.url) as client:
        assert b"the file" == await client.transcriptions.download("t", "srt")
    assert "Bearer sk_secret" == here.asked[0].headers["authorization"]
    assert [("/bucket/file", None)] == [(asked.path, asked.headers.get("authorization")) for asked in elsewhere.asked]


async def test_a_redirect_within_the_origin_is_followed_with_the_credential(serve, connect):
    def answer(asked):
        if asked.path == "/transcriptions/t":
            return 307, {"Location": "/v2/transcriptions/t"}, b""
        return 200, {}, b'{"task_id": "t", "status": "queued"}'

    server = serve(answer)
    async with connect("sk_secret", base_url=server.url) as client:
        assert "t" == (await client.transcriptions.get("t")).task_id
    assert ["Bearer sk_secret"] * 2 == [asked.headers["authorization"] for asked in server.asked]


async def test_redirects_without_an_end_are_an_error_at_once(serve, connect):
    server = serve(lambda asked: (302, {"Location": asked.path}, b""))
    async with connect(base_url=server.url) as client:
        with pytest.raises(RedirectError, match="do not end"):
            await client.transcriptions.get("t")
    assert len(server.asked) <= 21


@pytest.mark.parametrize("status", [301, 302])
async def test_what_starts_work_follows_no_redirect_that_may_drop_its_body(serve, connect, status):
    server = serve(lambda _: (status, {"Location": "/elsewhere"}, b""))
    async with connect(base_url=server.url) as client:
        with pytest.raises(PolyglotError) as caught:
            await client.transcriptions.upload(b"audio")
    assert (status, 1) == (caught.value.status_code, len(server.asked))


@pytest.mark.parametrize("cls", [AsyncPolyglot, Polyglot])
async def test_plain_http_to_another_machine_is_refused_unless_allowed(cls):
    with pytest.raises(ConfigurationError, match="allow_insecure_http"):
        cls("sk_secret", base_url="http://example.org/api")
    assert "http://example.org/api" in repr(
        cls("sk_secret", base_url="http://example.org/api", allow_insecure_http=True)
    )


async def test_without_a_credential_there_is_no_client(monkeypatch, serve):
    monkeypatch.delenv("POLYGLOT_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="POLYGLOT_API_KEY"):
        AsyncPolyglot()
    monkeypatch.setenv("POLYGLOT_API_KEY", "sk_of_the_environment")
    server = serve(lambda _: (200, {}, b'{"task_id": "t", "status": "queued"}'))
    async with AsyncPolyglot(base_url=server.url) as client:
        await client.transcriptions.get("t")
    assert "Bearer sk_of_the_environment" == server.asked[0].headers["authorization"]


async def test_an_own_client_with_hooks_that_raise_gets_our_errors(sandbox, connect):
    async def strict(response):
        response.raise_for_status()

    async with (
        httpx.AsyncClient(event_hooks={"response": [strict]}) as http,
        connect("sk_wrong", http_client=http) as client,
    ):
        with pytest.raises(AuthenticationError):
            await client.transcriptions.get("t")
