"""Deciding and signing, from the key press to the edge: a real edge's answers over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_under_test import READER, DeskUnderTest, edge_with_result

from fake_edge import FakeEdge
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.words import catalog

ENGLISH = catalog("en")


def test_decisions_reach_the_edge_with_the_readers_name_and_are_signed(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.step(1)
    desk.presenter.accept(["2.25.2"])
    assert desk.presenter.state.selected == "2.25.3"
    desk.presenter.reject(["2.25.3"], "a vessel, 血管")
    desk.until(Phase.REVIEWING)
    desk.host.until(lambda: job.review.version == 2 and desk.presenter.state.sign.enabled)
    assert job.holder == READER
    assert desk.states() == {
        "1 Lesion": "accepted",
        "2 Lesion": "rejected",
        "3 Spleen": "proposed",
        "4 Rupture": "proposed",
    }
    assert job.review.of("2.25.3").comment == "a vessel, 血管"
    off = desk.presenter.sign_off()
    assert off is not None
    assert [r.name for r in off.undecided] == ["Spleen", "Rupture"]
    assert [r.tag for r in off.never_seen] == ["4"]
    desk.presenter.sign(undecided_ok=True)
    desk.until(Phase.SIGNED)
    assert ENGLISH(desk.presenter.state.review.signed).startswith("Signed by Huber, Eva")
    assert not desk.presenter.state.sign.enabled


def test_nothing_can_be_signed_from_the_key_press_until_the_edge_has_the_decision(
    tmp_path: Path, edge: FakeEdge
) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2"])
    assert desk.states()["1 Lesion"] == "proposed", "it is not on disk yet"
    assert not desk.presenter.state.sign.enabled
    assert desk.presenter.sign_off() is None
    desk.review_findings()
    assert desk.states()["1 Lesion"] == "accepted"


def test_decision_that_cannot_be_kept_is_not_shown_as_decided(
    tmp_path: Path, edge: FakeEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    desk.presenter.accept(["2.25.2"])
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "No space left on device" in ENGLISH(card.what)
    assert desk.states()["1 Lesion"] == "proposed"
    assert job.review.version == 0


def test_undo_takes_back_the_last_decision_also_at_the_edge(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.reject(["2.25.2"], "no")
    desk.host.until(lambda: job.review.of("2.25.2").state == "rejected")
    desk.presenter.undo()
    desk.host.until(lambda: job.review.of("2.25.2").state == "proposed")
    assert job.review.of("2.25.2").comment == ""
    assert desk.presenter.state.selected == "2.25.2"
    desk.host.until(lambda: not desk.presenter.state.review.can_undo)


def test_signing_without_undecided_ok_signs_nothing_and_says_so(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.sign()
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "4 findings are neither accepted nor rejected" in ENGLISH(card.what)
    assert job.signed is None


def test_accepted_findings_are_text_for_the_report(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.presenter.accept(["2.25.2", "2.25.1"])
    desk.host.until(lambda: desk.states()["3 Spleen"] == "accepted")
    assert desk.presenter.accepted_text() == (
        "- Lesion (Left): present, Volume 12.3 mL, slice 2\n"
        "- Spleen: Volume 12.3 mL, slice 1\n"
        "Read by Spleen 1.2.0 (Wetread, research use), accepted by Huber, Eva.\n"
    )
