"""Raw answers, options per view of a client, the caller's own httpx client, what is logged, what may yet come."""

import json
import logging
import math
import socket

import anyio
import httpx
import pytest

from polyglot_async import (
    ApiTimeoutError,
    AsyncPolyglot,
    ConfigurationError,
    NotFoundError,
    ServerError,
    Task,
    TaskPage,
    TaskStatus,
    Transcript,
    UrlValidation,
    __version__,
)

pytestmark = pytest.mark.anyio

AUDIO = b"some bytes of audio"


@pytest.fixture
def media_url(serve):
    return f"{serve(lambda _: (200, {'Content-Type': 'audio/mpeg'}, AUDIO)).url}/film.mp4"


RAW_CALLS = {
    "upload": (lambda raw, task, url: raw.upload(AUDIO), Task),
    "from_url": (lambda raw, task, url: raw.from_url(url), Task),
    "validate_url": (lambda raw, task, url: raw.validate_url(url), UrlValidation),
    "list": (lambda raw, task, url: raw.list(), TaskPage),
    "get": (lambda raw, task, url: raw.get(task), Task),
    "result": (lambda raw, task, url: raw.result(task), Transcript),
    "download": (lambda raw, task, url: raw.download(task, "json"), bytes),
}


@pytest.mark.parametrize("call", RAW_CALLS)
async def test_each_call_gives_status_headers_body_and_the_parsed_value(sandbox, client, start, media_url, call):
    ask, kind = RAW_CALLS[call]
    task = start()
    raw = await ask(client.transcriptions.with_raw_response, task, media_url)
    [entry] = sandbox.ledger.entries()
    assert (call, entry.status, entry.bytes_out) == (entry.call, raw.status_code, len(raw.body))
    assert entry.request_id == raw.request_id == raw.headers["x-request-id"]
    assert raw.headers["content-type"].startswith("application/json")
    assert isinstance(raw.parse(), kind)
    assert json.loads(raw.body)


async def test_an_error_status_raises_in_raw_calls_too(client):
    with pytest.raises(NotFoundError):
        await client.transcriptions.with_raw_response.get("nothing")


@pytest.mark.parametrize(
    "header", ["X-Request-Id", "Request-Id", "X-Correlation-ID", "X-Trace-Id", "X-Amzn-RequestId", "CF-Ray"]
)
async def test_the_request_id_is_read_from_any_usual_header_of_answers_and_errors(serve, connect, header):
    def answer(asked):
        return 200 if asked.path.endswith("/good") else 404, {header: "r-42"}, b'{"task_id": "t", "status": "queued"}'

    async with connect(base_url=serve(answer).url) as client:
        assert "r-42" == (await client.transcriptions.with_raw_response.get("good")).request_id
        with pytest.raises(NotFoundError, match="r-42") as caught:
            await client.transcriptions.get("bad")
        assert "r-42" == caught.value.request_id


async def test_unknown_fields_and_statuses_are_kept(serve, connect):
    document = {"task_id": "t", "status": "paused", "mood": {"sunny": True}, "queue_position": 3}
    async with connect(base_url=serve(lambda _: (200, {}, json.dumps(document).encode())).url) as client:
        task = await client.transcriptions.get("t")
    assert ("paused", False) == (task.status, task.status.is_final)
    assert isinstance(task.status, TaskStatus)
    assert {"mood": {"sunny": True}, "queue_position": 3} == dict(task.extra)


async def test_extra_options_travel_as_they_are_and_overrule(sandbox, client, media_url):
    options = {"diarize": True, "speakers": 2, "model": "large"}
    uploaded = await client.transcriptions.upload(AUDIO, model="fast", output_language="ru", extra=options)
    named = await client.transcriptions.from_url(media_url, model="fast", output_language="ru", extra=options)
    for task, extra in (
        (uploaded, {"diarize": "true", "speakers": "2"}),
        (named, {"diarize": True, "speakers": 2}),
    ):
        seen = sandbox.task(task.task_id)
        assert ("large", "ru", extra) == (seen["model"], seen["output_language"], seen["extra"])


async def test_with_options_changes_a_view_and_shares_the_connections(sandbox, client, start):
    task = start()
    view = client.with_options(max_retries=0, timeout=5)
    sandbox.faults.add("status call=get status=500 times=2")
    with pytest.raises(ServerError):
        await view.transcriptions.get(task)
    assert (1, 0) == (sandbox.ledger.count("get"), len(client.sleeps))
    assert task == (await client.transcriptions.get(task)).task_id
    await view.aclose()
    assert task == (await client.transcriptions.get(task)).task_id, "closing a view closes nothing"


async def test_a_view_has_a_timeout_of_its_own(sandbox, client, start):
    task = start()
    sandbox.faults.add("stall call=get")
    with anyio.fail_after(5), pytest.raises(ApiTimeoutError):
        await client.with_options(timeout=0.1, max_retries=0).transcriptions.get(task)
    sandbox.faults.add("slow call=get bytes_per_second=1000")
    assert task == (await client.transcriptions.get(task)).task_id


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": -1}, {"timeout": math.nan}, {"max_retries": -1}], ids=str
)
async def test_senseless_options_are_refused(client, options):
    with pytest.raises(ConfigurationError):
        client.with_options(**options)
    with pytest.raises(ConfigurationError):
        AsyncPolyglot("sk_key", **options)


@pytest.mark.parametrize("at", ["", " at_bytes=5"], ids=["before the body", "within it"])
async def test_a_server_that_stalls_ends_in_a_timeout_after_the_attempts(sandbox, connect, start, at):
    task = start()
    sandbox.faults.add(f"stall call=get times=forever{at}")
    async with connect(timeout=0.1, max_retries=1) as client:
        with anyio.fail_after(5), pytest.raises(ApiTimeoutError) as caught:
            await client.transcriptions.get(task)
    assert isinstance(caught.value, TimeoutError)
    assert 2 == sandbox.ledger.count("get")


async def test_a_stall_without_a_timeout_is_the_callers_to_end(sandbox, connect, start):
    task = start()
    sandbox.faults.add("stall call=get times=forever")
    async with connect(timeout=None) as client:
        with anyio.move_on_after(0.3) as deadline:
            await client.transcriptions.get(task)
        assert deadline.cancelled_caught


async def test_a_slow_body_is_no_timeout_while_it_makes_progress(sandbox, connect, start):
    """`timeout` bounds the silence, not the whole: 100 bytes at 200 a second take half a second."""
    task = start(AUDIO * 5)
    sandbox.faults.add("slow call=source bytes_per_second=200")
    async with connect(timeout=0.2, max_retries=0) as client, client.transcriptions.source(task) as stream:
        assert AUDIO * 5 == b"".join([chunk async for chunk in stream])


async def test_a_server_that_accepts_and_says_nothing_is_a_timeout(connect):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with connect(base_url=url, timeout=0.1, max_retries=0) as client:
            with pytest.raises(ApiTimeoutError):
                await client.limits()


async def test_the_callers_own_client_is_used_with_its_hooks_and_not_closed(sandbox, connect):
    seen = []

    async def on_request(request):
        seen.append(request.url.path)

    async def on_response(response):
        seen.append(response.status_code)

    hooks = {"request": [on_request], "response": [on_response]}
    async with httpx.AsyncClient(event_hooks=hooks, headers={"x-own": "1"}) as http:
        async with connect(http_client=http) as client:
            task = await client.transcriptions.upload(AUDIO)
            await client.transcriptions.get(task)
        assert not http.is_closed
    assert ["/api/v1/transcriptions/upload", 200] == seen[:2]
    assert f"/api/v1/transcriptions/{task.task_id}" == seen[2]


async def test_a_custom_transport_sees_every_request():
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(200, json={"task_id": "t", "status": "queued"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncPolyglot("sk_key", base_url="https://service.example/v1", http_client=http)
        await client.transcriptions.get("a/../b?c")
        await client.transcriptions.upload(AUDIO)
        await client.aclose()
    assert ["GET", "POST"] == [request.method for request in asked]
    assert b"/v1/transcriptions/a%2F..%2Fb%3Fc" == asked[0].url.raw_path
    assert AUDIO in asked[1].content
    assert str(len(asked[1].content)) == asked[1].headers["content-length"]


async def test_each_request_names_the_package_and_its_version(serve, connect):
    server = serve(lambda _: (200, {}, b'{"task_id": "t", "status": "queued"}'))
    async with connect(base_url=server.url) as client:
        await client.transcriptions.get("t")
    assert f"polyglot_async/{__version__} httpx/{httpx.__version__}" == server.asked[0].headers["user-agent"]


async def test_each_request_is_one_line_at_debug_and_none_above(sandbox, client, start, caplog):
    task = start()
    caplog.set_level(logging.DEBUG, logger="polyglot_async")
    await client.transcriptions.get(task)
    await client.transcriptions.download(task, "srt")
    records = [record for record in caplog.records if record.name == "polyglot_async"]
    get, download = [record.getMessage() for record in records]
    assert get.startswith(f"GET {sandbox.url}/transcriptions/{task} -> 200 in ")
    assert " s (request " in get
    assert download.startswith(f"GET {sandbox.url}/transcriptions/{task}/downloads/srt -> 200 in ")
    assert {logging.DEBUG} == {record.levelno for record in records}
