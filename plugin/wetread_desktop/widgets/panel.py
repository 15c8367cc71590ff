"""The panel: draws ``PanelState``, hands what is pressed to the presenter, decides nothing and waits for nothing."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QPalette
from qtpy.QtWidgets import QApplication, QLineEdit, QSizePolicy, QVBoxLayout, QWidget
from superqt import QFlowLayout

from wetread_desktop.client.panel_state import PanelState, Phase
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.words import Sentence, say, say_n
from wetread_desktop.host import Capability
from wetread_desktop.widgets.bars import CardView, LockBar, PatientBarView, UnsentBar
from wetread_desktop.widgets.findings_view import FindingsView
from wetread_desktop.widgets.outside_dialog import OutsideDialog
from wetread_desktop.widgets.overlay_view import LegendView
from wetread_desktop.widgets.parts import button, frame, label, name, qt_palette
from wetread_desktop.widgets.settings_dialog import SettingsDialog
from wetread_desktop.widgets.sign_dialog import SignDialog
from wetread_desktop.widgets.study_view import StudyView
from wetread_desktop.widgets.theme import Palette, palette_of, style_sheet

_RESULT = (Phase.FINDINGS, Phase.REVIEWING, Phase.SIGNED)


class Panel(QWidget):
    """Beside the pictures of a viewer; the viewer owns presenter and window."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self.setObjectName("wetread")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.presenter = presenter
        self.patient, self.lock = PatientBarView(), LockBar(presenter)
        self.unsent = UnsentBar(presenter)
        self.card = CardView(presenter, open_settings=self.open_settings, ask_outside=self.ask_outside)
        self.study = StudyView(presenter)
        self.findings = FindingsView(presenter.words)
        self.about = label("muted")
        self.caution_box, inside = frame("warning")
        self.caution = label()
        inside.addWidget(self.caution)
        self.room = QWidget()
        self.reason = QLineEdit()
        self.reason.returnPressed.connect(self._reject_now)
        self._to_reject: list[str] = []
        self.legend = LegendView(
            toggle=presenter.toggle_overlay,
            opacity=presenter.set_opacity,
            contour=presenter.set_contour,
            show_class=presenter.show_class,
            only_class=presenter.only_class,
            heatmap=presenter.toggle_heatmap,
        )
        self.review = label("muted")
        self.settings_button = button(self.open_settings)
        self.undo_button, self.copy_button = button(presenter.undo), button(self.copy)
        self.sign_button = button(self.open_sign_off, "primary")
        self._lay_out()
        self._connect()
        self.stop_listening = presenter.on_change(self.show_state)
        self.show_state(presenter.state)

    def show_state(self, state: PanelState) -> None:
        """Draw it."""
        words, has_result = self.presenter.words, state.phase in _RESULT
        self._use_theme()
        self.patient.show_patient(state.patient, words)
        self.lock.show_lock(state.lock, words)
        self.unsent.show_unsent(state.unsent, words)
        self.card.show_card(state.card, words)
        self.study.show_state(state, words)
        self.about.setText("\n".join(words(s) for s in state.about[:3]))
        self.about.setToolTip("\n".join(words(s) for s in state.about))
        self.caution.setText(words(state.caution))
        self.caution_box.setVisible(has_result and bool(state.caution))
        self.findings.show_rows(state.findings, state.selected, words)
        name(self.findings, words(say("Findings: J and K step, A accepts, R rejects, U undoes")))
        selected = next((r for r in state.findings if r.tracking_uid == state.selected), None)
        no_overlay = "" if Capability.OVERLAY in state.capabilities else words(say("This viewer draws no overlays."))
        no_outline = "" if Capability.CONTOUR in state.capabilities else words(say("This viewer draws no outlines."))
        has_map = selected is not None and selected.has_heatmap and Capability.HEATMAP in state.capabilities
        self.legend.show_overlay(state.overlay, words, has_heatmap=has_map, why_not=no_overlay, no_outline=no_outline)
        self._show_review(state)
        for part in (self.about, self.findings, self.legend, self.review):
            part.setVisible(has_result)
        for control in (self.undo_button, self.copy_button, self.sign_button):
            control.setVisible(has_result)
        # With nothing open the list of studies takes the room that findings take.
        self.room.setVisible(not has_result and state.phase is not Phase.NO_STUDY)
        grows = QSizePolicy.Policy.Expanding if state.phase is Phase.NO_STUDY else QSizePolicy.Policy.Maximum
        self.study.setSizePolicy(QSizePolicy.Policy.Preferred, grows)

    def open_settings(self) -> None:
        """The settings, with what is kept now."""
        desk = self.presenter.desk
        dialog = SettingsDialog(
            desk.settings, desk.folder.token(), self.presenter.words, self.presenter.test_connection, self
        )
        self._dress(dialog)
        dialog.accepted.connect(lambda: self.presenter.apply(dialog.settings, dialog.token))
        dialog.open()

    def ask_outside(self) -> None:
        """What it means to read outside the intended use, and whether to."""
        use = self.presenter.outside_use()
        if use is None:
            return
        dialog = OutsideDialog(use, self.presenter.words, self)
        self._dress(dialog)
        dialog.accepted.connect(lambda: self.presenter.read_outside(use))
        dialog.open()

    def open_sign_off(self) -> None:
        """What will be signed, to be read once more."""
        off = self.presenter.sign_off()
        if off is None:
            return
        dialog = SignDialog(off, self.presenter.words, self)
        self._dress(dialog)
        dialog.accepted.connect(lambda: self.presenter.sign_shown(off, undecided_ok=dialog.undecided_ok.isChecked()))
        dialog.open()

    def copy(self) -> None:
        """Accepted findings to the clipboard."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.presenter.accepted_text())

    def ask_why(self, tracking_uids: list[str]) -> None:
        """Reject, after a comment if there is one to make: Enter rejects, Escape does not."""
        self._to_reject = tracking_uids
        self.reason.clear()
        self.reason.show()
        self.reason.setFocus()

    def keyPressEvent(self, event: object) -> None:
        """Escape leaves the comment without rejecting."""
        if event.key() == Qt.Key.Key_Escape and self.reason.isVisible():  # type: ignore[attr-defined]
            self._to_reject = []
            self.reason.hide()
            self.findings.setFocus()
        else:
            super().keyPressEvent(event)  # type: ignore[arg-type]

    def _reject_now(self) -> None:
        uids, self._to_reject = self._to_reject, []
        self.reason.hide()
        self.findings.setFocus()
        if uids:
            self.presenter.reject(uids, self.reason.text().strip() or None)

    def _show_review(self, state: PanelState) -> None:
        words, view = self.presenter.words, state.review
        said: list[Sentence] = [say("{decided} of {total} decided", decided=view.decided, total=view.total)]
        if view.unsent:
            said.append(say_n("{n} not at the edge yet ⇡", "{n} not at the edge yet ⇡", view.unsent))
        said += [s for s in (view.holder, view.signed) if s]
        self.review.setText(" · ".join(words(s) for s in said))
        self.sign_button.setText(words(state.sign.label))
        self.sign_button.setEnabled(state.sign.enabled)
        name(self.sign_button, self.sign_button.text(), words(state.sign.why_not))
        self.undo_button.setText(words(say("Undo (U)")))
        self.undo_button.setEnabled(view.can_undo)
        self.copy_button.setText(words(say("Copy accepted")))
        self.settings_button.setText(words(say("Settings…")))
        self.reason.setPlaceholderText(words(say("Why rejected? Enter rejects, Escape does not")))
        for control in (self.undo_button, self.copy_button, self.settings_button):
            name(control, control.text())
        name(self.reason, self.reason.placeholderText())

    def _use_theme(self) -> None:
        sheet = style_sheet(colours := self.colours)
        if sheet != self.styleSheet():
            self.setPalette(qt_palette(colours))
            self.setStyleSheet(sheet)
            self.findings.use(colours)

    @property
    def colours(self) -> Palette:
        """Of the theme that is set, or that the desktop has."""
        dark = QApplication.palette().color(QPalette.ColorRole.Window).lightness() < 128
        return palette_of(self.presenter.desk.settings.theme, system_is_dark=dark)

    def _dress(self, dialog: QWidget) -> None:
        dialog.setPalette(self.palette())
        dialog.setStyleSheet(self.styleSheet())

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        for part in (self.patient, self.lock, self.unsent, self.card, self.study, self.caution_box, self.about):
            part.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
            layout.addWidget(part)
        layout.addWidget(self.findings, 1)
        layout.addWidget(self.room, 1)
        layout.addWidget(self.reason)
        layout.addWidget(self.legend)
        layout.addWidget(self.review)
        row = QFlowLayout()  # a dock may be narrower than their names
        row.setSpacing(6)
        for control in (self.settings_button, self.undo_button, self.copy_button, self.sign_button):
            row.addWidget(control)
        layout.addLayout(row)
        self.reason.hide()
        self.setMinimumWidth(360)

    def _connect(self) -> None:
        here, view = self.presenter, self.findings
        view.stepped.connect(here.step)
        view.picked.connect(here.select)
        view.jump_asked.connect(here.jump)
        view.accept_asked.connect(here.accept)
        view.reject_asked.connect(self.ask_why)
        view.undo_asked.connect(here.undo)
        view.overlay_asked.connect(here.toggle_overlay)
        view.heatmap_asked.connect(here.toggle_heatmap)
