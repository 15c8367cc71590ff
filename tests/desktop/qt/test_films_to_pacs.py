"""Films in the window, with the shipped pneumonia bundle: a child's to the signature, an adult's only when asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from readers_desk import Desk

from conformance import own_checks
from conformance.gate import check_files
from conformance.tree import texts
from films import Film, write_film
from learning import SHIPPED
from peers import Orthanc, WetreadProcess
from reader import ReadersProgram
from wetread_desktop.client.cards import CardAction
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.hosts.window.planes import View
from wetread_desktop.widgets.outside_dialog import OutsideDialog

pytestmark = [pytest.mark.peer, pytest.mark.network, pytest.mark.timeout(600)]

Start = Callable[..., WetreadProcess]
SEND = 'destinations = ["pacs"]\nresearch = true'
BUNDLE = "cxr_pneumonia"


@pytest.fixture(scope="session")
def threshold_bundles() -> Path:
    """The service of these tests has the shipped bundles."""
    return SHIPPED


@pytest.fixture
def child(tmp_path: Path) -> Film:
    """The golden film of the bundle, of PneumoniaMNIST (CC BY 4.0), as large as a film and stored mirrored, with the
    header of a child of 3 years."""
    golden = Image.open(SHIPPED / BUNDLE / "golden" / "film.png").resize((420, 420), Image.Resampling.BICUBIC)
    picture = np.asarray(golden, np.float64) / 255
    return write_film(tmp_path / "child", upright=picture, orientation=("R", "F"), monochrome1=True)


def signed_and_preliminary(orthanc: Orthanc, jane: ReadersProgram, study: str, folder: Path) -> tuple[Path, Path]:
    """The signed report as the PACS has it, and what it followed, which never left."""
    (there,) = orthanc.fetch({"SR"}, folder)
    (job,) = [j["id"] for j in jane.get("/jobs", study=study) if j["state"] == "done"]
    (before,) = jane.never_sent(job, dcmread(there).SOPInstanceUID, folder)
    return there, before


def _look_in_both(eva: Desk, name: str) -> None:
    """Themes and languages, for eyes; what is on the screen stays through it."""
    for theme, language in (("dark", "en"), ("light", "zh_CN"), ("dark", "zh_CN"), ("light", "en")):
        eva.set(theme=theme, language=language)
        eva.look(f"{name}-{theme}-{language}")


def test_childs_film_is_read_explained_reviewed_and_signed(
    qtbot: QtBot, wetread: Start, orthanc: Orthanc, desk: Callable[..., Desk], child: Film, tmp_path: Path
) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port, mode="off", api=SEND)
    eva = desk(service)
    eva.open(child.folder)
    eva.until(lambda: eva.state.phase is Phase.STUDY_OPEN and eva.panel.study.primary.isEnabled())
    eva.look("film-1-open")
    eva.press()
    eva.until(lambda: eva.state.phase is Phase.STUDY_OPEN and eva.state.chosen)  # three bundles fit: a choice to make
    assert {s.bundle for s in eva.state.suggestions if s.fits} >= {BUNDLE, f"{BUNDLE}_vit", f"{BUNDLE}_pair"}
    assert (eva.state.chosen, eva.state.card) == (BUNDLE, None)
    eva.look("film-2-bundle")
    eva.read()
    (row,) = eva.state.findings
    assert row.wording.startswith("very likely, 98"), "calibrated, in words and as a number"
    assert row.measurements == (), "the wording says the number"
    assert row.has_heatmap
    eva.look("film-3-finding")
    _jump_and_heat_map(eva, child, ReadersProgram(service))
    eva.look("film-4-heat-map")
    _look_in_both(eva, "film-5")
    eva.type(Qt.Key.Key_H, Qt.Key.Key_A)
    assert not eva.window.viewer.layers.overlays
    eva.until(lambda: eva.state.findings[0].state == "accepted" and eva.state.sign.enabled)
    assert orthanc.instances() == [], "nothing leaves before it is signed"
    said = eva.sign()
    assert "In the signed report (accepted): 1" in said
    qtbot.waitUntil(lambda: orthanc.modalities() == {"SR"}, timeout=60_000)
    jane = ReadersProgram(service)
    there, before = signed_and_preliminary(orthanc, jane, child.study().study_instance_uid, tmp_path / "pacs")
    report = dcmread(there)
    assert own_checks.is_signed(report)
    assert row.wording in texts(report)
    assert [str(c) for c in check_files([there, before], [child.path])] == []
    eva.look("film-6-signed")


def _jump_and_heat_map(eva: Desk, child: Film, jane: ReadersProgram) -> None:
    """J, Enter and H: the film stays, and what is drawn over it is what the edge says of its stored pixels, hung."""
    eva.type(Qt.Key.Key_J, Qt.Key.Key_Return)
    assert eva.state.card is None, "a film is its own place: the jump has nothing to complain about"
    eva.type(Qt.Key.Key_H)
    viewer = eva.window.viewer
    eva.until(lambda: bool(viewer.layers.overlays))
    (shown,) = viewer.layers.overlays.values()
    (job,) = jane.get("/jobs", study=child.study().study_instance_uid)
    stored = jane.heatmap(job["id"], eva.state.findings[0].tracking_uid)
    assert stored.max() > stored.min()
    assert "not where disease is" in eva.panel.legend.map_says.text()
    assert eva.panel.legend.map_says.isVisible()
    assert np.array_equal(shown.array, stored[:, :, ::-1]), "it was stored mirrored, and hangs with it"
    picture = viewer.canvas(View.CORONAL).picture
    assert picture is not None
    assert np.array_equal(picture.layers[0].pixels, shown.array[0])
    assert (picture.letters.left, picture.letters.right) == ("R", "L")


def test_adults_film_is_not_read_until_the_reader_insists_and_then_every_object_says_so(
    qtbot: QtBot, wetread: Start, orthanc: Orthanc, desk: Callable[..., Desk], adult: Path, tmp_path: Path
) -> None:
    orthanc.start()
    service = wetread(pacs_port=orthanc.dicom_port, mode="off", api=SEND)
    eva = desk(service)
    eva.open(adult.parent)
    eva.press()
    eva.until(lambda: eva.state.card is not None)
    card, shown = eva.state.card, eva.panel.card
    assert card is not None
    assert shown.what.text().startswith("Not read: ")
    assert "view is PA, expected AP" in shown.what.text()
    assert "nothing was ruled out" in shown.todo.text()
    assert not eva.state.primary.enabled
    _look_in_both(eva, "adult-1-not-read")
    eva.click(shown.buttons[CardAction.READ_OUTSIDE])
    dialog = eva.panel.findChild(OutsideDialog)
    assert dialog is not None
    eva.until(dialog.isVisible)
    eva.look("adult-2-question", dialog)
    assert dialog.focusWidget() is dialog.back_button
    eva.click(dialog.back_button)
    jane, study = ReadersProgram(service), dcmread(adult).StudyInstanceUID
    assert jane.get("/jobs", study=study) == [], "who goes back has asked for nothing"
    assert shown.isVisible()
    eva.panel.ask_outside()
    eva.click(eva.panel.findChildren(OutsideDialog)[-1].read_button)
    eva.until(lambda: bool(eva.state.findings) and eva.state.sign.enabled, timeout_s=240)
    assert "Read outside the intended use" in eva.panel.caution.text()
    eva.look("adult-3-findings")
    eva.type(Qt.Key.Key_J, Qt.Key.Key_A)
    eva.until(lambda: eva.state.findings[0].state == "accepted" and eva.state.sign.enabled)
    eva.sign(look="adult-4-sign")
    qtbot.waitUntil(lambda: orthanc.modalities() == {"SR"}, timeout=60_000)
    there, before = signed_and_preliminary(orthanc, jane, study, tmp_path / "pacs")
    for path in (there, before):
        report = dcmread(path)
        assert report.SeriesDescription.endswith("REVIEWED, OUTSIDE INTENDED USE")
        assert "view is PA, expected AP" in texts(report)
        assert "the patient is 64 years old" in texts(report)
    complaints = check_files([there, before], [adult])
    # The film's own Referring Physician's Name is a word in a form that the Standard retired; it is copied as it is.
    assert [str(c) for c in complaints if "Referring Physician" not in c.text] == []
