"""Each error status is raised as the class that the tree of errors names, from each of the ten calls."""

from datetime import UTC

import httpx
import pytest
from calls.table import CALLS, finish, finish_sync

from polyglot_async import (
    ApiConnectionError,
    ApiStatusError,
    ApiTimeoutError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    PolyglotError,
    QuotaExhaustedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)

CLASSES = {
    **dict.fromkeys((300, 302, 303, 304, 305), ApiStatusError),
    **dict.fromkeys((400, 402, 405, 409, 411, 413, 415, 417, 422, 451), BadRequestError),
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    410: NotFoundError,
    429: RateLimitError,
    **dict.fromkeys((500, 501, 502, 503, 504, 507, 520, 524, 530, 599), ServerError),
}
# Answers that are no errors of these calls, or that decide what is asked next; they have tests of their own.
ELSEWHERE = {
    "validate_url": {400},
    "limits": {401, 403},
    **{name: {303, *range(500, 600)} for name, call in CALLS.items() if call.billable},
}
CELLS = [(name, status) for name in CALLS for status in CLASSES if status not in ELSEWHERE.get(name, ())]
HEADERS = {"x-request-id": "r-42", "retry-after": "7"}


def check(error, name, status):
    call = CALLS[name]
    assert CLASSES[status] is type(error)
    assert (status, "because", "r-42", 7.0) == (error.status_code, error.detail, error.request_id, error.retry_after)
    assert (call.method, f"https://polyglotvoice.ru/api/v1{call.path}") == (error.method, error.url)
    assert b'{"detail":"because"}' == error.body.replace(b": ", b":")
    assert all(part in str(error) for part in (call.method, error.url, str(status), "because", "r-42"))
    assert "sk_test" not in str(error)


@pytest.mark.parametrize(("name", "status"), CELLS)
@pytest.mark.asyncio
async def test_a_status_is_raised_as_its_class(name, status, api, connect, tmp_path):
    call = CALLS[name]
    route = api.route(method=call.method, path=call.path).respond(status, json={"detail": "because"}, headers=HEADERS)
    async with connect() as client:
        with pytest.raises(ApiStatusError) as caught:
            await finish(call.make(client, tmp_path))
    check(caught.value, name, status)
    assert 1 == route.call_count


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("name", [name for name in CALLS if name not in ELSEWHERE])
def test_the_sync_twin_raises_the_same(name, status, api, connect_sync, tmp_path):
    call = CALLS[name]
    api.route(method=call.method, path=call.path).respond(status, json={"detail": "because"}, headers=HEADERS)
    with connect_sync() as client, pytest.raises(ApiStatusError) as caught:
        finish_sync(call.make(client, tmp_path))
    check(caught.value, name, status)


@pytest.mark.parametrize(
    ("detail", "limit"),
    [
        ("Too many concurrent tasks", "concurrency"),
        ("60 requests per minute", "burst"),
        ("Slow down", None),
    ],
)
@pytest.mark.asyncio
async def test_a_429_names_the_limit_that_its_detail_speaks_of(api, connect, detail, limit):
    api.get("/transcriptions/t1").respond(429, json={"detail": detail})
    async with connect() as client:
        with pytest.raises(RateLimitError) as caught:
            await client.transcriptions.get("t1")
    assert (limit, detail, None) == (caught.value.limit, caught.value.detail, caught.value.retry_after)


@pytest.mark.parametrize(("word", "limit"), [("Daily", "daily"), ("Monthly", "monthly")])
@pytest.mark.asyncio
async def test_a_429_that_speaks_of_the_day_or_month_is_a_spent_quota(api, connect, word, limit):
    api.get("/transcriptions/t1").respond(429, json={"detail": f"{word} limit of requests reached"})
    async with connect() as client:
        with pytest.raises(QuotaExhaustedError) as caught:
            await client.transcriptions.get("t1")
    assert (limit, UTC) == (caught.value.limit, caught.value.resets_at.tzinfo)


@pytest.mark.parametrize("name", ["upload", "from_url"])
@pytest.mark.asyncio
async def test_a_403_that_speaks_of_concurrent_tasks_is_a_limit(name, api, connect, tmp_path):
    call = CALLS[name]
    api.post(call.path).respond(403, json={"detail": "Too many concurrent tasks"})
    async with connect() as client:
        with pytest.raises(RateLimitError) as caught:
            await finish(call.make(client, tmp_path))
    assert (403, "concurrency") == (caught.value.status_code, caught.value.limit)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"json": {"detail": "Invalid token."}}, "Invalid token."),
        ({"json": {"message": "Invalid token."}}, "Invalid token."),
        ({"json": {"detail": [{"loc": ["body", "model"], "msg": "unknown"}]}}, "body.model: unknown"),
        ({"json": {"detail": {"code": 7}}}, '{"code": 7}'),
        ({"text": "plain words\nand more"}, "plain words"),
        ({"content": b""}, None),
    ],
)
@pytest.mark.asyncio
async def test_detail_is_a_readable_sentence_whatever_the_body_is(api, connect, body, detail):
    api.get("/transcriptions/t1").respond(422, **body)
    async with connect() as client:
        with pytest.raises(BadRequestError) as caught:
            await client.transcriptions.get("t1")
    assert detail == caught.value.detail


@pytest.mark.parametrize("name", ["validate_url", "list", "get", "result", "limits"])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"task_id": "t1"', b'"text"', b"[5]"], ids=repr)
@pytest.mark.asyncio
async def test_an_answer_that_cannot_be_read_is_raised_as_one(name, body, api, connect, tmp_path):
    call = CALLS[name]
    api.route(method=call.method, path=call.path).respond(200, content=body)
    async with connect() as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await finish(call.make(client, tmp_path))
    assert (200, body) == (caught.value.status_code, caught.value.body)


FAILURES = {
    httpx.ConnectError: (ApiConnectionError, False),
    httpx.ConnectTimeout: (ApiTimeoutError, False),
    httpx.ReadError: (ApiConnectionError, True),
    httpx.RemoteProtocolError: (ApiConnectionError, True),
    httpx.ReadTimeout: (ApiTimeoutError, True),
    httpx.WriteError: (ApiConnectionError, True),
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if not call.billable])
@pytest.mark.asyncio
async def test_a_request_without_an_answer_is_a_connection_error(name, failure, api, connect, tmp_path):
    call = CALLS[name]
    api.route(method=call.method, path=call.path).mock(side_effect=failure("it broke"))
    raised, connected = FAILURES[failure]
    async with connect() as client:
        with pytest.raises(ApiConnectionError, match="it broke") as caught:
            await finish(call.make(client, tmp_path))
    assert (raised, connected) == (type(caught.value), caught.value.connected)
    assert isinstance(caught.value.__cause__, failure)
    assert isinstance(caught.value, PolyglotError)
