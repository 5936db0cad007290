"""A network stream for httpcore that reads and writes large slices, and sees answers that come early.

Every event of a socket passes h11 and six nested generators, about 0.3 ms, however many bytes it carries; the stock
backends carry 64 KiB in the clear and one 16 KiB record over TLS. Here a turn of the loop takes whatever the socket
holds, up to `SLICE`.

One implementation, on `anyio.wait_readable` and `wait_writable`, serves asyncio, uvloop and Trio. On Windows'
proactor loop those go through a selector thread of anyio's: correct, and slower than the stock backend.
"""

from __future__ import annotations

import re
import ssl
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.lowlevel
import httpcore

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

# Bytes that are read or sent in one turn of the loop. Measured: below 256 KiB the cost of a turn shows; above 512 KiB
# the allocator returns the memory of each slice to the system and faults it in again, and the loop lags.
SLICE: Final = 1 << 19
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.\d (\d\d\d)(?=[ \r\n])")
_STATUS_LINE_BYTES: Final = len(b"HTTP/1.1 200 ")
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_LARGEST_EARLY_HEAD: Final = 1 << 16
# Between looks for an early answer, while the peer takes all that is sent at once: a look in vain costs 60 us, a tenth
# of what a MiB takes over loopback. A peer that makes us wait is looked at each time.
_CHECKED_BYTES: Final = 8 << 20
_CHECK_SECONDS: Final = 1.0  # between checks for an early answer, while the peer takes no byte of the request
_EARLY_ANSWER_SECONDS: Final = 60.0  # without progress, once a success has come early and there is no write timeout
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@contextmanager
def httpcore_errors(timeout: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Raise errors of sockets as httpcore's."""
    try:
        yield
    except TimeoutError as exc:
        raise timeout(str(exc)) from exc
    except (OSError, anyio.ClosedResourceError) as exc:
        raise broken(str(exc) or type(exc).__name__) from exc


class SocketStream(httpcore.AsyncNetworkStream):
    """A connected, non-blocking socket, in the clear or over TLS.

    Timeouts are seconds without progress: a slow link that keeps taking bytes never times out, however large the
    buffer is. `scratch` may be shared by the streams of one event loop. `on_early_success` is awaited once when a
    success has come before the request that is being sent was whole.
    """

    def __init__(
        self, sock: socket.socket, scratch: memoryview, on_early_success: Callable[[], Awaitable[None]]
    ) -> None:
        self._sock = sock
        self._scratch = scratch
        self._on_early_success = on_early_success
        self._unread = b""
        self._is_reported = False
        self._unchecked = 0  # bytes that were sent since the last look for an early answer
        self._was_read = False
        self._is_begun = False  # a request of which no answer was read

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - httpcore's
        """Return all that has come, up to `SLICE` whatever `max_bytes` says; b"" at the end of the stream.

        Raises:
            httpcore.ReadTimeout: nothing came for `timeout` seconds.
            httpcore.ReadError: the connection is broken or closed.
        """
        self._was_read, self._is_begun = True, False
        if self._unread:
            unread, self._unread = self._unread, b""
            return unread
        with httpcore_errors(httpcore.ReadTimeout, httpcore.ReadError):
            return await self._when_ready(self._receive, anyio.wait_readable, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of `buffer`.

        An answer may come before the request is whole. httpcore stops sending and reads it after a WriteError:

        - 1xx is dropped: it says nothing of the request's fate.
        - 3xx, 4xx, 5xx, or no HTTP: WriteError at once. RFC 9112, section 9.5, asks that of a client, and it spares the
          rest of a large upload.
        - 2xx: the server has accepted the request, and may still want the rest of its body: a file that is cut here
          could be paid for and lost. So that is reported, and sending goes on for as long as the peer takes bytes. When
          it takes none for `timeout` seconds, or breaks the connection, the answer that is there counts: WriteError,
          not WriteTimeout.

        Raises:
            httpcore.WriteTimeout: the peer took no byte for `timeout` seconds.
            httpcore.WriteError: the connection is broken or closed, or there is an answer to read.
            httpcore.ConnectionNotAvailable: a request was to begin, but the peer has closed the connection, or has sent
                more than its answers to earlier ones. No byte was sent: use another connection.
            httpcore.ConnectError: the same on a new connection.
        """
        if not self._is_begun:
            self._begin_request()
        with httpcore_errors(httpcore.WriteTimeout, httpcore.WriteError):
            try:
                await self._write(memoryview(buffer), timeout)
            except BaseException:
                # Whatever ends the sending, a cancellation too: a success that has come meanwhile is reported.
                with anyio.CancelScope(shield=True):
                    await self.is_accepted_early()
                raise

    async def _write(self, view: memoryview, timeout: float | None) -> None:
        sent, stalled = 0, 0.0
        while sent < len(view):
            status = self._early_status() if self._unread or self._unchecked >= _CHECKED_BYTES else None
            if status is None:
                self._is_reported = False
            elif _is_success(status):
                await self._report_success()
            else:
                raise ConnectionAbortedError(f"the server answered {status} before the request was sent whole")
            limit = timeout if timeout is not None or status is None else _EARLY_ANSWER_SECONDS
            if limit is not None and stalled >= max(limit, 1e-3):
                message = f"the server took no byte of the request for {limit} s"
                raise TimeoutError(message) if status is None else ConnectionAbortedError(message)
            turn = _CHECK_SECONDS if limit is None else min(_CHECK_SECONDS, max(limit - stalled, 1e-3))
            try:
                taken = await self._when_ready(partial(self._send, view[sent:]), anyio.wait_writable, turn)
                sent, stalled = sent + taken, 0.0
            except TimeoutError:
                stalled += turn

    def _begin_request(self) -> None:
        if self._peek():  # whatever it is, it answers no byte of this request
            if self._was_read:
                raise httpcore.ConnectionNotAvailable
            raise httpcore.ConnectError("the server closed the connection, or answered, before the request was sent")
        self._is_begun = True

    async def is_accepted_early(self) -> bool:
        """Return whether a success has come before the request was sent whole."""
        status = self._early_status()
        if status is None or not _is_success(status):
            return False
        await self._report_success()
        return True

    async def _report_success(self) -> None:
        if not self._is_reported:
            self._is_reported = True
            await self._on_early_success()

    async def aclose(self) -> None:
        """Close the socket at once; a task that waits on it gets a ReadError or a WriteError."""
        if self._sock.fileno() >= 0:
            anyio.notify_closing(self._sock)
            self._sock.close()

    def close_copy(self) -> None:
        """Close a forked process's copy of the socket, which the parent goes on using: nothing is sent."""
        self._sock.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Return this stream, encrypted from now on.

        Raises:
            httpcore.ConnectTimeout: no handshake within `timeout` seconds.
            httpcore.ConnectError: it failed; the cause is an ssl.SSLCertVerificationError for a bad certificate.
        """
        try:
            with httpcore_errors(httpcore.ConnectTimeout, httpcore.ConnectError), anyio.fail_after(timeout):
                self._sock = tls = ssl_context.wrap_socket(
                    self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
                )
                await self._when_ready(tls.do_handshake, anyio.wait_readable, None)
        except BaseException:
            await self.aclose()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for: ssl_object, socket, client_addr, server_addr, is_readable; None for others."""
        match info:
            case "ssl_object":
                return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
            case "socket":
                return self._sock
            case "client_addr":
                return self._sock.getsockname()
            case "server_addr":
                return self._sock.getpeername()
            case "is_readable":
                return self._peek()
        return None

    async def _when_ready(
        self,
        attempt: Callable[[], T],
        ready: Callable[[socket.socket], Awaitable[None]],
        timeout: float | None,
    ) -> T:
        while True:
            try:
                result = attempt()
            except BlockingIOError:
                wait = ready
            except ssl.SSLWantReadError:
                wait = anyio.wait_readable
            except ssl.SSLWantWriteError:
                wait = anyio.wait_writable
            else:
                # What succeeds at once must yield to other tasks too, or a fast peer has the loop to itself.
                await anyio.lowlevel.checkpoint()
                return result
            with anyio.fail_after(timeout):
                await wait(self._sock)

    def _receive(self) -> bytes:
        """Return what has come, up to a slice: over TLS a call returns one record, so many are gathered."""
        view, filled = self._scratch, 0
        try:
            while filled < len(view) and (got := self._sock.recv_into(view[filled:])):
                filled += got
        except OSError:
            # What has come is returned first; a lasting error is raised again by the next call.
            if not filled:
                raise
        return bytes(view[:filled])

    def _send(self, view: memoryview) -> int:
        """Send what the socket takes now, up to a slice, one record a call over TLS; return how many bytes."""
        view, sent = view[:SLICE], 0
        try:
            while sent < len(view):
                sent += self._sock.send(view[sent:])
        except _WOULD_BLOCK:
            self._unchecked = _CHECKED_BYTES
            if not sent:
                raise
        self._unchecked += sent
        return sent

    def _peek(self) -> bool:
        """Return whether the peer has sent anything, the end of the stream included; what came is kept for `read`.

        Reading is the only way to know: over TLS a late session ticket makes a socket readable and says nothing.
        """
        try:
            self._unread = self._unread or self._receive()
        except _WOULD_BLOCK:
            return False
        except OSError:
            return True
        return True

    def _early_status(self) -> int | None:
        """Return the status of an answer that has come before the request was sent whole; see `early_status`."""
        self._unchecked = 0
        while True:
            status, self._unread = early_status(self._unread)
            if status is not None or len(self._unread) > _LARGEST_EARLY_HEAD:
                return status
            try:
                received = self._receive()
            except OSError:  # nothing yet; or the connection is broken, which sending will show
                return None
            if not received:
                return None
            self._unread += received


def early_status(received: bytes) -> tuple[int | None, bytes]:
    """Return the status of the final answer that begins in `received`, and `received` without the 1xx before it.

    None is no final answer yet, 0 is no HTTP at all. 101 is final: nobody has asked to switch protocols.
    """
    while received:
        match = _STATUS_LINE.match(received)
        if match is None:
            begun = len(received) < _STATUS_LINE_BYTES and received[:7] == b"HTTP/1."[: len(received)]
            return None if begun else 0, received
        status = int(match[1])
        if not 100 <= status < 200 or status == 101:  # noqa: PLR2004 - RFC 9110, section 15
            return status, received
        end = _HEAD_END.search(received)
        if end is None:
            break
        received = received[end.end() :]
    return None, received


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110, section 15
