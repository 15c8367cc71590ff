"""From the study to the read: the suggested bundle with its reason, the one button, how far the read is."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QListWidget, QListWidgetItem, QProgressBar, QVBoxLayout, QWidget

from wetread_desktop.client.panel_state import PanelState, Phase, ProgressView
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.studies import StudyLine, Suggestion
from wetread_desktop.client.wording import clock_time
from wetread_desktop.client.words import Catalog, say
from wetread_desktop.host import Capability
from wetread_desktop.widgets.parts import button, label, name

_UID = int(Qt.ItemDataRole.UserRole)


class StudyView(QWidget):
    """Draws what comes before the findings."""

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self._drawn: tuple[Suggestion, ...] = ()
        self._listed: tuple[StudyLine, ...] = ()
        self.bundles = QComboBox()
        self.bundles.activated.connect(lambda place: presenter.choose(self.bundles.itemData(place)))
        self.reason, self.why_not = label("muted"), label("muted")
        self.primary = button(presenter.press, "primary")
        self.stage, self.detail = label(), label("muted")
        self.bar = QProgressBar()
        self.cancel = button(presenter.cancel)
        self.worklist = QListWidget()
        self.worklist.itemActivated.connect(lambda item: presenter.open_study(item.data(_UID)))
        self.refresh = button(presenter.refresh_worklist)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.worklist, self.refresh, self.bundles, self.reason, self.primary, self.why_not, self.stage):
            layout.addWidget(part)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        layout.addLayout(row)
        layout.addWidget(self.detail)

    def show_state(self, state: PanelState, words: Catalog) -> None:
        """Draw it."""
        open_now = state.phase in (Phase.STUDY_OPEN, Phase.ASKING)
        has_result = state.phase in (Phase.FINDINGS, Phase.REVIEWING, Phase.SIGNED)
        self._show_bundles(state, words, visible=state.phase is Phase.STUDY_OPEN)
        self.primary.setText(words(state.primary.label))
        self.primary.setEnabled(state.primary.enabled and not state.lock)
        self.primary.setVisible(open_now)
        self.why_not.setText(words(state.primary.why_not))
        self.why_not.setVisible(open_now and bool(state.primary.why_not) and state.card is None)
        name(self.primary, self.primary.text(), self.why_not.text())
        self._show_progress(state.progress, words)
        self._show_worklist(state, words)
        self.setVisible(not has_result)

    def _show_bundles(self, state: PanelState, words: Catalog, *, visible: bool) -> None:
        if state.suggestions != self._drawn:
            self._drawn = state.suggestions
            self.bundles.clear()
            for suggestion in state.suggestions:
                self.bundles.addItem(suggestion.about.label, suggestion.bundle)
        for place, suggestion in enumerate(state.suggestions):
            fits = "" if suggestion.fits else words(say(" (does not fit)"))
            self.bundles.setItemText(place, suggestion.about.label + fits)
        self.bundles.setCurrentIndex(self.bundles.findData(state.chosen))
        chosen = next((s for s in state.suggestions if s.bundle == state.chosen), None)
        self.reason.setText(_why(chosen, words) if chosen else "")
        for part in (self.bundles, self.reason):
            part.setVisible(visible and bool(state.suggestions))
        name(self.bundles, words(say("Bundle")), self.reason.text())

    def _show_progress(self, progress: ProgressView | None, words: Catalog) -> None:
        for part in (self.stage, self.bar, self.cancel, self.detail):
            part.setVisible(progress is not None)
        if progress is None:
            return
        self.stage.setText(words(progress.stage))
        self.detail.setText(words(progress.trouble or progress.detail))
        self.bar.setRange(0, 0 if progress.percent is None else 100)
        self.bar.setValue(round(progress.percent or 0))
        self.cancel.setText(words(say("Cancel")))
        self.cancel.setEnabled(progress.can_cancel)
        name(self.bar, self.stage.text(), self.detail.text())
        name(self.cancel, self.cancel.text())

    def _show_worklist(self, state: PanelState, words: Catalog) -> None:
        nothing_open = state.phase is Phase.NO_STUDY
        self.worklist.setVisible(nothing_open)
        self.refresh.setVisible(nothing_open)
        self.refresh.setText(words(say("Look again")))
        name(self.refresh, self.refresh.text())
        can_open = Capability.OPEN_STUDY in state.capabilities
        why = "" if can_open else words(say("Open the study in the viewer; this viewer cannot fetch it."))
        name(self.worklist, words(say("Studies at the edge")), why)
        if state.worklist != self._listed:
            self._listed = state.worklist
            self.worklist.clear()
            for line in state.worklist:
                item = QListWidgetItem(_line(line))
                item.setData(_UID, line.study_instance_uid)
                self.worklist.addItem(item)


def _line(line: StudyLine) -> str:
    """State, time, patient ID, what it is."""
    parts = (clock_time(line.received_at), line.patient_id, line.accession_number, line.description, line.state)
    return "  ·  ".join(filter(None, parts))


def _why(chosen: Suggestion, words: Catalog) -> str:
    said = [chosen.reason] if chosen.fits else []  # else it stands on the card, or below the button
    said += [f"{c.input_name}: {c.reason}" for c in chosen.chosen if c.reason]
    said += chosen.passed_over[:3]
    if chosen.about.not_for:
        said.append(words(say("Not for: {what}", what=", ".join(chosen.about.not_for))))
    if not chosen.about.clinical_use:
        said.append(words(say("Research use: not for clinical decisions.")))
    return "\n".join(filter(None, said))
