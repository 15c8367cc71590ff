"""The panel under a reader's hands: a real window, real keys, an edge over HTTP."""

from __future__ import annotations

import threading

import pytest
from conftest_panel import tab_order, visible_controls
from desk_under_test import edge_with_result, edge_with_study
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

import desk_documents as documents
from fake_edge import FakeEdge
from gui_thread import WAITS, watched
from wetread_desktop.client.panel_state import Phase
from wetread_desktop.client.settings import Theme
from wetread_desktop.host import Capability
from wetread_desktop.widgets import theme
from wetread_desktop.widgets.settings_dialog import SettingsDialog
from wetread_desktop.widgets.sign_dialog import SignDialog


@pytest.mark.both_bindings
def test_press_read_step_accept_reject_undo_and_sign(qtbot, window, edge: FakeEdge) -> None:  # type: ignore[no-untyped-def]
    """The whole way, with one mouse click and then keys alone."""
    edge_with_study(edge)
    here = window()
    qtbot.waitUntil(here.panel.study.primary.isEnabled)
    assert here.panel.study.primary.text() == "Read with Spleen"
    qtbot.mouseClick(here.panel.study.primary, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(edge.jobs) and here.panel.study.bar.isVisible())
    job = next(iter(edge.jobs.values()))
    edge.tell(job, state="running", stage="infer", percent=40, eta_s=75)
    qtbot.waitUntil(lambda: here.panel.study.bar.value() == 40)
    assert (here.panel.study.stage.text(), here.panel.study.detail.text()) == ("Computing", "about 1:15 left")
    job.result, job.labels = documents.result(), documents.labels()
    edge.add_job(job)
    edge.tell(job, state="done")
    qtbot.waitUntil(lambda: here.panel.findings.isVisible() and here.panel.sign_button.isEnabled())
    here.panel.findings.setFocus()
    QTest.keyClick(here.panel.findings, Qt.Key.Key_J)
    assert here.host.calls[-1][0] == "goto"
    QTest.keyClick(here.panel.findings, Qt.Key.Key_A)
    qtbot.waitUntil(lambda: job.review.of("2.25.2").state == "accepted")
    QTest.keyClick(here.panel.findings, Qt.Key.Key_R)
    QTest.keyClicks(here.panel.reason, "a vessel")
    QTest.keyClick(here.panel.reason, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: job.review.of("2.25.3").comment == "a vessel")
    QTest.keyClick(here.panel.findings, Qt.Key.Key_U)
    qtbot.waitUntil(lambda: job.review.of("2.25.3").state == "proposed")
    QTest.keyClick(here.panel.findings, Qt.Key.Key_Space)
    assert not next(iter(here.host.looks.values())).visible
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.panel.sign_button.click()
    dialog = here.panel.findChild(SignDialog)
    assert not dialog.sign_button.isEnabled()
    dialog.undecided_ok.click()
    dialog.sign_button.click()
    qtbot.waitUntil(lambda: here.presenter.state.phase is Phase.SIGNED)
    assert job.signed is not None
    assert "Signed by Huber, Eva" in here.panel.review.text()


def test_sign_off_repeats_the_patient_and_what_is_rejected_undecided_or_never_seen(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    job = edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.presenter.reject(["2.25.3"], "a vessel")
    qtbot.waitUntil(lambda: job.review.version == 1 and here.panel.sign_button.isEnabled())
    here.panel.sign_button.click()
    dialog = here.panel.findChild(SignDialog)
    shown = "\n".join(part.text() for part in dialog.findChildren(QLabel)) + dialog.summary.toPlainText()
    for part in (
        "梅尔安娜 (Meier, Anna)",
        "P-17",
        "1950-03-04",
        "A-2026-1",
        "Not in the signed report: rejected: 1",
        "2. Lesion",
        "Never looked at here: 4",
        "This is not the radiology report",
        "Huber, Eva",
        "City Hospital",
    ):
        assert part in shown, part
    dialog.reject()
    assert job.signed is None


def test_decision_that_comes_in_behind_the_open_sign_off_is_not_signed_over(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    job = edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.panel.sign_button.click()
    dialog = here.panel.findChild(SignDialog)
    dialog.undecided_ok.setChecked(True)
    here.presenter.accept(["2.25.1"])
    qtbot.waitUntil(lambda: job.review.version == 1 and here.presenter.state.review.unsent == 0)
    dialog.sign_button.click()
    qtbot.waitUntil(here.panel.card.isVisible)
    assert "Nothing was signed" in here.panel.card.what.text()
    assert job.signed is None


@pytest.mark.parametrize("key", [Qt.Key.Key_A, Qt.Key.Key_R, Qt.Key.Key_U])
def test_keys_decide_nothing_while_the_list_has_no_focus(qtbot, window, edge, key) -> None:  # type: ignore[no-untyped-def]
    job = edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.presenter.step(1)
    for other in (here.panel, here.panel.legend.opacity, here.panel.copy_button, here.panel.legend.classes):
        other.setFocus()
        QTest.keyClick(other, key)
    assert here.presenter.state.review.decided == 0
    assert not here.panel.reason.isVisible()
    assert job.review.version == 0


def test_escape_leaves_the_comment_and_rejects_nothing(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.presenter.step(1)
    here.panel.findings.setFocus()
    QTest.keyClick(here.panel.findings, Qt.Key.Key_R)
    QTest.keyClicks(here.panel.reason, "A and R are letters here")
    QTest.keyClick(here.panel.reason, Qt.Key.Key_Escape)
    assert here.panel.reason.isHidden()
    assert here.presenter.state.review.decided == 0


@pytest.mark.both_bindings
def test_gui_thread_is_never_blocked_longer_than_a_tenth_of_a_second(qtbot, window, edge: FakeEdge) -> None:  # type: ignore[no-untyped-def]
    """While the edge takes its time with every answer: asking, reading, showing, deciding, signing."""
    job = edge_with_result(edge)
    slow = threading.Event()
    edge.answer_first = lambda method, path: {} if slow.wait(0.4) else None
    here = window()
    with watched() as blocked:
        qtbot.waitUntil(here.panel.sign_button.isEnabled, timeout=20_000)
        here.presenter.step(1)
        here.presenter.accept(["2.25.2"])
        qtbot.waitUntil(lambda: job.review.version == 1, timeout=20_000)
        qtbot.waitUntil(here.panel.sign_button.isEnabled, timeout=20_000)
        here.presenter.sign(undecided_ok=True)
        qtbot.waitUntil(lambda: here.presenter.state.phase is Phase.SIGNED, timeout=20_000)
    assert blocked.longest_ms < 100, blocked
    assert blocked.did_itself("", *WAITS) == [], blocked


def test_other_study_in_the_viewer_locks_the_window_and_one_press_goes_there(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    edge.add_study(documents.study(documents.OTHER_STUDY), [documents.suggestion("lesions")])
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.host.show(documents.handle(documents.OTHER_STUDY))
    assert here.panel.lock.isVisible()
    assert not here.panel.sign_button.isEnabled()
    assert "another study (Chest)" in here.panel.lock.text.text()
    assert "Meier" in here.panel.patient.who.text()
    here.panel.lock.go.click()
    qtbot.waitUntil(lambda: here.panel.study.primary.text() == "Read with Liver lesions")
    assert here.panel.lock.isHidden()


def test_language_changes_while_the_window_is_open(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.panel.open_settings()
    dialog = here.panel.findChild(SettingsDialog)
    dialog.language.setCurrentIndex(dialog.language.findData("zh_CN"))
    dialog.keep_button.click()
    assert here.panel.sign_button.text() == "签署…"
    assert here.panel.legend.visible_box.text() == "叠加显示（空格）"
    assert "未见" in here.panel.findings.model().index(3).data(int(Qt.ItemDataRole.DisplayRole))
    assert here.presenter.state.findings
    here.panel.open_settings()
    dialog = here.panel.findChildren(SettingsDialog)[-1]
    dialog.language.setCurrentIndex(dialog.language.findData("en"))
    dialog.keep_button.click()
    assert here.panel.sign_button.text() == "Sign…", "and back again"


def test_colours_change_while_the_window_is_open(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window(theme=Theme.LIGHT)
    qtbot.waitUntil(lambda: bool(here.host.shown("overlay")))
    here.panel.open_settings()
    dialog = here.panel.findChild(SettingsDialog)
    dialog.theme.setCurrentIndex(dialog.theme.findData("dark"))
    dialog.colours.setCurrentIndex(dialog.colours.findData("safe"))
    dialog.keep_button.click()
    assert here.panel.grab().toImage().pixelColor(3, 3).name() == theme.DARK.ground
    _, _, legend = here.host.shown("overlay")[-1]
    assert legend.colours()[2] == (230, 159, 0)
    assert len(here.host.shown("overlay")) == 1


def test_settings_say_whether_the_edge_answers_before_they_are_kept(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_study(edge)
    here = window()
    here.panel.open_settings()
    dialog = here.panel.findChild(SettingsDialog)
    dialog.test_button.click()
    qtbot.waitUntil(lambda: dialog.outcome.text() == "Wetread 0.1.0 answers and takes the token.")
    dialog.token_field.setText("another")
    dialog.test_button.click()
    qtbot.waitUntil(lambda: "does not know this workstation's token" in dialog.outcome.text())
    dialog.cancel_button.click()
    assert here.presenter.desk.folder.token() != "another"


def test_card_can_be_copied_for_whoever_helps(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_study(edge)
    edge.answer_first = lambda method, path: {"status": 503, "detail": "the disk is full"}
    here = window()
    qtbot.waitUntil(here.panel.card.isVisible, timeout=10_000)
    here.panel.card.copy_button.click()
    copied = QGuiApplication.clipboard().text()
    assert "The edge cannot do this now: the disk is full" in copied
    assert "code: busy" in copied
    assert "Meier" not in copied


def test_accepted_findings_go_to_the_clipboard(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.presenter.accept(["2.25.1"])
    qtbot.waitUntil(lambda: here.presenter.state.review.decided == 1)
    here.panel.copy_button.click()
    assert QGuiApplication.clipboard().text().startswith("- Spleen: Volume 12.3 mL")


def _scenes(here, edge, qtbot) -> list[QWidget]:  # type: ignore[no-untyped-def]
    """Every window that the panel has, with all that can be in it."""
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.host.show(documents.handle(documents.OTHER_STUDY))
    here.host.show(documents.handle())
    edge.jobs["job-1"].holder = "Keller^Urs"
    here.presenter.accept(["2.25.2"])
    qtbot.waitUntil(here.panel.card.isVisible)
    here.panel.open_settings()
    edge.jobs["job-1"].holder = ""
    return [here.panel, here.panel.findChild(SettingsDialog)]


@pytest.mark.both_bindings
def test_every_control_has_an_accessible_name_and_is_reached_by_tab(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    for shown in _scenes(here, edge, qtbot):
        controls = visible_controls(shown)
        assert len(controls) >= 8
        nameless = [f"{type(c).__name__} {c.objectName()}" for c in controls if not (c.accessibleName() or _text(c))]
        assert nameless == []
        reached = tab_order(shown)
        missed = [c.accessibleName() for c in controls if c.isEnabled() and c not in reached]
        assert missed == []
        shown.close() if shown is not here.panel else None


def test_sign_off_dialog_is_reached_by_tab(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    qtbot.waitUntil(here.panel.sign_button.isEnabled)
    here.panel.sign_button.click()
    dialog = here.panel.findChild(SignDialog)
    assert [c.accessibleName() for c in visible_controls(dialog) if c.isEnabled() and c not in tab_order(dialog)] == []
    assert dialog.focusWidget() is dialog.cancel_button


def test_why_a_control_is_off_is_said_to_screen_readers_too(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window(organization="")
    qtbot.waitUntil(here.panel.findings.isVisible)
    qtbot.waitUntil(lambda: here.panel.sign_button.accessibleDescription() == "Set your organization first.")
    assert not here.panel.legend.heatmap_button.isEnabled()
    assert "no heat map" in here.panel.legend.heatmap_button.accessibleDescription()


def test_viewer_that_only_fills_structures_is_not_asked_for_outlines(qtbot, window, edge) -> None:  # type: ignore[no-untyped-def]
    edge_with_result(edge)
    here = window()
    legend = here.panel.legend
    qtbot.waitUntil(legend.contour_box.isEnabled)
    here.presenter.desk.change(capabilities=here.host.can - {Capability.CONTOUR})
    assert (legend.visible_box.isEnabled(), legend.contour_box.isEnabled()) == (True, False)
    assert legend.contour_box.accessibleDescription() == "This viewer draws no outlines."


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_has_a_contrast_of_four_and_a_half_and_borders_of_three(palette: theme.Palette) -> None:
    p = palette
    pairs = [(p.text, p.ground), (p.text, p.raised), (p.muted, p.ground), (p.muted, p.raised), (p.on_accent, p.accent),
             (p.on_selected, p.selected), (p.on_warning, p.warning), (p.on_error, p.error), (p.accepted, p.raised),
             (p.rejected, p.raised)]  # fmt: skip
    assert {pair: round(theme.contrast(*pair), 1) for pair in pairs if theme.contrast(*pair) < 4.5} == {}
    lines = [(p.border, p.ground), (p.border, p.raised), (p.accent, p.ground), (p.accent, p.raised)]
    assert {pair: round(theme.contrast(*pair), 1) for pair in lines if theme.contrast(*pair) < 3} == {}


def _text(control: QWidget) -> str:
    return control.text() if isinstance(control, QPushButton) else ""
