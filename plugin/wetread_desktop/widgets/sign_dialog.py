"""Before a signature: whose study it is, what will be in the report and what not."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QCheckBox, QDialog, QFormLayout, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from wetread_desktop.client.panel_state import FindingRow
from wetread_desktop.client.sign_off import SignOff
from wetread_desktop.client.words import Catalog, Sentence, say, say_n
from wetread_desktop.widgets.findings_view import details, title
from wetread_desktop.widgets.parts import button, frame, label, name


class SignDialog(QDialog):
    """Accepted when the reader signs."""

    def __init__(self, off: SignOff, words: Catalog, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("wetread")
        self._words = words
        self.setWindowTitle(words(say("Sign the findings")))
        self.setMinimumWidth(560)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addWidget(self._patient(off))
        self.summary = QPlainTextEdit(self._text(off))
        self.summary.setReadOnly(True)
        self.summary.setTabChangesFocus(True)
        self.summary.setMinimumHeight(220)
        name(self.summary, words(say("What will be signed")))
        layout.addWidget(self.summary)
        self.undecided_ok = QCheckBox()
        self.undecided_ok.setText(
            words(
                say_n(
                    "Sign without the {n} undecided finding",
                    "Sign without the {n} undecided findings",
                    len(off.undecided),
                )
            )
        )
        name(self.undecided_ok, self.undecided_ok.text())
        self.undecided_ok.setVisible(bool(off.undecided))
        self.undecided_ok.toggled.connect(lambda _: self._allow(off))
        layout.addWidget(self.undecided_ok)
        if off.outside:
            layout.addWidget(self._outside(off))
        layout.addWidget(self._not_the_report(off))
        layout.addLayout(self._buttons())
        self._allow(off)
        self.cancel_button.setFocus()

    def _patient(self, off: SignOff) -> QWidget:
        box, inside = frame("bar")
        who = label("name")
        who.setText(off.patient.name)
        inside.addWidget(who)
        form = QFormLayout()
        for what, value in (
            (say("Patient ID"), off.patient.patient_id),
            (say("Born"), off.patient.birth_date),
            (say("Accession number"), off.patient.accession_number),
            (say("Study"), off.patient.study),
        ):
            said = label(wrap=True)
            said.setText(value or self._words(say("not given")))
            heading = label("muted", wrap=False)
            heading.setText(self._words(what))
            form.addRow(heading, said)
        inside.addLayout(form)
        return box

    def _text(self, off: SignOff) -> str:
        words = self._words
        parts: tuple[tuple[Sentence, Sequence[FindingRow]], ...] = (
            (say("In the signed report (accepted)"), off.accepted),
            (say("Not in the signed report: rejected"), off.rejected),
            (say("Not in the signed report: neither accepted nor rejected"), off.undecided),
            (say("Never looked at here"), off.never_seen),
        )
        lines: list[str] = []
        for heading, rows in parts:
            lines.append(f"{words(heading)}: {len(rows) or words(say('none'))}")
            lines += [f"    {row.tag}. {title(row)} – {details(row, words)}".rstrip(" –") for row in rows]
        return "\n".join(lines)

    def _outside(self, off: SignOff) -> QWidget:
        box, inside = frame("error")
        text = label()
        text.setText(
            self._words(
                say("{bundle} was not made for this study: the report says “outside intended use”.", bundle=off.bundle)
            )
        )
        inside.addWidget(text)
        return box

    def _not_the_report(self, off: SignOff) -> QWidget:
        box, inside = frame("warning")
        text = label()
        text.setText(
            self._words(
                say(
                    "This is not the radiology report. {who} ({organization}) vouches for the accepted findings of "
                    "{bundle}; they go into a structured report marked as verified. Research use only.",
                    who=off.reader,
                    organization=off.organization,
                    bundle=off.bundle,
                )
            )
        )
        inside.addWidget(text)
        return box

    def _buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.cancel_button = button(self.reject)
        self.cancel_button.setText(self._words(say("Back")))
        name(self.cancel_button, self.cancel_button.text())
        self.sign_button = button(self.accept, "primary")
        self.sign_button.setText(self._words(say("Sign")))
        row.addStretch(1)
        row.addWidget(self.cancel_button)
        row.addWidget(self.sign_button)
        return row

    def _allow(self, off: SignOff) -> None:
        may = not off.undecided or self.undecided_ok.isChecked()
        why = "" if may else self._words(say("Decide on all findings, or tick the box."))
        self.sign_button.setEnabled(may)
        name(self.sign_button, self.sign_button.text(), why)
