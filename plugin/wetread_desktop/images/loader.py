"""Files become images on a thread of their own; the GUI thread is told, and never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from wetread.errors import WetreadError
from wetread.records.study import SeriesRef
from wetread_desktop.images.files import CannotOpen, OpenedFiles, open_path
from wetread_desktop.images.headers import Headers
from wetread_desktop.images.series_images import Images, fill, open_images


class Loader(QObject):
    """One thing at a time: what is asked for next ends what is being read."""

    files_opened = Signal(object)
    """``OpenedFiles``."""
    images_opened = Signal(object)
    """``Images`` with one slice read."""
    slice_came = Signal(object, int)
    """The images, and the index of the slice."""
    filled = Signal(object, str)
    """All slices of these images are there, or why not."""
    failed = Signal(str)
    """A sentence for the reader."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._headers = Headers()

    def open(self, path: Path) -> None:
        """Look what is there; ``files_opened`` or ``failed`` follows."""
        self._start(lambda stop: self._open(path, stop))

    def fetch(self, fetch: Callable[[str, Callable[[], bool]], Path], study_instance_uid: str) -> None:
        """Have a study fetched, then look what came."""
        self._start(lambda stop: self._fetch(fetch, study_instance_uid, stop))

    def load(self, series: SeriesRef) -> None:
        """Read a series; ``images_opened`` follows with the first slice, then one ``slice_came`` for each."""
        self._start(lambda stop: self._load(series, stop))

    def stop(self) -> None:
        """End what is being read, and wait for it (one file at most)."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)
            self._thread = None

    def _start(self, work: Callable[[threading.Event], None]) -> None:
        self._stop.set()
        stop = self._stop = threading.Event()
        self._thread = threading.Thread(target=work, args=(stop,), daemon=True)
        self._thread.start()

    def _open(self, path: Path, stop: threading.Event) -> None:
        try:
            opened: OpenedFiles = open_path(path, self._headers, stopped=stop.is_set)
        except (CannotOpen, WetreadError, OSError) as exc:
            if not stop.is_set():
                self.failed.emit(str(exc))
            return
        if stop.is_set():  # something else was asked for meanwhile, or the window is closed
            opened.close()
        else:
            self.files_opened.emit(opened)

    def _fetch(
        self, fetch: Callable[[str, Callable[[], bool]], Path], study_instance_uid: str, stop: threading.Event
    ) -> None:
        try:
            folder = fetch(study_instance_uid, stop.is_set)
        except Exception as exc:  # whatever kept it away is shown to the reader
            if not stop.is_set():
                self.failed.emit(str(exc))
            return
        if not stop.is_set():
            self._open(folder, stop)

    def _load(self, series: SeriesRef, stop: threading.Event) -> None:
        try:
            images: Images = open_images(series, self._headers)
        except (WetreadError, OSError, MemoryError) as exc:
            if not stop.is_set():
                self.failed.emit(str(exc) or "there is not enough memory for this series")
            return
        if stop.is_set():
            return
        self.images_opened.emit(images)
        problem = fill(images, stopped=stop.is_set, came=lambda k: self.slice_came.emit(images, k))
        if not stop.is_set():
            self.filled.emit(images, problem)
