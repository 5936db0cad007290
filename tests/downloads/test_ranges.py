"""Byte ranges: what is asked for, what came back, what is there."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polyglot_async import RangeError
from polyglot_async._downloads.ranges import (
    ContentRange,
    PartSizes,
    Validator,
    add_range,
    check_content_range,
    covered_bytes,
    missing_ranges,
    parse_content_range,
    parse_unsatisfied_range,
    range_header,
)

sizes = st.integers(0, 10**18)
small = st.integers(0, 60)


def test_a_range_is_written_with_its_last_byte_included():
    assert "bytes=0-0" == range_header(0, 1)
    assert "bytes=5-" == range_header(5)


@given(start=sizes, length=st.integers(1, 10**17), beyond=st.integers(0, 10**17))
def test_a_good_content_range_is_read(start, length, beyond):
    stop = start + length
    total = stop + beyond

    assert ContentRange(start, stop, total) == parse_content_range(f"bytes {start}-{stop - 1}/{total}")
    assert ContentRange(start, stop, None) == parse_content_range(f" Bytes {start}-{stop - 1}/* ")


@given(start=sizes, last=sizes, total=sizes)
def test_a_content_range_that_contradicts_itself_is_refused(start, last, total):
    assume(last < start or last >= total)

    with pytest.raises(RangeError, match="contradicts itself"):
        parse_content_range(f"bytes {start}-{last}/{total}")


@given(st.text() | st.from_regex(r"bytes [-0-9*/ ]*"))
def test_any_string_is_a_range_within_its_file_or_a_range_error(value):
    try:
        content = parse_content_range(value)
    except RangeError:
        return

    assert 0 <= content.start < content.stop
    assert content.total is None or content.stop <= content.total


@pytest.mark.parametrize(
    "value",
    ["", "bytes", "bytes */100", "bytes 0-/100", "bytes -5/100", "bytes 0-99", "bytes=0-99/100", "items 0-99/100",
     "bytes 0-99/100, 200-299/300", "bytes 0 - 99/100", "bytes +0-99/100", "bytes 0-99/1e2", "bytes \u0660-\u0669/100",
     "bytes 0-99/" + "9" * 5000, "bytes 0-99/100\x00", "bytes 0x0-99/100"],
)  # fmt: skip
def test_whatever_is_not_a_single_byte_range_is_refused(value):
    with pytest.raises(RangeError):
        parse_content_range(value)


@given(start=small, stop=small, asked_start=small, asked_stop=st.none() | small)
def test_an_answer_must_begin_where_it_was_asked_to_and_not_go_beyond(start, stop, asked_start, asked_stop):
    assume(start < stop)
    value = f"bytes {start}-{stop - 1}/100"
    fits = start == asked_start and (asked_stop is None or stop <= asked_stop)
    try:
        read = check_content_range(value, start=asked_start, stop=asked_stop)
    except RangeError:
        read = None

    assert (ContentRange(start, stop, 100) if fits else None) == read


@pytest.mark.parametrize(
    ("value", "total"),
    [("bytes */1234", 1234), (" BYTES */0", 0), ("bytes 0-1/2", None), ("bytes */*", None), ("", None),
     ("bytes */-1", None), ("bytes */٣", None)],
)  # fmt: skip
def test_a_416_may_state_the_size(value, total):
    assert total == parse_unsatisfied_range(value)


@given(st.text())
def test_any_string_in_a_416_is_read_without_an_error(value):
    total = parse_unsatisfied_range(value)

    assert total is None or total >= 0


@given(st.lists(st.tuples(small, small), max_size=12), small)
def test_ranges_and_what_they_lack_cover_a_file_exactly_once(pairs, total):
    pairs = [(min(start, total), min(stop, total)) for start, stop in pairs]
    there = ()
    for start, stop in pairs:
        there = add_range(there, start, stop)
    missing = missing_ranges(there, total)
    truth = {byte for start, stop in pairs for byte in range(start, stop)}

    assert truth == {byte for start, stop in there for byte in range(start, stop)}
    assert len(truth) == covered_bytes(there)
    assert list(range(total)) == sorted(byte for start, stop in (*there, *missing) for byte in range(start, stop))
    assert all(before[1] < after[0] for ranges in (there, missing) for before, after in pairwise(ranges))


@given(
    total=st.integers(1, 10**12),
    connections=st.integers(0, 64),
    rate=st.floats(0, 1e9),
    smallest=st.integers(1 << 20, 1 << 30),
)
def test_parts_grow_smaller_and_come_to_an_end(total, connections, rate, smallest):
    sizes = PartSizes(smallest=smallest)
    missing, parts = total, []
    while missing:
        parts.append(sizes.next(missing, connections, rate))
        missing -= parts[-1]

    assert total == sum(parts)
    assert sorted(parts, reverse=True) == parts
    assert all(part >= min(smallest, total) for part in parts[:-1])
    assert len(parts) < 4000


@pytest.mark.parametrize(
    ("headers", "if_range"),
    [
        ({"etag": '"a"', "last-modified": "Mon"}, '"a"'),
        ({"etag": 'W/"a"', "last-modified": "Mon"}, "Mon"),
        ({"etag": 'W/"a"'}, None),
        ({"etag": ""}, None),
        ({}, None),
    ],
)
def test_a_strong_etag_goes_first_and_a_weak_one_is_no_promise(headers, if_range):
    assert if_range == Validator.of(headers).if_range


@pytest.mark.parametrize(
    ("one", "other", "contradicts"),
    [
        (Validator('"a"', "Mon"), Validator('"a"', "Tue"), False),
        (Validator('"a"', "Mon"), Validator('"b"', "Mon"), True),
        (Validator(None, "Mon"), Validator('"b"', "Tue"), True),
        (Validator(None, "Mon"), Validator('"b"', "Mon"), False),
        (Validator('"a"'), Validator(None, "Mon"), False),
        (Validator(), Validator(), False),
    ],
)
def test_versions_contradict_in_what_both_know(one, other, contradicts):
    assert contradicts == one.contradicts(other) == other.contradicts(one)
