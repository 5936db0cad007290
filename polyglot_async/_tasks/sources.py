"""Read from `/source` what tasks were made from, as much of it as it takes, and each once."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

import anyio
import attrs

from .._api import endpoints
from .._api.messages import is_html
from .._downloads.ranges import parse_content_range, parse_unsatisfied_range
from .._errors import PolyglotError, RangeError, ServiceUnavailableError
from .._uploads.fingerprint import TAIL_BYTES, MediaHasher
from .known_tasks import media_kind
from .proof import COMPARED_WHOLE, WITHOUT_RESULT, Source, is_same_media, tells_too_little
from .task_options import hides_options, options_agree, shows_enough

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .._api.messages import ApiRequest
    from .._http.streamed_response import StreamedResponse
    from .._http.transport import Transport
    from .._models import Task
    from .known_tasks import SentMedia
    from .proof import Submission

T = TypeVar("T")

MEASURED_TASKS = 3
"""So many tasks of ours tell whether the service keeps the bytes that were sent."""
_REMEMBERED_SOURCES = 10_000
_LONGEST_SECONDS = 120.0
_SLOWEST_BYTES = 1 << 20
"""What is compared whole has to come at so many bytes a second."""
_WHOLE_ANSWER_BYTES = 256 << 10
_DISTINCTIVE_SHARE = 16
_MESSAGES = (b'{"', b"<?xml")
_PARTIAL, _WHOLE, _UNSATISFIED = 206, 200, 416


@attrs.define(eq=False, repr=False)
class SourceReader:
    """Reads what tasks were made from, and remembers it.

    Attributes:
        sources: what was read, by task id.
        details: tasks that were asked for by themselves, by id.
    """

    _transport: Transport
    sources: dict[str, Source] = attrs.field(factory=dict, init=False)
    details: dict[str, Task] = attrs.field(factory=dict, init=False)

    def forget_all_but(self, task_ids: Collection[str]) -> None:
        """Forget the sources of other tasks, and of those not at their end: they may not have been there whole."""
        self.sources = {key: value for key, value in self.sources.items() if key in task_ids and value.is_final}

    async def read(self, candidates: Sequence[Task], submissions: Iterable[Submission]) -> None:
        """Read the sources of candidates until each of the submissions has one that may be its task's.

        What comes too slowly stays unread: others wait for the same answer.
        """
        wanted: dict[int, list[Submission]] = {}
        for submission in submissions:
            if submission.size is not None:
                wanted.setdefault(submission.size, []).append(submission)
        names = {submission.name for same in wanted.values() for submission in same}
        with anyio.move_on_after(_longest(sum(size * len(same) for size, same in wanted.items()))):
            for task in sorted(candidates, key=lambda task: task.file_name not in names):
                if not any(wanted.values()):
                    return
                source = None if task.status in WITHOUT_RESULT else await self._read(task, wanted, most=max(wanted))
                if source is not None and source.size in wanted:
                    same = wanted[source.size]
                    match = await self._match(task, [one for one in same if is_same_media(one, source)])
                    if match is not None:
                        same.remove(match)

    async def read_one(self, task: Task, submission: Submission) -> Source | None:
        """Read the source of one task, to compare it with one submission."""
        size = submission.size or 0
        with anyio.move_on_after(_longest(size)):
            return await self._read(task, {size: [submission]}, most=size)
        return None

    async def calibrate(self, tasks: Sequence[Task], own: Mapping[str, SentMedia], kinds: Iterable[str]) -> None:
        """Read sources of our own tasks, for each kind of media one at its end and one before: see `kept_kinds`."""
        tried = {(kind, is_final): 0 for kind in kinds for is_final in (True, False)}
        with anyio.move_on_after(_longest(0)):
            for task in tasks:
                sent = own.get(task.task_id)
                kind = None if sent is None else (media_kind(sent.name), task.status.is_final)
                if sent is not None and kind in tried and tried[kind] < MEASURED_TASKS:
                    source = await self._read(task, {}, most=sent.size)
                    tried[kind] = MEASURED_TASKS if source is not None else tried[kind] + 1

    async def _match(self, task: Task, same: Sequence[Submission]) -> Submission | None:
        """Return one of the submissions of this task's media whose options the task shows; others are looked for on.

        The task by itself may show more than the list does.
        """
        shown = self.details.get(task.task_id, task)
        agreeing = [one for one in same if options_agree(one.options, shown)]
        if agreeing and (shown.output_language is None or any(hides_options(one.options, shown) for one in agreeing)):
            shown = await self._read_details(shown)
        return next(
            (one for one in agreeing if options_agree(one.options, shown) and shows_enough(one.options, shown)), None
        )

    async def _read_details(self, task: Task) -> Task:
        """Get a task by itself: the list may not show the options that it was started with."""
        try:
            task = (await self._transport.call(endpoints.get(task.task_id), endpoints.parse_task)).parse()
        except PolyglotError:
            return task
        _remember(self.details, task.task_id, task)
        return task

    async def _read(self, task: Task, wanted: Mapping[int, Sequence[Submission]], *, most: int) -> Source | None:
        """Return what a task was made from, read as far as it takes to compare it with what is wanted, by size.

        Of a source without a length no more than `most` bytes are read.
        """
        source, request = self.sources.get(task.task_id), endpoints.source(task.task_id)
        try:
            source = source or await read_end(self._transport, request)
            if source is not None and source.size is None:  # neither a range nor a length: the end tells
                source = await read_whole(self._transport, request, most=most)
            if source is None or source.size is None:
                return None
            size, same = source.size, wanted.get(source.size, ())
            # Only a whole has a hash to compare, and only it tells where the end may be that of many recordings.
            head_tells = source.is_distinctive and all(submission.digest is not None for submission in same)
            if head_tells and source.size > COMPARED_WHOLE and tells_too_little(source, same):
                source = attrs.evolve(source, head_sha256=await read_head(self._transport, request))
            if tells_too_little(source, same):
                source = await read_whole(self._transport, request, most=size)
        except ServiceUnavailableError:
            raise
        except PolyglotError:
            return None  # not there yet, or never: it is asked once more with the next look
        if source is None:
            return None
        source = attrs.evolve(source, is_final=task.status.is_final)
        _remember(self.sources, task.task_id, source)
        return source


def _longest(size: int) -> float:
    """Return for how many seconds sources are read of which so many bytes may have to be compared."""
    return _LONGEST_SECONDS + size / _SLOWEST_BYTES


def _remember(kept: dict[str, T], task_id: str, value: T) -> None:
    """Keep a value, and no more than the latest."""
    kept[task_id] = value
    if len(kept) > _REMEMBERED_SOURCES:
        del kept[next(iter(kept))]


async def read_end(transport: Transport, request: ApiRequest) -> Source | None:
    """Read size and end of a source, in one request as a rule; None if it is no media, or not there yet."""
    async with transport.stream(request, headers={"range": f"bytes=-{TAIL_BYTES}"}) as response:
        if response.status_code != _UNSATISFIED:
            return await _read_tail(response)
        size = parse_unsatisfied_range(response.headers.get("content-range", ""))
    if not size:
        return None
    first = max(0, size - TAIL_BYTES)  # some servers know no ranges that count from the end
    async with transport.stream(request, headers={"range": f"bytes={first}-{size - 1}"}) as response:
        return await _read_tail(response)


async def read_head(transport: Transport, request: ApiRequest) -> bytes | None:
    """Read the first 64 KiB of a larger source, and return their SHA-256."""
    async with transport.stream(request, headers={"range": f"bytes=0-{TAIL_BYTES - 1}"}) as response:
        head = MediaHasher()
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                head.update(chunk[: TAIL_BYTES - head.size])
                if head.size >= TAIL_BYTES:
                    break
        answers = response.status_code == _WHOLE or response.headers.get("content-range", "").startswith("bytes 0-")
        return head.digest().head_sha256 if answers and head.size == TAIL_BYTES else None


async def read_whole(transport: Transport, request: ApiRequest, *, most: int) -> Source | None:
    """Read a source to its end; one that goes on after `most` bytes is known to be larger, and no more is read."""
    digest, tail = hashlib.sha256(), MediaHasher()
    async with transport.stream(request) as response:
        if response.status_code != _WHOLE or not _is_media(response.headers, b""):
            return None
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                tail.update(chunk)
                if tail.size > most:
                    return Source(tail.size)
    return _source_of_whole(tail, digest.hexdigest())


async def _read_tail(response: StreamedResponse) -> Source | None:
    """Read size and end of a source from the answer to a request for its last bytes; None if it is no media."""
    headers, tail = response.headers, MediaHasher()
    if headers.get("content-encoding", "identity") != "identity" or response.status_code not in {_WHOLE, _PARTIAL}:
        return None
    is_partial = response.status_code == _PARTIAL
    most = TAIL_BYTES if is_partial else _WHOLE_ANSWER_BYTES  # a film is not read to its end for it
    start = b""
    async with aclosing(response.chunks()) as chunks:
        async for chunk in chunks:
            start = start or chunk
            tail.update(chunk)
            if tail.size > most:
                break
    beginning = b"" if is_partial else start
    if not tail.size or not _is_media(headers, beginning):  # a page of a proxy, a message, a file that is not there yet
        return None
    if is_partial:
        return _source_of_range(headers.get("content-range", ""), tail)
    length = headers.get("content-length", "")
    size = int(length) if length.isdecimal() else None
    if tail.size <= most and size in {None, tail.size}:
        return _source_of_whole(tail, None)
    return Source(size)


def _source_of_range(content_range: str, tail: MediaHasher) -> Source | None:
    try:
        content = parse_content_range(content_range)
    except RangeError:
        return None
    total = content.total
    if total is None or content.stop != total or tail.size != min(total, TAIL_BYTES):
        return Source(total)
    return Source(total, tail.digest().tail_sha256, _is_distinctive(tail))


def _source_of_whole(tail: MediaHasher, sha256: str | None) -> Source:
    digest = tail.digest()
    return Source(digest.size, digest.tail_sha256, _is_distinctive(tail), digest.head_sha256, digest.checksum, sha256)


def _is_media(headers: Mapping[str, str], start: bytes) -> bool:
    """Return whether an answer may be media: a page, a message or a JSON or XML document is not."""
    kind = headers.get("content-type", "").lower()
    is_text = kind.startswith("text/") or "json" in kind or "xml" in kind or start.lstrip().startswith(_MESSAGES)
    return not is_text and not is_html(headers, start)


def _is_distinctive(tail: MediaHasher) -> bool:
    """Return whether the end of a file is that of no other recording; silence is that of many."""
    last = tail.last_bytes()
    return len(zlib.compress(last, 1)) > len(last) // _DISTINCTIVE_SHARE
