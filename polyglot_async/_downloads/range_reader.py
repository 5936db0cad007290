"""A file on the service, read by ranges: resumed after a drop, and never spliced of two versions (A7)."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from random import random
from typing import TYPE_CHECKING

import attrs

from .._errors import ApiConnectionError, RangeError, SourceChangedError
from .._http.retry import delay
from .ranges import Validator, check_content_range, range_header, unsatisfied_total

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from .._api.messages import ApiRequest
    from .._http.transport import StreamedResponse, Transport

_OK = 200
_PARTIAL = 206


@attrs.define
class Span:
    """The bytes from `start` up to, not including, `stop`; None is the file's end. `stop` may move while it is read."""

    start: int
    stop: int | None = None


@attrs.define
class RangedFile:
    """One file of the service. What the first answer says of it, all later ones must agree with.

    Attributes:
        request: the call that gives it.
        total: its size in bytes, once an answer has told.
        validator: which version it is, as far as the service says.
        content_type: its MIME type, once an answer has told.
        ranged: False once the service has answered a range with the whole.
        known: whether an answer has come.
    """

    _transport: Transport = attrs.field(repr=False)
    request: ApiRequest
    total: int | None = None
    validator: Validator = attrs.field(factory=Validator)
    content_type: str | None = None
    ranged: bool = True
    known: bool = attrs.field(default=False, init=False)

    def expect(self, total: int | None, validator: Validator) -> None:
        """Begin with what an earlier run knew: the answers must agree with that."""
        self.total, self.validator, self.known = total, validator, True

    def forgotten(self) -> RangedFile:
        """Give the same file, with nothing known of it."""
        return RangedFile(self._transport, self.request)

    async def read(self, span: Span) -> AsyncGenerator[tuple[int, bytes], None]:
        """Give the bytes of `span`, each chunk with its position in the file.

        After a drop it goes on from the last good byte, for as long as attempts bring something, and through
        `max_retries` attempts in a row that bring nothing. Close it (`aclosing`) to give its connection back.

        Raises:
            SourceChangedError: the file is no longer the one that the first answer spoke of.
            RangeError: an answer does not fit the range asked for.
            ApiConnectionError: the service keeps breaking off.
        """
        at = span.start
        fruitless = 0
        while not self._ends(at, span):
            began, stop, answered = at, span.stop, False
            try:
                async with self._answer(at, stop) as response, aclosing(self._body(response, at, stop)) as chunks:
                    answered = True
                    async for chunk in chunks:
                        rest = chunk
                        while rest:
                            # Looked at anew each time: whoever takes a piece may move the stop, within a chunk too.
                            piece = rest if span.stop is None else rest[: max(0, span.stop - at)]
                            if not piece:
                                return
                            yield at, piece
                            at += len(piece)
                            rest = rest[len(piece) :]
                # A body of unknown length ends where it ends.
                self.total = at if self.total is None else self.total
                _check_progress(began, at, self.total, response)
            except ApiConnectionError as error:
                fruitless = 0 if at > began else fruitless + 1
                # Without an answer, the transport has made its attempts already.
                if not answered or fruitless > self._transport.max_retries:
                    raise
                await self._transport.sleep(delay(fruitless + 1, error, random=random()))  # noqa: S311 - jitter

    def _ends(self, at: int, span: Span) -> bool:
        stop = span.stop if span.stop is not None else self.total
        at_end = self.known and self.total is not None and at >= self.total
        return at_end or (stop is not None and at >= stop)

    @asynccontextmanager
    async def _answer(self, start: int, stop: int | None) -> AsyncIterator[StreamedResponse]:
        headers = {"range": range_header(start, stop)}
        if self.known and self.validator.if_range is not None:
            headers["if-range"] = self.validator.if_range
        async with self._transport.stream(self.request, headers=headers) as response:
            yield response

    async def _body(self, response: StreamedResponse, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """Check what the answer holds and give its bytes from `start` on."""
        if response.status_code == _PARTIAL:
            content = check_content_range(response.headers.get("content-range", ""), start=start, stop=stop)
            if content.total is None:
                raise RangeError("the answer does not tell the size of the file")
            self._agree(response, content.total)
            skipped, left = 0, content.stop - start
        elif response.status_code == _OK:
            # The whole file from byte 0: what is there already is read once more and dropped.
            length = response.headers.get("content-length", "")
            self._agree(response, int(length) if length.isdecimal() else None)
            self.ranged = False
            skipped, left = start, None
        else:
            self._agree_on_nothing(response, start)
            return
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                piece = chunk[skipped:]
                skipped -= len(chunk) - len(piece)
                if left is not None:
                    if len(piece) > left:
                        raise RangeError("the answer holds more bytes than its Content-Range says")
                    left -= len(piece)
                if piece:
                    yield piece

    def _agree(self, response: StreamedResponse, total: int | None) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise RangeError("the answer is compressed, though it was asked for as it is")
        validator = Validator.of(response.headers)
        if self.known:
            if validator.contradicts(self.validator) or (None not in {total, self.total} and total != self.total):
                raise SourceChangedError(f"{response.url}: the file changed on the server during the transfer")
            if response.status_code == _OK and self.validator.if_range not in {None, validator.if_range}:
                # A 200 to If-Range says that the file changed, unless it proves the contrary (RFC 9110, 13.1.5).
                raise SourceChangedError(f"{response.url}: the file changed on the server during the transfer")
            return
        self.known = True
        self.total, self.validator = total, validator
        self.content_type = response.headers.get("content-type")

    def _agree_on_nothing(self, response: StreamedResponse, start: int) -> None:
        """Take a 416: right where `start` is the end of the file, as it is in an empty one."""
        total = unsatisfied_total(response.headers.get("content-range", ""))
        if total is not None:
            self._agree(response, total)
        if total is None or start < total:
            raise RangeError(f"{response.url}: the service refuses the bytes from {start} on")


def _check_progress(began: int, at: int, total: int, response: StreamedResponse) -> None:
    if at == began < total:
        raise ApiConnectionError("the answer was empty", method="GET", url=response.url)
