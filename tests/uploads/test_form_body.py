"""The body of an upload: exact, counted as it leaves, and sent again only from its true beginning."""

import io

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from polyglot_async import MediaError
from polyglot_async._uploads.form_body import FormBody, report
from polyglot_async._uploads.sources import media_from

FIELDS = (("model", "fast"), ("output_language", "ru"))


def body_of(source=b"media", on_progress=None, **options):
    return FormBody(media_from(source, **options), FIELDS, on_progress)


async def sent(body):
    async with body.attempt() as chunks:
        return b"".join([chunk async for chunk in chunks])


def parsed(body, data):
    environ = {"wsgi.input": io.BytesIO(data), "CONTENT_TYPE": body.headers["content-type"],
               "CONTENT_LENGTH": str(len(data)), "REQUEST_METHOD": "POST"}  # fmt: skip
    _, form, files = parse_form_data(environ, silent=False)
    file = files["file"]
    found = (tuple(form.items()), file.filename, file.content_type, file.read())
    file.close()
    return found


class Progress(list):
    """A callback that keeps what it was told."""

    def __call__(self, done, total):
        self.append((done, total))


@given(st.binary(min_size=1), st.text(min_size=1))
async def test_the_body_is_a_form_of_exactly_the_length_it_promises(data, name):
    body = body_of(data, name=name)

    found = await sent(body)

    assert str(len(found)) == body.headers["content-length"]
    assert (FIELDS, data) == (parsed(body, found)[0], parsed(body, found)[3])


async def test_the_form_names_the_file_and_its_type():
    body = body_of(b"media", name="talk.mp3")

    assert (FIELDS, "talk.mp3", "audio/mpeg", b"media") == parsed(body, await sent(body))


async def test_of_an_unknown_size_no_length_is_promised():
    body = body_of(iter([b"me", b"dia"]))

    assert {"content-type"} == body.headers.keys()
    assert b"media" == parsed(body, await sent(body))[3]


async def test_each_form_has_its_own_boundary():
    assert body_of().headers["content-type"] != body_of().headers["content-type"]


async def test_what_can_be_read_again_is_sent_again_byte_for_byte():
    body = body_of()

    assert body.can_be_sent
    assert await sent(body) == await sent(body)
    assert body.can_be_sent


async def test_a_one_shot_is_never_sent_again_not_even_empty():
    body = body_of(iter([b"media"]))
    assert body.can_be_sent
    await sent(body)

    assert not body.can_be_sent
    with pytest.raises(MediaError, match="was read before"):
        await sent(body)


async def test_an_attempt_that_was_broken_off_is_followed_by_a_whole_one():
    body = body_of()
    async with body.attempt() as chunks:
        await anext(chunks)
        await anext(chunks)

    assert not body.complete
    assert b"media" == parsed(body, await sent(body))[3]


async def test_it_is_complete_from_the_moment_its_last_bytes_may_have_left():
    body = body_of()
    states = [body.complete]
    async with body.attempt() as chunks:
        async for _ in chunks:
            states.append(body.complete)  # noqa: PERF401

    assert [False, False, False, True] == states
    async with body.attempt():
        assert not body.complete


async def test_progress_starts_at_zero_counts_the_media_alone_and_starts_anew_with_each_attempt():
    told = Progress()
    body = body_of(b"media", told)

    await sent(body)
    await sent(body)

    assert [(0, 5), (5, 5)] * 2 == told


async def test_progress_is_told_after_a_chunk_was_taken_and_not_before():
    told = Progress()
    body = body_of(iter([b"me", b"dia"]), told)
    async with body.attempt() as chunks:
        await anext(chunks)
        assert b"me" == await anext(chunks)
        assert [(0, None)] == told
        await anext(chunks)
        assert [(0, None), (2, None)] == told


async def test_progress_may_be_told_to_an_async_callback():
    told = Progress()

    async def callback(done, total):
        await anyio.lowlevel.checkpoint()
        told(done, total)

    await sent(body_of(b"media", callback))

    assert [(0, 5), (5, 5)] == told


async def test_what_a_callback_raises_comes_out_as_it_is():
    class MineError(Exception):
        pass

    def callback(done, _):
        if done:
            raise MineError

    body = body_of(b"media", callback)
    with pytest.raises(MineError):
        await sent(body)
    assert not body.complete


async def test_without_a_callback_nobody_is_told():
    await report(None, 1, 2)


@pytest.mark.parametrize("size", [None, 4])
async def test_media_that_turns_out_empty_is_a_media_error(size):
    body = body_of(iter([b"", b""]), size=size)

    with pytest.raises(MediaError, match=r"upload.bin: is empty"):
        await sent(body)
    assert not body.complete


@pytest.mark.parametrize(
    ("size", "message"),
    [(6, "ended after 5 of 6 bytes"), (4, "has more than the 4 bytes"), (1, "has more than the 1 bytes")],
)
@pytest.mark.parametrize("make", [lambda: iter([b"me", b"dia"]), lambda: b"media", lambda: io.BytesIO(b"media")])
async def test_media_of_another_size_than_it_should_have_is_a_media_error(make, size, message):
    body = body_of(make(), size=size)
    length = int(body.headers["content-length"])
    found = b""

    with pytest.raises(MediaError, match=message):
        async with body.attempt() as chunks:
            async for chunk in chunks:
                found += chunk

    assert not body.complete
    assert len(found) < length


async def test_a_file_that_shrank_is_a_media_error_and_one_that_grew_is_sent_as_measured(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(b"media")
    body = body_of(path)

    path.write_bytes(b"media and more")
    assert b"media" == parsed(body, await sent(body))[3]
    path.write_bytes(b"med")
    with pytest.raises(MediaError, match=r"talk.wav: ended after 3 of 5 bytes"):
        await sent(body)
    path.write_bytes(b"")
    with pytest.raises(MediaError, match=r"talk.wav: is empty"):
        await sent(body)


@pytest.mark.parametrize("item", ["text", "", 5, 0, None, ["x"], []])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_gives_no_bytes_is_a_media_error(item, is_async):
    async def later():
        yield b"x"
        yield item

    with pytest.raises(MediaError, match=rf"gives {type(item).__name__} where bytes are wanted"):
        await sent(body_of(later() if is_async else iter([b"x", item])))


@pytest.mark.parametrize("is_async", [False, True])
async def test_chunks_of_any_kind_of_bytes_are_counted_in_bytes(is_async):
    items = [memoryview(b"abcdefgh").cast("I"), bytearray(b"ij"), memoryview(b"klmnop")[::2], memoryview(b"")]

    async def later():
        for item in items:
            yield item

    body = body_of(later() if is_async else iter(items), size=13)

    assert b"abcdefghijkmo" == parsed(body, await sent(body))[3]


async def test_what_the_media_raises_comes_out_as_it_is():
    class MineError(Exception):
        pass

    def failing():
        yield b"x"
        raise MineError

    body = body_of(failing())
    with pytest.raises(MineError):
        await sent(body)
    assert not body.complete


async def test_cancellation_between_two_chunks_closes_the_media():
    closed = False

    async def endless():
        nonlocal closed
        try:
            while True:
                yield b"x"
        finally:
            closed = True

    body = body_of(endless())
    with anyio.CancelScope() as scope:
        async with body.attempt() as chunks:
            await anext(chunks)
            await anext(chunks)
            scope.cancel()
            await anyio.sleep(5)

    assert (True, True, False) == (scope.cancelled_caught, closed, body.complete)


@pytest.mark.parametrize("size", [1, 100])
async def test_no_part_of_the_head_is_sent_twice_however_often_it_is_asked_for(size):
    body = body_of(b"x" * size)
    assert body.headers == body.headers
    found = await sent(body)

    assert 1 == found.count(b'name="file"')
    assert found.startswith(b"--")
    assert found.endswith(b"--\r\n")
