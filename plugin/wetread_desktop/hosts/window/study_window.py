"""The standalone window: open studies at the left, the planes in the middle, the panel at the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence
from qtpy.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QMenu,
    QToolBar,
    QToolButton,
    QWidget,
)

from wetread.records.study import SeriesRef, StudyRef
from wetread_desktop.client.wording import shown_date
from wetread_desktop.client.words import Catalog, Sentence, catalog, say
from wetread_desktop.hosts.window.viewer import Viewer
from wetread_desktop.images.files import OpenedFiles, image_series
from wetread_desktop.images.loader import Loader
from wetread_desktop.images.series_images import Images
from wetread_desktop.images.shades import CT_PRESETS
from wetread_desktop.widgets.parts import qt_palette
from wetread_desktop.widgets.theme import Palette

_REPAINT_MS = 150
_ROLE = Qt.ItemDataRole.UserRole
Fetch = Callable[[str, Callable[[], bool]], Path]
"""Study Instance UID to a folder with its files, from the edge; takes its time, on another thread, and asks the second
argument whether anybody waits still."""


class StudyWindow(QMainWindow):
    """Opens folders, zips and studies of the edge; shows one series at a time."""

    series_shown = Signal()
    """Another series, or none, is in the planes."""
    filled = Signal()
    """All slices of it are read."""
    closing = Signal()
    failed = Signal(str)
    """A sentence for the reader; it also stands in the status bar."""

    def __init__(self, fetch: Fetch | None = None, words: Catalog | None = None) -> None:
        super().__init__()
        self.studies: list[StudyRef] = []
        self.active: tuple[StudyRef, SeriesRef] | None = None
        self.viewer = Viewer(self)
        self._fetch = fetch
        self._words = words or catalog("en")
        self._opened: list[OpenedFiles] = []
        self._wanted: tuple[StudyRef, SeriesRef] | None = None
        self._named = ("", "")
        self._loader = Loader(self)
        self._loader.files_opened.connect(self._show_files)
        self._loader.images_opened.connect(self._show_images)
        self._loader.slice_came.connect(self._slice_came)
        self._loader.filled.connect(self._filled)
        self._loader.failed.connect(self._fail)
        self._repaint = QTimer(self, singleShot=True, interval=_REPAINT_MS)
        self._repaint.timeout.connect(self.viewer.refresh)
        self._build()
        self.say_in(self._words)

    @property
    def can_fetch(self) -> bool:
        """Whether studies of the edge can be opened."""
        return self._fetch is not None

    def open_path(self, path: Path, *, study_uid: str = "", series_uid: str = "") -> None:
        """Open a folder, a zip, or the folder of a file. Shown is the series that is named, else the one with most
        images."""
        self._named = (study_uid, series_uid)
        self._status(say("Opening {path} …", path=path.name))
        self._loader.open(path)

    def fetch_study(self, study_instance_uid: str, *, series_uid: str = "") -> None:
        """Open a study of the edge."""
        self._named = (study_instance_uid, series_uid)
        if self._fetch is None:
            self._fail(self._words(say("This window is not connected to an edge")))
            return
        self._status(say("Fetching the study …"))
        self._loader.fetch(self._fetch, study_instance_uid)

    def listed(self) -> Iterator[tuple[StudyRef, SeriesRef]]:
        """The series of images, in the order of the list."""
        for study in self.studies:
            for series in image_series(study):
                yield study, series

    def show_series(self, study: StudyRef, series: SeriesRef) -> None:
        """Read and show one series."""
        self._wanted = (study, series)
        self._status(say("Reading {series} …", series=series.label))
        self._loader.load(series)

    def raise_window(self) -> None:
        """To the front, as far as the desktop lets programs do that."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.raise_()
        self.activateWindow()

    def add_panel(self, panel: QWidget) -> None:
        """Put the panel at the right."""
        dock = QDockWidget("Wetread", self)
        dock.setObjectName("panel")
        dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        dock.setWidget(panel)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)

    def use(self, colours: Palette) -> None:
        """Lists and tools in the colours of the panel."""
        palette = qt_palette(colours)
        if palette != self.palette():
            self.setPalette(palette)

    def say_in(self, words: Catalog) -> None:
        """Speak another language from now on."""
        self._words = words
        self.setWindowTitle(words(say("Wetread – research use, not a medical device")))
        self._list.setAccessibleName(words(say("Series")))
        self._series_dock.setWindowTitle(words(say("Series")))
        self._toolbar.setWindowTitle(words(say("Tools")))
        self._presets.setText(words(say("Window")))
        self._presets.setAccessibleName(words(say("Window presets")))
        for action, sentence in self._sentences:
            action.setText(words(sentence))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Whoever has unsent work is told first."""
        self.closing.emit()
        self._loader.stop()
        for opened in self._opened:
            opened.close()
        super().closeEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Folders and files may be dropped here."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the first of what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            self.open_path(paths[0])

    def _build(self) -> None:
        self.setCentralWidget(self.viewer)
        self.setAcceptDrops(True)
        self.resize(QSize(1500, 950))
        self._list = QListWidget(self)
        self._list.itemActivated.connect(self._picked)
        self._list.itemClicked.connect(self._picked)
        self._series_dock = QDockWidget(self)
        self._series_dock.setObjectName("series")
        self._series_dock.setWidget(self._list)
        self.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, self._series_dock)
        self._toolbar = QToolBar(self)
        self._toolbar.setObjectName("tools")
        self.addToolBar(self._toolbar)
        self._sentences: list[tuple[QAction, Sentence]] = []
        self._action(say("Open folder …"), self._ask_folder, QKeySequence(QKeySequence.StandardKey.Open))
        self._action(say("Open zip or file …"), self._ask_file, QKeySequence("Ctrl+Shift+O"))
        self._action(say("Fit"), self._fit, QKeySequence("Ctrl+0"))
        self._presets = QToolButton(self)
        self._presets.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._presets)
        self._add_preset(menu, say("As the images say"), None, 0)
        for number, (name, _window) in enumerate(CT_PRESETS, start=1):
            self._add_preset(menu, say(name), number - 1, number)
        self._presets.setMenu(menu)
        self._toolbar.addWidget(self._presets)

    def _action(self, sentence: Sentence, call: Callable[[], None], keys: QKeySequence) -> None:
        action = QAction(self)
        action.setShortcut(keys)
        action.triggered.connect(lambda _checked=False: call())
        self._toolbar.addAction(action)
        self._sentences.append((action, sentence))

    def _add_preset(self, menu: QMenu, sentence: Sentence, preset: int | None, key: int) -> None:
        action = QAction(self)
        action.setShortcut(QKeySequence(f"F{key + 2}"))
        action.triggered.connect(lambda _checked=False: self._use_preset(preset))
        menu.addAction(action)
        self.addAction(action)
        self._sentences.append((action, sentence))

    def _use_preset(self, preset: int | None) -> None:
        images = self.viewer.images
        if images is None:
            return
        if preset is None:
            self.viewer.set_window(images.window)
        elif self.active is not None and self.active[1].modality == "CT":
            self.viewer.set_window(CT_PRESETS[preset][1])
        else:
            self._status(say("These windows are in Hounsfield units: they are for CT"))

    def _fit(self) -> None:
        self.viewer.fit()

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, self._words(say("Open folder …")))
        if name:
            self.open_path(Path(name))

    def _ask_file(self) -> None:
        name, _kind = QFileDialog.getOpenFileName(self, self._words(say("Open zip or file …")))
        if name:
            self.open_path(Path(name))

    def _show_files(self, opened: OpenedFiles) -> None:
        self._opened.append(opened)
        known = {study.study_instance_uid for study in opened.studies}
        self.studies = [s for s in self.studies if s.study_instance_uid not in known] + list(opened.studies)
        self._list.clear()
        for study, series in self.listed():
            item = QListWidgetItem(_line(study, series))
            item.setData(_ROLE, (study.study_instance_uid, series.series_instance_uid))
            self._list.addItem(item)
        study_uid, series_uid = self._named
        fresh = [pair for pair in self.listed() if pair[0].study_instance_uid in known]
        named = [p for p in fresh if p[0].study_instance_uid == study_uid or p[1].series_instance_uid == series_uid]
        if fresh:
            choice = [p for p in named if p[1].series_instance_uid == series_uid] or named or fresh
            self.show_series(*max(choice, key=lambda pair: len(pair[1].instances)))
        else:
            self._fail(self._words(say("There are no images in it, only results and documents")))

    def _picked(self, item: QListWidgetItem) -> None:
        study_uid, series_uid = item.data(_ROLE)
        for study, series in self.listed():
            if (study.study_instance_uid, series.series_instance_uid) == (study_uid, series_uid):
                self.show_series(study, series)
                return

    def _show_images(self, images: Images) -> None:
        if self._wanted is None or self._wanted[1] is not images.series:
            return
        self.active = self._wanted
        self.viewer.show_images(images)
        self.statusBar().clearMessage()
        self.series_shown.emit()

    def _slice_came(self, images: Images, index: int) -> None:
        if images is not self.viewer.images:
            return
        self.viewer.came(index)
        if not self._repaint.isActive():
            self._repaint.start()

    def _filled(self, images: Images, problem: str) -> None:
        if images is not self.viewer.images:
            return
        self.viewer.refresh()
        self.filled.emit()
        if problem:
            self._fail(problem)

    def _fail(self, sentence: str) -> None:
        self.statusBar().showMessage(sentence)
        self.failed.emit(sentence)

    def _status(self, sentence: Sentence) -> None:
        self.statusBar().showMessage(self._words(sentence))


def _line(study: StudyRef, series: SeriesRef) -> str:
    """What it is; when, and of how many images."""
    return f"{series.modality}  {series.label}\n{shown_date(study.date)}  ·  {len(series.instances)} ×"
