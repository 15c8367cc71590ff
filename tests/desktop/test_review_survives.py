"""A review in which the window, the network or the edge dies, and two readers on one study: nothing decided is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from desk_under_test import READER, DeskUnderTest, edge_with_result

import desk_documents as documents
from fake_edge import FakeEdge
from waiting import until
from wetread_desktop.client.cards import CardAction
from wetread_desktop.client.journal import unfinished
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.words import catalog

ENGLISH = catalog("en")


def test_decisions_made_while_the_edge_is_away_are_shown_kept_and_sent_when_it_is_back(
    tmp_path: Path, edge: FakeEdge
) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    edge.down()
    desk.presenter.accept(["2.25.2"])
    desk.presenter.reject(["2.25.3"], "no")
    desk.host.until(lambda: desk.states()["2 Lesion"] == "rejected")
    assert desk.states()["1 Lesion"] == "accepted"
    assert desk.presenter.state.review.unsent == 2
    assert not desk.presenter.state.sign.enabled
    assert ENGLISH(desk.presenter.state.sign.why_not) == "2 decisions are not at the edge yet."
    edge.up()
    desk.host.until(lambda: desk.presenter.state.review.unsent == 0)
    assert [(d.tracking_uid, d.action) for d in job.decisions.values()] == [("2.25.2", "accept"), ("2.25.3", "reject")]
    assert list(unfinished(tmp_path / "unsent")) == []


def test_decision_whose_answer_was_lost_is_one_decision(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    edge.break_after.add(("POST", "/decisions"))
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: desk.presenter.state.review.unsent == 0 and job.review.version)
    assert job.review.version == 1
    assert [path for _, path in edge.calls].count("/jobs/job-1/review/decisions") == 2


def test_full_disk_after_the_edge_took_a_decision_is_told_and_the_next_one_still_goes_out(
    tmp_path: Path, edge: FakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = edge_with_result(edge)
    full, real = threading.Event(), os.fsync
    full.set()

    def fsync(descriptor: int) -> None:
        written = Path(f"/proc/self/fd/{descriptor}").resolve()
        if full.is_set() and written.suffix == ".jsonl" and b'"sent"' in written.read_bytes():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2"])
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "No space left on device" in ENGLISH(card.what)
    full.clear()
    desk.presenter.reject(["2.25.3"], "no")
    desk.host.until(lambda: not list(unfinished(tmp_path / "unsent")))
    assert [(d.tracking_uid, d.action) for d in job.decisions.values()] == [("2.25.2", "accept"), ("2.25.3", "reject")]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_window_that_was_killed_sends_its_decisions_the_next_time(tmp_path: Path, edge: FakeEdge, moment: str) -> None:
    """``before``: the edge was away; ``after``: it had the decision and its answer was lost."""
    job = edge_with_result(edge)
    refuse = {"status": 503, "detail": "draining"}
    if moment == "before":
        edge.answer_first = lambda method, path: refuse if path.endswith("/decisions") else None
    else:
        edge.break_always.add(("POST", "/decisions"))
    code = f"""
import os, sys; sys.path[:0] = {sys.path!r}
from pathlib import Path
from desk_under_test import DeskUnderTest
class Somewhere:
    url = {edge.url!r}
    def may_die(self):
        return os.path.exists({str(tmp_path / "may-die")!r})
desk = DeskUnderTest(Path({str(tmp_path)!r}), Somewhere())
desk.review_findings()
desk.presenter.accept(["2.25.2"])
desk.presenter.reject(["2.25.3"], "no")
desk.host.until(lambda: desk.states()["2 Lesion"] == "rejected")
desk.host.until(lambda: desk.edge.may_die())
os.kill(os.getpid(), 9)
"""
    window = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    until(lambda: job.review.version or moment == "before")
    (tmp_path / "may-die").touch()
    assert window.wait(60) == -9
    assert (moment == "after") == bool(job.review.version)
    edge.answer_first = lambda method, path: None
    edge.break_always.clear()
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.presenter.state.findings and desk.states()["2 Lesion"] == "rejected")
    desk.host.until(lambda: not list(unfinished(tmp_path / "unsent")))
    assert job.review.version == 2
    assert [d.action for d in job.decisions.values()] == ["accept", "reject"]


def test_decisions_of_another_patient_under_the_same_read_are_not_sent_and_that_is_said(
    tmp_path: Path, edge: FakeEdge
) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    edge.answer_first = lambda method, path: {"status": 503} if path.endswith("/holder") else None
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: desk.states()["1 Lesion"] == "accepted")
    desk.presenter.close()
    edge.answer_first = lambda method, path: None
    assert job.result is not None
    job.result = documents.result(patient_id="P-18")
    edge.studies[documents.STUDY] = documents.study(patient_id="P-18")
    again = DeskUnderTest(tmp_path, edge)
    again.host.active = documents.handle(patient_id="P-18")
    again.presenter.follow_viewer()
    card = again.host.until(lambda: again.presenter.state.card if again.presenter.state.findings else None)
    assert "1 decision was made here when this study was another patient's" in ENGLISH(card.what)
    again.host.until(lambda: again.presenter.state.sign.enabled)
    again.presenter.accept(["2.25.3"])
    again.host.until(lambda: job.review.version == 1)
    assert [d.tracking_uid for d in job.decisions.values()] == ["2.25.3"]


def test_review_that_another_reader_holds_can_be_seen_but_not_decided(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.holder = "Keller^Urs"
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.FINDINGS)
    desk.presenter.accept(["2.25.2"])
    card = desk.presenter.state.card
    assert card is not None
    assert ENGLISH(card.todo) == "Keller, Urs holds this review."
    assert CardAction.TAKE_OVER in card.actions
    assert list(unfinished(tmp_path / "unsent")) == []
    desk.presenter.act(CardAction.TAKE_OVER)
    desk.host.until(lambda: desk.presenter.state.sign.enabled)
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: job.review.version == 1)
    assert job.holder == READER


def test_reader_who_was_overtaken_is_told_who_and_keeps_what_was_decided(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: job.review.version == 1)
    job.holder = "Keller^Urs"
    desk.presenter.reject(["2.25.3"])
    card = desk.host.until(lambda: desk.presenter.state.card)
    desk.host.until(lambda: desk.states()["2 Lesion"] == "rejected")
    assert ENGLISH(card.what).startswith("Keller, Urs has been reviewing this study since")
    assert desk.states()["2 Lesion"] == "rejected"
    assert desk.presenter.state.review.unsent == 1
    assert [n for _, n in unfinished(tmp_path / "unsent")] == [1]
    desk.presenter.act(CardAction.TAKE_OVER)
    desk.host.until(lambda: job.review.of("2.25.3").state == "rejected")


def test_reader_who_was_overtaken_may_give_up_what_was_not_sent(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2"])
    desk.host.until(lambda: job.review.version == 1)
    job.holder = "Keller^Urs"
    desk.presenter.reject(["2.25.3"])
    desk.host.until(lambda: desk.presenter.state.card)
    desk.presenter.act(CardAction.GIVE_UP_UNSENT)
    assert desk.states()["2 Lesion"] == "proposed"
    assert list(unfinished(tmp_path / "unsent")) == []


def test_review_that_was_signed_meanwhile_refuses_and_says_so(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    job.holder = "Keller^Urs"
    sign = b'{"reader": {"name": "Keller^Urs"}, "confirm": {"patient_id": "P-17"}, "undecided_ok": true, "id": "1"}'
    edge.answer("POST", "/jobs/job-1/sign", sign, {"If-Match": '"0"', "Wetread-Reader": "Keller%5EUrs"})
    job.holder = ""
    desk.presenter.accept(["2.25.2"])
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "signed" in ENGLISH(card.what)
    desk.presenter.act(CardAction.RELOAD)
    desk.until(Phase.SIGNED)
    assert job.review.version == 0
    assert [n for _, n in unfinished(tmp_path / "unsent")] == [1]


def test_review_that_changed_before_signing_is_not_signed(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    other = b'[{"id": "8a9d4b0e-7f3c-4b8e-9a34-0d9c5c3f2f11", "tracking_uid": "2.25.1", "action": "reject"}]'
    job.holder = "Keller^Urs"
    edge.answer("POST", "/jobs/job-1/review/decisions", other, {"Wetread-Reader": "Keller%5EUrs"})
    job.holder = ""
    desk.presenter.sign(undecided_ok=True)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "Nothing was signed" in ENGLISH(card.what)
    desk.host.until(lambda: desk.states()["3 Spleen"] == "rejected")
    assert job.signed is None


def test_signature_whose_answer_was_lost_is_signed_once_and_shown(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    edge.break_after.add(("POST", "/sign"))
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.sign(undecided_ok=True)
    desk.until(Phase.SIGNED)
    assert job.signed is not None
    assert [path for _, path in edge.calls].count("/jobs/job-1/sign") == 2
    assert job.review.version == 0


def test_signature_that_never_arrived_is_not_shown_as_signed(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    edge.down()
    desk.presenter.sign(undecided_ok=True)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "The edge does not answer."
    assert desk.presenter.state.phase is Phase.FINDINGS
    edge.up()
    desk.presenter.sign(undecided_ok=True)
    desk.until(Phase.SIGNED)


def test_read_that_was_superseded_cannot_be_decided_any_more(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    job.superseded = True
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.FINDINGS)
    desk.presenter.accept(["2.25.2"])
    assert desk.presenter.state.card is not None
    assert "read again" in ENGLISH(desk.presenter.state.card.todo)
    assert job.review.version == 0


def test_reader_without_a_name_decides_nothing(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge, reader="")
    desk.until(Phase.FINDINGS)
    desk.presenter.accept(["2.25.2"])
    assert desk.presenter.state.card is not None
    assert desk.presenter.state.card.actions == (CardAction.SETTINGS,)
    assert (job.holder, job.review.version) == ("", 0)


def test_second_window_on_this_computer_decides_nothing(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    first = DeskUnderTest(tmp_path, edge)
    first.review_findings()
    second = DeskUnderTest(tmp_path, edge)
    card = second.host.until(lambda: second.presenter.state.card)
    assert ENGLISH(card.what) == "Another window on this computer reviews the same read."
    assert not second.presenter.state.sign.enabled
    first.presenter.close()


def test_closing_the_window_keeps_what_was_decided_a_moment_ago(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    edge.answer_first = lambda method, path: {"status": 503} if path.endswith("/holder") else None
    desk.presenter.accept(["2.25.2"])
    desk.presenter.close()
    assert [n for _, n in unfinished(tmp_path / "unsent")] == [1]
