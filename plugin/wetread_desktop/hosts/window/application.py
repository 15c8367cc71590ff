"""The program behind ``wetread-desk open``: window, panel, the edge, and later requests of other viewers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QApplication

from wetread_desktop.client.fetching import fetch_study
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.private_edge import Connector
from wetread_desktop.client.settings import SettingsFolder
from wetread_desktop.hosts.window.single import Instance
from wetread_desktop.hosts.window.study_window import StudyWindow
from wetread_desktop.hosts.window.window_host import WindowHost
from wetread_desktop.widgets.panel import Panel


class Application:
    """One window with its panel."""

    def __init__(self, profile: SettingsFolder, *, edge: str = "") -> None:
        """``edge``: another address than the one that is set. Raises: ``SettingsInvalid``."""
        self._profile = profile
        self.connect = Connector(edge)
        self._fetched = tempfile.TemporaryDirectory(prefix="wetread-desk-")
        self.window = StudyWindow(self._fetch)
        self.host = WindowHost(self.window)
        self.presenter = Presenter(self.host, profile, self.connect)
        self.window.say_in(self.presenter.words)
        self.panel = Panel(self.presenter)
        self.window.add_panel(self.panel)
        self.window.use(self.panel.colours)
        self.presenter.on_change(lambda _state: self._changed())
        self.window.closing.connect(self._close)
        self.presenter.start()

    def take(self, request: OpenRequest) -> str:
        """Open what is asked for; '' or why not. What cannot be reached later is said in the window."""
        self.window.raise_window()
        if request.folder:
            if not Path(request.folder).exists():
                return f"{request.folder}: there is no such file or folder"
            self.window.open_path(Path(request.folder), series_uid=request.series_uid, study_uid=request.study_uid)
        elif request.study_uid:
            self.window.fetch_study(request.study_uid, series_uid=request.series_uid)
        return ""

    def _changed(self) -> None:
        self.window.say_in(self.presenter.words)
        self.window.use(self.panel.colours)

    def _fetch(self, study_instance_uid: str, stopped: Callable[[], bool]) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._fetched.name))
        edge = self.connect(self._profile.load(), self._profile.token())
        fetch_study(edge, study_instance_uid, folder, stopped=stopped)
        return folder

    def _close(self) -> None:
        self.presenter.close()
        self.connect.close()
        self._fetched.cleanup()


def run_window(profile: SettingsFolder, request: OpenRequest, *, edge: str = "") -> int:
    """Run until the window is closed; the exit code."""
    qt = QApplication.instance() or QApplication(sys.argv[:1])
    application = Application(profile, edge=edge)
    instance = Instance(profile.folder, application.take, edge=edge)
    application.window.show()
    application.take(request)
    code = int(qt.exec())
    instance.close()
    return code
