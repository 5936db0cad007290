"""Responses of other HTTP libraries: what they state, and their decoded bytes, whichever library it is."""

from types import SimpleNamespace

import anyio
import httpx
import pytest

from polyglot_async import MediaError
from polyglot_async._uploads.streams import head_of, open_response


async def read(response, name="talk.wav"):
    async with open_response(response, name, 1 << 20) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_a_response_states_its_name_type_and_size_and_gives_its_bytes(fetch, served):
    async with fetch("/media/a%20talk.wav?token=1") as response:
        head = head_of(response)

        assert (200, "a talk.wav", "audio/wav", len(served), "") == (
            head.status, head.name, head.content_type, head.size, head.encoding)  # fmt: skip
        assert served == await read(response)


async def test_a_compressed_response_is_decoded_or_its_encoding_is_reported(fetch, served):
    async with fetch("/gzip/talk.wav") as response:
        head = head_of(response)

        assert head.size is None
        if head.encoding:  # urllib decodes nothing
            assert "gzip" == head.encoding
            assert type(response).__module__ == "http.client"
        else:
            assert served == await read(response)


async def test_the_name_of_a_content_disposition_comes_first_and_is_never_a_path(fetch):
    async with fetch("/named") as response:
        assert "call.mp3" == head_of(response).name


async def test_an_empty_response_has_no_chunks(fetch):
    async with fetch("/empty.wav") as response:
        assert (0, b"") == (head_of(response).size, await read(response))


def response(*chunks, url="https://host/media/talk.wav?token=1", **headers):
    async def stream():
        for chunk in chunks:
            await anyio.lowlevel.checkpoint()
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return httpx.Response(
        200,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        content=stream(),
        request=httpx.Request("GET", url),
    )


@pytest.mark.parametrize(
    ("url", "headers", "expected"),
    [
        ("https://host/", {}, ("upload.bin", "application/octet-stream", None)),
        ("https://host/a/..", {}, ("upload.bin", "application/octet-stream", None)),
        ("https://host/a%2Ftalk.mp3", {"content_length": "-5"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/talk.mp3", {"content_type": "", "content_length": "x"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/talk.mp3", {"content_type": b"caf\xe9/wav"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/talk.mp3", {"content_type": "application/octet-stream"}, ("talk.mp3", "audio/mpeg", None)),
        ("https://host/a", {"content_disposition": "nonsense; filename="}, ("a", "application/octet-stream", None)),
        (
            "https://host/a",
            {"content_encoding": "identity", "content_length": "5"},
            ("a", "application/octet-stream", 5),
        ),
    ],
)
def test_a_response_that_states_little_or_nonsense_is_taken_all_the_same(url, headers, expected):
    head = head_of(response(url=url, **headers))

    assert expected == (head.name, head.content_type, head.size)


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), httpx.ReadTimeout(""), RuntimeError("broken")])
async def test_a_response_that_breaks_off_is_a_media_error_and_no_error_of_the_service(error):
    with pytest.raises(MediaError, match=r"^talk.wav: cannot be read: (reset|ReadTimeout|broken)$") as caught:
        await read(response(b"x", error))

    assert error is caught.value.__cause__


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("broken")])
async def test_a_sync_response_that_breaks_off_is_a_media_error_too(error):
    def iter_content(size):
        yield b"x"
        raise error

    source = SimpleNamespace(status_code=200, headers={}, iter_content=iter_content)
    with pytest.raises(MediaError, match=r"^talk.wav: cannot be read: (reset|broken)$"):
        await read(source)


async def test_a_response_that_was_read_before_is_a_media_error_or_empty_and_never_cut(fetch, served):
    async with fetch("/media/a%20talk.wav") as source:
        await read(source)
        try:
            again = await read(source)
        except MediaError as error:
            assert "cannot be read" in str(error)  # noqa: PT017
        else:
            assert again in {b"", served}


@pytest.mark.parametrize(
    "thing", [b"x", "x", None, 5, httpx.Response, {"headers": {}}, SimpleNamespace(headers={}),
              SimpleNamespace(headers=None, status=200),
              SimpleNamespace(status_code=200), SimpleNamespace(headers={}, status="ok")])  # fmt: skip
def test_anything_else_is_no_response(thing):
    assert head_of(thing) is None
