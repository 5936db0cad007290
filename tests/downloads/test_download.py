"""Downloads in small parts, from servers that know no ranges or answer them wrongly: the right bytes or an error."""

import random
import threading

import anyio
import pytest

from polyglot_async import ApiConnectionError, PolyglotError, RangeError, ResponseDecodeError, SourceChangedError
from polyglot_async._downloads.download import (
    PartSizes,
    PathTakenError,
    RangedFile,
    conversion_format,
    download_file,
    save_stream,
)

pytestmark = pytest.mark.anyio

DATA = random.Random(11).randbytes(1_500_001)
OTHER = random.Random(12).randbytes(1_500_001)
SIZE = len(DATA)
SMALL = PartSizes(first=256 << 10, smallest=64 << 10)
PAGE = b"<!DOCTYPE html><html><head><title>Sign in &amp; wait</title></head><body>closed</body></html>"


def partial(start, stop, total=SIZE, data=DATA, **headers):
    return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers}, data[start:stop]


@pytest.fixture
def download(transport_to, request_of, target):
    """Downloads from a URL to the target in small parts."""

    async def download(url, *, path="/transcriptions/t/source", max_retries=2, connections=1, on_progress=None):
        file = RangedFile(transport_to(url, max_retries=max_retries), request_of(path))
        return await download_file(file, target, connections=connections, on_progress=on_progress, sizes=SMALL)

    return download


def is_clean(target):
    return [] == list(target.parent.iterdir())


@pytest.mark.parametrize("connections", [1, 2, 4, 8])
async def test_the_file_arrives_whole_in_parts_that_do_not_overlap(scripted, range_of, download, target, connections):
    server = scripted(lambda received: partial(*range_of(received, DATA), ETag='"v1"'))
    assert target == await download(server.url, connections=connections)
    assert DATA == target.read_bytes()
    parts = sorted(range_of(received, DATA) for received in server.received)
    assert [0, *(stop for _, stop in parts)] == [*(start for start, _ in parts), SIZE]
    assert (1 == len(parts)) if connections == 1 else (connections <= len(parts))


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("headers", [{}, {"ETag": '"v1"'}, {"Last-Modified": "Sun, 24 May 2026 12:00:00 GMT"}], ids=str)
async def test_a_server_without_ranges_sends_the_whole_over_one_connection(
    scripted, download, target, connections, headers
):
    server = scripted(lambda _: (200, headers, DATA))
    await download(server.url, connections=connections)
    assert DATA == target.read_bytes()
    assert 1 == len(server.received)


@pytest.mark.parametrize("connections", [1, 4])
async def test_a_server_that_does_not_state_the_size_sends_the_whole(scripted, download, target, connections):
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (DATA[:700_000], DATA[700_000:], b""))
    await download(scripted(lambda _: (200, {"Transfer-Encoding": "chunked"}, chunked)).url, connections=connections)
    assert DATA == target.read_bytes()


@pytest.mark.parametrize("connections", [1, 4])
async def test_a_server_without_ranges_that_breaks_off_is_read_from_the_start_again(
    scripted, download, target, connections
):
    """The bytes that are there already are read once more and dropped."""
    cuts = [400_000, 900_000]

    def answer(_):
        return 200, {"ETag": '"v1"', "Content-Length": str(SIZE)}, DATA[: cuts.pop(0)] if cuts else DATA

    await download(scripted(answer).url, connections=connections)
    assert DATA == target.read_bytes()


async def test_a_whole_of_unknown_size_that_ends_before_what_is_there_already_is_another_file(
    scripted, download, target
):
    def chunks(data, end=b"0\r\n\r\n"):
        return 200, {"Transfer-Encoding": "chunked"}, b"%x\r\n%b\r\n" % (len(data), data) + end

    answers = [chunks(DATA[:400_000], end=b""), chunks(DATA[:300_000])]
    with pytest.raises(SourceChangedError, match="shorter"):
        await download(scripted(lambda _: answers.pop(0)).url)
    assert is_clean(target)


async def test_ranges_shorter_than_asked_for_are_followed_by_the_rest(scripted, range_of, download, target):
    """RFC 9110, section 15.3.7: a server may answer with less."""

    def answer(received):
        start, stop = range_of(received, DATA)
        return partial(start, min(stop, start + 100_000), ETag='"v1"')

    await download(scripted(answer).url, connections=4)
    assert DATA == target.read_bytes()


WRONG = {
    "begins later": lambda start, stop: partial(start + 1, stop),
    "begins earlier": lambda start, stop: partial(max(0, start - 1), stop) if start else partial(start, stop),
    "goes on too long": lambda start, stop: partial(start, min(SIZE, stop + 1)) if stop < SIZE else partial(1, SIZE),
    "no Content-Range": lambda start, stop: (206, {}, DATA[start:stop]),
    "nonsense": lambda start, stop: (206, {"Content-Range": "bytes all"}, DATA[start:stop]),
    "several parts": lambda start, stop: (206, {"Content-Type": "multipart/byteranges; boundary=x"}, b"--x--"),
    "size unknown": lambda start, stop: partial(start, stop, "*"),
    "contradiction": lambda start, stop: partial(start, stop, stop - 1),
    "more bytes than stated": lambda start, stop: (*partial(start, stop)[:2], DATA[start:stop] + b"more"),
    "compressed": lambda start, stop: partial(start, stop, **{"Content-Encoding": "gzip"}),
    "refused": lambda start, stop: (416, {}, b""),
    "refused within": lambda start, stop: (416, {"Content-Range": f"bytes */{SIZE}"}, b"{}"),
}


@pytest.mark.parametrize(
    ("wrong", "connections"),
    [
        (wrong, connections)
        for wrong in WRONG
        for connections in (1, 4)
        if connections == 4 or wrong not in {"begins earlier", "goes on too long"}  # one range of all can do neither
    ],
)
async def test_answers_that_never_fit_the_range_are_an_error_after_all_attempts(
    scripted, range_of, download, target, wrong, connections
):
    server = scripted(lambda received: WRONG[wrong](*range_of(received, DATA)))
    with pytest.raises(RangeError):
        await download(server.url, connections=connections)
    assert is_clean(target)
    if wrong != "more bytes than stated":  # its first bytes are good, and what brings something does not count
        assert len(server.received) <= 3 * connections + 1


@pytest.mark.parametrize("wrong", [*WRONG, "page", "empty", "cut", "503"])
@pytest.mark.parametrize("connections", [1, 4])
async def test_one_answer_that_does_not_fit_is_repeated(scripted, range_of, download, target, wrong, connections):
    others = {
        "page": lambda *_: (200, {"Content-Type": "text/html"}, PAGE),
        "empty": lambda start, stop: (*partial(start, stop)[:2], b""),
        "cut": lambda start, stop: (
            *partial(start, stop, **{"Content-Length": str(stop - start)})[:2],
            DATA[start : start + 9],
        ),
        "503": lambda *_: (503, {}, b""),
    }
    number, lock = 0, threading.Lock()

    def answer(received):
        nonlocal number
        with lock:
            number += 1
            garbled = number == min(2, connections)
        return ({**WRONG, **others}[wrong] if garbled else partial)(*range_of(received, DATA))

    await download(scripted(answer).url, connections=connections)
    assert DATA == target.read_bytes()


FAILURES = {
    "no answer": lambda *_: None,
    "503": lambda *_: (503, {}, b""),
    "520": lambda *_: (520, {}, b""),
    "empty": lambda start, stop: (*partial(start, stop)[:2], b""),
    "cut at once": lambda start, stop: (*partial(start, stop, **{"Content-Length": str(stop - start)})[:2], b""),
    "nonsense": WRONG["nonsense"],
}


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
@pytest.mark.parametrize("failure", FAILURES)
async def test_attempts_that_bring_nothing_are_counted_once(
    scripted, range_of, download, transport_to, target, max_retries, failure
):
    server = scripted(lambda received: FAILURES[failure](*range_of(received, DATA)))
    with pytest.raises((ApiConnectionError, RangeError, PolyglotError)):
        await download(server.url, max_retries=max_retries)
    assert max_retries + 1 == len(server.received)
    sleeps = transport_to(server.url).sleeps
    assert max_retries == len(sleeps)
    assert sleeps == sorted(sleeps), "each one is no shorter than the last"
    assert is_clean(target)


async def test_failures_of_different_kinds_are_counted_together(scripted, range_of, download):
    kinds = [*FAILURES.values()] * 5
    server = scripted(lambda received: kinds.pop(0)(*range_of(received, DATA)))
    with pytest.raises(PolyglotError):
        await download(server.url, max_retries=4)
    assert 5 == len(server.received)


async def test_attempts_that_bring_something_do_not_count(scripted, range_of, download, target):
    def answer(received):
        start, stop = range_of(received, DATA)
        return *partial(start, stop, ETag='"v1"', **{"Content-Length": str(stop - start)})[:2], DATA[
            start : start + 100_000
        ]

    server = scripted(answer)
    await download(server.url, max_retries=0)
    assert DATA == target.read_bytes()
    assert SIZE // 100_000 + 1 == len(server.received)


CHANGES = {
    "etag": lambda start, stop, n: partial(start, stop, ETag=f'"v{n}"'),
    "last-modified": lambda start, stop, n: partial(
        start, stop, **{"Last-Modified": f"Sun, 24 May 2026 12:00:0{n} GMT"}
    ),
    "size": lambda start, stop, n: partial(start, stop, SIZE + n),
    "whole without proof": lambda start, stop, n: partial(start, stop, ETag='"v"') if n == 0 else (200, {}, DATA),
    "whole of another": lambda start, stop, n: partial(start, stop) if n == 0 else (200, {}, DATA[1:]),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("connections", [1, 4])
async def test_an_answer_of_another_version_is_an_error_at_once(
    scripted, range_of, download, target, change, connections
):
    number, lock = -1, threading.Lock()

    def answer(received):
        nonlocal number
        start, stop = range_of(received, DATA)
        with lock:
            number += 1
            return CHANGES[change](start, min(stop, start + 500_000), min(number, 9))

    server = scripted(answer)
    with pytest.raises(SourceChangedError):
        await download(server.url, connections=connections)
    assert not target.exists()
    assert len(server.received) <= 1 + connections


async def test_another_version_and_then_the_old_one_again_is_the_old_one_whole(scripted, range_of, download, target):
    """As mirrors answer that are updated one after the other: what is there already is dropped, none of it spliced."""
    versions = [('"v1"', DATA)]

    def answer(received):
        etag, data = versions.pop(0) if len(versions) > 1 else versions[0]
        if received.headers.get("if-range", etag) != etag:
            return 200, {"ETag": etag}, data
        return partial(*range_of(received, data), data=data, ETag=etag)

    server = scripted(answer)
    with anyio.CancelScope() as scope:
        await download(server.url, on_progress=lambda done, _: scope.cancel() if done > 300_000 else None)
    assert scope.cancelled_caught
    versions[:] = [('"v2"', OTHER), ('"v1"', DATA)]
    await download(server.url)
    assert DATA == target.read_bytes()
    assert [target] == list(target.parent.iterdir())


EMPTY = {
    "416": (416, {"Content-Range": "bytes */0"}, b'{"detail": "no such range"}'),
    "200": (200, {}, b""),
    "chunked": (200, {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n"),
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("connections", [1, 4])
async def test_an_empty_file_is_an_empty_file(scripted, download, target, kind, connections):
    server = scripted(lambda _: EMPTY[kind])
    await download(server.url, connections=connections)
    assert b"" == target.read_bytes()
    assert 1 == len(server.received)


async def test_a_weak_etag_is_not_taken_for_a_proof(scripted, range_of, download, target):
    server = scripted(lambda received: partial(*range_of(received, DATA), ETag='W/"v1"'))
    await download(server.url, connections=4)
    assert DATA == target.read_bytes()
    assert all("if-range" not in received.headers for received in server.received)


@pytest.mark.parametrize("status", [200, 206, 416, 204, 304, 301])
@pytest.mark.parametrize("body", [b"", b"\0" * 10])
async def test_no_answer_makes_anything_but_our_own_errors(scripted, download, target, status, body):
    headers = {"Content-Range": "bytes 0-9/10"} if status == 206 else {}
    try:
        await download(scripted(lambda _: (status, headers, body)).url)
    except PolyglotError:
        assert not target.exists()
    else:
        assert body == target.read_bytes()


TITLE = b"<title>Sign in &amp; wait</title>"
PAGES = {
    "text/html": ({"Content-Type": "text/html"}, PAGE),
    "with parameters": ({"Content-Type": "TEXT/HTML ; charset=utf-8"}, PAGE),
    "xhtml": ({"Content-Type": "application/xhtml+xml"}, b"<?xml version='1.0'?>" + PAGE),
    "no type": ({}, PAGE),
    "wrong type": ({"Content-Type": "application/octet-stream"}, b"\n " + PAGE.lower()),
    "long": ({"Content-Type": "text/html"}, PAGE + b" " * 1_000_000),
    "no title": ({"Content-Type": "text/html"}, b"closed"),
    "empty": ({"Content-Type": "text/html"}, b""),
    "head": ({}, b"<head>" + TITLE + b"</head>closed"),
    "body": ({"Content-Type": "video/mp4"}, b"\r\n<BODY class=x>" + TITLE),
    "title": ({}, TITLE + b"<p>closed"),
    "comment": ({}, b"<!-- " + b"x" * 9000 + b" -->\n" + PAGE),
    "utf-8 mark": ({}, b"\xef\xbb\xbf" + PAGE),
    "utf-16": ({}, PAGE.decode().encode("utf-16")),
    "utf-16-be": ({"Content-Type": "application/octet-stream"}, b"\xfe\xff" + PAGE.decode().encode("utf-16-be")),
    "utf-16-le without a mark": ({}, PAGE.decode().encode("utf-16-le")),
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("path", ["/transcriptions/t/source", "/transcriptions/t/downloads/srt"])
async def test_a_web_page_in_place_of_a_file_is_an_error_and_nothing_is_written(
    scripted, download, target, page, connections, path
):
    headers, body = PAGES[page]
    server = scripted(lambda _: (200, {"Server": "gate/1.2", **headers}, body))
    with pytest.raises(ResponseDecodeError, match=r"gate/1\.2") as caught:
        await download(server.url, path=path, connections=connections)
    assert is_clean(target)
    assert 200 == caught.value.status_code
    assert path in str(caught.value)
    if b"title" in body.lower().replace(b"\0", b""):
        assert "sign in & wait" in str(caught.value).lower()
    assert 2 == len(server.received), "once may be a garbled transfer, twice is how it is"


async def test_a_web_page_in_place_of_the_rest_keeps_what_is_there(scripted, range_of, download, target):
    closed = []

    def answer(received):
        return (200, {"Content-Type": "text/html"}, PAGE) if closed else partial(*range_of(received, DATA), ETag='"v"')

    server = scripted(answer)
    with anyio.CancelScope() as scope:
        await download(server.url, on_progress=lambda done, _: scope.cancel() if done > 300_000 else None)
    closed.append(True)
    with pytest.raises(ResponseDecodeError):
        await download(server.url)
    assert not target.exists()
    closed.clear()
    server.received.clear()
    await download(server.url)
    assert DATA == target.read_bytes()
    assert range_of(server.received[0], DATA)[0] > 300_000


JSON = {"Content-Type": "application/json"}
NO_FILES = {
    "detail": (200, JSON, b'{"detail": "Not ready yet"}', "Not ready yet.*application/json"),
    "without a type": (200, {}, b'\n{"detail": "Not ready yet"}', "a message, .Not ready yet"),
    "not as a range": (206, JSON, b'{"error": {"code": 5}, "status": "failed"}', "a message.*application/json"),
    "empty": (200, {}, b"", "is empty.*result"),
    "empty range": (416, {"Content-Range": "bytes */0"}, b"", "is empty.*result"),
    "no content": (204, {}, b"", "204, but the answer is empty"),
    "reset content": (205, {}, b"", "205, but the answer is empty"),
    "accepted": (202, JSON, b'{"status": "processing"}', "202, but the answer is a message.*processing"),
    "page of a range": (206, {"Content-Type": "text/html"}, PAGE, "a web page, .Sign in & wait"),
    "comment": (200, {}, b"<!-- maintenance --> closed", "a web page"),
}


# A kind that we do not know, or whose files are no text, may begin with a comment.
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (answer, kind)
        for answer in NO_FILES
        for kind in ("srt", "txt", "vtt", "SRT", "json")
        if (answer, kind) != ("comment", "json")
    ],
)
async def test_what_is_no_result_file_is_an_error_and_replaces_nothing(scripted, download, target, answer, kind):
    status, headers, body, words = NO_FILES[answer]
    if status == 206:
        headers = {**headers, "Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}
    server = scripted(lambda _: (status, headers, body))
    target.write_bytes(b"the user's own")
    with pytest.raises(ResponseDecodeError, match=words):
        await download(server.url, path=f"/transcriptions/t/downloads/{kind}")
    assert b"the user's own" == target.read_bytes()
    assert [target] == list(target.parent.iterdir())


FILES = {
    "json": b'{"transcript": "words", "detail": "fine"}',
    "segments": b'{"segments": []}',
    "srt": b"1\n00:00:00,000 --> 00:00:01,000\n<b>{detail}</b>\n",
    "txt": b"\n",
    "vtt": b"\xef\xbb\xbfWEBVTT\n\nNOTE <html>",
    "sub": b"{0}{25}Hello",
    "ass": b"[Script Info]\n",
    "ttml": b"<?xml version='1.0'?><!-- a --><tt xmlns='http://www.w3.org/ns/ttml'><head/></tt>",
    "xml": b"<!-- made by us --><words/>",
    "long": b"{" + b" " * 300_000 + b"}",
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_result_file_that_begins_oddly_is_saved(scripted, download, target, kind, pieces):
    data = FILES[kind]
    step = -(-len(data) // pieces)
    chunks = [data[start : start + step] for start in range(0, len(data), step)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    server = scripted(lambda _: (200, {"Transfer-Encoding": "chunked"}, body))
    await download(server.url, path=f"/transcriptions/t/downloads/{kind}")
    assert data == target.read_bytes()


async def test_a_result_file_that_has_a_name_may_be_declared_as_html(scripted, download, target):
    """As frameworks do whose files are HTML unless told otherwise."""
    headers = {"Content-Type": "text/html", "Content-Disposition": "attachment; filename=a.srt"}
    answers = [(200, headers, PAGE), (200, headers, PAGE), (200, headers, FILES["srt"])]
    server = scripted(lambda _: answers.pop(0))
    with pytest.raises(ResponseDecodeError):
        await download(server.url, path="/transcriptions/t/downloads/srt")
    await download(server.url, path="/transcriptions/t/downloads/srt")
    assert FILES["srt"] == target.read_bytes()


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html"}, {}, {"ETag": '"v"'}], ids=str)
async def test_a_web_page_in_a_range_is_no_source(scripted, download, target, headers):
    """The maintenance page of an nginx comes so."""
    headers = {**headers, "Content-Range": f"bytes 0-{len(PAGE) - 1}/{len(PAGE)}"}
    with pytest.raises(ResponseDecodeError, match="Sign in & wait"):
        await download(scripted(lambda _: (206, headers, PAGE)).url)
    assert is_clean(target)


SOURCES = {
    "a page in a range": (206, {"Content-Type": "text/html", "Content-Disposition": 'inline; filename="a"'}, PAGE),
    "a page as an attachment": (200, {"Content-Type": "text/html", "Content-Disposition": "attachment; x"}, PAGE),
    "json": (200, JSON, b'{"detail": "mine", "notes": 5}'),
    "a message in a range": (206, {**JSON, "Content-Disposition": "attachment"}, b'{"detail": "mine"}'),
    "a message without a type": (200, {}, b'{"detail": "mine"}'),
    "xml": (200, {"Content-Type": "application/xml"}, b"<?xml version='1.0'?><!-- a --><x/>"),
    "text": (200, {"Content-Type": "text/plain"}, b"<b>words</b>"),
    "nulls": (200, {}, b"\0" * 5000),
    "whitespace": (200, {}, b" \n" * 50_000),
    "utf-16": (200, {"Content-Type": "text/plain"}, "<words>".encode("utf-16")),
    "one byte": (200, {}, b"<"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("connections", [1, 4])
async def test_a_source_is_saved_as_it_was_uploaded(scripted, download, target, source, connections):
    status, headers, body = SOURCES[source]
    if status == 206:
        headers = {**headers, "Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}
    server = scripted(lambda _: (status, headers, body))
    await download(server.url, connections=connections)
    assert body == target.read_bytes()


@pytest.mark.parametrize("kind", ["source", "downloads/srt"])
@pytest.mark.parametrize("status", [202, 204, 205, 207])
async def test_what_is_not_there_yet_is_an_error_that_says_so(scripted, download, target, status, kind):
    words = "not there yet" if kind == "source" else "nothing was saved: ask again"
    server = scripted(lambda _: (status, {}, b""))
    with pytest.raises(ResponseDecodeError, match=f"{status}, but the answer is .*{words}"):
        await download(server.url, path=f"/transcriptions/t/{kind}")
    assert is_clean(target)


async def test_the_words_of_a_source_that_is_not_there_yet_are_in_the_error(scripted, download, target):
    server = scripted(lambda _: (202, JSON, b'{"detail": "Being restored"}'))
    with pytest.raises(ResponseDecodeError, match=r'202, but the answer is no file, "Being restored" .*not there yet'):
        await download(server.url)
    assert is_clean(target)


@pytest.mark.parametrize("kind", ["source", "downloads/srt"])
@pytest.mark.parametrize("status", [202, 204])
async def test_what_is_there_of_a_file_is_kept_when_the_rest_is_not_there_yet(
    scripted, range_of, download, target, status, kind
):
    async def ask(answer):
        await download(scripted(answer).url, path=f"/transcriptions/t/{kind}")

    def first_half(received):
        start, stop = range_of(received, DATA)
        status, headers, body = partial(start, stop, ETag='"v1"')
        return (status, headers, body[: SIZE // 2]) if start == 0 else (503, {}, b"")

    with pytest.raises(PolyglotError):
        await ask(first_half)
    kept = target.with_name(f"{target.name}.part.json").read_text()
    with pytest.raises(ResponseDecodeError, match=f"{status}, but the answer is no file; it is not there yet"):
        await ask(lambda _: (status, {}, b""))
    assert kept == target.with_name(f"{target.name}.part.json").read_text()


async def test_a_message_in_place_of_a_source_is_an_error(scripted, download, target):
    server = scripted(lambda _: (200, JSON, b'{"detail": "The media was deleted"}'))
    with pytest.raises(ResponseDecodeError, match=r"a message, .The media was deleted"):
        await download(server.url)
    assert is_clean(target)


@pytest.mark.parametrize(
    "answer",
    [
        (200, JSON, b'{"url": "https://host/a.mp3"}'),
        (200, JSON, b'"queued"'),
        (200, {"Content-Type": "text/plain"}, "Сервис перегружен\n".encode()),
        (200, {}, b""),
        (204, {}, b""),
    ],
)
async def test_what_is_no_converted_audio_is_an_error_and_replaces_nothing(
    scripted, transport_to, request_of, target, answer
):
    transport = transport_to(scripted(lambda _: answer).url)
    target.write_bytes(b"the user's own")
    with pytest.raises(ResponseDecodeError, match="POST"):
        await save_stream(transport.stream(request_of("/transcriptions/convert-audio"), headers={}), target, "mp3")
    assert b"the user's own" == target.read_bytes()


@pytest.mark.parametrize("kind", ["html", "htm", "HTML"])
async def test_a_web_page_that_was_asked_for_is_the_file(scripted, download, target, kind):
    server = scripted(lambda _: (200, {"Content-Type": "text/html"}, PAGE))
    await download(server.url, path=f"/transcriptions/t/downloads/{kind}")
    assert PAGE == target.read_bytes()


@pytest.mark.parametrize("page", PAGES)
async def test_a_web_page_in_place_of_a_conversion_is_an_error_and_nothing_is_written(
    scripted, transport_to, request_of, target, page
):
    headers, body = PAGES[page]
    transport = transport_to(scripted(lambda _: (200, headers, body)).url)
    with pytest.raises(ResponseDecodeError, match="POST"):
        await save_stream(transport.stream(request_of("/transcriptions/convert-audio"), headers={}), target, "mp3")
    assert is_clean(target)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "audio/mpeg", ""])
@pytest.mark.parametrize(
    "data", [b"ID3\x03\0\0\0" + DATA[:100_000], b"<\0\1\2" * 30_000, b"{\0\xff}"], ids=lambda data: data[:4]
)
async def test_converted_audio_is_saved_however_it_begins_and_is_declared(
    scripted, transport_to, request_of, target, content_type, data
):
    transport = transport_to(scripted(lambda _: (200, {"Content-Type": content_type}, data)).url)
    await save_stream(transport.stream(request_of("/transcriptions/convert-audio"), headers={}), target, "mp3")
    assert data == target.read_bytes()


async def test_a_conversion_is_saved_whole_or_not_at_all(scripted, transport_to, request_of, target):
    answers = [(200, {"Content-Length": str(SIZE)}, DATA[:-1]), (200, {}, DATA)]
    transport = transport_to(scripted(lambda _: answers.pop(0)).url)
    request = request_of("/transcriptions/convert-audio")
    with pytest.raises(ApiConnectionError):
        await save_stream(transport.stream(request, headers={}), target, "mp3")
    assert is_clean(target)
    assert target == await save_stream(transport.stream(request, headers={}), target, "mp3")
    assert DATA == target.read_bytes()


@pytest.mark.parametrize(
    ("path", "wanted", "expected"),
    [
        ("a.mp3", None, "mp3"),
        ("/tmp/x.y/talk.WAV", None, "wav"),
        ("/tmp/talk.ogg", None, "ogg"),
        ("a.mp4", "FLAC", "flac"),
        ("archive.tar.flac", None, "flac"),
        ("/tmp/x/converted", "mp3", "mp3"),
        ("a.mp3", "wav", "wav"),
        ("a.mp3", "", "mp3"),
    ],
)
def test_the_format_is_the_suffix_of_the_name_unless_it_is_passed(path, wanted, expected):
    assert expected == conversion_format(path, wanted)


@pytest.mark.parametrize(
    "path", ["/tmp/x/converted", "/tmp/x.mp3/converted", "", ".", "..", ".mp3", "a.", "a.b c", "a.é"]
)
def test_a_name_without_a_suffix_needs_a_format(path):
    with pytest.raises(ValueError, match="pass format="):
        conversion_format(path)


async def test_a_file_that_is_there_is_not_replaced_where_that_was_not_asked_for(
    scripted, transport_to, request_of, target
):
    server = scripted(lambda _: (200, {}, DATA))
    file = RangedFile(transport_to(server.url), request_of("/transcriptions/t/source"))
    target.write_bytes(b"another's")
    with pytest.raises(PathTakenError, match="there is a file already: choose another path"):
        await download_file(file, target, overwrite=False)
    assert ([target], b"another's") == (list(target.parent.iterdir()), target.read_bytes())
    assert [] == server.received
    target.unlink()
    assert target == await download_file(file, target, overwrite=False)
    assert DATA == target.read_bytes()
