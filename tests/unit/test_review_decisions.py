"""The rules of a review, and that they hold in whatever order a reader does things."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import wetread.review.decisions
from wetread.review.decisions import (
    ACTIONS,
    LONGEST_COMMENT,
    Decision,
    DecisionRefused,
    FindingReview,
    decide,
    opened,
    replay,
    sign,
    undoing,
)

FINDINGS = ("1.1", "1.2", "1.3")


def made(tracking_uid: str, action: str, comment: str | None = None, reader: str = "Doe^Jane") -> Decision:
    return Decision(str(uuid.uuid4()), tracking_uid, action, comment, reader, "2026-03-01T08:00:00Z")  # type: ignore[arg-type]


class ReviewMachine(RuleBasedStateMachine):
    """Everything a reader may do, in any order; a model of plain dictionaries counts along."""

    def __init__(self) -> None:
        super().__init__()
        self.review = opened(FINDINGS)
        self.taken: list[Decision] = []
        self.model = dict.fromkeys(FINDINGS, ("proposed", ""))
        self.signed = False

    @rule(
        finding=st.sampled_from(FINDINGS),
        action=st.sampled_from(ACTIONS),
        comment=st.none() | st.text("ab\n", max_size=3),
    )
    def decide_something(self, finding: str, action: str, comment: str | None) -> None:
        decision = made(finding, action, comment)
        allowed = not self.signed and not (action == "comment" and comment is None)
        try:
            self.review = decide(self.review, decision)
        except DecisionRefused:
            assert not allowed
            return
        assert allowed
        state, said = self.model[finding]
        state = {"accept": "accepted", "reject": "rejected", "reset": "proposed"}.get(action, state)
        self.model[finding] = (state, said if comment is None else comment)
        self.taken.append(decision)

    @precondition(lambda self: not self.signed)
    @rule(finding=st.sampled_from(FINDINGS), action=st.sampled_from(("accept", "reject", "reset")))
    def undo_restores_what_was(self, finding: str, action: str) -> None:
        before = self.review.of(finding)
        for decision in (made(finding, action, "by mistake"), undoing(before)):
            self.review = decide(self.review, decision)
            self.taken.append(decision)
        after = self.review.of(finding)
        assert (after.state, after.comment) == (before.state, before.comment)

    @rule(undecided_ok=st.booleans())
    def sign_it(self, undecided_ok: bool) -> None:
        undecided = any(state == "proposed" for state, _ in self.model.values())
        if self.signed or (undecided and not undecided_ok):
            with pytest.raises(DecisionRefused) as caught:
                sign(self.review, undecided_ok=undecided_ok)
            assert caught.value.code == ("signed" if self.signed else "undecided")
            return
        self.review = sign(self.review, undecided_ok=undecided_ok)
        self.signed = True

    @rule(finding=st.text("13.", max_size=4).filter(lambda uid: uid not in FINDINGS))
    def a_finding_of_another_read_is_refused(self, finding: str) -> None:
        before = self.review
        with pytest.raises(DecisionRefused):
            decide(self.review, made(finding, "accept"))
        assert self.review == before

    @invariant()
    def every_finding_is_what_was_decided_last(self) -> None:
        assert {f.tracking_uid: (f.state, f.comment) for f in self.review.findings} == self.model
        assert self.review.version == len(self.taken)
        assert self.review.is_signed == self.signed

    @invariant()
    def what_was_taken_down_gives_the_same_review_however_often_it_was_sent(self) -> None:
        again = replay(FINDINGS, [*self.taken, *reversed(self.taken)])
        assert (again.findings, again.version) == (self.review.findings, self.review.version)


TestReviewMachine = ReviewMachine.TestCase
TestReviewMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "7"}, "UUID"),
        ({"action": "sign"}, "one of accept, reject, reset, comment"),
        ({"comment": "x" * (LONGEST_COMMENT + 1)}, "at most 1024"),
        ({"comment": "\x1b[2J"}, "control characters"),
        ({"action": "comment", "comment": None}, "needs its text"),
    ],
)
def test_what_is_no_decision_is_refused_with_the_reason(change: dict[str, str], says: str) -> None:
    fields = {"id": str(uuid.uuid4()), "tracking_uid": "1.1", "action": "accept"} | change
    with pytest.raises(DecisionRefused, match=says) as caught:
        decide(opened(FINDINGS), Decision(**fields))  # type: ignore[arg-type]
    assert caught.value.code == "malformed"


def test_comment_stays_when_a_later_decision_says_nothing_of_it() -> None:
    review = replay(FINDINGS, [made("1.1", "reject", "motion"), made("1.1", "accept")])
    assert (review.of("1.1").state, review.of("1.1").comment) == ("accepted", "motion")


def test_undo_names_the_state_before_whatever_it_was() -> None:
    for state, action in (("proposed", "reset"), ("accepted", "accept"), ("rejected", "reject")):
        decision = undoing(FindingReview("1.1", state, "why"))  # type: ignore[arg-type]
        assert (decision.action, decision.comment) == (action, "why")


def test_rules_need_the_standard_library_alone_and_no_other_file_of_ours() -> None:
    """The desktop's build copies this one file into viewers that have nothing else of Wetread."""
    path = Path(wetread.review.decisions.__file__)
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "sys.exit(any(m.split('.')[0] not in sys.stdlib_module_names | {'__main__'} for m in sys.modules"
        " if not m.startswith(('_', 'sitecustomize', 'usercustomize'))))"
    )
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code, str(path)], check=False).returncode == 0
