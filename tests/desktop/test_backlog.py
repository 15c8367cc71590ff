"""Decisions of earlier windows: they reach the edge without anybody opening the study, or stay and say why."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_under_test import READER, DeskUnderTest, edge_with_result

import desk_documents as documents
from fake_edge import FakeEdge, FakeJob
from fake_host import FakeHost
from wetread.records.study import Patient
from wetread.review.decisions import Action, Decision
from wetread_desktop.client.journal import Journal, Owner, patient_digest, unfinished
from wetread_desktop.client.words import catalog

ENGLISH = catalog("en")
ANNA = Patient(**documents.PATIENT)


@pytest.fixture
def edge() -> Iterator[FakeEdge]:
    fake = FakeEdge()
    yield fake
    fake.down()


def left_behind(folder: Path, edge: FakeEdge, *actions: tuple[str, Action], **changed: str) -> Owner:
    """A journal as a window left it that was killed."""
    patient = patient_digest(ANNA, documents.STUDY)
    known = {
        "edge": changed.pop("url", edge.url),
        "job_id": "job-1",
        "study_instance_uid": documents.STUDY,
        "patient": patient,
    }
    owner = Owner(**(known | {k: v for k, v in changed.items() if k != "reader"}))
    journal = Journal(folder / "unsent", owner)
    for uid, action in actions:
        reader = changed.get("reader", READER)
        journal.add(Decision(str(uuid.uuid4()), uid, action, None, reader, "2026-11-22T07:45:00Z"))
    journal.close()
    return owner


def elsewhere(folder: Path, edge: FakeEdge, **settings: object) -> DeskUnderTest:
    """A window beside a viewer in which nothing is open."""
    return DeskUnderTest(folder, edge, FakeHost(), **settings)


def counted(desk: DeskUnderTest, why: str) -> int:
    """How many decisions are counted as unsent, as soon as this reason stands with them."""
    desk.host.until(lambda: why in " ".join(map(ENGLISH, desk.presenter.state.unsent.why)))
    return desk.presenter.state.unsent.count


def made(job: FakeJob) -> list[tuple[str, str, str]]:
    return [(d.tracking_uid, d.action, d.reader) for d in job.decisions.values()]


def test_decisions_go_out_at_the_next_start_without_the_study_being_opened(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    left_behind(tmp_path, edge, ("2.25.2", "accept"), ("2.25.3", "reject"))
    desk = elsewhere(tmp_path, edge)
    desk.host.until(lambda: job.review.version == 2)
    assert made(job) == [("2.25.2", "accept", READER), ("2.25.3", "reject", READER)]
    desk.host.until(lambda: not list(unfinished(tmp_path / "unsent")))
    desk.host.until(lambda: desk.presenter.state.unsent.count == 0)
    assert job.holder == "", "others may decide now"


def test_decisions_are_counted_while_the_edge_is_away_and_go_out_when_it_answers(
    tmp_path: Path, edge: FakeEdge
) -> None:
    job = edge_with_result(edge)
    left_behind(tmp_path, edge, ("2.25.2", "accept"), ("2.25.3", "reject"))
    edge.down()
    desk = elsewhere(tmp_path, edge)
    desk.host.until(lambda: desk.presenter.state.unsent.count == 2)
    assert list(map(ENGLISH, desk.presenter.state.unsent.why)) == ["They are sent when the edge answers."]
    edge.up()
    desk.host.until(lambda: desk.presenter.state.unsent.count == 0)
    assert made(job) == [("2.25.2", "accept", READER), ("2.25.3", "reject", READER)]


def test_study_that_is_left_with_unsent_decisions_sends_them_from_the_next_one(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    edge.add_study(documents.study(documents.OTHER_STUDY), [documents.suggestion("lesions")])
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    edge.answer_first = lambda method, path: {"status": 503} if path.endswith("/holder") else None
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: desk.states()["1 Lesion"] == "accepted")
    desk.host.show(documents.handle(documents.OTHER_STUDY))
    desk.presenter.follow_viewer()
    desk.host.until(lambda: desk.presenter.state.unsent.count == 1)
    edge.answer_first = lambda method, path: None
    desk.host.until(lambda: desk.presenter.state.unsent.count == 0)
    assert made(job) == [("2.25.2", "accept", READER)]


@pytest.mark.parametrize("of", ["another patient", "another study"])
def test_decision_never_goes_to_another_patient_or_study(tmp_path: Path, edge: FakeEdge, of: str) -> None:
    job = edge_with_result(edge)
    left_behind(tmp_path, edge, ("2.25.2", "accept"))
    assert job.result is not None
    if of == "another patient":
        job.result = documents.result(patient_id="P-18")
    else:
        job.study_instance_uid = documents.OTHER_STUDY
        job.result = documents.result(documents.OTHER_STUDY)
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, "another patient's") == 1
    assert ("PUT", "/jobs/job-1/review/holder") not in edge.calls
    assert made(job) == []


def test_decision_on_a_read_that_was_superseded_stays_and_can_be_forgotten(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.superseded = True
    left_behind(tmp_path, edge, ("2.25.2", "accept"))
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, "read again meanwhile") == 1
    assert desk.presenter.state.unsent.can_forget
    desk.presenter.forget_unsent()
    desk.host.until(lambda: desk.presenter.state.unsent.count == 0)
    assert list(unfinished(tmp_path / "unsent")) == []
    assert made(job) == []


def test_study_that_is_opened_after_it_was_read_again_does_not_send_what_was_decided_before(
    tmp_path: Path, edge: FakeEdge
) -> None:
    job = edge_with_result(edge)
    job.superseded = True
    left_behind(tmp_path, edge, ("2.25.2", "accept"))
    desk = DeskUnderTest(tmp_path, edge)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "1 decision was made here before this study was read again."
    asked = len(edge.calls)
    desk.presenter.refresh_worklist()
    desk.host.until(lambda: len(edge.calls) > asked)
    assert ("PUT", "/jobs/job-1/review/holder") not in edge.calls
    assert desk.presenter.state.card == card
    desk.presenter.act(card.actions[0])
    assert list(unfinished(tmp_path / "unsent")) == []


def test_review_in_another_readers_hands_is_not_taken_from_them(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.holder = "Keller^Urs"
    left_behind(tmp_path, edge, ("2.25.2", "accept"))
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, "Keller, Urs holds this review.") == 1
    assert not desk.presenter.state.unsent.can_forget
    assert (job.holder, made(job)) == ("Keller^Urs", [])


def test_what_another_reader_decided_meanwhile_is_not_overwritten_unseen(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.holder = "Keller^Urs"
    other = b'[{"id": "8a9d4b0e-7f3c-4b8e-9a34-0d9c5c3f2f11", "tracking_uid": "2.25.2", "action": "reject"}]'
    other = other.replace(b'"reject"', b'"reject", "comment": null, "at": ""')
    edge.answer("POST", "/jobs/job-1/review/decisions", other, {"Wetread-Reader": "Keller%5EUrs"})
    job.holder = ""
    left_behind(tmp_path, edge, ("2.25.2", "accept"))
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, "Keller, Urs has decided on this read meanwhile") == 1
    assert job.review.of("2.25.2").state == "rejected"


def test_decision_goes_out_under_the_name_of_who_decided(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    left_behind(tmp_path, edge, ("2.25.2", "accept"), reader="Sato^Mei")
    elsewhere(tmp_path, edge).host.until(lambda: made(job))
    assert made(job) == [("2.25.2", "accept", "Sato^Mei")]


def test_opened_study_sends_what_another_reader_left_here_under_their_name(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    edge.answer_first = lambda method, path: {"status": 503} if path.endswith("/holder") else None
    left_behind(tmp_path, edge, ("2.25.2", "accept"), reader="Sato^Mei")
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.presenter.state.findings and desk.states()["1 Lesion"] == "accepted")
    edge.answer_first = lambda method, path: None
    desk.host.until(lambda: made(job))
    desk.review_findings()
    desk.presenter.reject(["2.25.3"])
    desk.host.until(lambda: len(made(job)) > 1)
    assert made(job) == [("2.25.2", "accept", "Sato^Mei"), ("2.25.3", "reject", READER)]


def test_decision_for_another_edge_is_counted_and_not_sent_to_this_one(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    left_behind(tmp_path, edge, ("2.25.2", "accept"), url="https://other.example")
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, "for another edge: https://other.example") == 1
    assert made(job) == []


def test_window_that_closes_gives_the_review_to_the_other_on_this_computer(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    first = DeskUnderTest(tmp_path, edge)
    first.review_findings()
    second = DeskUnderTest(tmp_path, edge)
    card = second.host.until(lambda: second.presenter.state.card)
    assert ENGLISH(card.what) == "Another window on this computer reviews the same read."
    first.presenter.close()
    second.host.until(lambda: second.presenter.state.card is None and second.presenter.state.sign.enabled)
    second.presenter.accept(["2.25.2"])
    second.host.until(lambda: made(job))
    assert made(job) == [("2.25.2", "accept", READER)]
    assert second.presenter.state.unsent.count == 0


def test_journal_that_cannot_be_read_is_named_and_left_alone(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    journal = tmp_path / "unsent" / "damaged.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(b"no journal\n")
    desk = elsewhere(tmp_path, edge)
    assert counted(desk, f"Decisions of an earlier window cannot be read: {journal}") == 0
    assert not desk.presenter.state.unsent.can_forget
    assert journal.read_bytes() == b"no journal\n"
