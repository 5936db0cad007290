"""Answers, and the errors that they become."""

import json
import time
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
from polyglot_async._api.status_errors import (
    KEPT_BODY_BYTES,
    ApiResponse,
    decode_error,
    error_of,
    readable_detail,
    retry_after_seconds,
    scrub,
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
    assert str(error).startswith(f"POST https://host/x: {status} Because. (request r1)")
    assert (status, "Because.", "r1", 3.0) == (error.status_code, error.detail, error.request_id, error.retry_after)
    assert (b'{"detail": "Because."}', "POST", "https://host/x") == (error.body, error.method, error.url)


def test_a_401_says_where_the_key_comes_from():
    error = error_of(answer(401, b'{"detail": "Invalid token."}'), NOW)

    assert "check api_key or POLYGLOT_API_KEY: an sk_ key is valid for 30 days" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (413, b"<title>413 Request Entity Too Large</title>", {"server": "nginx/1.24.0", "content_type": "text/html"},
         "413 Request Entity Too Large (text/html, Server: nginx/1.24.0)"),
        (400, b"<title>400 No required SSL certificate was sent</title>", {"server": "nginx"},
         "400 No required SSL certificate was sent (Server: nginx)"),
        (502, b"upstream is down", {"content_type": "text/plain", "server": "Caddy", "x_request_id": "r1"},
         "502 upstream is down (text/plain, Server: Caddy, request r1)"),
        (503, b"", {"server": "haproxy"}, "503 (Server: haproxy)"),
        (500, b'{"detail": "Oops."}', {"server": "uvicorn", "content_type": "application/json"}, "500 Oops."),
    ],
)  # fmt: skip
def test_what_is_not_the_services_json_is_named_by_its_title_type_and_server(status, body, headers, expected):
    assert f"POST https://host/x: {expected}" == str(error_of(answer(status, body, **headers), NOW))


REFUSED_FILES = [
    "File too large", "Audio is too long for your plan", "Audio duration exceeds the limit of 14400 s",
    "File exceeds the plan's maximum of 120 minutes", "At most 60 minutes per file", "Upload size limit exceeded",
    "The recording is 5 hours long; your plan allows 4 hours", "Request body too large", "Media larger than 2 GB",
    "Файл слишком большой", "Превышена длительность аудио",
]  # fmt: skip
PASSING_LIMITS = [
    "Too many requests", "Daily limit reached", "Monthly audio minutes exceeded", "Upload limit: 10 uploads per minute",
    "Maximum number of concurrent files", "Queue is too long", "60 requests per minute exceeded",
    "Upload limit exceeded", "Daily upload size exceeded", "Превышен лимит запросов в минуту", "",
]  # fmt: skip


@pytest.mark.parametrize("detail", REFUSED_FILES)
@pytest.mark.parametrize("status", [403, 413, 429])
def test_a_file_that_is_too_large_or_too_long_is_refused_and_no_limit_that_passes(status, detail):
    assert BadRequestError is type(
        error_of(answer(status, json.dumps({"detail": detail}).encode()), NOW, billable=True)
    )


@pytest.mark.parametrize("detail", PASSING_LIMITS)
def test_a_limit_that_passes_is_no_refusal_of_the_file(detail):
    assert RateLimitError is type(error_of(answer(429, json.dumps({"detail": detail}).encode()), NOW, billable=True))


SECRET = "sk_0123456789abcdef"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize("secret", [SECRET, JWT, "opaque-session-value"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": "Bearer %s is not valid"}',
        b'{"headers": {"Authorization": "Bearer %s", "Host": "x"}}',
        b'{"detail": "bad header authorization=Bearer %s, sorry"}',
        b"{\"detail\": \"[('authorization', 'Bearer %s')]\"}",
        b"<html><title>Bearer %s</title></html>",
        b"<html><pre>GET / HTTP/1.1\r\nAuthorization: Bearer %s\r\n</pre></html>",
        b"Authorization: Bearer %s\r\nHost: x",
        b"\xff\xfe Bearer %s",
    ],
)
def test_no_part_of_an_error_repeats_a_credential_that_is_echoed(secret, body):
    body = body.replace(b"%s", secret.encode())
    for error in (error_of(answer(401, body), NOW), decode_error(answer(200, body), None)):
        assert secret not in str(error)
        assert secret.encode() not in error.body
        assert secret not in (getattr(error, "detail", "") or "")


@pytest.mark.parametrize(
    "text", ["Invalid Bearer token.", "Authorization header is missing", "use Bearer authentication"]
)
def test_words_about_credentials_are_kept(text):
    assert text == scrub(text)


def test_urls_are_shown_without_password_and_query():
    body = json.dumps({"detail": "cannot fetch https://user:word@host/a.mp3?sig=5f&x=1#t (404)"}).encode()

    assert "cannot fetch https://***@host/a.mp3 (404)" == error_of(answer(400, body), NOW).detail


def test_a_body_without_a_credential_is_kept_byte_for_byte():
    body = bytes(range(256))

    assert body == error_of(answer(500, body), NOW).body


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
        (b"<html><body>Bad gateway</body></html>", "Bad gateway"),
        (b"<html><head><title> 502 Bad\n Gateway</title></head><body>nginx</body>", "502 Bad Gateway"),
        (b"<html><title></title><style>a{}</style><script>x</script><p>Down &amp; out</p>", "Down & out"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "AccessDenied"),
        (b"<html></html>", None),
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


def test_a_date_is_compared_with_the_answers_own_clock():
    headers = {"retry-after": "Sun, 24 May 2026 12:00:30 GMT", "date": "Sun, 24 May 2026 12:00:20 GMT"}

    assert 10.0 == retry_after_seconds(headers, NOW + timedelta(hours=1))
    assert 30.0 == retry_after_seconds({**headers, "date": "yesterday"}, NOW)


@given(st.text() | dates)
def test_any_retry_after_is_a_length_of_time_or_nothing(value):
    seconds = retry_after_seconds({"retry-after": value}, NOW)

    assert seconds is None or 0 <= seconds < float("inf")


def test_without_retry_after_there_is_none():
    assert None is retry_after_seconds({}, NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("body", "headers", "parts"),
    [
        (b"<html><title>Sign in</title>", {"content_type": "text/html; charset=utf-8", "server": "cloudflare"},
         ["a web page", '"Sign in"', "text/html; charset=utf-8", "Server: cloudflare", "check base_url"]),
        (b"hello there\nyou", {"content_type": "text/plain"}, ["no JSON", '"hello there"', "text/plain"]),
        (b"", {"server": "nginx"}, ["empty", "Server: nginx"]),
        (b" \n", {}, ["empty"]),
        (b"\x1f\x8b\x00", {"content_type": "application/octet-stream"}, ["no JSON", "application/octet-stream"]),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_json_is_described(body, headers, parts):
    error = decode_error(answer(200, body, x_request_id="r1", **headers), None)

    assert all(part in str(error) for part in ["POST https://host/x: 200, but the answer is", *parts])
    assert "Expecting value" not in str(error)
    assert (200, body, "r1", "POST") == (error.status_code, error.body, error.request_id, error.method)


def test_json_of_another_shape_is_described_by_the_problem():
    error = decode_error(answer(200, b"{}"), "there is no task id")

    assert "POST https://host/x: 200, but the answer cannot be read: there is no task id" == str(error)


@pytest.mark.parametrize(
    "piece",
    [
        b"<script>",
        b"<title",
        b"<!--",
        b"<!-- --> ",
        b"<",
        b"bearer ",
        b"a://",
        b"authorization: ",
        b"eyJ",
        b"sk_",
        b"? ",
    ],
)
def test_no_body_takes_long_to_describe(piece):
    body = piece * (KEPT_BODY_BYTES // len(piece))
    started = time.process_time()
    error_of(answer(500, body), NOW)
    decode_error(answer(200, body), None)
    assert time.process_time() - started < 2
