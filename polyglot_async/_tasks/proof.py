"""What became of a submission that was sent whole and got no usable answer. Pure: decided from list and sources.

The list is read from now back past the submission. A task in it is ours if its bytes are: `/source` shows the size and
parts of what it was made from. Names and times never prove anything: a time only rules a task out. Whether the service
keeps the bytes that were sent is known from tasks that are ours (A18).

| verdict | when                                                                          | what follows               |
|---------|-------------------------------------------------------------------------------|----------------------------|
| ours    | a task has the same bytes, and its options do not contradict                  | adopted                    |
| absent  | the list is complete back past the submission, and every task in it certainly | sent again                 |
|         |   is another's; twice                                                         |                            |
| unknown | the list cannot be read, or a task remains that may be ours                   | `SubmissionUncertainError` |

Failed and cancelled tasks are never adopted. A URL has no bytes to compare: a task is ours if it shows the very URL and
was certainly created since, by the service's clock as tasks of our own show it.
"""

from __future__ import annotations

import itertools
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs

from .._uploads.fingerprint import TAIL_BYTES, MediaDigest, key_of_url
from .known_tasks import OwnTask, ServiceClock, is_after, media_kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .._errors import PolyglotError
    from .._models import Task

_SHOWN_CANDIDATES = 20
WITHOUT_RESULT = frozenset({"failed", "cancelled"})
_TASK_OPTIONS = ("model", "input_language", "output_language")
_URL_FIELDS = ("url", "source_url", "media_url")


@attrs.frozen(kw_only=True, eq=False)
class Doubt:
    """A submission whose fate is unknown, and what its task would be recognised by.

    Attributes:
        name: the file's name as sent.
        since: when its first byte left, Unix seconds.
        options: options as sent.
        digest: of the media that was sent, where known.
        content: size and hexadecimal SHA-256 of the media, where known.
        url_key: for a URL, its key without options.
        is_late: whether a proxy or we gave up waiting for the answer, so that the work may yet be started.
    """

    name: str
    since: float
    options: Mapping[str, Any] = attrs.field(factory=dict)
    digest: MediaDigest | None = None
    content: tuple[int, str] | None = None
    url_key: str | None = None
    is_late: bool = False

    @property
    def size(self) -> int | None:
        """Bytes of the media, where known."""
        return self.digest.size if self.digest else self.content[0] if self.content else None

    @property
    def media(self) -> object:
        """What is equal for equal media."""
        return self.url_key, self.content, self.digest and attrs.astuple(self.digest)


@attrs.frozen(kw_only=True)
class Proof:
    """What became of a submission: a task that is ours, proven absence, or neither.

    Attributes:
        task: ours.
        absent: it was certainly not accepted.
        candidates: tasks that may be the one, where that stays unknown.
        reason: why it stays unknown.
        error: why the list could not be read.
    """

    task: Task | None = None
    absent: bool = False
    candidates: tuple[Task, ...] = ()
    reason: str = ""
    error: PolyglotError | None = None


@attrs.frozen
class Source:
    """What `/source` shows of a task, each part where it was read.

    Attributes:
        size: bytes.
        tail_sha256: SHA-256 of the last 64 KiB.
        is_distinctive: whether those can hardly be the end of another recording; silence can.
        head_sha256: SHA-256 of the first 64 KiB.
        checksum: of the whole, see `MediaDigest`.
        sha256: hexadecimal SHA-256 of the whole.
    """

    size: int | None
    tail_sha256: bytes | None = None
    is_distinctive: bool = False
    head_sha256: bytes | None = None
    checksum: int | None = None
    sha256: str | None = None


def is_same_media(doubt: Doubt, source: Source) -> bool | None:
    """Return whether a source is the doubted submission's media; None where what was read of it does not tell."""
    digest, content = doubt.digest, doubt.content
    if source.size is None or (digest is None and content is None):
        return None
    if source.size != doubt.size:
        return False
    if content is not None and source.sha256 is not None:
        return content[1] == source.sha256
    if digest is None or source.tail_sha256 is None:
        return None
    if digest.tail_sha256 != source.tail_sha256:
        return False
    if digest.checksum is not None and source.checksum is not None:
        return digest.checksum == source.checksum
    if digest.head_sha256 is not None and source.head_sha256 is not None:
        same_head = digest.head_sha256 == source.head_sha256
        return None if same_head and not source.is_distinctive else same_head
    return True if digest.size <= TAIL_BYTES else None


def kept_kinds(own: Mapping[str, OwnTask], sources: Mapping[str, Source]) -> dict[str, bool]:
    """Return for kinds of media whether sources are kept as they were sent, as far as tasks of our own show (A18)."""
    kept: dict[str, bool] = {}
    for task_id, source in sources.items():
        sent = own.get(task_id)
        if sent is not None and sent.size is not None and source.size is not None:
            kind = media_kind(sent.name)
            same_end = sent.digest is None or source.tail_sha256 in {None, sent.digest.tail_sha256}
            kept[kind] = kept.get(kind, True) and sent.size == source.size and same_end
    return kept


def decide(
    doubts: Sequence[Doubt],
    strangers: Sequence[Task],
    sources: Mapping[str, Source],
    *,
    complete: bool,
    kept: Mapping[str, bool],
    clock: ServiceClock | None = None,
) -> list[Proof]:
    """Return the proof of each doubt, from the unknown tasks and what their sources show.

    Args:
        doubts: the submissions in question.
        strangers: tasks that are not known to be ours or older, newest first.
        sources: what was read of tasks' sources, by task id.
        complete: whether `strangers` are all that there are since the first of the submissions.
        kept: see `kept_kinds`.
        clock: see `service_clock`.
    """
    live = [task for task in strangers if task.status not in WITHOUT_RESULT]
    index = _Index.of(live, sources, _shown_names(strangers))
    found = _matches(doubts, index, clock)
    taken = {task.task_id for task in found.values()}
    kept = {**{media_kind(doubts[number].name): True for number in found if not doubts[number].url_key}, **kept}
    rest = [task for task in live if task.task_id not in taken]
    unread = [task for task in rest if (source := sources.get(task.task_id)) is None or source.size is None]
    proofs = []
    for number, doubt in enumerate(doubts):
        if number in found:
            proofs.append(Proof(task=found[number]))
            continue
        possible: Iterable[Task] = rest
        if doubt.size is not None and kept.get(media_kind(doubt.name)):
            # Every other task was certainly made from something else.
            possible = (task for task in itertools.chain(unread, index.like(doubt)) if task.task_id not in taken)
        first = {task.task_id: task for task in itertools.islice(possible, _SHOWN_CANDIDATES)}
        proofs.append(_unproven(tuple(first.values()), complete=complete))
    return proofs


def _unproven(possible: tuple[Task, ...], *, complete: bool) -> Proof:
    if possible:
        return Proof(candidates=possible, reason="a task in the list may be the one")
    if complete:
        return Proof(absent=True)
    return Proof(reason="the list of tasks cannot be read back to the submission")


def _matches(doubts: Sequence[Doubt], index: _Index, clock: ServiceClock | None) -> dict[int, Task]:
    """Return the task that is ours for each doubt that has one, by the doubt's number; no task comes twice.

    Tasks that show just the options that were sent go first: another may have sent the same file with others.
    """
    found: dict[int, Task] = {}
    taken: set[str] = set()
    by_time = sorted(range(len(doubts)), key=lambda number: doubts[number].since)
    contested = _contested_options(doubts)
    for is_exact in (True, False):
        queues: dict[object, Iterator[Task]] = {}
        for number in by_time:
            doubt = doubts[number]
            if number in found:
                continue
            identity = (doubt.media, repr(doubt.options))
            if identity not in queues:
                names = contested[doubt.url_key or doubt.size]
                same = (task for task in index.same(doubt) if index.may_have(doubt.options, task, names))
                queues[identity] = iter([task for task in same if not is_exact or _shows_options(doubt.options, task)])
            for task in queues[identity]:
                if task.task_id not in taken and (not doubt.url_key or is_after(task, doubt.since, clock)):
                    found[number] = task
                    taken.add(task.task_id)
                    break
    return found


def _contested_options(doubts: Sequence[Doubt]) -> Mapping[object, set[str]]:
    """Return the options that were sent with more than one value for what may be the same media."""
    first: dict[object, Mapping[str, Any]] = {}
    contested: dict[object, set[str]] = {}
    for doubt in doubts:
        # By size: of one submission the digest may be known, of another of the same media only the hash.
        other = first.setdefault(doubt.url_key or doubt.size, doubt.options)
        names = contested.setdefault(doubt.url_key or doubt.size, set())
        if other is not doubt.options:
            names |= {name for name in {*other, *doubt.options} if other.get(name) != doubt.options.get(name)}
    return contested


@attrs.frozen
class _Index:
    """Tasks by what their sources show, the oldest first, so that nothing is compared pair by pair."""

    _tasks: Mapping[object, Sequence[Task]]
    _sources: Mapping[str, Source]
    _shown: Collection[str]

    @classmethod
    def of(cls, live: Sequence[Task], sources: Mapping[str, Source], shown: Collection[str]) -> _Index:
        index: dict[object, list[Task]] = {}
        for task in reversed(live):
            for key in shown_url_keys(task):
                index.setdefault(key, []).append(task)
            source = sources.get(task.task_id)
            if source is not None and source.size is not None:
                index.setdefault((source.size, source.tail_sha256), []).append(task)
                index.setdefault((source.size, source.sha256, "sha256"), []).append(task)
        return cls(index, sources, shown)

    def may_have(self, sent: Mapping[str, Any], task: Task, contested: Collection[str]) -> bool:
        """Return whether a task may have been started with these options.

        An option that the service shows of other tasks, and not of this one, was not sent with it. One that was sent
        with two values for the same media has to be shown.
        """
        for name in {*sent, *contested}:
            wanted, shown = _plain(sent.get(name)), _shown_option(task, name)
            if name in contested:
                if name not in self._shown or not _same_value(wanted, shown):
                    return False
            elif wanted is not None and shown is None and name in self._shown:
                return False
        return options_agree(sent, task)

    def same(self, doubt: Doubt) -> Iterator[Task]:
        """Iterate over the tasks that show the very URL, or certainly were made from the media."""
        if doubt.url_key is not None:
            yield from self._tasks.get(doubt.url_key, ())
            return
        seen = set()
        for task in self._made_from(doubt, _telling_keys(doubt)):
            if task.task_id not in seen and is_same_media(doubt, self._sources[task.task_id]):
                seen.add(task.task_id)
                yield task

    def like(self, doubt: Doubt) -> Iterator[Task]:
        """Iterate over the tasks that were, or may have been, made from the media; a task may come twice."""
        unread = (doubt.size, None) if doubt.digest is not None else (doubt.size, None, "sha256")
        return self._made_from(doubt, [*_telling_keys(doubt), unread])

    def _made_from(self, doubt: Doubt, keys: Iterable[object]) -> Iterator[Task]:
        for task in itertools.chain.from_iterable(self._tasks.get(key, ()) for key in keys):
            if is_same_media(doubt, self._sources[task.task_id]) is not False:
                yield task


def _telling_keys(doubt: Doubt) -> list[object]:
    """Return the keys of an index under which a source that certainly is the media stands."""
    keys: list[object] = []
    if doubt.content is not None:
        keys.append((*doubt.content, "sha256"))
    if doubt.digest is not None:
        keys.append((doubt.size, doubt.digest.tail_sha256))
    return keys


def shown_url_keys(task: Task) -> set[str]:
    """Return the keys of the URLs that a task shows, options not counted."""
    urls = [task.file_name, *(task.extra.get(name) for name in _URL_FIELDS)]
    return {key_of_url(url.strip(), {}) for url in urls if isinstance(url, str) and "://" in url}


def _shows_options(sent: Mapping[str, Any], task: Task) -> bool:
    return all(_same_value(_plain(sent.get(name)), getattr(task, name)) for name in _TASK_OPTIONS)


def _shown_names(tasks: Iterable[Task]) -> set[str]:
    """Return the options that the service shows of some task."""
    return {name for task in tasks for name in (*_TASK_OPTIONS, *task.extra) if _shown_option(task, name) is not None}


def options_agree(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether no option that was sent is shown with another value."""
    for name, value in sent.items():
        wanted, shown = _plain(value), _shown_option(task, name)
        if wanted is not None and shown is not None and not _same_value(wanted, shown):
            return False
    return True


def _shown_option(task: Task, name: str) -> object:
    return getattr(task, name) if name in _TASK_OPTIONS else task.extra.get(name)


def hides_options(sent: Mapping[str, Any], task: Task) -> bool:
    """Return whether a task does not show an option that was sent."""
    return any(sent.get(name) is not None and getattr(task, name) is None for name in _TASK_OPTIONS)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _same_value(sent: object, shown: object) -> bool:
    scalars = (str, int, float)
    if sent is None or shown is None:
        return sent is shown
    if not isinstance(sent, scalars) or not isinstance(shown, scalars):
        return True  # what is nested may be shown in many ways
    return str(sent).strip().casefold() == str(shown).strip().casefold()
