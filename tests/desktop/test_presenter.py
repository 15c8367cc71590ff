"""What a reader sees and may do, from the study in the viewer to the signature: a real edge's answers over HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from desk_under_test import DeskUnderTest, edge_with_result, edge_with_study

import desk_documents as documents
from fake_edge import FakeEdge
from fake_host import FakeHost
from wetread_desktop.client.cards import CardAction
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.words import catalog
from wetread_desktop.host import Capability, LabelPicked, Place

ENGLISH = catalog("en")


def test_study_in_the_viewer_gets_a_bundle_suggested_with_its_reason(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    state = desk.presenter.state
    assert (state.chosen, state.suggestions[0].reason) == ("spleen", "CT, abdomen, 2.5 mm, 4 slices")
    assert (ENGLISH(state.primary.label), state.primary.enabled) == ("Read with Spleen", True)
    assert state.patient is not None
    assert (state.patient.name, state.patient.age_years) == ("梅尔安娜 (Meier, Anna)", 76)


def test_bundle_that_does_not_fit_cannot_be_pressed_and_says_why(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.choose("brain")
    assert not desk.presenter.state.primary.enabled
    assert desk.presenter.state.primary.why_not == "made for MR; this study is CT"
    desk.presenter.press()
    assert ("POST", "/jobs") not in edge.calls


def test_read_shows_queue_place_stage_percent_and_time_left(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    desk.until(Phase.READING)
    job = desk.host.until(lambda: next(iter(edge.jobs.values()), None))
    edge.tell(job, state="waiting", queue_place=3)
    desk.host.until(lambda: "2 reads before this one" in _progress(desk))
    edge.tell(job, state="running", stage="infer", percent=40, eta_s=75)
    desk.host.until(lambda: _progress(desk) == "Computing 40.0 about 1:15 left")
    job.result, job.labels = documents.result(), documents.labels()
    edge.add_job(job)
    edge.tell(job, state="done")
    desk.until(Phase.FINDINGS)
    assert desk.presenter.state.progress is None


def _progress(desk: DeskUnderTest) -> str:
    shown = desk.presenter.state.progress
    return f"{ENGLISH(shown.stage)} {shown.percent} {ENGLISH(shown.detail)}" if shown else ""


def test_cancel_ends_the_read_and_offers_it_again(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    desk.until(Phase.READING)
    desk.host.until(lambda: edge.jobs and desk.presenter.state.progress)
    desk.presenter.cancel()
    desk.until(Phase.STUDY_OPEN)
    assert ("DELETE", "/jobs/job-1") in edge.calls
    assert desk.presenter.state.primary.enabled
    assert desk.presenter.state.card is None


def test_rejected_read_says_why_and_that_nothing_was_ruled_out(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    job = desk.host.until(lambda: next(iter(edge.jobs.values()), None))
    edge.tell(job, state="rejected", reason="slice 7 is missing")
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "Not read: slice 7 is missing"
    assert "nothing was ruled out" in ENGLISH(card.todo)


def test_read_goes_on_through_a_restart_of_the_edge(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    job = desk.host.until(lambda: next(iter(edge.jobs.values()), None))
    edge.tell(job, state="running", stage="infer", percent=10)
    desk.host.until(lambda: "Computing" in _progress(desk))
    edge.down()
    desk.host.until(lambda: desk.presenter.state.progress and desk.presenter.state.progress.trouble)
    edge.up()
    edge.tell(job, state="running", stage="infer", percent=90)
    desk.host.until(lambda: "90.0" in _progress(desk))
    assert desk.presenter.state.progress is not None
    assert desk.presenter.state.progress.trouble == ""


def test_study_that_was_read_opens_with_its_findings_without_a_press(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.FINDINGS)
    rows = desk.presenter.state.findings
    assert [(r.tag, r.name, r.evaluation.value) for r in rows] == [
        ("1", "Lesion", "present"),
        ("2", "Lesion", "present"),
        ("3", "Spleen", "present"),
        ("4", "Rupture", "absent"),
    ]
    assert rows[0].measurements == (("Volume", "12.3 mL"),)
    assert desk.presenter.state.selected == ""


def test_study_that_was_read_waits_for_a_press_when_the_reader_wants_that(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge, open_at_once=False)
    desk.until(Phase.STUDY_OPEN)
    assert ENGLISH(desk.presenter.state.primary.label).startswith("Show the findings of ")
    desk.presenter.press()
    desk.until(Phase.FINDINGS)


def test_overlay_lies_on_the_series_that_was_read_and_marks_where_the_box_is(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    host = FakeHost(documents.handle(series_instance_uid="1.2.3.4.77"), documents.handle())
    desk = DeskUnderTest(tmp_path, edge, host)
    series, volume, legend = host.until(lambda: next(iter(host.shown("overlay")), None))
    assert series.series_instance_uid == documents.SERIES
    assert (volume.values, volume.shape) == (documents.labels(), documents.SHAPE)
    assert legend.colours() == {1: (200, 40, 30), 2: (200, 80, 30)}
    tags = {r.label_value: r.tag for r in desk.presenter.state.overlay.legend}
    assert legend.names() == {1: f"{tags[1]} Spleen", 2: f"{tags[2]} Lesion (Left)"}, "the numbers of list and legend"
    _, (mark,) = host.shown("marks")[0]
    # The centre (-8.4, -18.4, 32.5) is index (1, 2, 2): 2.5 mm is one slice, 1.6 mm two pixels.
    assert mark.corners[0] == pytest.approx((0.5, 1, 1))
    assert mark.corners[1] == pytest.approx((1.5, 3, 3))
    assert (mark.place.slice_number, mark.place.sop_instance_uid) == (2, "1.2.3.4.5.2")
    assert desk.presenter.state.card is None


def test_finding_that_is_selected_is_jumped_to_and_counts_as_seen(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.FINDINGS)
    desk.presenter.step(1)
    assert desk.presenter.state.selected == "2.25.2"
    on_slice_2 = Place("1.2.3.4.5.2", 2, (1.0, 2.0, 3.0), documents.FRAME)
    assert desk.host.calls[-1] == ("goto", on_slice_2)
    place = desk.host.calls[-1][1]
    assert (place.centre_mm, place.frame_of_reference_uid) == ((1.0, 2.0, 3.0), documents.FRAME)
    assert [r.is_seen for r in desk.presenter.state.findings] == [True, False, False, False]


def test_structure_that_is_pointed_at_in_the_picture_is_selected(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.host.shown("overlay"))
    overlay = next(i for i in desk.host.items if i.startswith("overlay"))
    desk.host.emit(LabelPicked(overlay, 1))
    assert desk.presenter.state.selected == "2.25.1"


def test_class_that_is_hidden_is_hidden_in_the_viewer(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.host.shown("overlay"))
    desk.presenter.show_class(1, visible=False)
    desk.presenter.set_opacity(0.8)
    desk.presenter.toggle_overlay()
    look = next(iter(desk.host.looks.values()))
    assert (look.hidden, look.opacity, look.visible) == (frozenset({1}), 0.8, False)
    desk.presenter.only_class(1)
    assert next(iter(desk.host.looks.values())).hidden == frozenset({2})


def test_heat_map_comes_and_goes_with_one_key_and_with_its_finding(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.FINDINGS)
    desk.presenter.select("2.25.2")
    desk.presenter.toggle_heatmap()
    _, heat, title = desk.host.until(lambda: next(iter(desk.host.shown("heatmap")), None))
    assert (heat.values[:3], title) == (b"\0\1\2", "Lesion")
    desk.presenter.select("2.25.1")
    assert desk.host.shown("heatmap") == []
    assert desk.presenter.state.overlay.heatmap_of == ""


def test_other_study_in_the_viewer_locks_the_panel_and_says_so(tmp_path: Path, edge: FakeEdge) -> None:
    job = edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge)
    desk.review_findings()
    desk.host.show(documents.handle(documents.OTHER_STUDY))
    assert "another study (Chest)" in ENGLISH(desk.presenter.state.lock)
    desk.presenter.accept(["2.25.2"])
    desk.presenter.select("2.25.2")
    desk.presenter.sign(undecided_ok=True)
    assert desk.presenter.state.selected == ""
    assert not desk.presenter.state.sign.enabled
    desk.host.show(documents.handle())
    assert desk.presenter.state.lock == ""
    desk.presenter.accept(["2.25.3"])
    desk.host.until(lambda: job.review.of("2.25.3").state == "accepted")
    assert job.review.of("2.25.2").state == "proposed"


def test_locked_panel_goes_to_the_viewers_study_when_asked(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    edge.add_study(documents.study(documents.OTHER_STUDY), [documents.suggestion("lesions")])
    desk = DeskUnderTest(tmp_path, edge)
    desk.host.until(lambda: desk.host.shown("overlay"))
    desk.host.show(documents.handle(documents.OTHER_STUDY))
    desk.presenter.follow_viewer()
    desk.until(Phase.STUDY_OPEN)
    assert (desk.presenter.state.lock, desk.presenter.state.chosen) == ("", "lesions")
    assert desk.host.items == {}


def test_study_without_anything_at_stake_is_left_for_the_viewers(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    edge.add_study(documents.study(documents.OTHER_STUDY), [documents.suggestion("lesions")])
    desk = DeskUnderTest(tmp_path, edge)
    desk.until(Phase.STUDY_OPEN)
    desk.host.show(documents.handle(documents.OTHER_STUDY))
    desk.host.until(lambda: desk.presenter.state.chosen == "lesions")
    assert desk.presenter.state.lock == ""


def test_viewer_and_edge_with_two_patients_show_nothing(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    desk = DeskUnderTest(tmp_path, edge, FakeHost(documents.handle(patient_id="P-18")))
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "The viewer shows patient P-18; the edge has this study under P-17."
    assert desk.presenter.state.findings == ()
    assert not desk.presenter.state.primary.enabled


@pytest.mark.parametrize(
    ("wrong", "job_too"),
    [
        ({"patient_id": "P-99"}, False),
        ({"study_instance_uid": documents.OTHER_STUDY}, False),
        ({"study_instance_uid": documents.OTHER_STUDY}, True),
    ],
    ids=["patient", "study", "study, and the job says so"],
)
def test_result_of_another_patient_or_study_is_not_shown(
    tmp_path: Path, edge: FakeEdge, wrong: dict[str, str], job_too: bool
) -> None:
    job = edge_with_result(edge)
    assert job.result is not None
    if job_too:
        job.study_instance_uid = wrong["study_instance_uid"]
    if "patient_id" in wrong:
        job.result["patient"] = job.result["patient"] | wrong
    else:
        job.result |= wrong
    desk = DeskUnderTest(tmp_path, edge)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert "does not understand" in ENGLISH(card.what)
    assert desk.presenter.state.findings == ()
    assert desk.host.items == {}


def test_study_the_edge_does_not_have_is_sent_and_read_with_one_press(tmp_path: Path, edge: FakeEdge) -> None:
    files = [tmp_path / "放射科 Meier^Anna 1.dcm", tmp_path / "IM00002"]
    for path in files:
        path.write_bytes(b"DICM")
    edge.on_upload = lambda: edge.add_study(documents.study(), [documents.suggestion()])
    desk = DeskUnderTest(tmp_path / "profile", edge, FakeHost(documents.handle(), files=files))
    desk.until(Phase.STUDY_OPEN)
    assert ENGLISH(desk.presenter.state.primary.label) == "Send 2 images and read"
    desk.presenter.press()
    desk.until(Phase.READING)
    assert edge.uploads == [["000000.dcm", "000001.dcm"]]


def test_file_that_is_older_than_any_zip_can_say_is_sent(tmp_path: Path, edge: FakeEdge) -> None:
    file = tmp_path / "1.dcm"
    file.write_bytes(b"DICM")
    os.utime(file, (0, 0))
    edge.on_upload = lambda: edge.add_study(documents.study(), [documents.suggestion()])
    desk = DeskUnderTest(tmp_path / "profile", edge, FakeHost(documents.handle(), files=[file]))
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    desk.until(Phase.READING)
    assert edge.uploads == [["000000.dcm"]]


def test_study_that_is_sent_with_several_fitting_bundles_asks_which(tmp_path: Path, edge: FakeEdge) -> None:
    file = tmp_path / "1.dcm"
    file.write_bytes(b"DICM")
    two = [documents.suggestion(), documents.suggestion("lesions")]
    edge.on_upload = lambda: edge.add_study(documents.study(), two)
    desk = DeskUnderTest(tmp_path / "profile", edge, FakeHost(documents.handle(), files=[file]))
    desk.until(Phase.STUDY_OPEN)
    desk.presenter.press()
    desk.host.until(lambda: desk.presenter.state.suggestions)
    assert desk.presenter.state.phase is Phase.STUDY_OPEN
    assert ("POST", "/jobs") not in edge.calls


def test_viewer_without_a_study_shows_what_the_edge_has(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    desk = DeskUnderTest(tmp_path, edge, FakeHost())
    desk.host.until(lambda: desk.presenter.state.worklist)
    desk.presenter.open_study(documents.STUDY)
    assert desk.host.calls == [("open_study", documents.STUDY)]


def test_viewer_that_cannot_draw_overlays_is_never_asked_to(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    host = FakeHost(documents.handle())
    host.can = frozenset({Capability.GOTO})
    desk = DeskUnderTest(tmp_path, edge, host)
    desk.until(Phase.FINDINGS)
    desk.presenter.select("2.25.2")
    desk.presenter.toggle_heatmap()
    assert {name for name, _ in host.calls} == {"goto"}


def test_series_that_was_read_but_is_not_open_is_said_not_guessed(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_result(edge)
    other = documents.handle(series_instance_uid="1.2.3.4.77", frame_of_reference_uid="1.2.3.4.78")
    desk = DeskUnderTest(tmp_path, edge, FakeHost(other))
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert documents.SERIES in ENGLISH(card.what)
    assert desk.host.items == {}
    assert len(desk.presenter.state.findings) == 4


def test_edge_that_does_not_answer_is_a_card_and_a_retry_brings_the_study(tmp_path: Path, edge: FakeEdge) -> None:
    edge_with_study(edge)
    edge.down()
    desk = DeskUnderTest(tmp_path, edge)
    card = desk.host.until(lambda: desk.presenter.state.card)
    assert ENGLISH(card.what) == "The edge does not answer."
    assert edge.url in card.details
    edge.up()
    desk.presenter.act(CardAction.RETRY)
    desk.host.until(lambda: desk.presenter.state.primary.enabled)
    assert desk.presenter.state.card is None
