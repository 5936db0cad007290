"""What became of a submission that was sent whole and got no usable answer. Pure: decided from list and sources.

The list is read from now back past the submission. A task in it is ours if its bytes are: `/source` shows the size and
parts of what it was made from. Names and times never prove anything: a time only rules a task out, and not against its
bytes. Whether the service keeps the bytes that were sent is known from tasks that are ours (A18).

| verdict | when                                                                          | what follows               |
|---------|-------------------------------------------------------------------------------|----------------------------|
| ours    | a task has the same bytes; it shows the options that were sent, or is new and | adopted                    |
|         |   its options do not contradict                                               |                            |
| absent  | the list is complete back past the submission, and every task in it certainly | sent again                 |
|         |   is another's; twice                                                         |                            |
| unknown | the list cannot be read, or a task remains that may be ours, or one that is   | `SubmissionUncertainError` |
|         |   dated before has the same bytes, as far as such are read                    |                            |

Failed and cancelled tasks are never adopted. A URL has no bytes to compare: a task is ours if it shows the very URL and
was certainly created since, by the service's clock as tasks of our own show it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from .._uploads.fingerprint import TAIL_BYTES, MediaDigest, key_of_url
from .known_tasks import SentMedia, ServiceClock, is_after, media_kind
from .task_options import (
    contested_options,
    options_agree,
    same_value,
    shown_option,
    shown_options,
    shows_enough,
    shows_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from .._errors import PolyglotError
    from .._models import Task

Kind: TypeAlias = tuple[str, bool]
"""The suffix of media, and whether it is that of tasks at their end."""

COMPARED_WHOLE = 1 << 30
"""Up to this size media are compared whole: two editions of a show may have the same length, beginning and end."""
_LATE_SECONDS = 60.0
_LONGEST_LATE_SECONDS = 300.0
"""What has not come after so long is taken for not accepted."""
_SHOWN_CANDIDATES = 20
WITHOUT_RESULT = frozenset({"failed", "cancelled"})
_URL_FIELDS = ("url", "source_url", "media_url")


@attrs.frozen(kw_only=True, eq=False)
class Submission:
    """A submission of which nobody knows whether it was accepted, and what its task would be recognised by.

    Attributes:
        name: the file's name as sent.
        since: when its first byte left, Unix seconds.
        options: options as sent.
        digest: of the media that was sent, where known.
        content: size and hexadecimal SHA-256 of the media, where known.
        url_key: for a URL, its key without options.
        late_seconds: for how long its task may yet come, because nobody waited for the service's own answer.
    """

    name: str
    since: float
    options: Mapping[str, Any] = attrs.field(factory=dict)
    digest: MediaDigest | None = None
    content: tuple[int, str] | None = None
    url_key: str | None = None
    late_seconds: float = 0.0

    @property
    def size(self) -> int | None:
        """Bytes of the media, where known."""
        return self.digest.size if self.digest else self.content[0] if self.content else None

    @property
    def media(self) -> object:
        """What is equal for equal media."""
        return self.url_key, self.content, self.digest


def late_seconds(*, waited: float = 0.0, gave_up: bool = False, since: float = 0.0) -> float:
    """Return for how many seconds a task may yet come when nobody has its answer.

    A minute is little, and what was slow before may be as slow again.

    Args:
        waited: seconds that the answer was waited for.
        gave_up: whether somebody gave up waiting: then the service is at work still, nobody knows for how long.
        since: seconds that have passed since then.
    """
    longest = _LONGEST_LATE_SECONDS if gave_up else min(max(_LATE_SECONDS, 2 * waited), _LONGEST_LATE_SECONDS)
    return min(max(0.0, longest - since), longest)


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
        is_final: whether the task was at its end: some services transcode what they have, or copy it, until then.
    """

    size: int | None
    tail_sha256: bytes | None = None
    is_distinctive: bool = False
    head_sha256: bytes | None = None
    checksum: int | None = None
    sha256: str | None = None
    is_final: bool = True


def is_same_media(submission: Submission, source: Source) -> bool | None:
    """Return whether a source is a submission's media; None where what was read of it does not tell."""
    digest, content = submission.digest, submission.content
    if source.size is None or (digest is None and content is None):
        return None
    if source.size != submission.size:
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


def tells_too_little(source: Source, submissions: Iterable[Submission]) -> bool:
    """Return whether more of a source has to be read before it is known whose media it is."""
    return source.sha256 is None and any(is_same_media(submission, source) is None for submission in submissions)


def kept_kinds(own: Mapping[str, SentMedia], sources: Mapping[str, Source]) -> dict[Kind, bool]:
    """Return for kinds of media, of tasks at their end and of others, whether sources are kept as they were sent.

    Tasks of our own show it (A18).
    """
    kept: dict[Kind, bool] = {}
    for task_id, source in sources.items():
        sent = own.get(task_id)
        if sent is not None and source.size is not None:
            kind = media_kind(sent.name), source.is_final
            same_end = sent.digest is None or source.tail_sha256 in {None, sent.digest.tail_sha256}
            kept[kind] = kept.get(kind, True) and sent.size == source.size and same_end
    return kept


def decide(
    submissions: Sequence[Submission],
    candidates: Sequence[Task],
    sources: Mapping[str, Source],
    *,
    complete: bool,
    kept: Mapping[Kind, bool],
    clock: ServiceClock | None = None,
    is_new: Callable[[Task, float], bool] = lambda _task, _since: False,
    dated_before: Sequence[Task] = (),
) -> list[Proof]:
    """Return the proof of each submission, from the unknown tasks and what their sources show.

    Args:
        submissions: the submissions in question.
        candidates: tasks that are not known to be ours or older, newest first.
        sources: what was read of tasks' sources, by task id.
        complete: whether `candidates` are all that there are since the first of the submissions.
        kept: see `kept_kinds`.
        clock: see `service_clock`.
        is_new: whether a task certainly was not there before a moment, see `Listing.newness`.
        dated_before: tasks that only their times rule out. Where one has the same bytes, the time may be wrong.
    """
    live = [task for task in candidates if task.status not in WITHOUT_RESULT]
    index = _Index.of(live, sources, shown_options(candidates))
    found = _matches(submissions, index, clock, is_new)
    taken = {task.task_id for task in found.values()}
    shown = ((submissions[number], task) for number, task in found.items() if submissions[number].url_key is None)
    kept = {**{(media_kind(submission.name), task.status.is_final): True for submission, task in shown}, **kept}
    rest = [task for task in live if task.task_id not in taken]
    sizes = {task_id: source.size for task_id, source in sources.items() if source.size is not None}
    unread = [task for task in rest if task.task_id not in sizes]
    read = [(task, sizes[task.task_id]) for task in rest if task.task_id in sizes]
    ended = [task for task, _ in read if task.status.is_final]
    running = [(task, size) for task, size in read if not task.status.is_final]
    older = _Index.of([task for task in dated_before if task.status not in WITHOUT_RESULT], sources, ())
    proofs = []
    for number, submission in enumerate(submissions):
        if number in found:
            proofs.append(Proof(task=found[number]))
            continue
        possible: Iterable[Task] = rest
        if submission.size is not None:
            # Where sources are kept, every other task was certainly made from something else.
            like = (task for task in index.like(submission) if task.task_id not in taken)
            changed = _that_may_be_changed(submission, ended, running, kept)
            possible = itertools.chain(unread, like, changed, older.same(submission))
        first = {task.task_id: task for task in itertools.islice(possible, _SHOWN_CANDIDATES)}
        proofs.append(_unproven(tuple(first.values()), complete=complete))
    return proofs


def _that_may_be_changed(
    submission: Submission,
    ended: Sequence[Task],
    running: Sequence[tuple[Task, int]],
    kept: Mapping[Kind, bool],
) -> Iterator[Task]:
    """Iterate over the tasks whose sources, though others, may have been made from a submission's media."""
    kind, size = media_kind(submission.name), submission.size or 0
    is_kept_at_end, is_kept_before = kept.get((kind, True), False), kept.get((kind, False))
    if not is_kept_at_end:
        yield from ended
    if not is_kept_before:
        # What is kept at the end may be shown in part until then, and never as more than it is.
        only_in_part = is_kept_before is None and is_kept_at_end
        yield from (task for task, shown in running if shown < size or not only_in_part)


def _unproven(possible: tuple[Task, ...], *, complete: bool) -> Proof:
    if possible:
        return Proof(candidates=possible, reason="a task in the list may be the one")
    if complete:
        return Proof(absent=True)
    return Proof(reason="the list of tasks cannot be read back to the submission")


def _matches(
    submissions: Sequence[Submission],
    index: _Index,
    clock: ServiceClock | None,
    is_new: Callable[[Task, float], bool],
) -> dict[int, Task]:
    """Return the task that is ours for each submission that has one, by the submission's number; no task comes twice.

    Tasks that show just the options that were sent go first: another may have sent the same file with others. Where an
    option is not shown, a task has to be new as well: the same file may have been transcribed before, without it.
    """
    found: dict[int, Task] = {}
    taken: set[str] = set()
    by_time = sorted(range(len(submissions)), key=lambda number: submissions[number].since)
    contested = contested_options(
        (submission.url_key or submission.size, submission.options) for submission in submissions
    )
    for is_exact in (True, False):
        queues: dict[object, Iterator[Task]] = {}
        for number in by_time:
            submission = submissions[number]
            if number in found:
                continue
            identity = (submission.media, repr(submission.options))
            if identity not in queues:
                names = contested[submission.url_key or submission.size]
                same = (task for task in index.same(submission) if index.may_have(submission.options, task, names))
                eligible = [
                    task
                    for task in same
                    if (not is_exact or shows_options(submission.options, task))
                    and (shows_enough(submission.options, task) or is_new(task, submission.since))
                ]
                queues[identity] = iter(eligible)
            for task in queues[identity]:
                if task.task_id not in taken and (not submission.url_key or is_after(task, submission.since, clock)):
                    found[number] = task
                    taken.add(task.task_id)
                    break
    return found


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
            wanted, shown = sent.get(name), shown_option(task, name)
            if name in contested:
                if name not in self._shown or not same_value(wanted, shown):
                    return False
            elif wanted is not None and shown is None and name in self._shown:
                return False
        return options_agree(sent, task)

    def same(self, submission: Submission) -> Iterator[Task]:
        """Iterate over the tasks that show the very URL, or certainly were made from the media."""
        if submission.url_key is not None:
            yield from self._tasks.get(submission.url_key, ())
            return
        seen = set()
        for task in self._made_from(submission, _telling_keys(submission)):
            if task.task_id not in seen and is_same_media(submission, self._sources[task.task_id]):
                seen.add(task.task_id)
                yield task

    def like(self, submission: Submission) -> Iterator[Task]:
        """Iterate over the tasks that were, or may have been, made from the media; a task may come twice."""
        unread = (submission.size, None) if submission.digest is not None else (submission.size, None, "sha256")
        return self._made_from(submission, [*_telling_keys(submission), unread])

    def _made_from(self, submission: Submission, keys: Iterable[object]) -> Iterator[Task]:
        for task in itertools.chain.from_iterable(self._tasks.get(key, ()) for key in keys):
            if is_same_media(submission, self._sources[task.task_id]) is not False:
                yield task


def _telling_keys(submission: Submission) -> list[object]:
    """Return the keys of an index under which a source that certainly is the media stands."""
    keys: list[object] = []
    if submission.content is not None:
        keys.append((*submission.content, "sha256"))
    if submission.digest is not None:
        keys.append((submission.size, submission.digest.tail_sha256))
    return keys


def shown_url_keys(task: Task) -> set[str]:
    """Return the keys of the URLs that a task shows, options not counted."""
    urls = [task.file_name, *(task.extra.get(name) for name in _URL_FIELDS)]
    return {key_of_url(url.strip(), {}) for url in urls if isinstance(url, str) and "://" in url}
