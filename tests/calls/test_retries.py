"""What is free is asked again after what may pass; what starts paid work is not, unless it certainly was not accepted.

The client's sleeps are noted and take no time. After a 429 its limiter waits a second or more, so few tests have one.
"""

import anyio.lowlevel
import httpx
import pytest
from calls.table import CALLS, finish

from polyglot_async import (
    ApiStatusError,
    ApiTimeoutError,
    RedirectError,
    ResponseDecodeError,
    Runtime,
    ServerError,
    SubmissionUncertainError,
)

PASSING_FAILURES = [
    *(httpx.Response(status) for status in (408, 500, 501, 502, 503, 504, 507, 520, 524, 530, 599)),
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("no answer"),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("silence"),
    httpx.RemoteProtocolError("no HTTP"),
]
FREE_CALLS = [name for name, call in CALLS.items() if not call.billable]
LASTING_FAILURES = (400, 401, 403, 404, 409, 410, 413, 415, 422)
NOT_ACCEPTED = [httpx.Response(421), httpx.Response(425), httpx.Response(429), httpx.ConnectError("refused")]


def label(failure):
    return str(failure.status_code) if isinstance(failure, httpx.Response) else type(failure).__name__


# After these nobody knows whether the work was started (the request was sent whole).
AMBIGUOUS = [
    *(httpx.Response(status) for status in (408, 500, 502, 503, 504, 520, 524, 530, 599)),
    httpx.Response(200, text="<html>"),
    httpx.Response(200, json={"status": "queued"}),
    httpx.ReadError("reset"),
    httpx.ReadTimeout("silence"),
    httpx.RemoteProtocolError("closed"),
]


@pytest.fixture
def sleeps():
    """The seconds that the client has waited."""
    return []


@pytest.fixture
def retrying(connect, sleeps):
    """Makes clients with two retries whose sleeps take no time."""

    async def sleep(seconds):
        sleeps.append(seconds)
        await anyio.lowlevel.checkpoint()

    runtime = Runtime(sleep=sleep, random=lambda: 0.5)
    return lambda **options: connect(**{"max_retries": 2, "runtime": runtime, **options})


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        pytest.param(name, failure, id=f"{name}-{label(failure)}")
        for name in FREE_CALLS
        for failure in PASSING_FAILURES
        if name != "convert_audio" or label(failure) not in {"ReadTimeout", "504", "524", "599"}  # see the next test
    ],
)
@pytest.mark.asyncio
async def test_a_free_call_is_sent_again_after_what_may_pass(name, failure, api, retrying, sleeps, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).mock(side_effect=[failure, failure, call.response()])
    async with retrying() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    assert 3 == route.call_count
    assert 2 <= len([seconds for seconds in sleeps if seconds > 0])


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("silence"), httpx.Response(504), httpx.Response(524)], ids=label)
@pytest.mark.asyncio
async def test_a_conversion_is_not_repeated_after_a_timeout(failure, api, retrying, tmp_path):
    """The whole file would be sent again, to a service that may still be at work on it."""
    call = CALLS["convert_audio"]
    route = api.post(call.path).mock(side_effect=[failure] * 3)
    async with retrying() as client:
        with pytest.raises((ApiTimeoutError, ServerError)):
            await finish(call.make(client, tmp_path))
    assert 1 == route.call_count


@pytest.mark.parametrize("name", ["list", "get", "result", "limits", "validate_url"])
@pytest.mark.asyncio
async def test_an_answer_that_cannot_be_read_is_asked_for_once_more(name, api, retrying, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).mock(
        side_effect=[httpx.Response(200, text="garbled"), call.response()]
    )
    async with retrying() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    route.mock(side_effect=None, return_value=httpx.Response(200, text="garbled"))
    async with retrying(max_retries=5) as client:
        with pytest.raises(ResponseDecodeError):
            await finish(call.make(client, tmp_path))
    assert 2 + 2 == route.call_count


@pytest.mark.parametrize("status", [408, 500, 503, 599])
@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.asyncio
async def test_max_retries_counts_what_follows_the_first_attempt(status, retries, api, retrying):
    route = api.get("/transcriptions/t1").respond(status)
    async with retrying(max_retries=retries) as client:
        with pytest.raises(ApiStatusError) as caught:
            await client.transcriptions.get("t1")
    assert (status, 1 + retries) == (caught.value.status_code, route.call_count)


@pytest.mark.asyncio
async def test_a_free_call_is_sent_again_after_a_429(api, retrying):
    route = api.get("/transcriptions/t1").mock(side_effect=[httpx.Response(429), CALLS["get"].response()])
    async with retrying() as client:
        assert CALLS["get"].value == await client.transcriptions.get("t1")
    assert 2 == route.call_count


@pytest.mark.parametrize("status", LASTING_FAILURES)
@pytest.mark.parametrize("name", [name for name in CALLS if name not in {"limits", "validate_url"}])
@pytest.mark.asyncio
async def test_what_no_repetition_mends_is_sent_once(name, status, api, retrying, sleeps, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).respond(status)
    async with retrying() as client:
        with pytest.raises(ApiStatusError):
            await finish(call.make(client, tmp_path))
    assert (1, []) == (route.call_count, sleeps)


@pytest.mark.asyncio
async def test_retry_after_is_waited_for(api, retrying, sleeps):
    answers = [httpx.Response(503, headers={"retry-after": "7"}), CALLS["get"].response()]
    api.get("/transcriptions/t1").mock(side_effect=answers)
    async with retrying() as client:
        await client.transcriptions.get("t1")
    assert 7 <= sum(sleeps) < 15


@pytest.mark.parametrize("failure", NOT_ACCEPTED, ids=label)
@pytest.mark.parametrize("name", ["upload", "from_url"])
@pytest.mark.asyncio
async def test_paid_work_that_was_certainly_not_accepted_is_sent_again(name, failure, api, retrying, tmp_path):
    call = CALLS[name]
    route = api.post(call.path).mock(side_effect=[failure, call.response()])
    async with retrying() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    assert 2 == route.call_count


@pytest.mark.parametrize("failure", AMBIGUOUS, ids=label)
@pytest.mark.parametrize("name", ["upload", "from_url"])
@pytest.mark.asyncio
async def test_paid_work_is_not_sent_again_without_a_proof_that_it_was_not_accepted(
    name, failure, api, retrying, tmp_path
):
    """The list, which would prove it, is refused."""
    call = CALLS[name]
    route = api.post(call.path).mock(side_effect=failure if isinstance(failure, Exception) else [failure] * 5)
    api.get("/transcriptions").respond(403)
    async with retrying() as client:
        with pytest.raises(SubmissionUncertainError):
            await finish(call.make(client, tmp_path))
    assert 1 == route.call_count


@pytest.mark.parametrize("failure", AMBIGUOUS, ids=label)
@pytest.mark.parametrize("name", ["upload", "from_url"])
@pytest.mark.asyncio
async def test_paid_work_is_sent_again_where_the_complete_list_does_not_have_it(name, failure, api, retrying, tmp_path):
    call = CALLS[name]
    route = api.post(call.path).mock(side_effect=[failure, call.response()])
    listing = api.get("/transcriptions").respond(json={"items": [], "total": 0})
    async with retrying() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    assert 2 == route.call_count
    assert 2 <= listing.call_count, "a replica of the list may lag: it is asked twice"


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.asyncio
async def test_a_redirect_that_keeps_the_method_is_followed_on_the_same_origin(name, status, api, retrying, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).respond(status, headers={"location": f"/v2{call.path}"})
    moved = api.request(call.method, f"https://polyglotvoice.ru/v2{call.path}").mock(return_value=call.response())
    async with retrying() as client:
        assert call.value == await finish(call.make(client, tmp_path))
    assert (1, 1) == (route.call_count, moved.call_count)
    assert "Bearer sk_test" == moved.calls.last.request.headers["authorization"]
    assert route.calls.last.request.content == moved.calls.last.request.content


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.accept == "application/json"])
@pytest.mark.asyncio
async def test_a_redirect_to_another_origin_is_an_error_that_names_it(name, status, api, retrying, tmp_path):
    call = CALLS[name]
    target = f"https://www.polyglotvoice.ru/api/v1{call.path}"
    route = api.route(method=call.method, path=call.path).respond(status, headers={"location": target})
    async with retrying() as client:
        with pytest.raises(RedirectError, match=r"set base_url to https://www\.polyglotvoice\.ru/api/v1") as caught:
            await finish(call.make(client, tmp_path))
    assert (1, status, target) == (route.call_count, caught.value.status_code, caught.value.location)


@pytest.mark.parametrize("location", ["javascript:alert(1)", "http://xn--a/", "http://[::1", "http://\x00/"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.asyncio
async def test_a_redirect_to_what_is_no_url_is_an_error_at_once(name, location, api, retrying, tmp_path):
    """The library parses it for a redirect that it does not follow, and raises errors that are not its HTTPError."""
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).respond(307, headers={"location": location})
    async with retrying() as client:
        with pytest.raises(RedirectError, match=r"base_url"):
            await finish(call.make(client, tmp_path))
    assert 1 == route.call_count
