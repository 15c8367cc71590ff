"""One window of one reader at a running ``wetread serve``, and the hands that use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from peers import WetreadProcess
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.client.panel_state import PanelState, Phase
from wetread_desktop.client.settings import DeskSettings, SettingsFolder, Theme
from wetread_desktop.hosts.window.application import Application
from wetread_desktop.widgets.sign_dialog import SignDialog

READER = "Huber^Eva=胡^伊娃"
PICTURES = os.environ.get("PICTURES", "")
"""A folder for pictures of what is on the screen, for whoever wants to look."""


class Desk:
    """One window of one reader, and the hands that use it."""

    def __init__(
        self, qtbot: QtBot, service: WetreadProcess, profile: Path, reader: str = READER, **settings: object
    ) -> None:
        self._qtbot, self.profile = qtbot, profile
        kept = SettingsFolder(profile)
        usual = {"url": service.api, "reader": reader, "organization": "City Hospital", "language": "en"}
        kept.save(DeskSettings(**(usual | settings)))  # type: ignore[arg-type]
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
        self.press()
        self.until(lambda: bool(self.state.findings) and self.state.sign.enabled, timeout_s=240)

    def click(self, widget: QWidget) -> None:
        """With the left button."""
        self._qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)

    def press(self) -> None:
        """The one button, as soon as it can be pressed: an edge that does not have the study gets it first."""
        button = self.panel.study.primary
        self.until(lambda: button.isVisible() and button.isEnabled())
        self.click(button)

    def type(self, *keys: Qt.Key) -> None:
        """In the list of findings."""
        self.panel.findings.setFocus()
        for key in keys:
            self._qtbot.keyClick(self.panel.findings, key)

    def sign(self, *, look: str = "") -> str:
        """Read the dialog, then sign in it; what it said."""
        self.until(self.panel.sign_button.isEnabled)
        self._qtbot.mouseClick(self.panel.sign_button, Qt.MouseButton.LeftButton)
        dialog = self.panel.findChild(SignDialog)
        assert dialog is not None
        self.until(dialog.isVisible)
        if look:
            self.look(look, dialog)
        said = str(dialog.summary.toPlainText())
        if dialog.undecided_ok.isVisible():
            self._qtbot.mouseClick(dialog.undecided_ok, Qt.MouseButton.LeftButton)
            dialog.undecided_ok.setChecked(True)
        self._qtbot.mouseClick(dialog.sign_button, Qt.MouseButton.LeftButton)
        self.until(lambda: self.state.phase is Phase.SIGNED)
        return said

    def set(self, **settings: object) -> None:
        """As the settings dialog does."""
        if "theme" in settings:
            settings["theme"] = Theme(str(settings["theme"]))
        desk = self.application.presenter.desk
        self.application.presenter.apply(replace(desk.settings, **settings), desk.folder.token())  # type: ignore[arg-type]

    def look(self, name: str, widget: QWidget | None = None) -> None:
        """A picture for eyes, if anybody wants one."""
        if PICTURES:
            self._qtbot.wait(300)
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            (widget or self.window).grab().save(str(Path(PICTURES) / f"{name}.png"))

    def close(self) -> None:
        self.window.close()
