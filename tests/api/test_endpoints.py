"""The API as a table: what each call asks for, and what is read in its answer."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import ResponseDecodeError, Task, TaskPage, TaskStatus, UrlValidation
from polyglot_async._api import endpoints
from polyglot_async._api.messages import ApiResponse

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["items", "tasks", "data", "task_id", "status", "next", "total", "valid", "detail"]), inner
        )
    ),
)
TASK = {"task_id": "a", "status": "queued"}
READ = Task(task_id="a", status=TaskStatus.QUEUED)


def answer(value, status=200):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return ApiResponse(status_code=status, headers={}, body=body)


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


def test_the_table_holds_every_endpoint_of_the_room_once():
    named = re.findall(r"^([A-Z_]+) = Endpoint\(", Path(endpoints.__file__).read_text("utf-8"), re.MULTILINE)

    assert [getattr(endpoints, name) for name in named] == list(endpoints.ENDPOINTS)
    assert len(endpoints.ENDPOINTS) == len({endpoint.call for endpoint in endpoints.ENDPOINTS})


def test_two_calls_start_paid_work():
    assert ["upload", "from_url"] == [endpoint.call for endpoint in endpoints.ENDPOINTS if endpoint.billable]


def test_an_upload_carries_its_options_as_form_fields_and_extra_wins():
    request = endpoints.upload(
        {"model": "fast", "input_language": None, "output_language": "ru"},
        {"model": "best", "n": 2, "deep": {"a": [1]}},
    )

    assert (("model", "best"), ("output_language", "ru"), ("n", "2"), ("deep", '{"a": [1]}')) == request.fields
    assert (None, ()) == (request.json, request.query)


@pytest.mark.parametrize("build", [endpoints.from_url, endpoints.validate_url])
def test_a_url_goes_in_json_with_its_options_and_extra_is_sent_as_it_is(build):
    request = build("https://a/b", {"model": None, "output_language": "ru"}, {"n": None, "url": "https://c"})

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
        ("https://evil/api?offset=50&q=a%20b&empty=#x", (("offset", "50"), ("q", "a b"), ("empty", ""))),
        ("/api/v1/transcriptions?offset=50", (("offset", "50"),)),
        ("?page=2", (("page", "2"),)),
        ("https://host/without/query", ()),
        ("http://[?page=2", (("page", "2"),)),
        ("/abc+def==", (("status", "failed"), ("cursor", "/abc+def=="))),
        ("opaque", (("status", "failed"), ("cursor", "opaque"))),
    ],
)
def test_a_cursor_is_a_word_or_a_url_of_which_only_the_query_is_taken(cursor, expected):
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
    with pytest.raises(ValueError, match=r"is not a|surrogates"):
        build(given_id)


@given(st.text(min_size=1))
def test_any_id_is_one_segment_of_the_path(task_id):
    try:
        path = endpoints.get(task_id).path
    except ValueError:
        return

    assert ["", "transcriptions"] == path.split("/")[:-1]
    assert path.isascii()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], TaskPage(items=())),
        ([TASK], TaskPage(items=(READ,))),
        ({"items": [TASK], "total": 7}, TaskPage(items=(READ,), total=7)),
        ({"tasks": [TASK], "count": 7}, TaskPage(items=(READ,), total=7)),
        ({"results": [TASK], "total": -1}, TaskPage(items=(READ,))),
        ({"transcriptions": [TASK], "total": "7"}, TaskPage(items=(READ,))),
        ({"data": [TASK], "total": True}, TaskPage(items=(READ,))),
        ({"items": {"page": 1}, "data": [TASK]}, TaskPage(items=(READ,))),
        ({"items": [], "next": "https://host/x?offset=2"}, TaskPage(items=(), next_cursor="https://host/x?offset=2")),
        ({"items": [], "next": None, "next_cursor": "c"}, TaskPage(items=(), next_cursor="c")),
        ({"items": [], "next": "", "next_cursor": 5}, TaskPage(items=())),
    ],
)
def test_a_page_is_a_bare_list_or_an_object_that_holds_one(value, expected):
    assert expected == endpoints.parse_page(answer(value))


@pytest.mark.parametrize("value", [{}, 5, None, "x", {"items": {}}, {"items": [5]}, {"items": [{"task_id": "a"}]}, b""])
def test_what_is_no_page_is_a_decode_error(value):
    with pytest.raises(ResponseDecodeError):
        endpoints.parse_page(answer(value))


@given(any_json | st.binary())
def test_any_body_is_a_page_or_a_decode_error(value):
    try:
        page = endpoints.parse_page(answer(value))
    except ResponseDecodeError:
        return

    assert all(isinstance(task, Task) for task in page.items)


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (200, {}, (True, None)),
        (200, {"valid": True, "detail": "fine"}, (True, None)),
        (200, {"valid": False, "detail": "Private."}, (False, "Private.")),
        (200, {"valid": False, "reason": "Private."}, (False, "Private.")),
        (200, {"valid": None}, (True, None)),
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


@pytest.mark.parametrize("parse", [endpoints.parse_page, lambda response: endpoints.parse_validation(response, "u")])
def test_deeply_nested_answers_are_decode_errors(parse):
    for depth in range(100, 1000, 3):
        body = b'{"items": ' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(ResponseDecodeError):
            parse(answer(b"[" + body + b"]"))
