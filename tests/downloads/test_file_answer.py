"""The bytes and the stream of a result file are the file, or an error that says what came in its place."""

import json
from contextlib import asynccontextmanager

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async import ResponseDecodeError
from polyglot_async._downloads.file_answer import ApiResponse, file_body, kind_of, open_file_stream

PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
NO_FILES = [
    (200, "text/plain", PAGE, r'a web page, "Sign in" \(text/plain\); check base_url'),
    (200, "", PAGE.decode().encode("utf-16"), 'a web page, "Sign in"'),
    (200, "application/json", b'{"detail": "Not ready"}', r'a message, "Not ready" \(application/json\); nothing was'),
    (202, "application/json", b'{"status": "processing"}', "202, but the answer is a message"),
    (200, "text/plain", b"", r"the answer is empty \(text/plain\); nothing was saved"),
    (204, "", b"", "204, but the answer is empty"),
]


def answer(status, content_type, body):
    headers = {"content-type": content_type} if content_type else {}
    return ApiResponse(status_code=status, headers=headers, body=body, method="GET", url="https://host/f")


@pytest.mark.parametrize(("status", "content_type", "body", "words"), NO_FILES)
@pytest.mark.parametrize("kind", ["srt", "json", "Talk.TXT", "words"])
def test_bytes_that_are_no_file_are_an_error(status, content_type, body, words, kind):
    with pytest.raises(ResponseDecodeError, match=words):
        file_body(answer(status, content_type, body), kind)


@given(st.binary(min_size=1), st.sampled_from(["srt", "txt", "json", "docx", "mp3", "any"]))
def test_bytes_that_are_neither_a_page_nor_json_are_the_file(body, kind):
    body = b"1\n" + body
    assert body == file_body(answer(200, "application/octet-stream", body), kind)


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_json_that_holds_more_than_a_message_is_a_file_of_a_kind_that_may_be_json(values):
    body = json.dumps({"detail": "", **values, "transcript": "words"}).encode()
    for kind in ("json", "any"):
        assert body == file_body(answer(200, "application/json", body), kind)
    with pytest.raises(ResponseDecodeError):
        file_body(answer(200, "application/json", body), "srt")


@attrs.frozen
class Streamed:
    status_code: int
    headers: dict[str, str]
    body: bytes
    url: str = "https://host/f"

    async def chunks(self):
        yield self.body


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [(200, {"content-type": "text/html"}, PAGE), (204, {}, b""), (200, {"content-length": "0"}, b"")],
)
async def test_a_stream_whose_head_is_that_of_no_file_is_an_error(status, headers, body):
    @asynccontextmanager
    async def opened():
        yield Streamed(status, headers, body)

    with pytest.raises(ResponseDecodeError):
        await open_file_stream(opened(), "srt").__aenter__()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/transcriptions/t/downloads/SRT", "srt"),
        ("/transcriptions/t/downloads/page%2Ehtml", "page.html"),
        ("/transcriptions/t/source", None),
        ("/transcriptions/t/downloads/source", "source"),
    ],
)
def test_the_kind_is_in_the_path(path, kind):
    assert kind == kind_of(path)
