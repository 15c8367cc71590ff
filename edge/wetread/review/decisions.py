"""What a person may decide about the findings of a read: all rules, in one file.

It needs the standard library and nothing else: the service and every desktop use this same file, so a decision made
while the service is away is one that the service will take.

::

    proposed ──accept──▶ accepted ──reject──▶ rejected        and back, as often as the reader likes;
        ▲                    │    ◀──accept──    │             ``reset`` proposes the finding anew,
        └────────reset───────┴───────reset───────┘             ``comment`` leaves its state alone

    any state ──sign──▶ the review is signed: nothing of it changes any more
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

PROPOSED, ACCEPTED, REJECTED = "proposed", "accepted", "rejected"
STATES = (PROPOSED, ACCEPTED, REJECTED)
"""What a finding can be."""
State = Literal["proposed", "accepted", "rejected"]

ACTIONS = ("accept", "reject", "reset", "comment")
"""What can be done with a finding."""
Action = Literal["accept", "reject", "reset", "comment"]

LONGEST_COMMENT = 1024
"""Characters of a comment (as many as DICOM's ST holds, PS3.5 Table 6.2-1)."""

_LEADS_TO: dict[str, State] = {"accept": "accepted", "reject": "rejected", "reset": "proposed"}
_DONE_BY: dict[str, Action] = {"accepted": "accept", "rejected": "reject", "proposed": "reset"}


class DecisionRefused(Exception):
    """A decision that cannot be taken; the message is a sentence for the reader, ``code`` a word for machines."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        """``signed``, ``undecided``, ``unknown-finding`` or ``malformed``."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing a reader decided."""

    id: str
    """UUID made by whoever took the decision down first: the same id twice is one decision."""
    tracking_uid: str
    """Of the finding."""
    action: Action
    comment: str | None = None
    """Takes the place of the comment so far; None leaves that."""
    reader: str = ""
    """Who decided, as DICOM PN."""
    at: str = ""
    """When, ISO 8601, by the clock of whoever took it down."""


@dataclass(frozen=True, slots=True)
class FindingReview:
    """How far the review of one finding is."""

    tracking_uid: str
    state: State = "proposed"
    comment: str = ""
    reader: str = ""
    """Who decided last; empty before anyone did."""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """The review of one read."""

    findings: tuple[FindingReview, ...]
    """In the order of the read."""
    version: int = 0
    """How many decisions were taken: a reader signs the version that was shown."""
    is_signed: bool = False

    def of(self, tracking_uid: str) -> FindingReview:
        """One finding. Raises: ``DecisionRefused`` when the read has no such finding."""
        for finding in self.findings:
            if finding.tracking_uid == tracking_uid:
                return finding
        raise DecisionRefused("unknown-finding", f"this read has no finding {tracking_uid}")

    def in_state(self, state: State) -> tuple[str, ...]:
        """Tracking UIDs of the findings in one state."""
        return tuple(f.tracking_uid for f in self.findings if f.state == state)


def opened(tracking_uids: Iterable[str]) -> Review:
    """The review of a read that nobody has looked at."""
    return Review(tuple(FindingReview(uid) for uid in tracking_uids))


def decide(review: Review, decision: Decision) -> Review:
    """The review after one more decision. Raises: ``DecisionRefused``; the review is as it was."""
    if review.is_signed:
        raise DecisionRefused("signed", "the review is signed; what was signed does not change any more")
    check(decision)
    before = review.of(decision.tracking_uid)
    after = replace(
        before,
        state=_LEADS_TO.get(decision.action, before.state),
        comment=before.comment if decision.comment is None else decision.comment,
        reader=decision.reader,
        at=decision.at,
    )
    findings = tuple(after if f is before else f for f in review.findings)
    return replace(review, findings=findings, version=review.version + 1)


def replay(tracking_uids: Sequence[str], decisions: Iterable[Decision]) -> Review:
    """The review that decisions led to, taken in this order; an id that comes again is the decision it was.

    Raises: ``DecisionRefused``.
    """
    review = opened(tracking_uids)
    seen: set[str] = set()
    for decision in decisions:
        if decision.id not in seen:
            seen.add(decision.id)
            review = decide(review, decision)
    return review


def undoing(before: FindingReview, *, reader: str = "", at: str = "") -> Decision:
    """The decision that brings a finding back to what it was; a new one, because what happened stays on record."""
    return Decision(str(uuid.uuid4()), before.tracking_uid, _DONE_BY[before.state], before.comment, reader, at)


def sign(review: Review, *, undecided_ok: bool = False) -> Review:
    """The signed review. Raises: ``DecisionRefused`` when it is signed, or has undecided findings and may not."""
    if review.is_signed:
        raise DecisionRefused("signed", "the review is signed already")
    undecided = len(review.in_state("proposed"))
    if undecided and not undecided_ok:
        many = f"{undecided} findings are" if undecided > 1 else "1 finding is"
        raise DecisionRefused("undecided", f"{many} neither accepted nor rejected; what is undecided is not reported")
    return replace(review, is_signed=True)


def check(decision: Decision) -> None:
    """Whether a decision is one. Raises: ``DecisionRefused``."""
    try:
        uuid.UUID(decision.id)
    except ValueError as exc:
        raise DecisionRefused("malformed", f"a decision's id must be a UUID, got {decision.id!r}") from exc
    if decision.action not in ACTIONS:
        raise DecisionRefused("malformed", f"action must be one of {', '.join(ACTIONS)}, got {decision.action!r}")
    if decision.action == "comment" and decision.comment is None:
        raise DecisionRefused("malformed", "a comment needs its text; an empty one removes it")
    text = decision.comment or ""
    if len(text) > LONGEST_COMMENT:
        raise DecisionRefused("malformed", f"a comment has at most {LONGEST_COMMENT} characters, got {len(text)}")
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise DecisionRefused("malformed", "a comment may hold no control characters but line ends and tabs")
