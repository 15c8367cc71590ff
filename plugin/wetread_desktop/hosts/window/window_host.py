"""The standalone window as a ``ViewerHost``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QBuffer, QByteArray, QIODevice

from wetread_desktop.host import (
    CannotShow,
    Capability,
    HostEvent,
    LabelPicked,
    LabelVolume,
    Legend,
    Mark,
    OverlayLook,
    Place,
    SeriesHandle,
    StudyShown,
    ViewerClosing,
)
from wetread_desktop.images.files import handle_of
from wetread_desktop.images.series_images import Images
from wetread_desktop.images.shades import Window
from wetread_desktop.widgets.gui_thread import GuiThread

if TYPE_CHECKING:
    from wetread_desktop.hosts.window.study_window import StudyWindow

_CAN = frozenset(Capability)


class WindowHost:
    """What the panel asks of the standalone window."""

    name = "Wetread"

    def __init__(self, window: StudyWindow) -> None:
        self._window = window
        self._gui = GuiThread()
        self._listeners: list[Callable[[HostEvent], None]] = []
        window.series_shown.connect(self._shown)
        window.closing.connect(lambda: self._tell(ViewerClosing()))
        window.viewer.picked.connect(lambda key, value: self._tell(LabelPicked(key, value)))

    def capabilities(self) -> frozenset[Capability]:
        """All of them, but a study from the edge only where somebody can fetch it."""
        return _CAN if self._window.can_fetch else _CAN - {Capability.OPEN_STUDY}

    def open_series(self) -> tuple[SeriesHandle, ...]:
        """All series of images of the studies that are open."""
        return tuple(handle_of(study, series) for study, series in self._window.listed())

    def active_series(self) -> SeriesHandle | None:
        """The one in the planes."""
        active, images = self._window.active, self._window.viewer.images
        if active is None or images is None:
            return None
        return replace(handle_of(*active), frame_of_reference_uid=images.frame_of_reference_uid)

    def source_instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        """The files of a study as they were opened."""
        return tuple(
            instance.path
            for study in self._window.studies
            if study.study_instance_uid == study_instance_uid
            for series in study.series
            for instance in series.instances
        )

    def open_study(self, study_instance_uid: str) -> None:
        """Fetch it from the edge."""
        self._window.fetch_study(study_instance_uid)

    def add_overlay(self, series: SeriesHandle, labels: LabelVolume, legend: Legend) -> str:
        """See ``ViewerHost``."""
        viewer, images = self._window.viewer, self._images_of(series)
        key = viewer.layers.add_labels(images, labels, legend)
        viewer.refresh()
        return key

    def update_overlay(self, overlay: str, look: OverlayLook) -> None:
        """See ``ViewerHost``."""
        self._window.viewer.layers.change(overlay, look)
        self._window.viewer.refresh()

    def add_heatmap(self, series: SeriesHandle, heat: LabelVolume, title: str) -> str:
        """See ``ViewerHost``."""
        viewer, images = self._window.viewer, self._images_of(series)
        key = viewer.layers.add_heat(images, heat, title)
        viewer.refresh()
        return key

    def add_marks(self, series: SeriesHandle, marks: Sequence[Mark]) -> str:
        """See ``ViewerHost``."""
        viewer, images = self._window.viewer, self._images_of(series)
        key = viewer.layers.add_marks(images, marks)
        viewer.refresh()
        return key

    def remove(self, item: str) -> None:
        """See ``ViewerHost``."""
        self._window.viewer.layers.remove(item)
        self._window.viewer.refresh()

    def goto(self, place: Place) -> None:
        """See ``ViewerHost``."""
        self._window.viewer.goto(place)

    def set_window(self, center: float, width: float) -> None:
        """See ``ViewerHost``."""
        self._window.viewer.set_window(Window(center, max(width, 1e-6)))

    def snapshot(self) -> bytes:
        """The planes as they are on the screen."""
        data = QByteArray()
        buffer = QBuffer(data)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        self._window.viewer.grab().save(buffer, "PNG")
        return bytes(data.data())

    def on(self, listener: Callable[[HostEvent], None]) -> Callable[[], None]:
        """See ``ViewerHost``."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def run_on_gui(self, call: Callable[[], None]) -> None:
        """See ``ViewerHost``."""
        self._gui.run(call)

    def _images_of(self, series: SeriesHandle) -> Images:
        """What is in the planes, if it is of this study."""
        shown, images = self.active_series(), self._window.viewer.images
        if shown is None or images is None:
            raise CannotShow("nothing is open")
        if shown.study_instance_uid != series.study_instance_uid:
            raise CannotShow("the window shows another study by now")
        return images

    def _shown(self) -> None:
        self._tell(StudyShown(self.active_series()))

    def _tell(self, event: HostEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)
