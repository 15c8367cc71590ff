"""The radiologist's button on a real display: the window, a running ``wetread serve`` and Orthanc, to the signature."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from pydicom import dcmread
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel
from readers_desk import READER, Desk

from conformance import own_checks
from conformance.gate import check_files
from gui_thread import watched
from peers import Orthanc, WetreadProcess
from phantoms import Patient, Phantom, write_series
from reader import JOHN, ReadersProgram
from wetread_desktop.client.journal import unfinished
from wetread_desktop.client.panel_state import Phase

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]
SEND = 'destinations = ["pacs"]\nresearch = true'


@pytest.mark.both_bindings
def test_button_findings_jump_keys_signature_and_the_signed_report_in_the_pacs(
    qtbot: QtBot, wetread: Start, orthanc: Orthanc, desk: Callable[..., Desk], tmp_path: Path
) -> None:
    orthanc.start()
    phantom = write_series(tmp_path / "放射科 影像", orientation="oblique")
    service = wetread(pacs_port=orthanc.dicom_port, mode="off", api=SEND)
    eva = desk(service)
    stages: list[str] = []
    presenter = eva.application.presenter
    presenter.on_change(lambda s: stages.append(presenter.words(s.progress.stage)) if s.progress else None)
    with watched() as blocked:
        eva.open(phantom.folder)
        eva.until(lambda: eva.state.phase is Phase.STUDY_OPEN)
        assert eva.panel.study.primary.text() == f"Send {len(phantom.paths)} images and read"
        eva.read()
        assert len(stages) > 1
        _jump_shows_the_place(eva, phantom)
        eva.type(Qt.Key.Key_A)
        eva.until(lambda: eva.state.findings[0].state == "accepted" and eva.state.sign.enabled)
        assert orthanc.instances() == [], "nothing leaves before it is signed"
        said = eva.sign()
    assert "In the signed report (accepted): 1" in said
    assert blocked.longest_ms < 100.0
    qtbot.waitUntil(lambda: orthanc.modalities() == {"SEG", "SR"}, timeout=60_000)
    there = orthanc.fetch({"SEG", "SR"}, tmp_path / "pacs")
    (report,) = (dcmread(p) for p in there if p.name.startswith("SR"))
    assert own_checks.is_signed(report)
    assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == READER
    jane = ReadersProgram(service)
    (job,) = jane.get("/jobs", study=phantom.study_instance_uid)
    before = jane.never_sent(job["id"], report.SOPInstanceUID, tmp_path)
    assert check_files([*there, *before], list(phantom.paths)) == []


def _jump_shows_the_place(eva: Desk, phantom: Phantom) -> None:
    """J goes to the finding: the cross lies in the structure, and every plane draws it there."""
    eva.type(Qt.Key.Key_J)
    viewer = eva.window.viewer
    eva.until(lambda: bool(viewer.layers.overlays))
    (overlay,) = viewer.layers.overlays.values()
    index = tuple(round(i) for i in viewer.cross)
    assert overlay.array[index] != 0
    assert np.array_equal(overlay.array > 0, phantom.array > 500)
    for view in viewer.views:
        picture = viewer.canvas(view).picture
        assert picture is not None
        down, right = (round(x) for x in viewer.plane(view).on_screen(viewer.cross, overlay.array.shape))
        assert picture.layers[0].pixels[down, right] == overlay.array[index]


def test_window_closed_with_decisions_the_edge_does_not_have_sends_them_at_its_next_start_and_then_lets_go(
    wetread: Start, desk: Callable[..., Desk], tmp_path: Path
) -> None:
    phantom = write_series(tmp_path / "study")
    service = wetread(mode="off", api=SEND)
    jane = ReadersProgram(service)
    job = jane.read(jane.upload(phantom.paths))
    eva = desk(service)
    eva.open(phantom.folder)
    eva.until(lambda: eva.state.sign.enabled)
    service.toml = service.toml.replace("\nport = 0\n", f"\nport = {urlsplit(service.api).port}\n")
    service.kill()
    eva.until(lambda: not _answers(service.api))  # the interface is a process of its own, and ends a moment later
    eva.type(Qt.Key.Key_J, Qt.Key.Key_R)
    eva.until(eva.panel.reason.isVisible)
    QTest.keyClicks(eva.panel.reason, "a vessel")
    QTest.keyClick(eva.panel.reason, Qt.Key.Key_Return)
    eva.until(lambda: eva.state.review.unsent == 1 and eva.state.findings[0].is_unsent)
    assert "1 not at the edge yet" in eva.panel.review.text()
    eva.close()
    service.start()
    jane = ReadersProgram(service)
    again = desk(service, profile=eva.profile)
    # Before the study is opened, so that it is not the panel that sends them and holds the review from then on.
    again.until(
        lambda: not list(unfinished(eva.profile / "unsent")) and jane.get(f"/jobs/{job}/review")["holder"] is None
    )
    (finding,) = jane.get(f"/jobs/{job}/review")["findings"]
    assert (finding["state"], finding["comment"]) == ("rejected", "a vessel")
    again.open(phantom.folder)
    again.until(lambda: again.state.sign.enabled and again.state.review.decided == 1)
    assert jane.get(f"/jobs/{job}/review")["holder"] is None, "who only looks holds nothing"
    again.type(Qt.Key.Key_J, Qt.Key.Key_A)
    again.until(lambda: again.state.findings[0].state == "accepted" and again.state.review.unsent == 0)
    assert jane.get(f"/jobs/{job}/review")["holder"]["reader"] == READER
    again.close()
    john = ReadersProgram(service, JOHN)
    assert john.hold(job).status_code == 200, "the closed window let go of the review"


def test_folder_that_says_another_patient_shows_no_findings_of_the_first(
    wetread: Start, desk: Callable[..., Desk], tmp_path: Path
) -> None:
    phantom = write_series(tmp_path / "study")
    service = wetread(mode="off", api=SEND)
    jane = ReadersProgram(service)
    jane.read(jane.upload(phantom.paths))
    other = write_series(tmp_path / "other", patient=Patient(name="Other^Olga", id="PH-0099"))
    assert other.study_instance_uid == phantom.study_instance_uid
    eva = desk(service)
    eva.open(other.folder)
    eva.until(lambda: eva.state.card is not None)
    assert eva.panel.card.isVisible()
    assert "patient" in eva.panel.card.findChild(QLabel).text().lower()
    assert eva.state.findings == ()
    assert not eva.window.viewer.layers.overlays
    assert not eva.state.sign.enabled


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=1.0).close()
    except OSError:
        return False
    return True
