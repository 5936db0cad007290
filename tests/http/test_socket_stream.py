"""Answers that come before a request was sent whole."""

import socket
import threading
from unittest.mock import AsyncMock

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyglot_async._http.socket_stream import SLICE, SocketStream, early_status

FINAL = st.sampled_from([101, *range(200, 600)])
INTERIM = st.sampled_from([100, 102, 103, 199])


def head(status, ending="\r\n"):
    return f"HTTP/1.1 {status} Reason{ending}Header: value{ending}{ending}".encode()


@given(st.lists(INTERIM, max_size=4), FINAL, st.sampled_from(["\r\n", "\n"]), st.binary(max_size=20), st.data())
def test_interim_heads_are_dropped_and_the_final_status_is_found_in_whatever_pieces_they_come(
    interim, final, ending, rest, data
):
    answer = head(final, ending) + rest
    received = b"".join(head(status, ending) for status in interim) + answer
    cuts = sorted(data.draw(st.sets(st.integers(0, len(received)), max_size=5)))
    status, unread = None, b""
    for start, stop in zip([0, *cuts], [*cuts, len(received)], strict=True):
        status, unread = early_status(unread + received[start:stop])
        assert status in {None, final}
    assert (status, unread) == (final, answer)


@given(st.lists(INTERIM, max_size=4), st.integers(0, 12))
def test_no_final_status_is_none(interim, length):
    begun = head(200)[:length]
    assert early_status(b"".join(map(head, interim)) + begun) == (None, begun)


@given(st.binary())
def test_any_bytes_are_parsed_and_none_of_a_final_answer_is_lost(received):
    status, unread = early_status(received)
    assert received.endswith(unread)
    assert status is None or 0 <= status <= 999
    assert early_status(unread) == (status, unread)


@pytest.mark.parametrize(
    "received", [b"220 smtp ready\r\n", b"HTTP/2 200 OK\r\n\r\n", b"\r\n", b"HTTP/1.1 abc Reason\r\n"]
)
def test_what_is_no_http_is_status_0(received):
    assert early_status(received) == (0, received)


@pytest.mark.anyio
async def test_a_refusal_ends_a_large_upload_soon_though_the_peer_goes_on_reading():
    """A peer that takes all at once is looked at now and then; one that makes us wait, each time."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def read_all():
        with theirs:
            theirs.recv(1)
            theirs.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
            while theirs.recv(1 << 20):
                pass

    reader = threading.Thread(target=read_all)
    reader.start()
    stream = SocketStream(ours, memoryview(bytearray(SLICE)), AsyncMock())
    chunk, written = bytes(1 << 20), 0
    try:
        with pytest.raises(httpcore.WriteError, match="answered 413"):
            while written < 256 << 20:
                await stream.write(chunk, 5.0)
                written += len(chunk)
    finally:
        await stream.aclose()
        reader.join()
    assert written < 64 << 20
