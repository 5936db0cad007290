"""Polyglot: `AsyncPolyglot` for callers that do not await."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from .._client import AsyncPolyglot
from .portal import Portal
from .streams import SyncBatch
from .transcriptions import Transcriptions
from .twin import Forwarded, Twin, blocking, in_loop, parameters_of, returning, viewing

if TYPE_CHECKING:
    from types import TracebackType


class Polyglot(Twin[AsyncPolyglot]):
    """A client of the Polyglot Voice API for scripts and notebooks: the methods of `AsyncPolyglot`, without `await`.

    Use it as `with Polyglot() as client:`, or call `close()` at the end. It runs an event loop in a thread of its own,
    which starts with the first call; it may be used from several threads, and from a thread that runs a loop, such as
    a notebook's. Ctrl-C cancels the call under way and closes its connection. After `os.fork` make a new client.

    A task that a call has started goes on when Ctrl-C, or `close()` in another thread, ends the call: it is the `task`
    of what is raised.

    The parameters and errors are those of `AsyncPolyglot`. A callback for the progress of a call is called in the
    thread that made the call; that of a batch in the client's own. An `http_client` of your own is closed with this
    client, whose loop its connections are bound to.
    """

    @parameters_of(AsyncPolyglot.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        client = AsyncPolyglot(*args, **kwargs)
        closing = client._hand_over_closing()  # noqa: SLF001 - the portal closes it, or warns that nobody did
        super().__init__(client, Portal(_name_of(client), closing))

    def __repr__(self) -> str:
        return _name_of(self._async)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls under way fail."""
        if self._is_original:
            self._portal.close()

    transcriptions: Forwarded[Transcriptions] = Forwarded(AsyncPolyglot, "transcriptions", Transcriptions)
    with_options: Final = viewing(AsyncPolyglot.with_options)
    limits: Final = blocking(AsyncPolyglot.limits)
    transcribe: Final = blocking(AsyncPolyglot.transcribe)
    batch: Final = returning(SyncBatch, AsyncPolyglot.batch)
    use_webhooks: Final = in_loop(AsyncPolyglot.use_webhooks)


def _name_of(client: AsyncPolyglot) -> str:
    return repr(client).replace("Async", "", 1)
