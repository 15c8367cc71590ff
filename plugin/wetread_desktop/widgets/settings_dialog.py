"""Settings, with a test of the connection before they are kept."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from wetread_desktop.client.settings import Colours, DeskSettings, Theme
from wetread_desktop.client.words import LANGUAGES, Catalog, Sentence, say
from wetread_desktop.widgets.parts import button, label, name

Test = Callable[[DeskSettings, str, Callable[[Sentence], None]], None]
"""Settings, token, and whom to tell what came of it."""

_THEMES = {Theme.SYSTEM: say("As the system"), Theme.LIGHT: say("Light"), Theme.DARK: say("Dark")}
_COLOURS = {Colours.BUNDLE: say("Those of the bundle"), Colours.SAFE: say("Safe for colour-blind readers")}


class SettingsDialog(QDialog):
    """Accepted when they are to be kept: then ``settings`` and ``token``."""

    def __init__(
        self, kept: DeskSettings, token: str, words: Catalog, test: Test, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("wetread")
        self._words, self._test = words, test
        self.setWindowTitle(words(say("Settings")))
        self.setMinimumWidth(520)
        self._form = QFormLayout()
        self.url = self._line(
            say("Address of the edge"), kept.url, say("https://edge.example.org:8642; empty: one on this computer")
        )
        self.token_field = self._line(say("Token"), token)
        self.token_field.setEchoMode(QLineEdit.EchoMode.Password)
        self.ca_file = self._line(
            say("Certificate authority"), kept.ca_file, say("PEM file of the hospital; empty: the system's")
        )
        self._form.addRow("", self._browse_button())
        self.reader = self._line(say("Your name"), kept.reader, say("Family^Given, as in DICOM"))
        self.organization = self._line(say("Organization"), kept.organization)
        self.reader_id = self._line(say("Your ID there"), kept.reader_id)
        languages: dict[str, Sentence] = {"": say("As the system"), **LANGUAGES}
        self.language = self._choice(say("Language"), languages, kept.language)
        self.theme = self._choice(say("Colours of the window"), {str(t): s for t, s in _THEMES.items()}, kept.theme)
        self.colours = self._choice(
            say("Colours of structures"), {str(c): s for c, s in _COLOURS.items()}, kept.colours
        )
        self.open_at_once = QCheckBox(words(say("Show findings that exist without being asked")))
        self.open_at_once.setChecked(kept.open_at_once)
        name(self.open_at_once, self.open_at_once.text())
        self._form.addRow("", self.open_at_once)
        self.outcome = label()
        layout = QVBoxLayout(self)
        layout.addLayout(self._form)
        layout.addWidget(self.outcome)
        layout.addLayout(self._buttons())

    @property
    def settings(self) -> DeskSettings:
        """As they stand in the fields."""
        return DeskSettings(
            url=self.url.text().strip(),
            ca_file=self.ca_file.text().strip(),
            reader=self.reader.text().strip(),
            organization=self.organization.text().strip(),
            reader_id=self.reader_id.text().strip(),
            language=self.language.currentData(),
            theme=Theme(self.theme.currentData()),
            colours=Colours(self.colours.currentData()),
            open_at_once=self.open_at_once.isChecked(),
        )

    @property
    def token(self) -> str:
        """As it stands in its field."""
        return self.token_field.text().strip()

    def _line(self, what: Sentence, value: str, hint: Sentence = "") -> QLineEdit:
        field = QLineEdit(value)
        field.setPlaceholderText(self._words(hint))
        name(field, self._words(what))
        self._row(what, field)
        return field

    def _choice(self, what: Sentence, choices: dict[str, Sentence], chosen: str) -> QComboBox:
        box = QComboBox()
        for value, sentence in choices.items():
            box.addItem(self._words(sentence), str(value))
        box.setCurrentIndex(max(box.findData(str(chosen)), 0))
        name(box, self._words(what))
        self._row(what, box)
        return box

    def _row(self, what: Sentence, field: QWidget) -> None:
        heading = label("muted", wrap=False)
        heading.setText(self._words(what))
        heading.setBuddy(field)
        self._form.addRow(heading, field)

    def _browse_button(self) -> QWidget:
        browse = button(self._browse)
        browse.setText(self._words(say("Choose file…")))
        name(browse, browse.text())
        return browse

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, self._words(say("Certificate authority")), "", "PEM (*.pem *.crt)")
        if path:
            self.ca_file.setText(path)

    def _buttons(self) -> QHBoxLayout:
        self.test_button = button(self._run_test)
        self.cancel_button = button(self.reject)
        self.keep_button = button(self.accept, "primary")
        row = QHBoxLayout()
        for control, text in (
            (self.test_button, say("Test the connection")),
            (self.cancel_button, say("Cancel")),
            (self.keep_button, say("Keep")),
        ):
            control.setText(self._words(text))
            name(control, control.text())
            row.addWidget(control)
        row.insertStretch(1, 1)
        return row

    def _run_test(self) -> None:
        self.test_button.setEnabled(False)
        self.outcome.setText(self._words(say("Asking the edge…")))
        self._test(self.settings, self.token, self._tested)

    def _tested(self, said: Sentence) -> None:
        self.outcome.setText(self._words(said))
        self.outcome.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.test_button.setEnabled(True)
