"""The API as a table: what each call asks for, and what is read in its answer."""

import contextlib
import enum
import json
import re
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import ResponseDecodeError, TaskStatus, UrlValidation
from polyglot_async._api import endpoints

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["items", "tasks", "data", "task_id", "status", "next", "total", "valid", "detail", "transcript",
                 "segments", "rate_limits", "per_minute"]
            ),
            inner,
        )
    ),
)  # fmt: skip
TASK = {"task_id": "a", "status": "queued"}
PARSERS = {
    "task": endpoints.parse_task,
    "started": endpoints.parse_started,
    "transcript": endpoints.parse_transcript,
    "page": endpoints.parse_page,
    "limits": endpoints.parse_limits,
    "validation": lambda response: endpoints.parse_validation(response, "u"),
}


class Model(str, enum.Enum):  # noqa: UP042 - what people wrote before StrEnum
    FAST = "fast"


class Quality(enum.IntEnum):
    HIGH = 2


class Language(enum.StrEnum):
    RUSSIAN = "ru"


class Plain(enum.Enum):
    A = "a"


def answer(value, status=200, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): item for name, item in headers.items()}
    url = "https://host/transcriptions/asked%2Ffor/result"
    return endpoints.ApiResponse(status_code=status, headers=named, body=body, method="GET", url=url)


def test_the_table_has_the_contracts_ten_calls_and_no_other():
    assert {
        "POST /transcriptions/upload",
        "POST /transcriptions/from-url",
        "POST /transcriptions/validate-url",
        "GET /transcriptions",
        "GET /transcriptions/{task_id}",
        "GET /transcriptions/{task_id}/result",
        "GET /transcriptions/{task_id}/downloads/{kind}",
        "GET /transcriptions/{task_id}/source",
        "POST /transcriptions/convert-audio",
        "GET /developer/documentation",
    } == {f"{endpoint.method} {endpoint.template}" for endpoint in endpoints.ENDPOINTS}


def test_the_table_holds_every_endpoint_once():
    named = re.findall(r"^([A-Z_]+) = Endpoint\(", Path(endpoints.__file__).read_text("utf-8"), re.MULTILINE)

    assert [getattr(endpoints, name) for name in named] == list(endpoints.ENDPOINTS)
    assert len(endpoints.ENDPOINTS) == len({endpoint.call for endpoint in endpoints.ENDPOINTS})


def test_two_calls_start_paid_work():
    assert ["upload", "from_url"] == [endpoint.call for endpoint in endpoints.ENDPOINTS if endpoint.billable]


def test_an_upload_carries_its_options_as_form_fields_and_extra_wins():
    options = {"model": "fast", "input_language": None, "output_language": "ru"}
    extra = {"model": "best", "n": 2, "deep": {"a": [1]}}
    request = endpoints.upload(endpoints.sent_options(options, extra))

    assert (("model", "best"), ("output_language", "ru"), ("n", "2"), ("deep", '{"a": [1]}')) == request.fields
    assert (None, ()) == (request.json, request.query)


@pytest.mark.parametrize(
    ("member", "text", "value"),
    [(Model.FAST, "fast", "fast"), (Quality.HIGH, "2", 2), (Language.RUSSIAN, "ru", "ru"), (Plain.A, "a", "a"),
     (TaskStatus.FAILED, "failed", "failed"), (TaskStatus("paused"), "paused", "paused")],
)  # fmt: skip
def test_a_member_of_an_enumeration_is_sent_as_its_value_everywhere(member, text, value):
    options = endpoints.sent_options({"model": member}, {"x": member})
    assert (("model", text), ("x", text)) == endpoints.upload(options).fields
    assert (("format", text),) == endpoints.convert_audio(member, None).fields
    assert (("x", text),) == endpoints.list_tasks(limit=None, offset=0, cursor=None, filters={"x": member}).query
    for build in (endpoints.from_url, endpoints.validate_url):
        sent = build("u", options).json
        assert json.dumps({"url": "u", "model": value, "x": value}) == json.dumps(sent)


def test_options_of_a_file_and_of_a_url_are_known_as_the_same():
    """So that a task that shows them is recognised alike, whichever call has started it."""
    options = {"model": Model.FAST, "input_language": None, "output_language": "en"}
    extra = {"output_language": Language.RUSSIAN, "n": 2, "deep": {"a": (True, Plain.A)}, Model.FAST: "key"}
    sent = {"model": "fast", "output_language": "ru", "n": 2, "deep": {"a": [True, "a"]}, "fast": "key"}

    assert sent == endpoints.sent_options(options, extra)
    assert {"url": "u", **sent} == endpoints.from_url("u", endpoints.sent_options(options, extra)).json
    assert list(sent) == [name for name, _ in endpoints.upload(endpoints.sent_options(options, extra)).fields]


def test_options_that_mean_the_same_have_one_text():
    text = endpoints.options_text({"b": 1, "a": "ы", "c": None})

    assert '{"a": "\\u044b", "b": 1}' == text == endpoints.options_text({"a": "ы", "b": 1})
    assert "{}" == endpoints.options_text({}) == endpoints.options_text({"a": None})
    assert text != endpoints.options_text({"a": "ы", "b": "1"})


def test_members_of_enumerations_within_an_extra_option_are_sent_as_their_values():
    sent = endpoints.sent_options({}, {"x": [Model.FAST, {Plain.A: Quality.HIGH}]})
    assert (("x", '["fast", {"a": 2}]'),) == endpoints.upload(sent).fields
    assert {"url": "u", "x": ["fast", {"a": 2}]} == endpoints.from_url("u", sent).json


def test_a_kind_may_be_a_member_of_an_enumeration():
    assert "/transcriptions/a/downloads/ru" == endpoints.download("a", Language.RUSSIAN).path


@pytest.mark.parametrize("build", [endpoints.from_url, endpoints.validate_url])
def test_a_url_goes_in_json_with_its_options_and_extra_is_sent_as_it_is(build):
    sent = endpoints.sent_options({"model": None, "output_language": "ru"}, {"n": None, "url": "https://c"})
    request = build("https://a/b", sent)

    assert {"url": "https://c", "output_language": "ru", "n": None} == request.json
    assert None is request.fields


def test_a_conversion_names_its_format_in_a_form_field():
    assert (("format", "wav"), ("quality", "true")) == endpoints.convert_audio("wav", {"quality": True}).fields


def test_a_page_is_asked_for_by_limit_and_offset_and_filters_pass_through():
    request = endpoints.list_tasks(
        limit=50, offset=100, cursor=None, filters={"status": TaskStatus.FAILED, "mine": True, "none": None}
    )

    assert (("status", "failed"), ("mine", "true"), ("limit", "50"), ("offset", "100")) == request.query
    assert () == endpoints.list_tasks(limit=None, offset=0, cursor=None, filters={}).query


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        ("https://evil/api?offset=50&q=a%20b&empty=#x",
         (("offset", "50"), ("q", "a b"), ("empty", ""), ("limit", "10"))),
        ("?page=2&limit=7", (("page", "2"), ("limit", "7"))),
        ("https://host/without/query", (("limit", "10"),)),
        ("http://[?page=2", (("page", "2"), ("limit", "10"))),
        ("/abc+def==", (("status", "failed"), ("limit", "10"), ("cursor", "/abc+def=="))),
        ("opaque", (("status", "failed"), ("limit", "10"), ("cursor", "opaque"))),
    ],
)  # fmt: skip
def test_a_cursor_is_a_word_or_a_url_of_which_only_the_query_is_taken(cursor, expected):
    """The size of the page stays what was asked for, unless the URL has another."""
    request = endpoints.list_tasks(limit=10, offset=0, cursor=cursor, filters={"status": "failed"})

    assert ("/transcriptions", expected) == (request.path, request.query)


@given(st.text())
def test_any_cursor_makes_a_request(cursor):
    endpoints.list_tasks(limit=10, offset=0, cursor=cursor, filters={})


BUILDERS = {
    endpoints.get: "/transcriptions/{}",
    endpoints.result: "/transcriptions/{}/result",
    endpoints.source: "/transcriptions/{}/source",
    lambda task_id: endpoints.download(task_id, "srt"): "/transcriptions/{}/downloads/srt",
    lambda kind: endpoints.download("a", kind): "/transcriptions/a/downloads/{}",
}


@pytest.mark.parametrize(("build", "template"), BUILDERS.items())
@pytest.mark.parametrize(
    ("given_id", "escaped"),
    [("9b9c-1", "9b9c-1"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("%2e%2e", "%252e%252e"), ("я", "%D1%8F"),
     ("a b\n", "a%20b%0A"), ("...", "...")],
)  # fmt: skip
def test_no_id_leads_elsewhere(build, template, given_id, escaped):
    assert template.format(escaped) == build(given_id).path


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("given_id", ["", ".", "..", "\ud800"])
def test_what_cannot_be_an_id_is_a_value_error(build, given_id):
    with pytest.raises(ValueError, match=r"invalid (task id|kind)|surrogates"):
        build(given_id)


@given(st.text(min_size=1))
def test_any_id_is_one_segment_of_the_path(task_id):
    try:
        path = endpoints.get(task_id).path
    except ValueError:
        return

    assert ["", "transcriptions"] == path.split("/")[:-1]
    assert path.isascii()


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(any_json | st.binary())
def test_any_body_is_read_or_a_decode_error(parse, value):
    error = None
    try:
        parse(answer(value))
    except ResponseDecodeError as caught:
        error = caught
    assert error is None or (200, "GET") == (error.status_code, error.method)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize(
    ("body", "headers", "parts"),
    [
        (b"<!doctype html><title>Sign in</title>", {"content_type": "text/html", "server": "nginx"},
         ["a web page", '"Sign in"', "text/html", "Server: nginx"]),
        (b"upstream says no", {"content_type": "text/plain"}, ["no JSON", "upstream says no", "text/plain"]),
        (b"", {}, ["empty"]),
        (b'{"task_id": "a"', {"content_type": "application/json"}, ["no JSON", "application/json"]),
        (b"5", {}, ["cannot be read"]),
        (b"[[[]]]", {}, ["cannot be read"]),
    ],
)  # fmt: skip
def test_the_error_says_who_answered_what(parse, body, headers, parts):
    with pytest.raises(ResponseDecodeError) as caught:
        parse(answer(body, x_request_id="r1", **headers))

    assert all(part in str(caught.value) for part in ["GET https://host/", "200", *parts])
    assert "Expecting" not in str(caught.value)
    assert (body, "r1", None) == (caught.value.body, caught.value.request_id, caught.value.__cause__)


def test_the_error_names_the_fields_and_keeps_no_more_than_64_kib():
    with pytest.raises(ResponseDecodeError) as caught:
        endpoints.parse_task(answer(b'{"a": "queued", "x": "' + b"y" * 100_000 + b'"}'))

    assert str(caught.value).endswith("there is no task id in an object with the fields a, x")
    assert 65_536 == len(caught.value.body)


def test_a_started_task_is_queued_and_a_listed_one_unknown_where_no_status_came():
    assert ("queued", "unknown") == (
        endpoints.parse_started(answer({"id": 7})).status,
        endpoints.parse_task(answer({"id": 7})).status,
    )


def started(location, body=b"{}", host="host.example"):
    """The answer to an upload that names what it has started in a header."""
    url = f"https://{host}/api/v1/transcriptions/upload"
    return endpoints.ApiResponse(status_code=202, headers={"location": location}, body=body, url=url)


@pytest.mark.parametrize(
    "location",
    [
        "/api/v1/transcriptions/a%2F7",
        "https://host.example/api/v1/transcriptions/a%2F7/?x=1",
        "HTTPS://Host.Example:443/api/v1/transcriptions/a%2F7#now",
        "//host.example/api/v1/transcriptions/a%2F7",
        "/api/v1/transcriptions/a%2F7/result",
        "a%2F7#now",
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"Accepted"])
def test_a_start_may_name_its_task_in_the_location_alone(location, body):
    task = endpoints.parse_started(started(location, body))
    assert ("a/7", TaskStatus.QUEUED) == (task.task_id, task.status)


def test_a_host_with_other_letters_is_the_same_in_both_of_its_spellings():
    location = "https://xn--e1afmkfd.xn--p1ai/api/v1/transcriptions/a7"
    assert "a7" == endpoints.parse_started(started(location, host="пример.рф")).task_id


@pytest.mark.parametrize(
    "location",
    [
        *(f"/api/v1/transcriptions/{name}" for name in ("upload", "from-url", "validate-url", "convert-audio/", "")),
        "/api/v1/transcriptions",
        "/api/v1/transcriptions/a7/source",
        "/transcriptions/a7",
        "/api/v2/transcriptions/a7",
        "/help/transcriptions/faq",
        "/api/v1/help/transcriptions/faq",
        "/api/v1/transcriptions/../../../help/transcriptions/faq",
        "/api/v1?/transcriptions/a7",
        "http://host.example/api/v1/transcriptions/a7",
        "https://other.example/api/v1/transcriptions/a7",
        "https://host.example:8443/api/v1/transcriptions/a7",
        "https://host.example:99999/api/v1/transcriptions/a7",
        "https://" + "x" * 70 + ".example/api/v1/transcriptions/a7",
        "/",
        "",
        "http://[",
        "//[",
    ],
)
def test_a_location_that_is_no_task_of_this_api_names_none(location):
    with pytest.raises(ResponseDecodeError):
        endpoints.parse_started(started(location))


@given(st.text() | st.text(alphabet="htps:/[]@.%?#xn-19", max_size=20))
def test_any_text_may_stand_in_the_location(location):
    with contextlib.suppress(ResponseDecodeError):
        assert endpoints.parse_started(started(location)).task_id


@pytest.mark.parametrize("value", [{"id": "asked/for"}, {"id": "asked/for", "title": "Talk", "ok": True}])
def test_a_plain_id_that_was_asked_for_is_the_tasks(value):
    assert "asked/for" == endpoints.parse_task(answer(value)).task_id


def test_the_id_of_a_request_is_not_taken_for_the_task_that_was_asked_for():
    with pytest.raises(ResponseDecodeError):
        endpoints.parse_task(answer({"id": "r-1", "ok": False, "message": "try later"}))
    task = endpoints.parse_task(answer({"id": "r-1", "task": {"status": "queued"}, "status": "ok"}))
    assert "asked/for" == task.task_id


def test_a_transcript_that_names_no_task_has_the_id_that_was_asked_for():
    assert "asked/for" == endpoints.parse_transcript(answer({"transcript": "t"})).task_id


def test_a_page_is_read_from_an_answer():
    page = endpoints.parse_page(answer({"items": [TASK, None], "total": 2}))

    assert (["a"], 2, 2) == ([task.task_id for task in page.items], page.received, page.total)


def test_limits_are_read_from_the_documentation():
    assert 60 == endpoints.parse_limits(answer({"rate_limits": {"per_minute": 60}})).requests_per_window


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (200, {}, (True, None)),
        (200, {"valid": True, "detail": "fine"}, (True, None)),
        (200, {"valid": False, "detail": "Private."}, (False, "Private.")),
        (200, {"valid": False, "reason": "Private."}, (False, "Private.")),
        (200, {"valid": None}, (True, None)),
        (200, {"valid": "false", "detail": "Private."}, (False, "Private.")),
        (200, {"valid": 0}, (False, '{"valid": 0}')),
        (200, {"valid": "perhaps"}, (True, None)),
        (400, {"detail": "Bad URL."}, (False, "Bad URL.")),
        (400, b"not json", (False, "not json")),
        (400, b"", (False, None)),
    ],
)
def test_a_2xx_is_a_yes_unless_it_says_no_and_a_400_is_a_no(status, value, expected):
    read = endpoints.parse_validation(answer(value, status), "https://a/b")

    extra = value if isinstance(value, dict) else {}
    assert UrlValidation(url="https://a/b", valid=expected[0], reason=expected[1], extra=extra) == read


@given(any_json | st.binary(), st.sampled_from([200, 400]))
def test_any_answer_about_a_url_is_read_or_is_a_decode_error(value, status):
    try:
        read = endpoints.parse_validation(answer(value, status), "u")
    except ResponseDecodeError:
        assert 200 == status
        return

    assert status == 200 or not read.valid


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
def test_deeply_nested_answers_are_decode_errors(parse):
    for depth in (*range(100, 1000, 3), 100_000):
        # An entry of a page that is an odd object is left out, however deep it is.
        for opening in (b"[",) if parse is endpoints.parse_page else (b"[", b'{"x":'):
            closing = b"]" if opening == b"[" else b"}"
            with pytest.raises(ResponseDecodeError):
                parse(answer(b"[" + opening * depth + b"null" + closing * depth + b"]"))


@pytest.mark.parametrize(
    "value", [{"status": "queued"}, [{"status": "queued"}], {"task": 5, "status": "queued"}], ids=str
)
def test_a_task_that_does_not_name_itself_is_the_one_that_was_asked_for(value):
    response = attrs.evolve(answer(value), url="https://host/api/v1/transcriptions/a%2Fb")
    task = endpoints.parse_task(response)
    assert ("a/b", "queued") == (task.task_id, task.status)
