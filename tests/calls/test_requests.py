"""Each of the ten calls sends the request that the API documents, and returns its answer as a value."""

import json

import httpx
import pytest
from calls.table import AUDIO, CALLS, finish, finish_sync, parsed_form

from polyglot_async import AsyncPolyglot, __version__

each_call = pytest.mark.parametrize("name", CALLS)


def check_request(call, request):
    assert call.query == dict(request.url.params)
    assert "Bearer sk_test" == request.headers["authorization"]
    assert call.accept == request.headers["accept"]
    assert request.headers["user-agent"].startswith(f"polyglot_async/{__version__} ")
    if call.json is not None:
        assert "application/json" == request.headers["content-type"]
        assert call.json == json.loads(request.content)
    elif call.form is not None:
        assert str(len(request.content)) == request.headers["content-length"]
        assert (call.form, {"file": ("talk.mp3", AUDIO, "audio/mpeg")}) == parsed_form(request)
    else:
        assert b"" == request.content


@each_call
@pytest.mark.asyncio
async def test_the_async_call(name, api, connect, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).mock(return_value=call.response())
    async with connect() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    check_request(call, route.calls.last.request)


@each_call
def test_the_sync_call_is_the_same(name, api, connect_sync, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).mock(return_value=call.response())
    with connect_sync() as client:
        assert call.value == finish_sync(call.make(client, tmp_path))
    check_request(call, route.calls.last.request)


RAW_CALLS = [name for name in CALLS if name in {"upload", "from_url", "validate_url", "get", "result", "download"}]


@pytest.mark.parametrize("name", RAW_CALLS)
@pytest.mark.asyncio
async def test_a_raw_call_also_returns_status_headers_and_body(name, api, connect, tmp_path):
    call = CALLS[name]
    answer = httpx.Response(202, headers={"x-request-id": "r-42"}, **call.answer)
    api.route(method=call.method, path=call.path).mock(return_value=answer)

    class RawClient:  # `make` calls `client.transcriptions`
        transcriptions = None

    async with connect() as client:
        RawClient.transcriptions = client.transcriptions.with_raw_response
        raw = await call.make(RawClient, tmp_path)
    assert (202, "r-42", answer.content) == (raw.status_code, raw.request_id, raw.body)
    assert call.value == raw.parse()


@pytest.mark.asyncio
async def test_options_that_are_not_given_are_not_sent(api, connect):
    upload = api.post("/transcriptions/upload").mock(return_value=CALLS["upload"].response())
    from_url = api.post("/transcriptions/from-url").mock(return_value=CALLS["from_url"].response())
    async with connect() as client:
        await client.transcriptions.upload(AUDIO)
    async with connect() as client:  # one client would not take the same task for both
        await client.transcriptions.from_url("https://media.example/a.mp3")
    fields, files = parsed_form(upload.calls.last.request)
    assert ({}, ["file"]) == (fields, list(files))
    assert {"url": "https://media.example/a.mp3"} == json.loads(from_url.calls.last.request.content)


@pytest.mark.parametrize("suffix", ["mp3", "wav", "ogg", "m4a", "flac"])
@pytest.mark.asyncio
async def test_convert_audio_takes_the_format_from_the_suffix(suffix, api, connect, tmp_path):
    route = api.post("/transcriptions/convert-audio").mock(return_value=CALLS["convert_audio"].response())
    async with connect() as client:
        await client.transcriptions.convert_audio(AUDIO, tmp_path / f"out.{suffix.upper()}")
    assert {"format": suffix} == parsed_form(route.calls.last.request)[0]


@pytest.mark.asyncio
async def test_an_id_is_one_segment_of_the_path(api, connect):
    route = api.route().mock(return_value=CALLS["get"].response())
    async with connect() as client:
        await client.transcriptions.get("a/../b?c#d")
    assert b"/api/v1/transcriptions/a%2F..%2Fb%3Fc%23d" == route.calls.last.request.url.raw_path


@pytest.mark.asyncio
async def test_a_list_goes_on_until_all_tasks_have_come(api, connect):
    pages = [[{"task_id": f"t{page}{n}", "status": "queued"} for n in range(2)] for page in range(3)]
    route = api.get("/transcriptions").mock(
        side_effect=[httpx.Response(200, json={"items": page, "total": 6}) for page in pages]
    )
    async with connect() as client:
        seen = [task.task_id async for task in client.transcriptions.list(page_size=2)]
    assert ["t00", "t01", "t10", "t11", "t20", "t21"] == seen
    assert [None, "2", "4"] == [call.request.url.params.get("offset") for call in route.calls]


@pytest.mark.parametrize(
    ("status", "body", "valid", "reason"),
    [
        (200, {}, True, None),
        (200, {"valid": True}, True, None),
        (200, {"valid": False, "detail": "private video"}, False, "private video"),
        (400, {"detail": "private video"}, False, "private video"),
    ],
)
@pytest.mark.asyncio
async def test_a_url_that_the_service_cannot_use_is_a_value(api, connect, status, body, valid, reason):
    api.post("/transcriptions/validate-url").respond(status, json=body)
    async with connect() as client:
        found = await client.transcriptions.validate_url("https://media.example/a.mp3")
    assert (valid, reason, body) == (found.valid, found.reason, dict(found.extra))


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.asyncio
async def test_limits_refused_to_the_key_are_asked_for_without_it(api, connect, status):
    route = api.get("/developer/documentation").mock(side_effect=[httpx.Response(status), CALLS["limits"].response()])
    async with connect() as client:
        assert "pro" == (await client.limits()).plan
    assert ["Bearer sk_test", None] == [call.request.headers.get("authorization") for call in route.calls]


@pytest.mark.parametrize("make_key", [lambda: "sk_made", None], ids=["sync callable", "async callable"])
@pytest.mark.asyncio
async def test_a_key_may_be_a_callable_which_is_asked_again_after_a_401(api, connect, make_key):
    async def make_async():
        return "sk_made"

    route = api.get("/transcriptions/t1").mock(side_effect=[httpx.Response(401), CALLS["get"].response()])
    async with connect(api_key=make_key or make_async) as client:
        assert "t1" == (await client.transcriptions.get("t1")).task_id
    assert ["Bearer sk_made"] * 2 == [call.request.headers["authorization"] for call in route.calls]


@pytest.mark.asyncio
async def test_the_address_comes_from_the_argument_or_the_environment(api, monkeypatch):
    api.get("https://argument.example/v2/transcriptions/t1").mock(return_value=CALLS["get"].response())
    api.get("https://environment.example/v3/transcriptions/t1").mock(return_value=CALLS["get"].response())
    monkeypatch.setenv("POLYGLOT_BASE_URL", "https://environment.example/v3/")
    async with AsyncPolyglot(base_url="https://argument.example/v2") as client:
        await client.transcriptions.get("t1")
    async with AsyncPolyglot() as client:
        await client.transcriptions.get("t1")
    assert ["argument.example", "environment.example"] == [call.request.url.host for call in api.calls]


@pytest.mark.asyncio
async def test_transcribe_uploads_waits_and_returns_the_transcript(api, connect, tmp_path):
    """The list or the task itself is asked; a service that answers both satisfies either."""
    (tmp_path / "talk.mp3").write_bytes(AUDIO)
    for name in ("upload", "list", "get", "result", "limits"):
        api.route(method=CALLS[name].method, path=CALLS[name].path).mock(return_value=CALLS[name].response())
    async with connect() as client:
        assert CALLS["result"].value == await client.transcribe(tmp_path / "talk.mp3", output_language="ru")
    [upload] = [call.request for call in api.calls if call.request.method == "POST"]
    assert {"output_language": "ru"} == parsed_form(upload)[0]
