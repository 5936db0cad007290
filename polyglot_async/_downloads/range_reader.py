"""A file on the service, read by ranges: resumed after a drop, and never spliced of two versions."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import attrs

from .._errors import ApiConnectionError, PolyglotError, RangeError, SourceChangedError
from .._http.retry import Attempts
from .file_answer import checked_body, empty_file_error, kind_of, no_file_error
from .ranges import ByteRange, Validator, check_content_range, parse_unsatisfied_range, range_header

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from .._api.messages import ApiRequest
    from .._http.streamed_response import StreamedResponse
    from .._http.transport import Transport
    from .._runtime import Runtime

_OK = 200
_PARTIAL = 206
_FIRST_ERROR = 400


@attrs.define
class RangedFile:
    """One file of the service. What the first answer says of it, all later ones must agree with.

    Attributes:
        transport: sends the requests.
        request: the call that returns it.
        total: its size in bytes, once an answer has stated it.
        validator: its version, as far as the service states it.
        content_type: its MIME type, once an answer has stated it.
        ranged: False once the service has answered a range with the whole.
        known: whether an answer has come.
    """

    transport: Transport = attrs.field(repr=False)
    request: ApiRequest
    total: int | None = None
    validator: Validator = attrs.field(factory=Validator)
    content_type: str | None = None
    ranged: bool = True
    known: bool = attrs.field(default=False, init=False)

    @property
    def runtime(self) -> Runtime:
        """Clock, sleep and randomness."""
        return self.transport.runtime

    def resume_from(self, total: int | None, validator: Validator) -> None:
        """Require of the answers what an earlier run knew."""
        self.total, self.validator, self.known = total, validator, True

    async def read(self, wanted: ByteRange) -> AsyncGenerator[tuple[int, bytes], None]:
        """Iterate over the bytes of `wanted`, each chunk with its position in the file.

        After a drop or an answer that does not fit it goes on from the last good byte: as long as attempts bring
        something, and through `max_retries` attempts in a row that bring nothing. Close it (`aclosing`) to release its
        connection.

        Raises:
            SourceChangedError: the file is no longer the one that the first answer described.
            RangeError: an answer does not fit the range asked for.
            ResponseDecodeError: the answer is a page, a message or nothing in place of the file.
            ApiConnectionError: the service keeps breaking off.
        """
        position = wanted.start
        attempts = Attempts(self.transport.max_retries)
        while not self._is_read(position, wanted):
            attempt_start = position
            try:
                async with aclosing(self._read_once(position, wanted)) as pieces:
                    async for offset, piece in pieces:
                        yield offset, piece
                        position = offset + len(piece)
                if position == attempt_start and not self._is_read(position, wanted):
                    raise ApiConnectionError(f"GET {self.request.path}: the answer was empty", method="GET")
            except SourceChangedError:
                raise
            except PolyglotError as error:
                has_read = position > attempt_start
                attempts = Attempts(self.transport.max_retries) if has_read else attempts
                random = self.runtime.random()
                seconds = attempts.next_delay(
                    error, self.request, body_complete=True, random=random, counts=not has_read
                )
                if seconds is None:
                    raise
                await self.runtime.sleep(seconds)

    def _is_read(self, position: int, wanted: ByteRange) -> bool:
        stop = wanted.stop if wanted.stop is not None else self.total
        at_end = self.known and self.total is not None and position >= self.total
        return at_end or (stop is not None and position >= stop)

    async def _read_once(self, position: int, wanted: ByteRange) -> AsyncGenerator[tuple[int, bytes], None]:
        """Send one request for what is left of `wanted`, and iterate over what its answer brings."""
        # One attempt: all attempts are counted in `read`, whether the head or the body failed.
        once = attrs.evolve(self.transport, max_retries=0)
        stream = once.stream(self.request, headers=self._headers(position, wanted.stop))
        async with stream as response, aclosing(response.chunks()) as chunks:
            body = await self._checked(response, chunks, position)
            offset, stop = self._check(response, position, wanted.stop)
            if response.status_code not in {_OK, _PARTIAL}:
                return  # a 416 at the end of the file: its body is no part of it
            async for chunk in body:
                # A 200 begins with byte 0: what is there already is dropped.
                rest = chunk[position - offset :] if offset < position else chunk
                offset += len(chunk)
                if stop is not None and offset > stop:
                    raise RangeError(f"{response.url}: the answer holds more bytes than its Content-Range states")
                while rest:
                    # Checked each time: whoever takes a piece may move the stop, within a chunk too.
                    piece = rest if wanted.stop is None else rest[: max(0, wanted.stop - position)]
                    if not piece:
                        return
                    yield position, piece
                    position += len(piece)
                    rest = rest[len(piece) :]
            if response.status_code == _OK and offset < position:
                raise SourceChangedError(f"{response.url}: the file became shorter during the transfer")
            if response.status_code == _OK and self.total is None:
                self.total = offset  # a body of unknown length ends where it ends

    async def _checked(
        self, response: StreamedResponse, chunks: AsyncGenerator[bytes, None], position: int
    ) -> AsyncIterator[bytes]:
        """Return the body; where it begins with the file's first byte, that is looked at before any is written."""
        kind = kind_of(self.request.path)
        holds_start = response.status_code == _OK or (position == 0 and response.status_code < _FIRST_ERROR)
        if holds_start:
            return await checked_body(response, chunks, kind)
        if kind is not None and parse_unsatisfied_range(response.headers.get("content-range", "")) == 0:
            raise empty_file_error(response)
        return chunks

    def _headers(self, start: int, stop: int | None) -> Mapping[str, str]:
        headers = {"range": range_header(start, stop)}
        if self.known and self.validator.if_range is not None:
            headers["if-range"] = self.validator.if_range
        return headers

    def _check(self, response: StreamedResponse, start: int, stop: int | None) -> tuple[int, int | None]:
        """Check what an answer holds; return where its body starts and stops in the file, None for the body's end."""
        if response.status_code == _PARTIAL:
            content = check_content_range(response.headers.get("content-range", ""), start=start, stop=stop)
            if content.total is None:
                raise RangeError(f"{response.url}: the answer does not state the size of the file")
            self._check_version(response, content.total)
            return start, content.stop
        if response.status_code == _OK:
            length = response.headers.get("content-length", "")
            self._check_version(response, int(length) if length.isdecimal() else None)
            self.ranged = False
            return 0, None
        if response.status_code < _FIRST_ERROR:
            raise no_file_error(response)
        # A 416 is right where `start` is the end of the file, as it is in an empty one.
        total = parse_unsatisfied_range(response.headers.get("content-range", ""))
        if total is not None:
            self._check_version(response, total)
        if total is None or start < total:
            raise RangeError(f"{response.url}: the service refuses the bytes from {start} on")
        return start, None

    def _check_version(self, response: StreamedResponse, total: int | None) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise RangeError(f"{response.url}: the answer is compressed, though it was asked for as it is")
        validator = Validator.of(response.headers)
        if not self.known:
            self.known = True
            self.total, self.validator = total, validator
            self.content_type = response.headers.get("content-type")
            return
        changed = validator.contradicts(self.validator) or (None not in {total, self.total} and total != self.total)
        # A 200 to If-Range means that the file changed, unless it proves the contrary (RFC 9110, 13.1.5).
        unproven = response.status_code == _OK and self.validator.if_range not in {None, validator.if_range}
        if changed or unproven:
            raise SourceChangedError(f"{response.url}: the file changed on the server during the transfer")
