"""The source: whole, by a range, resumed, and in sizes that no memory holds (A7)."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async.sandbox.server._ranges import ServedRange, UnsatisfiableError, parse_range

DATA = bytes(range(256)) * 4000
SIZE = len(DATA)


@pytest.fixture
def source(api):
    """Asks for the source of a task."""
    path = f"/transcriptions/{api.start(DATA, 'talk.mp3')}/source"

    def ask(method="GET", **headers):
        return api.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return ask


def test_the_whole_source_says_that_it_takes_ranges(source):
    answer = source()
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["last-modified"].endswith("GMT")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=10-", 10, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        (f"bytes=5-{SIZE + 99}", 5, SIZE),
        (f"bytes=-{SIZE + 99}", 0, SIZE),
        ("bytes=0-99999999999999999999", 0, SIZE),
        ("bytes=0-000000000000000000000000000005", 0, 6),
        ("bytes=-99999999999999999999", 0, SIZE),
        ("Bytes=1-2", 1, 3),
    ],
)
def test_a_range_is_a_206_with_exactly_its_bytes(source, asked, start, end):
    answer = source(range=asked)
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize(
    "asked",
    [
        f"bytes={SIZE}-",
        "bytes=-0",
        "bytes=5-4",
        "bytes=x-y",
        "bytes=-",
        "bytes=1-2-3",
        "bytes=²-",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_what_cannot_be_satisfied_is_a_416_with_the_size(source, asked):
    answer = source(range=asked.encode())
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "nonsense", "bytes=", ""])
def test_what_is_no_single_range_of_bytes_is_ignored(source, asked):
    answer = source(range=asked)
    assert (answer.status_code, len(answer.content)) == (200, SIZE)


def test_if_range_guards_against_a_changed_source(source):
    first = source()
    for validator in (first.headers["etag"], first.headers["last-modified"]):
        assert source(range="bytes=1-2", if_range=validator).status_code == 206
    for validator in ('"another"', f"W/{first.headers['etag']}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        assert source(range="bytes=1-2", if_range=validator).status_code == 200


def test_head_answers_the_same_headers_without_a_body(source):
    answer = source("HEAD")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(SIZE))
    assert source("HEAD", range="bytes=1-2").headers["content-range"] == f"bytes 1-2/{SIZE}"


def test_a_source_of_many_gigabytes_costs_no_memory(sandbox, api):
    """A sparse file stands for one: its end is there at once, and reading much of it leaves the process small."""
    task_id = api.start()
    with (sandbox.folder / "media" / task_id).open("r+b") as media:
        media.truncate(20 * 2**30)
    url = f"/transcriptions/{task_id}/source"
    end = api.get(url, headers={"Range": "bytes=-1"})
    assert end.headers["content-range"] == f"bytes {20 * 2**30 - 1}-{20 * 2**30 - 1}/{20 * 2**30}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with api.stream("GET", url) as answer:
        size = 0
        for piece in answer.iter_raw():
            size += len(piece)
            if size > 100 * 2**20:
                break
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 2**10


def test_clients_that_leave_midway_leave_nothing_behind(sandbox, api, caplog, until):
    """Neither an open file nor a complaint."""
    path = f"/transcriptions/{api.start(bytes(30_000_000))}/source"
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with api.stream("GET", path) as answer:
            next(answer.iter_raw())
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
    assert not any(entry.complete for entry in sandbox.ledger.entries(call="source"))
    assert caplog.records == []


def test_a_rate_cap_holds_for_each_connection(polyglot_sandbox_factory, connect):
    api = connect(polyglot_sandbox_factory(source_bytes_per_second=100_000))
    path = f"/transcriptions/{api.start(bytes(30_000))}/source"
    started = time.monotonic()
    assert len(api.get(path).content) == 30_000
    assert 0.25 < time.monotonic() - started < 2


@given(st.text(), st.integers(0, 2**63))
def test_no_header_breaks_the_parser(header, size):
    """Whatever is asked for: nothing, a refusal, or a span inside the file."""
    for text in (header, f"bytes={header}"):
        try:
            span = parse_range(text, size)
        except UnsatisfiableError:
            continue
        assert span is None or 0 <= span.start < span.end <= size


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_range_is_inclusive_at_both_ends(first, last, size):
    if first <= last and first < size:
        assert parse_range(f"bytes={first}-{last}", size) == ServedRange(first, min(last + 1, size))
