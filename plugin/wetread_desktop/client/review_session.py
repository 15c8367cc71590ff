"""One review as the reader sees it: what the edge has, and on top of it what it does not have yet.

The rules are ``wetread/review/decisions.py``, the same file that the edge runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from wetread.review import decisions as rules
from wetread.review.decisions import Action, Decision, DecisionRefused, FindingReview, Review
from wetread_desktop.client.reviews import ReviewDocument, ReviewState

__all__ = ["DecisionRefused", "ReviewSession"]


class ReviewSession:
    """On the thread of the GUI; it waits for nothing and talks to nobody."""

    def __init__(self, document: ReviewDocument, reader: str) -> None:
        """``reader``: who decides, as DICOM PN."""
        self._reader = reader
        self._document = document
        self._asked: set[str] = set()
        self._pending: dict[str, Decision] = {}
        self._undo: list[tuple[FindingReview, ...]] = []
        self._began = False
        self._shown = _review(document)

    @property
    def document(self) -> ReviewDocument:
        """What the edge has."""
        return self._document

    @property
    def unsent(self) -> int:
        """How many decisions the edge does not have yet, those included that are not even on disk yet."""
        return len(self._pending) + len(self._asked)

    @property
    def can_undo(self) -> bool:
        """Whether this reader decided something here."""
        return bool(self._undo)

    @property
    def began_here(self) -> bool:
        """Whether anything was decided in this session."""
        return self._began

    def is_unsent(self, tracking_uid: str) -> bool:
        """Whether the edge does not know of a decision on this finding."""
        return any(d.tracking_uid == tracking_uid for d in self._pending.values())

    def of(self, tracking_uid: str) -> FindingReview:
        """One finding as it is shown."""
        return self._shown.of(tracking_uid)

    def undecided(self) -> tuple[str, ...]:
        """Tracking UIDs of what is neither accepted nor rejected."""
        return self._shown.in_state("proposed")

    def rejected(self) -> tuple[str, ...]:
        """Tracking UIDs of what is rejected."""
        return self._shown.in_state("rejected")

    def decide(self, tracking_uids: Sequence[str], action: Action, comment: str | None = None) -> list[Decision]:
        """New decisions, to be taken down before they are shown. Raises: ``DecisionRefused``; nothing has changed."""
        made = [
            Decision(str(uuid.uuid4()), uid, action, comment, self._reader, _now())
            for uid in tracking_uids
            if not _is_so(self.of(uid), action, comment)
        ]
        self._try(made)
        if made:
            self._undo.append(tuple(self.of(d.tracking_uid) for d in made))
        self._asked.update(d.id for d in made)
        return made

    def undo(self) -> list[Decision]:
        """Decisions that take the last ones back; none when there is nothing to take back."""
        if not self._undo:
            return []
        made = [rules.undoing(before, reader=self._reader, at=_now()) for before in self._undo[-1]]
        self._try(made)
        self._undo.pop()
        self._asked.update(d.id for d in made)
        return made

    def recorded(self, decision: Decision) -> None:
        """It is on disk: from now on it is shown."""
        self._asked.discard(decision.id)
        self._pending[decision.id] = decision
        self._began = True
        self._show()

    def confirmed(self, document: ReviewDocument, ids: Iterable[str]) -> None:
        """The edge answered: these are in it."""
        self._document = document
        self.gone(ids)

    def gone(self, ids: Iterable[str]) -> None:
        """These are pending no longer: the edge has them, or they were given up."""
        for one in ids:
            self._asked.discard(one)
            self._pending.pop(one, None)
        self._show()

    def _try(self, made: Sequence[Decision]) -> None:
        review = self._shown
        for decision in made:
            review = rules.decide(review, decision)

    def _show(self) -> None:
        """What the edge has and what is pending; a decision that no longer goes on top of it is left out."""
        review = _review(self._document)
        for decision in self._pending.values():
            try:
                review = rules.decide(review, decision)
            except DecisionRefused:
                continue  # signed or read anew meanwhile: the edge will refuse it too, and the reader is told then
        self._shown = review


def _is_so(finding: FindingReview, action: Action, comment: str | None) -> bool:
    """Deciding the same again is no decision."""
    done = {"accept": "accepted", "reject": "rejected", "reset": "proposed"}.get(action, finding.state)
    return finding.state == done and comment in (None, finding.comment)


def _review(document: ReviewDocument) -> Review:
    findings = tuple(FindingReview(d.tracking_uid, d.state, d.comment, d.reader, d.at) for d in document.findings)
    return Review(findings, document.version, document.state is ReviewState.SIGNED)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
