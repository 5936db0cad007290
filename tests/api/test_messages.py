"""Requests and answers as values."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._api.messages import AnsweredBy, ApiResponse, Priority, RawResponse, answered_by, is_html


def answer(status=200, body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiResponse(status_code=status, headers=named, body=body, method="POST", url="https://host/x")


@pytest.mark.parametrize(
    "name",
    ["x-request-id", "request-id", "x-correlation-id", "x-trace-id", "x-amzn-requestid", "x-amz-cf-id", "cf-ray"],
)
def test_the_request_id_is_in_whichever_of_the_usual_headers_is_there(name):
    assert "r1" == ApiResponse(status_code=200, headers={"x-request-id": "", name: "r1"}, body=b"").request_id


def test_without_such_a_header_there_is_no_request_id():
    assert None is answer().request_id


def test_calls_that_start_work_go_first_and_downloads_last():
    assert [Priority.START, Priority.RESULT, Priority.POLL, Priority.DOWNLOAD] == sorted(Priority)


def test_a_raw_response_has_the_answer_and_its_value():
    raw = RawResponse(answer(200, b"7", request_id="r1"), 7)

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
    assert "secret" not in repr(RawResponse(answer(200, b"secret", set_cookie="secret"), "secret"))


@pytest.mark.parametrize(("status", "success"), [(199, False), (200, True), (299, True), (300, False)])
def test_2xx_is_success(status, success):
    assert success is answer(status).is_success


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/html", b"", True),
        ("Text/HTML; charset=utf-8", b"{}", True),
        ("application/xhtml+xml", b"", True),
        ("application/json", b"<!DOCTYPE html><html>", True),
        ("", b"\xef\xbb\xbf \r\n<!-- a --> <!-- b -->\n<HTML lang='en'>", True),
        (None, b"<!doctype HTML PUBLIC", True),
        (None, b"<head>", True),
        ("", b"\n<Title>Closed", True),
        ("", b"<body class='x'>", True),
        ("", b"<?xml version='1.0'?>\n<!DOCTYPE html>", True),
        ("", "<!doctype html>".encode("utf-16"), True),
        ("", "<html>".encode("utf-16-be"), True),
        ("", b"<header>", False),
        ("", b"<b>words</b>", False),
        ("", b"\0" * 40 + b"<html>", False),
        ("", "<words>".encode("utf-16"), False),
        ("application/json", b'{"text": "<html>"}', False),
        ("application/xml", b"<?xml version='1.0'?><Error/>", False),
        ("text/plain", b"1\n00:00:00,000 --> 00:00:01,000\n<html>\n", False),
        ("", b"<htmlish>", False),
        (None, b"", False),
    ],
)
def test_a_web_page_is_known_by_its_type_or_its_beginning(content_type, body, expected):
    headers = {} if content_type is None else {"content-type": content_type}

    assert expected is is_html(headers, body)
    assert expected is ApiResponse(status_code=200, headers=headers, body=body).is_html


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"detail": "no"}', AnsweredBy.SERVICE),
        (b'\xef\xbb\xbf \r\n[{"task_id": "t"}]', AnsweredBy.SERVICE),
        (b'{"items": [{"task_id": "t', AnsweredBy.SERVICE),
        (b"[" * 100_000, AnsweredBy.SERVICE),
        (b"null", AnsweredBy.SERVICE),
        (b'"words"', AnsweredBy.SERVICE),
        ('{"detail": "no"}'.encode("utf-16"), AnsweredBy.SERVICE),
        (b"\n<!doctype html>", AnsweredBy.PROXY),
        (b"<?xml version='1.0'?><Error/>", AnsweredBy.PROXY),
        (b"<h1>Bad gateway", AnsweredBy.PROXY),
        ("<html>".encode("utf-16"), AnsweredBy.PROXY),
        (b"404 page not found\n", AnsweredBy.UNKNOWN),
        (b"no healthy upstream", AnsweredBy.UNKNOWN),
        (b"9" * 5000, AnsweredBy.UNKNOWN),
        (b" \n", AnsweredBy.UNKNOWN),
        (b"", AnsweredBy.UNKNOWN),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_json_is_of_the_service_and_a_page_of_a_proxy(body, expected):
    assert expected is answered_by(body)


@given(st.binary())
def test_whoever_answered_no_body_is_too_odd_to_tell(body):
    assert isinstance(answered_by(body), AnsweredBy)


@pytest.mark.parametrize("body", [b"<!-- -->" * 5000 + b"x", b"<!--" * 10_000, b" " * 50_000])
def test_telling_a_web_page_takes_no_time_whatever_the_body_is(body):
    started = time.process_time()
    is_html({}, body)
    assert time.process_time() - started < 1
