"""Before a study is read for which the bundle was not made: why not, what that means, and whether to all the same."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from wetread_desktop.client.outside import OutsideUse
from wetread_desktop.client.words import Catalog, say
from wetread_desktop.widgets.parts import button, frame, label, name


class OutsideDialog(QDialog):
    """Accepted when the reader wants the study read all the same."""

    def __init__(self, use: OutsideUse, words: Catalog, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("wetread")
        self._words = words
        self.setWindowTitle(words(say("Read outside the intended use")))
        self.setMinimumWidth(520)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addWidget(self._patient(use))
        layout.addWidget(self._why(use))
        layout.addWidget(self._means())
        layout.addLayout(self._buttons())
        self.back_button.setFocus()

    def _patient(self, use: OutsideUse) -> QWidget:
        box, inside = frame("bar")
        who, facts = label("name"), label("muted")
        who.setText(use.patient.name or use.patient.patient_id)
        facts.setText(" · ".join(filter(None, (use.patient.patient_id, use.patient.birth_date, use.patient.study))))
        inside.addWidget(who)
        inside.addWidget(facts)
        return box

    def _why(self, use: OutsideUse) -> QWidget:
        words = self._words
        box, inside = frame("")
        heading, reasons, made_for = label("heading"), label(), label("muted")
        heading.setText(words(say("Why {title} was not made for this study", title=use.title)))
        reasons.setText("\n".join(f"• {reason}" for reason in use.reasons))
        said = [words(say("Made for: {what}", what=use.intended_use))] if use.intended_use else []
        said += [words(say("Not for: {what}", what=", ".join(use.not_for)))] if use.not_for else []
        made_for.setText("\n".join(said))
        for part in (heading, reasons, made_for):
            inside.addWidget(part)
        return box

    def _means(self) -> QWidget:
        box, inside = frame("warning")
        text = label()
        text.setText(
            self._words(
                say(
                    "Nobody knows how good the answer is for such images: it may be wrong and look right. Every object "
                    "of this read says “outside intended use”, and that you asked for it is kept on record."
                )
            )
        )
        inside.addWidget(text)
        return box

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.back_button = button(self.reject)
        self.back_button.setText(self._words(say("Back")))
        self.read_button = button(self.accept)
        self.read_button.setText(self._words(say("Read all the same")))
        row.addStretch(1)
        for made in (self.back_button, self.read_button):
            name(made, made.text())
            row.addWidget(made)
        return row
