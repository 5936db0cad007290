"""The bodies of requests: exact, counted as they leave, and sent again only from their true beginning."""

import contextlib
import enum
import hashlib
import io
import json
from functools import partial

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from polyglot_async import JournalError, MediaError
from polyglot_async._uploads.form_body import FormBody, JsonBody

FIELDS = (("model", "fast"), ("output_language", "ru"))


@attrs.define
class StubMedia:
    """Media in chunks; with `error` its stream raises in the place of its end."""

    chunks: list = attrs.field(factory=lambda: [b"media"])
    size: int | None = None
    name: str = "talk.mp3"
    content_type: str = "audio/mpeg"
    replayable: bool = True
    may_be_page: bool = False
    error: Exception | None = None
    open_now: int = 0

    @contextlib.asynccontextmanager
    async def open(self):
        self.open_now += 1
        try:
            async with contextlib.aclosing(self._stream()) as stream:
                yield stream
        finally:
            self.open_now -= 1

    async def _stream(self):
        for chunk in self.chunks:
            await anyio.lowlevel.checkpoint()
            yield chunk
        if self.error is not None:
            raise self.error


def body_of(*chunks, on_progress=None, **options):
    return FormBody(StubMedia(list(chunks or [b"media"]), **options), FIELDS, on_progress)


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
    """A callback that keeps what it was called with."""

    def __call__(self, done, total):
        self.append((done, total))


@given(st.lists(st.binary(min_size=1), min_size=1), st.text(min_size=1))
async def test_the_body_is_a_form_of_exactly_the_length_it_promises(chunks, name):
    data = b"".join(chunks)
    body = body_of(*chunks, size=len(data), name=name)

    found = await sent(body)

    assert str(len(found)) == body.headers["content-length"]
    assert (FIELDS, data) == (parsed(body, found)[0], parsed(body, found)[3])


async def test_the_form_names_the_file_and_its_type():
    body = body_of()

    assert (FIELDS, "talk.mp3", "audio/mpeg", b"media") == parsed(body, await sent(body))


async def test_of_an_unknown_size_no_length_is_promised():
    body = body_of(b"me", b"dia")

    assert {"content-type"} == body.headers.keys()
    assert b"media" == parsed(body, await sent(body))[3]


async def test_each_form_has_its_own_boundary():
    assert body_of().headers["content-type"] != body_of().headers["content-type"]


async def test_what_can_be_read_again_is_sent_again_byte_for_byte():
    body = body_of()

    assert body.can_be_sent
    assert await sent(body) == await sent(body)
    assert body.can_be_sent


async def test_what_can_be_read_once_can_be_sent_once():
    body = body_of(replayable=False)
    assert body.can_be_sent
    await sent(body)

    assert not body.can_be_sent


async def test_an_attempt_that_was_broken_off_is_followed_by_a_whole_one():
    body = body_of()
    async with body.attempt() as chunks:
        await anext(chunks)
        await anext(chunks)

    assert (False, 0) == (body.complete, body.media.open_now)
    assert b"media" == parsed(body, await sent(body))[3]


# What was handed over, and the hooks around it


@pytest.fixture(
    params=[lambda: body_of(b"me", b"dia"), lambda: JsonBody({"url": "https://host/a"})], ids=["form", "json"]
)
def body(request):
    return request.param()


async def test_it_is_complete_with_its_last_byte(body):
    states = [body.complete]
    async with body.attempt() as chunks:
        states.append(body.complete)
        async for _ in chunks:
            states.append(body.complete)  # noqa: PERF401

    assert [False] * (len(states) - 1) + [True] == states
    async with body.attempt():
        assert not body.complete


async def test_the_hooks_are_awaited_once_per_attempt_before_the_first_byte_and_before_the_last(body):
    events = []

    async def on_first_byte():
        await anyio.lowlevel.checkpoint()
        events.append(("first", body.complete))

    async def on_last_byte():
        await anyio.lowlevel.checkpoint()
        events.append(("last", body.complete))

    body.on_first_byte, body.on_last_byte = on_first_byte, on_last_byte
    for _ in range(2):
        async with body.attempt() as chunks:
            assert not events
            async for chunk in chunks:
                events.append(chunk)  # noqa: PERF401
        whole = b"".join(event for event in events if isinstance(event, bytes))

        assert ("first", False) == events[0]
        assert ("last", False) == events[-2]
        assert len(events) == 2 + len([event for event in events if isinstance(event, bytes)])
        assert whole.endswith(events[-1])
        events.clear()


@pytest.mark.parametrize("taken", [0, 1, 2])
@pytest.mark.parametrize("failing", ["", "first", "last"])
async def test_accepted_early_it_has_begun_and_ended_however_little_was_taken(body, taken, failing):
    """What cannot be noted is met again soon, and does not undo that it was accepted."""
    events = []

    async def note(event):
        events.append(event)
        if event == failing and len(events) > taken:
            raise JournalError("full")

    body.on_first_byte, body.on_last_byte = partial(note, "first"), partial(note, "last")
    for _ in range(2):
        events.clear()
        async with body.attempt() as chunks:
            with contextlib.suppress(JournalError):
                for _ in range(taken):
                    await anext(chunks, None)
            await body.accepted_early()
            await body.accepted_early()
            assert body.complete
        assert ["first", "last"] == events[:2]
        assert events.count("first") == 1


@pytest.mark.parametrize("hook", ["on_first_byte", "on_last_byte"])
async def test_when_a_hook_raises_the_end_is_not_sent(body, hook):
    class MineError(Exception):
        pass

    async def failing():
        raise MineError

    setattr(body, hook, failing)
    found = []
    with pytest.raises(MineError):
        async with body.attempt() as chunks:
            async for chunk in chunks:
                found.append(chunk)  # noqa: PERF401

    assert not body.complete
    if hook == "on_first_byte" or body.media is None:
        assert [] == found
    else:
        assert b"media" in b"".join(found)
        assert not found[-1].endswith(b"--\r\n")


@pytest.mark.parametrize("cut", [1, 2])
async def test_of_a_form_that_was_not_sent_whole_no_end_is_announced(cut):
    ended = []

    async def on_last_byte():
        ended.append(True)

    body = body_of(b"me", b"dia")
    body.on_last_byte = on_last_byte
    async with body.attempt() as chunks:
        for _ in range(cut):
            await anext(chunks)

    assert ([], False, None) == (ended, body.complete, body.digest)


@pytest.mark.parametrize("sizes", [[5], [70_000, 10], [1 << 20, 1 << 20], [1000] * 200])
async def test_the_digest_is_that_of_the_bytes_that_were_sent(sizes):
    chunks = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    data = b"".join(chunks)
    body = body_of(*chunks)
    seen = []

    async def on_last_byte():
        seen.append(body.digest)

    body.on_last_byte = on_last_byte
    assert body.digest is None
    await sent(body)

    assert (len(data), hashlib.sha256(data[-65536:]).digest()) == (body.digest.size, body.digest.tail_sha256)
    assert [body.digest] == seen
    async with body.attempt():
        assert body.digest is None


# Progress


async def test_progress_starts_at_zero_and_counts_the_media_alone_in_each_attempt():
    progress = Progress()
    body = body_of(on_progress=progress, size=5)

    await sent(body)
    await sent(body)

    assert [(0, 5), (5, 5)] * 2 == progress


async def test_progress_is_reported_after_a_chunk_was_taken_and_not_before():
    progress = Progress()
    body = body_of(b"me", b"dia", on_progress=progress)
    async with body.attempt() as chunks:
        await anext(chunks)
        assert b"me" == await anext(chunks)
        assert [(0, None)] == progress
        await anext(chunks)
        assert [(0, None), (2, None)] == progress


async def test_progress_may_be_reported_to_an_async_callback():
    progress = Progress()

    async def callback(done, total):
        await anyio.lowlevel.checkpoint()
        progress(done, total)

    await sent(body_of(on_progress=callback, size=5))

    assert [(0, 5), (5, 5)] == progress


async def test_what_a_callback_raises_comes_out_as_it_is():
    class MineError(Exception):
        pass

    def callback(done, _):
        if done:
            raise MineError

    body = body_of(on_progress=callback)
    with pytest.raises(MineError):
        await sent(body)
    assert not body.complete


# Media that must not be sent


@pytest.mark.parametrize("size", [None, 4])
async def test_empty_media_is_a_media_error_before_there_is_a_body_to_send(size):
    body = FormBody(StubMedia([], size=size), FIELDS)

    with pytest.raises(MediaError, match=r"talk.mp3: is empty"):
        async with body.attempt():
            pytest.fail("there is a body to send")
    assert (False, 0) == (body.complete, body.media.open_now)


async def test_media_that_cannot_be_read_at_all_is_an_error_before_there_is_a_body_to_send():
    body = FormBody(StubMedia([], error=MediaError("talk.mp3: cannot be read")), FIELDS)

    with pytest.raises(MediaError, match="cannot be read"):
        async with body.attempt():
            pytest.fail("there is a body to send")
    assert not body.complete


@pytest.mark.parametrize("may_be_page", [True, False])
async def test_a_response_that_begins_like_a_page_is_a_media_error_before_there_is_a_body_to_send(may_be_page):
    body = body_of(b"<!doctype html><p>Sign in", may_be_page=may_be_page)

    if not may_be_page:
        assert b"<p>Sign in" in await sent(body)
        return
    with pytest.raises(MediaError, match=r"begins like a web page.*pass content_type"):
        async with body.attempt():
            pytest.fail("there is a body to send")


@pytest.mark.parametrize(
    ("size", "message"),
    [(6, "ended after 5 of 6 bytes"), (4, "has more than the 4 bytes"), (1, "has more than the 1 bytes")],
)
async def test_media_of_another_size_than_it_should_have_is_a_media_error(size, message):
    body = body_of(b"me", b"dia", size=size)
    found = b""

    with pytest.raises(MediaError, match=message):
        async with body.attempt() as chunks:
            async for chunk in chunks:
                found += chunk

    assert not body.complete
    assert len(found) < int(body.headers["content-length"])


@pytest.mark.parametrize("error", [MediaError("changed"), OSError("mine"), KeyError("mine")])
async def test_what_the_media_raises_in_the_place_of_its_end_comes_out_and_the_end_is_not_sent(error):
    ended = []

    async def on_last_byte():
        ended.append(True)

    body = body_of(error=error, size=5)
    body.on_last_byte = on_last_byte
    found = b""
    with pytest.raises(type(error)) as caught:
        async with body.attempt() as chunks:
            async for chunk in chunks:
                found += chunk

    assert error is caught.value
    assert found.endswith(b"media")
    assert ([], False, None) == (ended, body.complete, body.digest)


async def test_cancellation_between_two_chunks_closes_the_media():
    body = body_of(*[b"x"] * 100)
    with anyio.CancelScope() as scope:
        async with body.attempt() as chunks:
            await anext(chunks)
            await anext(chunks)
            scope.cancel()
            await anyio.sleep(5)

    assert (True, 0, False) == (scope.cancelled_caught, body.media.open_now, body.complete)


@pytest.mark.parametrize("size", [1, 100])
async def test_no_part_of_the_head_is_sent_twice_however_often_it_is_asked_for(size):
    body = body_of(b"x" * size)
    assert body.headers == body.headers
    found = await sent(body)

    assert 1 == found.count(b'name="file"')
    assert found.startswith(b"--")
    assert found.endswith(b"--\r\n")


# JSON


class Model(str, enum.Enum):  # noqa: UP042 - what people write
    FAST = "fast"


class Plain(enum.Enum):
    FAST = "fast"
    NESTED = ("a", 1)


class Number(enum.IntEnum):
    ONE = 1


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(texts, json_values, max_size=3))
async def test_a_json_body_is_the_value_with_its_length_and_type(value):
    body = JsonBody(value)

    found = await sent(body)

    assert value == json.loads(found)
    assert {"content-type": "application/json", "content-length": str(len(found))} == body.headers
    assert found == await sent(body)
    assert (None, None, True) == (body.media, body.digest, body.can_be_sent)


async def test_enums_are_sent_as_their_values():
    body = JsonBody({"a": Model.FAST, Model.FAST: [Plain.FAST, Plain.NESTED, {"b": Number.ONE}]})

    assert {"a": "fast", "fast": ["fast", ["a", 1], {"b": 1}]} == json.loads(await sent(body))


async def test_a_lone_surrogate_becomes_a_question_mark():
    assert {"ur?": "caf?"} == json.loads(await sent(JsonBody({"ur\ud800": "caf\udce9"})))


@pytest.mark.parametrize("value", [object(), {1}, b"bytes", 1j])
def test_what_json_cannot_express_is_a_type_error_at_once(value):
    with pytest.raises(TypeError, match=f"{type(value).__name__} cannot be sent as JSON"):
        JsonBody({"a": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_a_value_error_at_once(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        JsonBody({"a": value})
