"""What became of an ambiguous submission: the verdict is never wrong, whatever the list and the sources show."""

import enum
import hashlib
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.proof import (
    MediaDigest,
    SentMedia,
    ServiceClock,
    Source,
    Submission,
    decide,
    is_same_media,
    kept_kinds,
    key_of_url,
)

KEPT = {(".mp3", True): True, (".mp3", False): True}
NOON = datetime(2026, 5, 24, 12, tzinfo=UTC)


@attrs.frozen
class Media:
    """Media as far as it matters here. Only where the end is silence may two with one head and one end differ."""

    size: int
    head: str
    body: str
    tail: str

    @property
    def is_small(self):
        return self.size <= 64 << 10

    @property
    def digest(self):
        return MediaDigest(self.size, _sha(self.tail), _sha(self.head), hash((self.head, self.body, self.tail)))

    @property
    def content(self):
        return self.size, _sha(self).hex()


def _sha(value):
    return hashlib.sha256(repr(value).encode()).digest()


def media_of(size, head, body, tail):
    if size < 1000:
        head = body = tail  # 64 KiB are all of it
    return Media(size, head, body if tail == "silence" else head, tail)


MEDIA = st.builds(
    media_of,
    st.sampled_from([100, 100_000, 9_000_000]),
    st.sampled_from(["head", "other head"]),
    st.sampled_from(["words", "other words"]),
    st.sampled_from(["silence", "end", "other end"]),
)


def read(media, how):
    """What is known of a source, by how much of it was read."""
    end = Source(media.size, _sha(media.tail), media.tail != "silence")
    match how:
        case "nothing":
            return None
        case "no size":
            return Source(None)
        case "size":
            return Source(media.size)
        case "end":
            return end
        case "head":
            return attrs.evolve(end, head_sha256=_sha(media.head))
    whole = attrs.evolve(end, head_sha256=_sha(media.head), checksum=media.digest.checksum)
    return whole if how == "checksum" else attrs.evolve(whole, sha256=media.content[1])


READINGS = ["nothing", "no size", "size", "end", "head", "checksum", "whole"]


@attrs.frozen(eq=False)
class Made:
    """A task of the world, and what it truly was made from and with. `by` is the number of our submission, or None."""

    task: Task
    media: Media
    options: dict
    by: int | None


@attrs.frozen
class World:
    """Our submissions, all tasks, and what can be seen of them."""

    submissions: list
    sent: list
    tasks: list
    sources: dict
    complete: bool
    kept: dict


OPTIONS = st.sampled_from([{}, {"output_language": "ru"}, {"output_language": "en"}])
STATUSES = st.sampled_from(["queued", "processing", "completed", "completed", "failed", "cancelled", "new status"])


@st.composite
def worlds(draw, *, readings=READINGS, shows_options=None, keeps=None, complete=None):
    """Worlds with tasks of ours and of others, equal in many ways; the service keeps what was sent, or transcodes."""
    shows_options = draw(st.booleans()) if shows_options is None else shows_options
    keeps = draw(st.booleans()) if keeps is None else keeps
    sent = draw(st.lists(st.tuples(MEDIA, OPTIONS, st.booleans()), min_size=1, max_size=6))
    others = draw(st.lists(st.tuples(MEDIA, OPTIONS), max_size=6))
    started = [(media, options, number) for number, (media, options, made) in enumerate(sent) if made]
    started += [(media, options, None) for media, options in others]
    made, sources = [], {}
    for number, (media, options, by) in enumerate(draw(st.permutations(started))):
        shown = options if shows_options else {}
        status = TaskStatus(draw(STATUSES))
        made.append(Made(Task(task_id=f"t{number}", status=status, file_name="talk.mp3", **shown), media, options, by))
        kept = media if keeps else Media(media.size // 3, "transcoded", "transcoded", media.tail)
        source = read(kept, draw(st.sampled_from(readings)))
        if source is not None:
            sources[f"t{number}"] = source
    submissions = []
    for media, options, _ in sent:
        digest = media.digest if draw(st.integers(0, 3)) else None
        content = media.content if digest is None or draw(st.booleans()) else None
        submissions.append(Submission(name="talk.mp3", since=0.0, options=options, digest=digest, content=content))
    complete = draw(st.booleans()) if complete is None else complete
    listed = made if complete else made[: draw(st.integers(0, len(made)))]
    if shows_options:  # else nobody could tell an option that was not sent from one that is not shown
        listed = [*listed, Made(task(99, status=TaskStatus.FAILED, output_language="de"), None, {}, None)]
    known = draw(st.booleans())
    kept = {(".mp3", True): keeps, (".mp3", False): keeps} if known else {}
    return World(submissions, sent, listed, sources, complete, kept)


def verdicts(world, **changes):
    return decide(
        world.submissions,
        [made.task for made in world.tasks],
        world.sources,
        **{"complete": world.complete, "kept": world.kept, **changes},
    )


def group(media, options):
    return media, tuple(sorted(options.items()))


def test_an_option_that_is_shown_of_other_tasks_was_not_sent_with_one_without_it():
    untranslated, other = task(), task(1, output_language="de")
    sent = submission(options={"output_language": "ru"})
    sources = {"t0": read(SHORT, "whole"), "t1": read(FILM, "whole")}
    assert (untranslated,) == one_verdict([untranslated, other], sources, of=sent, new={"t0"}).candidates
    assert untranslated == one_verdict([untranslated], sources, of=sent, new={"t0"}).task


@pytest.mark.parametrize("sent", [{"output_language": "ru"}, {"model": "fast"}, {"diarize": True}])
def test_a_task_that_does_not_show_what_was_sent_may_be_an_older_one(sent):
    listed, sources = task(), {"t0": read(SHORT, "whole")}
    assert (listed,) == one_verdict([listed], sources, of=submission(options=sent)).candidates
    assert listed == one_verdict([listed], sources, of=submission(options=sent), new={"t0"}).task


def test_a_translation_that_was_not_asked_for_may_be_that_of_an_older_task():
    listed, sources = task(model="fast", input_language="en", output_language="ru"), {"t0": read(SHORT, "whole")}
    assert (listed,) == one_verdict([listed], sources).candidates
    original = attrs.evolve(listed, output_language=None)
    assert original == one_verdict([original], sources).task


@settings(max_examples=600)
@given(worlds(shows_options=True))
def test_a_verdict_is_never_wrong(world):
    """What is adopted is made from our bytes with our options and lives; what is absent was not made."""
    made = {one.task.task_id: one for one in world.tasks}
    proofs = verdicts(world)

    adopted = [proof.task.task_id for proof in proofs if proof.task]
    assert len(adopted) == len(set(adopted)), "two submissions have two tasks"
    absent, missing = Counter(), Counter()
    for (media, options, was_made), proof in zip(world.sent, proofs, strict=True):
        if proof.task:
            one = made[proof.task.task_id]
            assert media == one.media
            assert options.items() <= one.options.items(), "what was not sent is the service's to fill in"
            assert proof.task.status not in {"failed", "cancelled"}
        absent[group(media, options)] += proof.absent
        missing[group(media, options)] += not was_made
    # Of equal submissions it is the same which of them has which task. A failed task may be sent again.
    for one in world.tasks:
        if one.by is not None and one.task.status in {"failed", "cancelled"}:
            missing[group(one.media, one.options)] += 1
    for key, count in absent.items():
        assert not count or world.complete
        assert count <= missing[key], "what was accepted is sent again"


@settings(max_examples=500)
@given(worlds(shows_options=False))
def test_where_options_are_not_shown_the_bytes_are_ours_all_the_same(world):
    made = {one.task.task_id: one for one in world.tasks}
    for (media, _, _), proof in zip(world.sent, verdicts(world), strict=True):
        if proof.task:
            assert media == made[proof.task.task_id].media


@given(worlds(readings=["whole"], shows_options=True, keeps=True, complete=True))
def test_with_true_sources_nothing_stays_unknown_but_what_the_same_bytes_with_other_options_leave_open(world):
    bytes_of_others = Counter(one.media for one in world.tasks if one.task.status not in {"failed", "cancelled"})
    for (media, _, _), proof in zip(world.sent, verdicts(world, kept=KEPT), strict=True):
        assert proof.task or proof.absent or bytes_of_others[media]


@given(worlds(keeps=False))
def test_a_service_that_transcodes_leaves_everything_unknown_while_a_task_is_there(world):
    living = [one for one in world.tasks if one.task.status not in {"failed", "cancelled"}]
    for proof in verdicts(world):
        if living:
            assert (None, False) == (proof.task, proof.absent)
            assert proof.candidates
            assert proof.reason


@given(worlds())
def test_a_list_that_does_not_reach_back_proves_no_absence(world):
    for proof in verdicts(world, complete=False):
        assert not proof.absent
        assert proof.task or proof.reason


def task(number=0, **fields):
    return Task(**{"task_id": f"t{number}", "status": TaskStatus.QUEUED, **fields})


FILM = media_of(9_000_000, "head", "words", "end")
SHORT = media_of(100, "", "", "end")
SILENT = media_of(100_000, "head", "words", "silence")


def submission(media=SHORT, **fields):
    return Submission(**{"name": "talk.mp3", "since": 0.0, "digest": media.digest, **fields})


def one_verdict(tasks, sources, *, of=None, complete=True, kept=KEPT, clock=None, new=()):
    known = {"complete": complete, "kept": kept, "clock": clock}
    (proof,) = decide([of or submission()], tasks, sources, **known, is_new=lambda task, _: task.task_id in new)
    return proof


def test_an_empty_list_proves_absence_without_knowing_the_service():
    assert one_verdict([], {}, kept={}).absent


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_has_failed_is_not_adopted(status):
    """Its own bytes, and nothing else in the list: it is sent again."""
    proof = one_verdict([task(status=TaskStatus(status))], {"t0": read(SHORT, "whole")})
    assert (None, True) == (proof.task, proof.absent)


def test_names_and_times_prove_nothing():
    same_name = task(file_name="talk.mp3", created_at=NOON)
    assert one_verdict([same_name], {"t0": read(media_of(100, "", "", "other end"), "whole")}).absent
    assert (same_name,) == one_verdict([same_name], {}).candidates


@pytest.mark.parametrize("how", ["size", "end", "head"])
def test_the_same_length_and_the_same_silent_end_are_not_the_same_recording(how):
    """Two tracks of one podcast are of equal length, and one of them is silent at the end of both."""
    other = media_of(100_000, "head", "other words", "silence")
    proof = one_verdict([task()], {"t0": read(other, how)}, of=submission(SILENT))
    assert ((task(),), None, False) == (proof.candidates, proof.task, proof.absent)
    assert one_verdict([task()], {"t0": read(other, "checksum")}, of=submission(SILENT)).absent
    assert task() == one_verdict([task()], {"t0": read(SILENT, "checksum")}, of=submission(SILENT)).task


def test_head_and_end_of_a_film_are_enough_where_the_end_is_its_own():
    assert task() == one_verdict([task()], {"t0": read(FILM, "head")}, of=submission(FILM)).task


def test_a_file_that_is_gone_is_recognised_by_the_hash_of_the_whole():
    gone = submission(digest=None, content=FILM.content)
    assert task() == one_verdict([task()], {"t0": read(FILM, "whole")}, of=gone).task
    assert (task(),) == one_verdict([task()], {"t0": read(FILM, "head")}, of=gone).candidates
    assert one_verdict([task()], {"t0": read(media_of(9_000_000, "other head", "", "end"), "whole")}, of=gone).absent


def test_nothing_is_excluded_for_media_of_which_nothing_is_known():
    unknown = submission(digest=None)
    assert (task(),) == one_verdict([task()], {"t0": read(SHORT, "whole")}, of=unknown).candidates


def test_one_kind_of_media_tells_nothing_of_another():
    """A service may keep MP3 and transcode video."""
    film = submission(name="film.mp4")
    other = {"t0": read(SILENT, "whole")}
    assert one_verdict([task()], other, of=film, kept={(".mp3", True): True}).candidates
    assert one_verdict([task()], other, of=film, kept={(".mp4", True): True}).absent
    assert one_verdict([task()], other, of=film, kept={(".mp4", True): False}).candidates


def test_what_is_found_by_its_bytes_shows_that_bytes_are_kept():
    found, absent = decide(
        [submission(), submission(SILENT)], [task()], {"t0": read(SHORT, "whole")}, complete=True, kept={}
    )
    assert (task(), True) == (found.task, absent.absent)


def test_equal_submissions_have_the_tasks_in_the_order_in_which_they_were_made():
    first, second = submission(since=1.0), submission(since=2.0)
    tasks = [task(2), task(1)]  # newest first
    sources = dict.fromkeys(("t1", "t2"), read(SHORT, "whole"))
    proofs = decide([second, first], tasks, sources, complete=True, kept=KEPT)
    assert ["t2", "t1"] == [proof.task.task_id for proof in proofs]
    (one,) = decide([first], tasks, sources, complete=True, kept=KEPT)
    assert "t1" == one.task.task_id


class Language(enum.StrEnum):
    RUSSIAN = "ru"


@pytest.mark.parametrize(
    ("sent", "shown", "agrees"),
    [
        ({}, {}, True),
        ({"output_language": "ru"}, {"output_language": "ru"}, True),
        ({"output_language": "ru"}, {"output_language": "RU"}, True),
        ({"output_language": Language.RUSSIAN}, {"output_language": "ru"}, True),
        ({"output_language": "ru"}, {"output_language": "en"}, False),
        ({"output_language": "ru"}, {}, True),
        ({"output_language": None}, {"model": "fast"}, True),
        ({"model": "fast"}, {"model": "slow"}, False),
        ({"input_language": "auto"}, {"input_language": "en"}, False),
        ({"speakers": 2}, {"extra": {"speakers": 2}}, True),
        ({"speakers": 2}, {"extra": {"speakers": "2"}}, True),
        ({"speakers": 2}, {"extra": {"speakers": 3}}, False),
        ({"speakers": [2]}, {"extra": {"speakers": "2"}}, True),
        ({"diarize": True}, {"extra": {"diarize": "true"}}, True),
    ],
)
def test_options_may_not_contradict(sent, shown, agrees):
    listed = task(**shown)
    proof = one_verdict([listed], {"t0": read(SHORT, "whole")}, of=submission(options=sent), new={"t0"})
    assert listed == proof.task if agrees else (listed,) == proof.candidates
    assert not proof.absent, "the service may show an option otherwise than it was sent"


def test_a_task_with_just_the_options_that_were_sent_goes_first():
    tasks = [task(2, output_language="ru"), task(1)]
    sources = dict.fromkeys(("t1", "t2"), read(SHORT, "whole"))
    submissions = [submission(options={"output_language": "ru"}), submission()]
    proofs = decide(submissions, tasks, sources, complete=True, kept=KEPT)
    assert ["t2", "t1"] == [proof.task.task_id for proof in proofs]


def test_the_same_file_with_two_sets_of_options_is_not_told_apart_where_options_are_not_shown():
    tasks, sources = [task()], {"t0": read(SHORT, "whole")}
    submissions = [submission(options={"output_language": "ru"}), submission(options={"output_language": "en"})]
    for proof in decide(submissions, tasks, sources, complete=True, kept=KEPT):
        assert (None, False, (task(),)) == (proof.task, proof.absent, proof.candidates)


URL = "https://media.example/latest.mp3"


def url_submission(**fields):
    return submission(**{"digest": None, "url_key": key_of_url(URL, {}), "since": NOON.timestamp(), **fields})


@pytest.mark.parametrize("field", ["file_name", "url", "source_url", "media_url"])
@pytest.mark.parametrize(("age", "clock", "is_ours"), [
    (-1, ServiceClock(0.0, 0.0), True),
    (3600, ServiceClock(0.0, 0.0), False),
    (-1, ServiceClock(0.0), False),
    (-1, None, False),
    (None, ServiceClock(0.0, 0.0), False),
    (3600 - 3 * 3600, ServiceClock(3 * 3600.0, 3 * 3600.0), False),
    (-1 - 3 * 3600, ServiceClock(3 * 3600.0 - 1, 3 * 3600.0), True),
])  # fmt: skip
def test_a_url_is_ours_only_if_it_certainly_was_sent_since(field, age, clock, is_ours):
    """What lies at a URL may have been another recording an hour ago."""
    created = None if age is None else NOON - timedelta(seconds=age)
    shown = {"file_name": URL} if field == "file_name" else {"extra": {field: URL}}
    listed = task(created_at=created, **shown)
    proof = one_verdict([listed], {}, of=url_submission(), clock=clock)
    assert listed == proof.task if is_ours else (listed,) == proof.candidates
    assert not proof.absent


def test_another_url_is_not_ours_and_no_proof_of_absence():
    listed = task(created_at=NOON, extra={"url": f"{URL}?v=2"})
    proof = one_verdict([listed], {}, of=url_submission(), clock=ServiceClock(0.0, 0.0))
    assert (listed,) == proof.candidates


def test_a_file_may_be_called_like_a_url_key():
    assert one_verdict([task(file_name=key_of_url(URL, {}))], {}, of=url_submission()).candidates


OWN = SentMedia("talk.mp3", 100, SHORT.digest)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (read(SHORT, "whole"), {(".mp3", True): True}),
        (read(SHORT, "size"), {(".mp3", True): True}),
        (read(FILM, "whole"), {(".mp3", True): False}),
        (read(media_of(100, "", "", "silence"), "end"), {(".mp3", True): False}),
        (Source(None), {}),
    ],
)
def test_a_task_of_our_own_shows_whether_bytes_are_kept(source, kept):
    assert kept == kept_kinds({"own": OWN}, {"own": source, "other": read(SILENT, "whole")})


@pytest.mark.parametrize(
    ("kept", "status", "is_absent"),
    [
        ({(".mp3", False): True}, TaskStatus.PROCESSING, True),
        ({(".mp3", False): True}, TaskStatus.COMPLETED, False),
        ({(".mp3", True): True}, TaskStatus.PROCESSING, True),
        ({(".mp3", True): True, (".mp3", False): False}, TaskStatus.PROCESSING, False),
        ({(".mp3", True): False, (".mp3", False): True}, TaskStatus.COMPLETED, False),
    ],
)
def test_a_service_may_transcode_what_it_has_at_the_end_of_a_task_or_copy_it_until_then(kept, status, is_absent):
    other = attrs.evolve(task(), status=status)
    assert is_absent == one_verdict([other], {"t0": read(SILENT, "whole")}, kept=kept).absent


@pytest.mark.parametrize(
    ("shown", "is_absent"), [(SHORT, False), (media_of(90_000, "head", "words", "end"), False), (FILM, True)]
)
def test_what_is_kept_at_the_end_may_be_shown_in_part_until_then(shown, is_absent):
    part = attrs.evolve(task(), status=TaskStatus.PROCESSING)
    verdict = one_verdict([part], {"t0": read(shown, "whole")}, of=submission(SILENT), kept={(".mp3", True): True})
    assert is_absent == verdict.absent
    assert (() if is_absent else (part,)) == verdict.candidates


def test_one_that_is_not_kept_outweighs_others():
    sources = {"a": read(SHORT, "whole"), "b": read(FILM, "whole")}
    assert {(".mp3", True): False} == kept_kinds({"a": OWN, "b": OWN}, sources)
    assert {} == kept_kinds({}, sources)


@given(MEDIA, MEDIA, st.sampled_from(READINGS[1:]), st.booleans(), st.booleans())
@example(SILENT, media_of(100_000, "head", "other words", "silence"), "head", True, False)
def test_what_tells_two_media_apart_is_never_wrong(ours, theirs, how, has_digest, has_content):
    sent = submission(digest=ours.digest if has_digest else None, content=ours.content if has_content else None)
    assert is_same_media(sent, read(theirs, how)) in {ours == theirs, None}


@pytest.mark.parametrize("kind", ["different", "equal", "equal size", "other options", "URLs", "unread"])
def test_a_thousand_submissions_and_ten_thousand_tasks_take_linear_work(kind):
    """The bound is generous: 15 times what it takes."""
    sizes = [100] * 11_000 if kind in {"equal", "equal size", "other options"} else range(100, 11_100)
    names = ["same"] * 11_000 if kind in {"equal", "other options"} else [f"end {number}" for number in range(11_000)]
    media = [media_of(size, "", "", name) for size, name in zip(sizes, names, strict=True)]
    submissions = [
        submission(one, since=float(number), options={"model": "a"}) for number, one in enumerate(media[:1000])
    ]
    if kind == "URLs":
        submissions = [url_submission(url_key=key_of_url(f"{URL}?{number}", {})) for number in range(1000)]
    tasks = [
        task(number, model="b" if kind == "other options" else "a", extra={"url": f"{URL}?{number}"}, created_at=NOON)
        for number in range(10_000)
    ]
    sources = (
        {} if kind == "unread" else {f"t{number}": read(one, "end") for number, one in enumerate(media[500:10_500])}
    )
    began = time.process_time()
    proofs = decide(submissions, tasks, sources, complete=True, kept=KEPT, clock=ServiceClock(0.0, 0.0))
    assert 3.0 > time.process_time() - began
    found = {"different": 500, "equal": 1000, "equal size": 500, "other options": 0, "URLs": 1000, "unread": 0}[kind]
    assert found == sum(proof.task is not None for proof in proofs)
    assert all(len(proof.candidates) <= 20 for proof in proofs)


def test_one_file_with_two_options_is_told_apart_though_each_is_known_in_another_way():
    """Of the first the digest is known, of the second the hash: the task shows the options of the second."""
    media = media_of(100, "head", "words", "end")
    plain = Submission(name="a.mp3", since=0.0, digest=media.digest)
    translated = Submission(name="a.mp3", since=0.0, options={"output_language": "ru"}, content=media.content)
    made = Task(task_id="t0", status=TaskStatus.QUEUED, output_language="ru")
    first, _ = decide([plain, translated], [made], {"t0": read(media, "checksum")}, complete=True, kept=KEPT)
    assert first.task is None
