"""How the work of a decision grows: a thousand submissions in question, and ten thousand tasks in the list."""

import hashlib
import time

import pytest

from polyglot_async import Task, TaskStatus
from polyglot_async._tasks.proof import MediaDigest, Source, Submission, decide, key_of_url

DOUBTS, TASKS = 1_000, 10_000
MOST_CPU_SECONDS = 3.0  # it takes a tenth of that on a machine of today; what grows by pairs takes minutes


def sha(number):
    return hashlib.sha256(b"%d" % number).digest()


def digest(number, size=500_000):
    return MediaDigest(size, sha(number), head_sha256=sha(-number), checksum=number)


def source(number, size=500_000):
    return Source(size, sha(number), True, sha(-number), number)


def task(number, **facts):
    return Task(task_id=f"t-{number}", status=TaskStatus.COMPLETED, file_name="talk.mp3", **facts)


FILES = [Submission(name="talk.mp3", since=0.0, digest=digest(number)) for number in range(DOUBTS)]
SAME = [Submission(name="talk.mp3", since=0.0, digest=digest(7)) for _ in range(DOUBTS)]
CONTENTS = [Submission(name="talk.mp3", since=0.0, content=(500_000, sha(number).hex())) for number in range(DOUBTS)]
URLS = [Submission(name="u", since=0.0, url_key=key_of_url(f"https://a.example/{n}.mp3", {})) for n in range(DOUBTS)]
LISTED = [task(number) for number in range(TASKS)]
LISTED_URLS = [task(number, extra={"url": f"https://a.example/{number}.mp3"}) for number in range(TASKS)]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("kept", [{}, {(".mp3", True): True}, {(".mp3", True): False}], ids=str)
@pytest.mark.parametrize(
    ("submissions", "tasks", "sources"),
    [
        (FILES, LISTED, {f"t-{number}": source(number) for number in range(TASKS)}),
        (FILES, LISTED, {f"t-{number}": source(number + DOUBTS) for number in range(TASKS)}),
        (FILES, LISTED, {}),
        (FILES, LISTED, {f"t-{number}": Source(500_000) for number in range(TASKS)}),
        (FILES, LISTED, {f"t-{number}": source(7) for number in range(TASKS)}),
        (SAME, LISTED, {f"t-{number}": source(7) for number in range(TASKS)}),
        (SAME, LISTED, {f"t-{number}": Source(500_000, sha(7)) for number in range(TASKS)}),
        (CONTENTS, LISTED, {f"t-{n}": Source(500_000, sha(n), sha256=sha(n).hex()) for n in range(TASKS)}),
        (CONTENTS, LISTED, {f"t-{n}": Source(500_000, sha(n)) for n in range(TASKS)}),
        (URLS, LISTED_URLS, {}),
        (URLS, LISTED, {}),
    ],
    ids=[
        "each has its task",
        "none has",
        "no sources",
        "sizes alone, all equal",
        "all tasks of one content",
        "one content everywhere",
        "one content, ends alone",
        "by the hash of the whole",
        "hashes not read",
        "urls shown",
        "urls not shown",
    ],
)
def test_the_work_grows_with_the_sum_and_not_with_the_product(submissions, tasks, sources, kept, complete):
    began = time.process_time()
    proofs = decide(submissions, tasks, sources, complete=complete, kept=kept)
    assert time.process_time() - began < MOST_CPU_SECONDS
    assert len(submissions) == len(proofs)
    found = [proof.task.task_id for proof in proofs if proof.task is not None]
    assert len(found) == len(set(found)), "no task is two submissions'"
