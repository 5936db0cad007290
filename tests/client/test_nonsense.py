"""Nonsense is refused before anything is sent, by every public call and for every argument of it.

The table says by an argument's name what is nonsense there. An argument of a public call that stands in no table fails
a test, so that a new one cannot be forgotten.
"""

import inspect
import math

import httpx
import pytest

from polyglot_async import (
    AsyncPolyglot,
    AsyncTranscriptions,
    ConfigurationError,
    Limits,
    MediaError,
    PollSchedule,
    Polyglot,
    RawTranscriptions,
    Runtime,
    Transcript,
    webhooks,
)

pytestmark = pytest.mark.anyio

NAN, INF = math.nan, math.inf
SECONDS = ["5", True, NAN, INF, -1, [1]]
COUNT = ["5", True, NAN, INF, 0, -1, 1.5]
TEXT = [True, 0, ["fast"], b"fast", {"ru"}]
NONSENSE = {
    "page_size": COUNT, "connections": COUNT, "concurrency": COUNT, "offset": [*COUNT[:4], -1, 1.5],
    "cursor": [5, b"x"], "timeout": SECONDS, "poll_interval": [*SECONDS, 0, 0.0],
    "kind": [b"srt", 5, None, "", ".", ".."], "format": [b"mp3", b"", 5, "exe"], "path": [5, b"x.mp3", ["x"], ""],
    "on_progress": [5, "print"], "extra": [0, "", ["a"], {1: "a"}, {b"a": "a"}],
    "model": TEXT, "input_language": TEXT, "output_language": TEXT,
    "name": [5, b"x"], "size": ["5", True, -1, 1.5, NAN], "content_type": [5, b"audio/wav", "audio"],
    "retry_failed": ["no", 0, 1, None], "on_uncertain": ["park", None, 5], "journal": [5, b"x", ""],
    "out": [5, b"x", ""],
    "results": [b"srt", 5, None, (), (b"srt",), ("result", "srt"), ("task", "result"),
                ("../x",), ("a\\b",), ("a\0b",), ("..",), ("",)],
    "receiver": [None, 5, "x"],
}  # fmt: skip
# What these are is decided by tests of their own: sources, ids, URLs, and filters that are sent as they are.
OWN_TESTS = {"source", "sources", "task", "url", "filters", "self"}
GOOD = {
    "source": b"audio", "sources": [b"audio"], "task": "t-1", "url": "https://host/a.mp3", "kind": "srt",
    "path": "never-written.mp3", "receiver": webhooks.WebhookReceiver("secret"),
}  # fmt: skip


def arguments_of(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public_calls():
    """Return (where, method) of everything public that a client is asked for."""
    owners = {"": AsyncPolyglot, "transcriptions": AsyncTranscriptions, "with_raw_response": RawTranscriptions}
    return [
        (where, name)
        for where, owner in owners.items()
        for name, value in vars(owner).items()
        if not name.startswith("_") and inspect.isfunction(inspect.unwrap(value)) and name not in {"aclose", "limits"}
    ]


def method_of(client, where, name):
    owner = client.transcriptions if where else client
    return getattr(owner.with_raw_response if where == "with_raw_response" else owner, name)


def cases():
    for where, name in public_calls():
        owner = {"": AsyncPolyglot, "transcriptions": AsyncTranscriptions}.get(where, RawTranscriptions)
        for argument in arguments_of(getattr(owner, name)):
            for number, value in enumerate(NONSENSE.get(argument, [])):
                yield pytest.param(where, name, argument, value, id=f"{where or 'client'}.{name}-{argument}-{number}")


def good_arguments(method):
    return {name: GOOD[name] for name in arguments_of(method) if name in GOOD}


def test_every_argument_of_a_public_call_has_its_nonsense_or_a_test_of_its_own():
    owners = (AsyncPolyglot, AsyncTranscriptions, RawTranscriptions)
    methods = [value for owner in owners for name, value in vars(owner).items() if not name.startswith("_")]
    names = {name for method in methods if inspect.isfunction(method) for name in arguments_of(method)}
    assert set() == names - NONSENSE.keys() - OWN_TESTS - {"max_retries"}


@pytest.mark.parametrize(("where", "name", "argument", "value"), list(cases()))
async def test_nonsense_is_refused_before_anything_is_sent(sandbox, client, where, name, argument, value):
    method = method_of(client, where, name)
    with pytest.raises((TypeError, ValueError, ConfigurationError), match=argument.replace("_", ".")):
        returned = method(**{**good_arguments(method), argument: value})
        if inspect.isawaitable(returned):
            returned = await returned
        async with returned:
            pass
    assert [] == sandbox.ledger.entries()


@pytest.mark.parametrize("task", [5, None, b"t-1", "", ".", ["t-1"]], ids=str)
async def test_what_can_be_no_task_id_is_refused_before_anything_is_sent(sandbox, client, task):
    for where, name in public_calls():
        method = method_of(client, where, name)
        if "task" in arguments_of(method):
            with pytest.raises((TypeError, ValueError), match=r"(?i)task"):
                returned = method(**{**good_arguments(method), "task": task})
                await returned
    assert [] == sandbox.ledger.entries()


@pytest.mark.parametrize("url", [5, None, b"https://host/a", "", "ftp://host/a.mp3", "https://"], ids=str)
async def test_what_is_no_url_is_refused_before_anything_is_sent(sandbox, client, url):
    for call in (client.transcriptions.from_url, client.transcriptions.validate_url):
        with pytest.raises(MediaError, match="not an http or https URL"):
            await call(url)
    assert [] == sandbox.ledger.entries()


@pytest.mark.parametrize("name", ["limit", "offset", "cursor"])
def test_filters_that_pages_are_asked_for_with_are_refused(client, name):
    with pytest.raises(TypeError, match=f"{name} is no filter.*page_size"):
        client.transcriptions.list(**{name: 5})


async def test_a_progress_function_is_checked_before_the_media_is_read(client):
    def never():
        raise AssertionError("read")
        yield b""

    with pytest.raises(TypeError, match="on_progress"):
        await client.transcriptions.upload(never(), on_progress=5)


CLIENT = {
    "api_key": [5, b"sk", ["sk"], ""], "base_url": [0, "", b"https://host", "host"], "timeout": [*SECONDS, 0],
    "max_retries": ["2", True, -1, 1.5, NAN, None], "limits": [5, {}], "on_quota": ["wiat", None, 5],
    "http_client": ["5", 5, 0, "", httpx.Client, object()], "allow_insecure_http": ["no", 0, None],
    "runtime": [5, "x", object()],
}  # fmt: skip


@pytest.mark.parametrize("client_class", [AsyncPolyglot, Polyglot])
@pytest.mark.parametrize(("argument", "value"), [(name, value) for name, values in CLIENT.items() for value in values])
def test_a_client_is_not_made_of_nonsense(client_class, monkeypatch, argument, value):
    monkeypatch.delenv("POLYGLOT_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="credential" if argument == "api_key" else argument):
        client_class(**{"api_key": "sk_test", argument: value})


def test_every_argument_of_a_client_has_its_nonsense():
    assert set(arguments_of(AsyncPolyglot.__init__)) == CLIENT.keys()


def test_a_blocking_http_client_is_refused_by_both_clients():
    for client_class in (AsyncPolyglot, Polyglot):
        with (
            httpx.Client() as http,
            pytest.raises(ConfigurationError, match=r"http_client.*pass an httpx\.AsyncClient"),
        ):
            client_class("sk_test", http_client=http)


@pytest.mark.parametrize(("argument", "value"), [("timeout", value) for value in [*SECONDS, 0]] + [("max_retries", -1)])
async def test_a_view_is_not_made_of_nonsense(client, argument, value):
    with pytest.raises(ConfigurationError, match=argument):
        client.with_options(**{argument: value})


POSITIVE = ["5", True, NAN, INF, 0, -1]
PARTS = [
    (webhooks.WebhookReceiver, {"secret": "s"}, ConfigurationError, {
        "secret": [None, "", 5, [], b"s"],
        "on_event": [5], "dedupe_store": [5], "tolerance": POSITIVE, "path": [5, b"/x"],
        "max_body_bytes": [*POSITIVE, 1.5, None], "body_timeout": [*POSITIVE, None],
        "handler_timeout": [*POSITIVE, None], "runtime": [5],
    }),
    (webhooks.MemoryDedupeStore, {}, ConfigurationError, {"capacity": COUNT}),
    (webhooks.SqliteDedupeStore, {"path": "x.db"}, ConfigurationError, {
        "path": ["", ":memory:", 5, b"x"], "keep_seconds": [*POSITIVE, None], "claim_seconds": [*POSITIVE, None],
        "runtime": [5],
    }),
    (PollSchedule, {}, (TypeError, ValueError), {
        "min_interval": [*POSITIVE, None, 31], "max_interval": [*POSITIVE, None, 0.1],
    }),
    (Runtime, {}, TypeError, {name: [5, None] for name in ("monotonic", "utc_now", "unix_time", "sleep", "random")}),
    (Limits, {}, ValueError, {
        name: ["5", True, NAN, INF, 0, -1] for name in (
            "requests_per_window", "uploads_per_window", "window_seconds", "requests_per_day", "requests_per_month",
            "max_concurrent_tasks", "max_upload_bytes", "max_audio_seconds",
        )
    }),
    (webhooks.verify, {"body": b"{}", "headers": {}, "secret": "s"}, (TypeError, ValueError), {
        "tolerance": ["5", True, NAN, INF, -1], "now": ["5", True, NAN, INF],
    }),
    (webhooks.explain, {"body": b"{}", "headers": {}, "secret": "s"}, (TypeError, ValueError), {
        "tolerance": ["5", True, NAN, INF, -1], "now": ["5", True, NAN, INF],
    }),
    (webhooks.sign, {"body": b"{}", "secret": "s"}, (TypeError, ValueError), {"timestamp": ["5", True, NAN, INF]}),
    (Transcript(task_id="t", text="words").render, {}, (TypeError, ValueError), {"format": [b"srt", 5, None, "exe"]}),
    (Transcript(task_id="t", text="words").save, {}, TypeError, {"path": [b"a.srt", 5, None]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "good", "error", "argument", "value"),
    [
        pytest.param(part, good, error, argument, value, id=f"{part.__name__}-{argument}-{value!r:.20}")
        for part, good, error, table in PARTS
        for argument, values in table.items()
        for value in values
    ],
)
def test_a_part_is_not_made_of_nonsense(part, good, error, argument, value):
    with pytest.raises(error, match=argument):
        part(**{**good, argument: value})


async def test_places_in_remote_media_are_whole_numbers(sandbox, client):
    task = await client.transcriptions.upload(b"audio" * 10)
    async with client.transcriptions.open_source(task) as media:
        requests = len(sandbox.ledger.entries())
        for value in ("5", True, 1.5, NAN, None):
            with pytest.raises(TypeError, match="offset"):
                await media.read_at(value, 1)
            with pytest.raises(TypeError, match="size"):
                await media.read_at(0, value)
            with pytest.raises(TypeError, match="size"):
                await media.read(value)
            with pytest.raises(TypeError, match="offset"):
                media.seek(value)
        with pytest.raises(ValueError, match="whence"):
            media.seek(0, "x")
        assert media.tell() == 0
        assert requests == len(sandbox.ledger.entries())
