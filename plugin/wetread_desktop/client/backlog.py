"""Decisions of earlier windows that the edge does not have yet: they go there as soon as it answers.

Nobody looks at these reads now, so nothing is sent that could surprise: each goes under the name of who decided, to the
same patient of the same study as when it was decided, and only onto a read that is open, is the latest, and on which
nobody else has decided meanwhile. All else stays on disk and is counted, with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from wetread.review.decisions import Decision
from wetread_desktop.client.desk import Desk
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import EdgeError, HeldByAnother, NotHere
from wetread_desktop.client.journal import (
    NOBODY,
    Journal,
    JournalBroken,
    JournalBusy,
    Owner,
    patient_digest,
    unfinished,
    unreadable,
)
from wetread_desktop.client.panel_state import UnsentView
from wetread_desktop.client.recorder import held, wire
from wetread_desktop.client.reviews import ReviewDocument, ReviewState
from wetread_desktop.client.wording import person_name
from wetread_desktop.client.words import Sentence, say

_PAUSE_S = 5.0
"""Until the next look, while something is left."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """What one journal still holds."""

    owner: Owner
    count: int
    """0: nobody knows, because it cannot be read."""
    why: Sentence = ""
    """Empty: the edge does not answer."""
    for_good: bool = False
    """It will never be sent; a reader may forget it."""


class Backlog:
    """One look after the other on a thread of its own, as long as something is left."""

    def __init__(
        self,
        desk: Desk,
        *,
        is_open: Callable[[Owner], bool],
        told: Callable[[tuple[Unsent, ...], frozenset[str]], None],
    ) -> None:
        """``is_open``: whether a review is open here, whose decisions go their own way; ``told``, on the thread of the
        GUI: what is left after a look, and the jobs whose decisions were sent.
        """
        self._desk, self._folder = desk, desk.folder.journals
        self._is_open, self._told = is_open, told
        self._guard = threading.Condition()
        self._asked, self._closed = True, False

    def start(self) -> None:
        """Look for the first time, and from then on."""
        threading.Thread(target=self._run, name="wetread-unsent", daemon=True).start()

    def look(self) -> None:
        """Look now: the edge may answer, or something was left behind."""
        with self._guard:
            self._asked = True
            self._guard.notify_all()

    def forget(self, left: Iterable[Unsent]) -> None:
        """Give up what can never be sent; it stands in the journal why, until that is removed."""
        for unsent in left:
            if unsent.for_good:
                # Where it cannot be, it is counted again by the next look.
                with (
                    suppress(OSError, JournalBusy, JournalBroken),
                    closing(Journal(self._folder, unsent.owner)) as journal,
                ):
                    journal.dropped([d.id for d in journal.pending], "given up by the reader")
        self.look()

    def close(self) -> None:
        """Look no more; what is being sent ends by itself."""
        with self._guard:
            self._closed = True
            self._guard.notify_all()

    def _run(self) -> None:
        left: tuple[Unsent, ...] = ()
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._closed or self._asked, _PAUSE_S if left else None)
                if self._closed:
                    return
                self._asked = False
            left, sent = self._looked()
            self._tell(left, sent)

    def _tell(self, left: tuple[Unsent, ...], sent: frozenset[str]) -> None:
        self._desk.background.tell(lambda: self._told(left, sent))

    def _looked(self) -> tuple[tuple[Unsent, ...], frozenset[str]]:
        """What is left of each journal, after what can be sent was sent; an edge that is away is asked once."""
        left: list[Unsent] = []
        sent: set[str] = set()
        away = False
        for owner, count in unfinished(self._folder):
            if self._closed or self._is_open(owner):
                continue
            if owner.edge != self._desk.settings.url:
                left.append(Unsent(owner, count, say("They are for another edge: {url}", url=owner.edge or "–")))
                continue
            found = Unsent(owner, count) if away else self._delivered(Unsent(owner, count))
            away = away or (found is not None and not found.why)
            if found is None:
                sent.add(owner.job_id)
            else:
                left.append(found)
        why = (
            say("Decisions of an earlier window cannot be read: {why}", why=str(e)) for e in unreadable(self._folder)
        )
        return (*left, *(Unsent(NOBODY, 0, sentence) for sentence in why)), frozenset(sent)

    def _delivered(self, unsent: Unsent) -> Unsent | None:
        """Send one journal: what is left of it, with the reason; none when all of it is there."""
        try:
            edge = self._desk.edge()
            review = _may_take(edge, unsent.owner)
            journal = Journal(self._folder, unsent.owner)
            try:
                self._send(edge, journal, review)
            finally:
                journal.close()
        except _Stays as left:
            return replace(unsent, why=left.why, for_good=left.for_good)
        except (EdgeError, JournalBusy, JournalBroken, OSError) as error:
            return replace(unsent, why=_why(error), for_good=isinstance(error, NotHere))
        return None

    def _send(self, edge: Edge, journal: Journal, review: ReviewDocument) -> None:
        """Raises: ``_Stays``, ``EdgeError``, ``OSError``."""
        job_id = journal.owner.job_id
        for reader in dict.fromkeys(d.reader for d in journal.pending):
            mine = [d for d in journal.pending if d.reader == reader]
            if other := _decided_by_another(review, mine, reader):
                raise _Stays(say("{who} has decided on this read meanwhile: open it.", who=person_name(other)))
            if self._closed or self._is_open(journal.owner):
                raise _Stays(say("It is open in another window."))
            with held(edge.as_reader(reader), job_id) as theirs:
                theirs.decide(job_id, [wire(d) for d in mine])
                journal.sent(d.id for d in mine)


class _Stays(Exception):
    """These decisions are not sent."""

    def __init__(self, why: Sentence, *, for_good: bool = False) -> None:
        super().__init__()
        self.why, self.for_good = why, for_good


def _may_take(edge: Edge, owner: Owner) -> ReviewDocument:
    """The review that these decisions are for. Raises: ``EdgeError``; ``_Stays`` when it is not what it was."""
    result, review = edge.result(owner.job_id), edge.review(owner.job_id)
    patient = patient_digest(result.patient, result.study_instance_uid)
    if (result.study_instance_uid, patient) != (owner.study_instance_uid, owner.patient):
        raise _Stays(say("The study was another patient's when this was decided."), for_good=True)
    if result.superseded_by or review.superseded:
        raise _Stays(say("The study was read again meanwhile."), for_good=True)
    if review.state is ReviewState.SIGNED:
        raise _Stays(say("The read was signed meanwhile."), for_good=True)
    return review


def _why(error: Exception) -> Sentence:
    """Empty while the edge does not answer."""
    if isinstance(error, EdgeError) and error.retry:
        return ""
    if isinstance(error, HeldByAnother):
        return say("{who} holds this review.", who=person_name(error.holder))
    if isinstance(error, NotHere):
        return say("The edge does not have this read any more.")
    return say("It is open in another window.") if isinstance(error, JournalBusy) else str(error)


def _decided_by_another(review: ReviewDocument, decisions: Sequence[Decision], reader: str) -> str:
    """Who else has decided on one of these findings."""
    about = {d.tracking_uid for d in decisions}
    return next((f.reader for f in review.findings if f.tracking_uid in about and f.reader not in ("", reader)), "")


def view_of(left: Sequence[Unsent]) -> UnsentView:
    """For the panel: how many, and each reason once."""
    waits = say("They are sent when the edge answers.")
    why = tuple(dict.fromkeys(unsent.why or waits for unsent in left))
    return UnsentView(sum(unsent.count for unsent in left), why, any(unsent.for_good for unsent in left))
