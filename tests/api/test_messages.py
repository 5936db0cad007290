"""Answers, and the errors that they become."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import (
    ApiStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from polyglot_async._api.messages import (
    KEPT_BODY_BYTES,
    ApiResponse,
    Priority,
    RawResponse,
    error_of,
    readable_detail,
    retry_after_seconds,
)

NOW = datetime(2026, 5, 24, 12, tzinfo=UTC)


def answer(status=200, body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiResponse(status_code=status, headers=named, body=body, method="POST", url="https://host/x")


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (302, ApiStatusError), (400, BadRequestError), (401, AuthenticationError), (403, PermissionDeniedError),
        (404, NotFoundError), (409, BadRequestError), (410, NotFoundError), (413, BadRequestError),
        (415, BadRequestError), (416, BadRequestError), (422, BadRequestError), (429, RateLimitError),
        (451, BadRequestError), (500, ServerError), (503, ServerError), (599, ServerError),
    ],
)  # fmt: skip
def test_each_status_has_its_error_with_all_that_is_known(status, cls):
    error = error_of(answer(status, b'{"detail": "Because."}', x_request_id="r1", retry_after="3"), NOW)

    assert cls is type(error)
    assert f"POST https://host/x: {status} Because. (request r1)" == str(error)
    assert (status, "Because.", "r1", 3.0) == (error.status_code, error.detail, error.request_id, error.retry_after)
    assert (b'{"detail": "Because."}', "POST", "https://host/x") == (error.body, error.method, error.url)


def test_an_error_without_body_or_headers_still_says_what_was_asked():
    assert "POST https://host/x: 500" == str(error_of(answer(500), NOW))


def test_no_more_than_64_kib_of_an_errors_body_are_kept():
    assert KEPT_BODY_BYTES == len(error_of(answer(500, b"x" * 100_000), NOW).body)


@pytest.mark.parametrize(
    ("detail", "limit"),
    [
        ("Too many concurrent tasks.", "concurrency"), ("Daily limit reached.", "daily"),
        ("1000 requests per day", "daily"), ("Monthly limit reached.", "monthly"),
        ("60 requests per minute", "burst"), ("Too many requests.", "burst"), ("No.", None), ("", None),
    ],
)  # fmt: skip
def test_a_429_tells_which_limit_where_its_words_do(detail, limit):
    error = error_of(answer(429, json.dumps({"detail": detail}).encode()), NOW)

    assert (RateLimitError, limit) == (type(error), error.limit)


def test_a_403_that_speaks_of_concurrent_tasks_is_a_limit_where_work_is_started():
    body = b'{"detail": "Concurrent task limit reached."}'

    assert RateLimitError is type(error_of(answer(403, body), NOW, billable=True))
    assert PermissionDeniedError is type(error_of(answer(403, body), NOW))
    assert PermissionDeniedError is type(error_of(answer(403, b'{"detail": "Daily."}'), NOW, billable=True))


@pytest.mark.parametrize(
    "name",
    ["x-request-id", "request-id", "x-correlation-id", "x-trace-id", "x-amzn-requestid", "x-amz-cf-id", "cf-ray"],
)
def test_the_request_id_is_in_whichever_of_the_usual_headers_is_there(name):
    assert "r1" == ApiResponse(status_code=200, headers={"x-request-id": "", name: "r1"}, body=b"").request_id


def test_without_such_a_header_there_is_no_request_id():
    assert None is answer().request_id


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"detail": "Invalid token."}', "Invalid token."),
        (b'{"detail": null, "message": "Why."}', "Why."),
        (b'{"detail": "", "error": "Why."}', "Why."),
        (b'{"valid": false, "reason": "Private."}', "Private."),
        (b'{"detail": " \\n "}', None),
        (b'{"detail": "two\\n  lines"}', "two lines"),
        (b'{"detail": {"code": 7}}', '{"code": 7}'),
        (b'{"detail": 0}', '{"detail": 0}'),
        (b'{"code": 7}', '{"code": 7}'),
        (b'"just a string"', "just a string"),
        (b"7", "7"),
        (b"false", "false"),
        (b"[]", None),
        (b"{}", None),
        (b"null", None),
        (b"", None),
        (b"  \n ", None),
        (b"upstream is down\nsecond line", "upstream is down"),
        (b"<html><body>Bad gateway</body></html>", None),
        (b"\xff\xfe\xfd", "\ufffd\ufffd\ufffd"),
        (
            b'{"detail": [{"loc": ["body", "url"], "msg": "Field required"}, {"loc": ["body", 0], "msg": "no"}]}',
            "body.url: Field required; body.0: no",
        ),
        (b'{"detail": [{"msg": "no place"}, {"loc": "url", "msg": "no list"}]}', "no place; url: no list"),
        (b'{"detail": ["a", {"msg": "b"}]}', '["a", {"msg": "b"}]'),
        ('{"detail": "Неверный токен"}'.encode(), "Неверный токен"),
        ("\ufeff{}".encode(), None),
    ],
)
def test_a_detail_of_any_kind_is_rendered_readably(body, expected):
    assert expected == readable_detail(body)


@given(st.binary() | st.text().map(lambda text: json.dumps({"detail": text}).encode()))
def test_any_bytes_give_one_short_line_or_nothing(body):
    detail = readable_detail(body)

    assert detail is None or (detail and len(detail) <= 503 and len(detail.splitlines()) == 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["detail", "msg", "loc", "error", "a"]), inner),
)


@given(json_values)
def test_any_json_gives_a_line_or_nothing(value):
    detail = readable_detail(json.dumps(value).encode())

    assert detail is None or detail


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"detail":', "}"), ('[{"msg":', "}]")])
def test_a_detail_nested_to_any_depth_is_rendered(opening, closing):
    for depth in (*range(100, 1000, 3), 30_000):
        assert readable_detail((opening * depth + "1" + closing * depth).encode())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0), ("3", 3.0), (" 3 ", 3.0), ("2.5", 2.5), ("-5", 0.0), ("", None), ("soon", None), ("nan", None),
        ("inf", None), ("1e999", None), ("Sun, 24 May 2026 12:00:30 GMT", 30.0), ("Sun, 24 May 2026 11:00:00 GMT", 0.0),
        ("Sunday, 24-May-26 12:00:30 GMT", 30.0), ("Sun, 24 May 2026 12:00:30 -0000", None),
        ("Sun, 99 May 2026 12:00:30 GMT", None), ("Sun, 24 May 99999 12:00:30 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert expected == retry_after_seconds({"retry-after": value}, NOW)


dates = st.lists(
    st.sampled_from(["Sun,", "24", "May", "2026", "12:00:00", "GMT", "+9999", "-0000", ":", "99999999999", "-", "00"])
    | st.text(max_size=3),
    max_size=8,
).map(" ".join)


@given(st.text() | dates)
def test_any_retry_after_is_a_length_of_time_or_nothing(value):
    seconds = retry_after_seconds({"retry-after": value}, NOW)

    assert seconds is None or 0 <= seconds < float("inf")


def test_without_retry_after_there_is_none():
    assert None is retry_after_seconds({}, NOW + timedelta(days=1))


def test_who_starts_work_goes_first_and_downloads_last():
    assert [Priority.START, Priority.RESULT, Priority.POLL, Priority.DOWNLOAD] == sorted(Priority)


def test_a_raw_response_shows_the_answer_and_reads_it_when_asked():
    raw = RawResponse(answer(200, b"7", request_id="r1"), lambda response: int(response.body))

    assert (200, b"7", "r1", {"request-id": "r1"}, 7) == (
        raw.status_code,
        raw.body,
        raw.request_id,
        raw.headers,
        raw.parse(),
    )


def test_no_repr_shows_headers_or_body():
    shown = repr(answer(200, b"secret", set_cookie="secret"))

    assert "secret" not in shown
    assert "secret" not in repr(RawResponse(answer(200, b"secret", set_cookie="secret"), len))


@pytest.mark.parametrize(("status", "success"), [(199, False), (200, True), (299, True), (300, False)])
def test_2xx_is_success(status, success):
    assert success is answer(status).is_success
