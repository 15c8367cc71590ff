"""A study that no bundle was made for, or that the guard refused: said as that, and read only when a person insists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_under_test import DeskUnderTest, edge_with_study

import desk_documents as documents
from fake_edge import FakeEdge, FakeJob
from wetread_desktop.client.cards import CardAction
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.words import catalog
from wetread_desktop.host import StudyShown

ENGLISH = catalog("en")
WHY = "CR series 2 'Chest': view is PA, expected AP"
REASONS = [WHY, "the patient is 64 years old, the bundle was made for 1 to 5 years"]


@pytest.fixture
def edge() -> Iterator[FakeEdge]:
    fake = FakeEdge()
    yield fake
    fake.down()


def edge_with_an_adult(edge: FakeEdge) -> None:
    """One bundle that was made for children, one for MR."""
    child = documents.suggestion("film", fits=False, reason=WHY, outside=REASONS, intended_use="children of 1 to 5")
    brain = documents.suggestion("brain", fits=False)
    edge.add_study(documents.study(), [brain, child])


def test_study_that_no_bundle_was_made_for_says_not_read_and_why(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_an_adult(edge)
    desk = DeskUnderTest(tmp_path, edge)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert desk.presenter.state.chosen == "film", "the one that could read it comes before one that cannot"
    assert ENGLISH(card.what) == f"Not read: {WHY}"
    assert "Nothing was found and nothing was ruled out" in ENGLISH(card.todo)
    assert card.actions == (CardAction.READ_OUTSIDE,)
    assert not card.is_failure
    assert not desk.presenter.state.primary.enabled
    desk.presenter.choose("brain")
    card = desk.presenter.state.card
    assert card is not None
    assert (ENGLISH(card.what), card.actions) == ("Not read: made for MR; this study is CT", ())
    assert desk.presenter.outside_use() is None


def test_nothing_is_read_outside_the_intended_use_unless_a_person_says_so(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_an_adult(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.presenter.state.card)
    desk.presenter.press()
    use = desk.presenter.outside_use()
    assert use is not None
    assert (use.reasons, use.intended_use, use.not_for) == (tuple(REASONS), "children of 1 to 5", ("children",))
    assert edge.jobs == {}
    desk.presenter.read_outside(use)
    desk.until(Phase.READING)
    (job,) = desk.host.until(lambda: list(edge.jobs.values()))
    assert (job.bundle, job.outside) == ("film", True)
    job.result = documents.result()
    edge.add_job(job)
    edge.tell(job, state="done")
    desk.review_findings()
    assert "Read outside the intended use" in ENGLISH(desk.presenter.state.caution)
    off = desk.presenter.sign_off()
    assert off is not None
    assert off.outside


def test_other_study_in_the_viewer_while_the_question_is_open_is_not_read(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_an_adult(edge)
    edge.add_study(documents.study(documents.OTHER_STUDY), [documents.suggestion("film", fits=False, outside=["old"])])
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.presenter.state.card)
    use = desk.presenter.outside_use()
    assert use is not None
    desk.host.emit(StudyShown(documents.handle(documents.OTHER_STUDY)))
    desk.host.until(lambda: desk.presenter.state.card and "old" in str(desk.presenter.outside_use()))
    desk.presenter.read_outside(use)
    assert desk.presenter.state.card is not None, "nothing was asked for"
    assert ("POST", "/jobs") not in edge.calls


@pytest.mark.parametrize(("code", "offered"), [("not-intended", True), ("geometry-invalid", False)])
def test_read_that_the_guard_rejected_offers_it_only_where_a_person_may_overrule(
    tmp_path: Path, edge: FakeEdge, code: str, offered: bool
) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    desk.until(Phase.READING)
    job: FakeJob = desk.host.until(lambda: next(iter(edge.jobs.values()), None))
    assert not job.outside
    edge.tell(job, state="rejected", code=code, reason="it does not look like the films it was trained on")
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "Not read: it does not look like the films it was trained on"
    assert (CardAction.READ_OUTSIDE in card.actions) == offered
    again = DeskUnderTest(tmp_path / "later", edge)
    card = again.host.until(lambda: again.presenter.state.card)
    assert ENGLISH(card.what).startswith("Not read: it does not look"), "a study that was refused stays refused"
    assert (again.presenter.outside_use() is not None) == offered
