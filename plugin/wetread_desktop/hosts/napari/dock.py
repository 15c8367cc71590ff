"""What napari's menus open: the panel as a dock widget, with the folder dialog that napari's readers cannot give.

napari hands files without a suffix, as a PACS exports them, to no reader; and layers that other plugins made have lost
their UIDs. So Wetread opens its folders itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from wetread.records.study import SeriesRef, StudyRef
from wetread_desktop.client.presenter import Presenter
from wetread_desktop.client.private_edge import Connector
from wetread_desktop.client.settings import SettingsFolder
from wetread_desktop.client.words import say
from wetread_desktop.hosts.napari.napari_host import NapariHost, show_images
from wetread_desktop.hosts.napari.space import KEY
from wetread_desktop.images.files import OpenedFiles, image_series
from wetread_desktop.images.loader import Loader
from wetread_desktop.images.series_images import Images
from wetread_desktop.widgets.panel import Panel

if TYPE_CHECKING:
    import napari

_REPAINT_MS = 400


class WetreadDock(QWidget):
    """Opens DICOM folders as layers, and reads them."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, profile: SettingsFolder | None = None) -> None:
        """``profile``: other settings than those of this user."""
        super().__init__()
        self.viewer = napari_viewer
        self.host = NapariHost(napari_viewer)
        self._connect = Connector()
        self.presenter = Presenter(self.host, profile or SettingsFolder(), self._connect)
        self._loader = Loader(self)
        self._opened: list[OpenedFiles] = []
        self._wanted: tuple[StudyRef, SeriesRef] | None = None
        self._layer: Any = None
        words = self.presenter.words
        self._button = QPushButton(words(say("Open folder …")), self)
        self._button.clicked.connect(self.ask_folder)
        self._said = QLabel("", self, wordWrap=True)
        layout = QVBoxLayout(self)
        self.panel = Panel(self.presenter)
        for part in (self._button, self._said, self.panel):
            layout.addWidget(part)
        self._loader.files_opened.connect(self._files)
        self._loader.images_opened.connect(self._images)
        self._loader.slice_came.connect(self._slice)
        self._loader.filled.connect(self._filled)
        self._loader.failed.connect(self._said.setText)
        self._repaint = QTimer(self, singleShot=True, interval=_REPAINT_MS)
        self._repaint.timeout.connect(self._refresh)
        self.presenter.start()

    @property
    def said(self) -> str:
        """The sentence below the button; empty when there is nothing to say."""
        return self._said.text()

    @property
    def is_filled(self) -> bool:
        """Whether all slices of what was opened last are read."""
        return self._layer is not None and bool(self._layer.metadata[KEY].images.read.all())

    def ask_folder(self) -> None:
        """Let the reader choose a folder."""
        name = QFileDialog.getExistingDirectory(self, self.presenter.words(say("Open folder …")))
        if name:
            self.open_path(Path(name))

    def open_path(self, path: Path) -> None:
        """Show the series with most images of a folder or zip."""
        self._said.setText(self.presenter.words(say("Opening {path} …", path=path.name)))
        self._loader.open(path)

    def closeEvent(self, event: QCloseEvent) -> None:
        """What was decided is on disk when this returns."""
        self._loader.stop()
        self.presenter.close()
        self._connect.close()
        for opened in self._opened:
            opened.close()
        super().closeEvent(event)

    def _files(self, opened: OpenedFiles) -> None:
        self._opened.append(opened)
        pairs = [(study, series) for study in opened.studies for series in image_series(study)]
        if not pairs:
            self._said.setText(self.presenter.words(say("There are no images in it, only results and documents")))
            return
        self._wanted = max(pairs, key=lambda pair: len(pair[1].instances))
        self._loader.load(self._wanted[1])

    def _images(self, images: Images) -> None:
        if self._wanted is None or self._wanted[1] is not images.series:
            return
        self._said.setText("")
        self._layer = show_images(self.viewer, *self._wanted, images)

    def _slice(self, images: Images, _index: int) -> None:
        if self._shows(images) and not self._repaint.isActive():
            self._repaint.start()

    def _filled(self, images: Images, problem: str) -> None:
        if self._shows(images):
            self._refresh()
        self._said.setText(problem)

    def _shows(self, images: Images) -> bool:
        return self._layer is not None and self._layer.metadata[KEY].images is images

    def _refresh(self) -> None:
        if self._layer in self.viewer.layers:
            self._layer.refresh()


def open_folder() -> None:
    """The command of the file menu: the panel with its dialog."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        _dock, widget = viewer.window.add_plugin_dock_widget("wetread", "Wetread – read this study")
        widget.ask_folder()
