"""What one caller wants to know of its submissions, how often the list is looked at for it, and when it has its answer.

| after a look                                          | what follows                                             |
|-------------------------------------------------------|----------------------------------------------------------|
| every submission has a task                           | answered                                                 |
| some are absent, and the list was complete            | it is looked at again, at least once a minute; answered  |
|                                                       |   when that is so still after the recheck delay          |
| none is absent, or no look was complete               | it is looked at now and then for a minute, then answered |

The recheck delay is that of the list, see `sightings`, or longer where a task may come late, see `proof.late_seconds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import attrs

from .proof import Proof
from .sightings import PROMPT_SECONDS, UNKNOWN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._errors import ServiceUnavailableError
    from .proof import Submission

_LONGEST_UNSURE = 60.0
_LONGEST_UNCONFIRMED = 120.0
"""Beyond the recheck delay, where the list cannot be read to its end again."""


@attrs.define(eq=False, repr=False)
class Inquiry:
    """Submissions that one caller asks about.

    Attributes:
        submissions: what it asks about.
        timeout: for how many seconds it waits for a service that is down.
        proofs: of each submission, as far as is known.
        outage: why there is no answer.
        is_answered: whether it has ended.
        changed: set when it is answered, and when it is to look itself.
    """

    submissions: Sequence[Submission]
    timeout: float
    proofs: list[Proof | None] = attrs.field(init=False)
    outage: ServiceUnavailableError | None = attrs.field(default=None, init=False)
    is_answered: bool = attrs.field(default=False, init=False)
    changed: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _age: float = attrs.field(default=0.0, init=False)  # since the first look
    _waited: float | None = attrs.field(default=None, init=False)  # since the first look that was complete

    def __attrs_post_init__(self) -> None:
        self.proofs = [None] * len(self.submissions)

    def look_ended(self, *, complete: bool, list_delay: float) -> float:
        """Note a look; return after how many seconds the next one is due, and 0 where none is.

        Args:
            complete: whether the list was read as far as it takes to prove absence.
            list_delay: after how many seconds this list proves absence, as is known after the look.
        """
        recheck_delay = max(list_delay, *(submission.late_seconds for submission in self.submissions))
        is_confirmed = complete and self._waited is not None and self._waited >= recheck_delay
        if complete and self._waited is None:
            self._waited = 0.0
        has_all = all(proof and proof.task for proof in self.proofs)
        if self._waited is not None and any(proof and proof.absent for proof in self.proofs):
            longest = recheck_delay + _LONGEST_UNCONFIRMED
            seconds = min(max(recheck_delay - self._waited, PROMPT_SECONDS), UNKNOWN_SECONDS)
        else:  # a source that is missing, or a list that is late, may come
            longest = _LONGEST_UNSURE
            seconds = min(PROMPT_SECONDS + self._age, max(longest - self._age, PROMPT_SECONDS))
        if has_all or is_confirmed or self._age >= longest:
            self._answer(is_confirmed=is_confirmed)
            return 0.0
        return seconds

    def passed(self, seconds: float) -> None:
        """Note that time has passed since the last look."""
        self._age += seconds
        self._waited = None if self._waited is None else self._waited + seconds

    def fail(self, outage: ServiceUnavailableError) -> None:
        """End without an answer."""
        self.outage, self.is_answered = outage, True
        self.changed.set()

    def _answer(self, *, is_confirmed: bool) -> None:
        if not is_confirmed:
            single = Proof(reason="the list of tasks could be read only once")
            self.proofs = [single if proof and proof.absent else proof for proof in self.proofs]
        self.is_answered = True
        self.changed.set()
