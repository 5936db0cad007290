"""Keys and digests of media: the same content has the same, whatever it is called and however it comes."""

import enum
import hashlib
import os
import threading

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyglot_async import MediaError
from polyglot_async._uploads.fingerprint import (
    TAIL_BYTES,
    MediaDigest,
    MediaHasher,
    content_of_key,
    digest_of_file,
    is_same_digest,
    key_of_bytes,
    key_of_file,
    key_of_url,
)

SIZES = [1, 100, TAIL_BYTES - 1, TAIL_BYTES, TAIL_BYTES + 1, 3 * TAIL_BYTES + 7]


def expected(data):
    return MediaDigest(len(data), hashlib.sha256(data[-TAIL_BYTES:]).digest())


def tail_of(chunks):
    tail = MediaHasher()
    for chunk in chunks:
        tail.update(chunk)
    return tail


@given(st.lists(st.integers(0, 200_000), max_size=12))
@example([TAIL_BYTES] * 3)
@example([TAIL_BYTES - 1, 1, 1])
@example([1 << 20, 10])
def test_the_digest_of_a_stream_is_that_of_its_size_and_last_64_kib_however_it_was_cut(sizes):
    chunks = [os.urandom(size) for size in sizes]

    assert is_same_digest(expected(b"".join(chunks)), tail_of(chunks).digest())


def test_the_digest_may_be_taken_on_the_way():
    tail = tail_of([b"a" * TAIL_BYTES, b"b"])

    assert is_same_digest(expected(b"a" * TAIL_BYTES + b"b"), tail.digest())
    assert tail.digest() == tail.digest()
    tail.update(b"c")
    assert is_same_digest(expected(b"a" * TAIL_BYTES + b"bc"), tail.digest())


@pytest.mark.parametrize("chunk", [1, 1000, TAIL_BYTES - 1, 1 << 20])
def test_a_tail_holds_no_more_than_twice_its_bytes(chunk):
    tail = MediaHasher()
    for _ in range(3 * TAIL_BYTES // chunk + 5):
        tail.update(bytes(chunk))
        assert len(tail._last) <= 2 * TAIL_BYTES


@pytest.mark.parametrize("size", [0, *SIZES])
def test_the_digest_of_a_file_is_that_of_its_stream(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "talk.wav").write_bytes(data)

    of_file = digest_of_file(tmp_path / "talk.wav")
    assert is_same_digest(expected(data), of_file)
    assert attrs.evolve(tail_of([data]).digest(), checksum=None) == of_file


@pytest.mark.parametrize("name", ["size", "tail_sha256", "head_sha256", "checksum"])
def test_what_is_known_of_two_digests_and_differs_shows_that_they_are_of_other_media(name):
    digest = tail_of([b"words"]).digest()
    assert not is_same_digest(digest, attrs.evolve(digest, **{name: 7}))
    if name in {"head_sha256", "checksum"}:
        assert is_same_digest(digest, attrs.evolve(digest, **{name: None}))


@pytest.mark.parametrize("function", [digest_of_file, lambda path: key_of_file(path, {})])
@pytest.mark.parametrize("name", ["missing", "folder", "nul\x00"])
def test_a_file_that_cannot_be_read_is_a_media_error(tmp_path, name, function):
    (tmp_path / "folder").mkdir()

    with pytest.raises(MediaError, match="cannot be read"):
        function(tmp_path / name)


def test_a_file_that_changes_while_its_key_is_computed_is_a_media_error(tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(bytes(64 << 20))
    stop = threading.Event()

    def change():
        with path.open("r+b") as file:
            while not stop.is_set():
                file.write(b"x")
                file.flush()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with pytest.raises(MediaError, match="changed while it was read"):
            key_of_file(path, {})
    finally:
        stop.set()
        thread.join()


@given(data=st.binary(max_size=99), options=st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5)))
def test_a_key_holds_size_and_sha256_of_the_content(data, options):
    assert (len(data), hashlib.sha256(data).hexdigest()) == content_of_key(key_of_bytes(data, options))


def test_a_file_has_the_key_of_its_bytes_whatever_it_is_called(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"media")
        assert key_of_bytes(b"media", {"model": "fast"}) == key_of_file(tmp_path / name, {"model": "fast"})


HEX = "a" * 64


@pytest.mark.parametrize(
    "key",
    [
        key_of_url("https://host/a", {}),
        key_of_url("https://host/a", {"model": "x"}),
        *("", "5-", "5-abc", f"-{HEX}", f"5-{HEX.upper()}", f"5-{HEX}-x", f"x5-{HEX}", f"5-{HEX}\n"),
    ],
)
def test_other_keys_hold_no_content(key):
    assert content_of_key(key) is None


def test_options_that_are_not_given_do_not_matter_and_enums_are_their_values():
    class Model(str, enum.Enum):  # noqa: UP042 - what people write
        FAST = "fast"

    assert key_of_bytes(b"a", {}) == key_of_bytes(b"a", {"model": None})
    assert key_of_bytes(b"a", {"model": "fast"}) == key_of_bytes(b"a", {"model": Model.FAST, "x": None})
    assert key_of_bytes(b"a", {"model": "fast"}) != key_of_bytes(b"a", {"model": "best"})


def test_a_url_with_a_lone_surrogate_has_a_key():
    assert key_of_url("https://host/\ud800", {}).startswith("url-")
