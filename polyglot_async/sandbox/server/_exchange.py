"""One request and its answer, as the ledger, the calls and the faults see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message, Receive, Send

    from .._ledger import Ledger, LedgerEntry
    from ..faults._fault import Fault
    from ._accounts import Caller


class Exchange:
    """One request and its answer: counts bytes, stamps the request id, keeps the ledger's entry up to date."""

    def __init__(self, ledger: Ledger, entry: LedgerEntry, receive: Receive, send: Send) -> None:
        self._ledger, self.entry = ledger, entry
        self._receive, self._send = receive, send
        self._bytes_in = self._bytes_out = 0
        self._body_complete = False
        self._expected_out: int | None = None
        self.caller: Caller | None = None
        self.faults: list[Fault] = []
        self.answered = False

    @classmethod
    def of(cls, request: Request) -> Exchange:
        """Return the exchange of a request."""
        exchange = request.scope["exchange"]
        assert isinstance(exchange, cls)  # noqa: S101
        return exchange

    def identify(self, caller: Caller) -> None:
        """Note who is calling."""
        self.caller = caller
        self.note(user=caller.user, credential=caller.kind)

    def fault(self, kind: str) -> Fault | None:
        """Return the fault of this kind that hits the request."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def note(self, **facts: Any) -> None:
        """Write facts into the ledger's entry."""
        self.entry = self._ledger.update(self.entry, **facts)

    async def receive(self) -> Message:
        """Receive the next piece of the request."""
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_complete = True
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; the entry is final before the last one leaves."""
        if message["type"] == "http.response.start":
            self.answered = True
            headers = message.setdefault("headers", [])
            message["headers"] = [*headers, (b"x-request-id", (self.entry.request_id or "").encode())]
            length = dict(headers).get(b"content-length", b"")
            self._expected_out = int(length) if length.isdigit() else None
            # Where no body follows, the head is the last piece.
            self.settle(status=message["status"], complete=self._expected_out == 0)
        else:
            self._bytes_out += len(message.get("body", b""))
            # What is streamed ends for the client with the last byte promised, not with the empty piece that follows.
            if not message.get("more_body", False) or self._bytes_out == self._expected_out:
                self.settle(complete=True)
        await self._send(message)

    def sent_raw(self, status: int | None, size: int) -> None:
        """Count what a fault wrote past HTTP."""
        self._bytes_out += size
        if status is not None:
            self.note(status=status)

    def settle(self, **facts: Any) -> None:
        """Update the entry: before a cut, so that whoever has noticed the cut finds it so."""
        self.note(bytes_in=self._bytes_in, bytes_out=self._bytes_out, body_complete=self._body_complete, **facts)

    def finish(self) -> None:
        """Append the entry to the ledger's file."""
        self.settle()
        self._ledger.seal(self.entry)


def caller_of(request: Request) -> Caller:
    """Return who sent a request; the middleware has let through nobody else."""
    caller = Exchange.of(request).caller
    assert caller is not None  # noqa: S101
    return caller
