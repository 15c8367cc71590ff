"""The radiologist's button on a real display: the window, a running ``wetread serve`` and Orthanc, to the signature."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from pydicom import dcmread
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel

from conformance import own_checks
from conformance.gate import check_files
from gui_thread import watched
from peers import Orthanc, WetreadProcess
from phantoms import Patient, Phantom, write_series
from reader import JOHN, ReadersProgram
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.client.panel_state import PanelState, Phase
from wetread_desktop.client.settings import DeskSettings, SettingsFolder
from wetread_desktop.hosts.window.application import Application
from wetread_desktop.widgets.sign_dialog import SignDialog

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]
READER = "Huber^Eva=胡^伊娃"
SEND = 'destinations = ["pacs"]\nresearch = true'


class Desk:
    """One window of one reader, and the hands that use it."""

    def __init__(self, qtbot: QtBot, service: WetreadProcess, profile: Path, reader: str = READER) -> None:
        self._qtbot, self.profile = qtbot, profile
        kept = SettingsFolder(profile)
        kept.save(DeskSettings(url=service.api, reader=reader, organization="City Hospital", language="en"))
        kept.save_token((service.data / "api.token").read_text().strip())
        self.application = Application(kept)
        self.window, self.panel = self.application.window, self.application.panel
        qtbot.addWidget(self.window)
        self.window.show()
        qtbot.waitExposed(self.window)

    @property
    def state(self) -> PanelState:
        return self.application.presenter.state

    def until(self, condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
        """Until it is true, while the window lives on."""
        self._qtbot.waitUntil(lambda: bool(condition()), timeout=int(timeout_s * 1000))

    def open(self, folder: Path) -> None:
        """As another viewer has it opened."""
        with self._qtbot.waitSignal(self.window.filled, timeout=60_000):
            assert self.application.take(OpenRequest(folder=str(folder))) == ""

    def read(self) -> None:
        """Press the one button and wait until the findings may be decided on."""
        button = self.panel.study.primary
        self.until(lambda: button.isVisible() and button.isEnabled())
        self._qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        self.until(lambda: bool(self.state.findings) and self.state.sign.enabled, timeout_s=120)

    def type(self, *keys: Qt.Key) -> None:
        """In the list of findings."""
        self.panel.findings.setFocus()
        for key in keys:
            self._qtbot.keyClick(self.panel.findings, key)

    def sign(self) -> str:
        """Read the dialog, then sign in it; what it said."""
        self.until(self.panel.sign_button.isEnabled)
        self._qtbot.mouseClick(self.panel.sign_button, Qt.MouseButton.LeftButton)
        dialog = self.panel.findChild(SignDialog)
        assert dialog is not None
        self.until(dialog.isVisible)
        said = str(dialog.summary.toPlainText())
        if dialog.undecided_ok.isVisible():
            self._qtbot.mouseClick(dialog.undecided_ok, Qt.MouseButton.LeftButton)
            dialog.undecided_ok.setChecked(True)
        self._qtbot.mouseClick(dialog.sign_button, Qt.MouseButton.LeftButton)
        self.until(lambda: self.state.phase is Phase.SIGNED)
        return said

    def close(self) -> None:
        self.window.close()


@pytest.fixture
def desk(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A window at a service; keywords are those of ``Desk``."""
    opened: list[Desk] = []

    def make(service: WetreadProcess, **options: Any) -> Desk:
        profile = options.pop("profile", tmp_path / f"profile{len(opened)}")
        made = Desk(qtbot, service, profile, **options)
        opened.append(made)
        return made

    yield make
    for made in opened:
        made.close()


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
    reports = [o for o in jane.get(f"/jobs/{job['id']}/objects") if o["kind"] == "SR"]
    (signed,) = (o for o in reports if o["sop_instance_uid"] == report.SOPInstanceUID)
    (preliminary,) = (o for o in reports if not o["signed"] and o["rendition"] == signed["rendition"])
    path = tmp_path / "preliminary.dcm"
    path.write_bytes(jane.http.get(f"/jobs/{job['id']}/objects/{preliminary['sop_instance_uid']}").content)
    assert check_files([*there, path], list(phantom.paths)) == []


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
    again = desk(service, profile=eva.profile)
    again.open(phantom.folder)
    again.until(lambda: again.state.sign.enabled and again.state.review.decided == 1)
    review = ReadersProgram(service).get(f"/jobs/{job}/review")
    assert (review["findings"][0]["state"], review["findings"][0]["comment"]) == ("rejected", "a vessel")
    assert review["holder"]["reader"] == READER
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
