"""napari as a ``ViewerHost``."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wetread.records.study import SeriesRef, StudyRef
from wetread_desktop.host import (
    CannotShow,
    Capability,
    HostEvent,
    LabelVolume,
    Legend,
    Mark,
    OverlayLook,
    Place,
    SeriesHandle,
    StudyShown,
)
from wetread_desktop.hosts.napari.camera import hang_right, scene_camera
from wetread_desktop.hosts.napari.space import AXIS_LABELS, KEY, UNITS, Space, space_of
from wetread_desktop.images.files import handle_of
from wetread_desktop.images.overlays import placed_on
from wetread_desktop.images.series_images import Images
from wetread_desktop.images.shades import heat_table
from wetread_desktop.widgets.gui_thread import GuiThread

if TYPE_CHECKING:
    from napari.components import ViewerModel

_CAN = frozenset(Capability) - {Capability.OPEN_STUDY}


@dataclass(frozen=True, slots=True)
class Opened:
    """What an image layer shows."""

    study: StudyRef
    series: SeriesRef
    images: Images
    space: Space


class NapariHost:
    """What the panel asks of napari."""

    name = "napari"

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._gui = GuiThread()
        self._listeners: list[Callable[[HostEvent], None]] = []
        self._items: dict[str, list[Any]] = {}
        self._legends: dict[str, Legend] = {}
        self._count = 0
        self._told: SeriesHandle | None = None
        hang_right(viewer)
        viewer.layers.selection.events.active.connect(self._selected)
        viewer.layers.events.removed.connect(self._selected)

    def capabilities(self) -> frozenset[Capability]:
        """All but studies of the edge."""
        return _CAN

    def open_series(self) -> tuple[SeriesHandle, ...]:
        """The image layers that Wetread opened."""
        return tuple(_handle(layer.metadata[KEY]) for layer in self._viewer.layers if KEY in layer.metadata)

    def active_series(self) -> SeriesHandle | None:
        """The selected image layer, else the uppermost."""
        opened = self._active()
        return None if opened is None else _handle(opened)

    def source_instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        """The files of a study as they were opened: the pixels napari holds are never sent."""
        for layer in self._viewer.layers:
            opened = layer.metadata.get(KEY)
            if opened is not None and opened.study.study_instance_uid == study_instance_uid:
                return tuple(i.path for series in opened.study.series for i in series.instances)
        return ()

    def open_study(self, study_instance_uid: str) -> None:
        """Never called: see ``capabilities``."""
        raise CannotShow("open the study's folder: napari has no connection to the edge")

    def add_overlay(self, series: SeriesHandle, labels: LabelVolume, legend: Legend) -> str:
        """One Labels layer for all classes, locked against the brush."""
        opened = self._opened(series)
        array, resampled = placed_on(opened.images, labels)
        key = self._key("overlay")
        name = f"Wetread: {series.description or series.modality}" + (" (resampled)" if resampled else "")
        layer = self._viewer.add_labels(
            opened.space.turned(array),
            name=name,
            colormap=_colormap(legend, frozenset()),
            features=_features(legend),
            opacity=0.4,
            **_placed(opened),
        )
        layer.editable = False
        self._items[key], self._legends[key] = [layer], legend
        self._keep_active(opened)
        return key

    def update_overlay(self, overlay: str, look: OverlayLook) -> None:
        """Visibility, opacity, classes and outline."""
        for layer in self._items.get(overlay, ()):
            layer.visible, layer.opacity = look.visible, look.opacity
            if overlay in self._legends:
                layer.colormap = _colormap(self._legends[overlay], look.hidden)
                layer.contour = 1 if look.contour else 0

    def add_heatmap(self, series: SeriesHandle, heat: LabelVolume, title: str) -> str:
        """An Image layer that is transparent where nothing is."""
        from napari.utils.colormaps import Colormap

        opened = self._opened(series)
        array, _resampled = placed_on(opened.images, heat)
        colours = [[(c >> shift & 255) / 255 for shift in (16, 8, 0, 24)] for c in heat_table(opacity=1.0)]
        layer = self._viewer.add_image(
            opened.space.turned(array),
            name=title,
            colormap=Colormap(np.array(colours), name="wetread-heat"),
            contrast_limits=(0, 255),
            opacity=0.6,
            **_placed(opened),
        )
        key = self._key("heatmap")
        self._items[key] = [layer]
        self._keep_active(opened)
        return key

    def add_marks(self, series: SeriesHandle, marks: Sequence[Mark]) -> str:
        """Boxes as Shapes, one rectangle on each slice they cut in the plane of acquisition."""
        opened = self._opened(series)
        boxes, names, colours = [], [], []
        for mark in marks:
            low, high = mark.corners
            for k in range(round(low[0]), round(high[0]) + 1):
                corners = ((k, low[1], low[2]), (k, low[1], high[2]), (k, high[1], high[2]), (k, high[1], low[2]))
                boxes.append(np.array([opened.space.world_of_index(c) for c in corners]))
                names.append(mark.name)
                colours.append(tuple(c / 255 for c in mark.colour_rgb))
        layer = self._viewer.add_shapes(
            boxes,
            shape_type="polygon",
            face_color="transparent",
            edge_color=colours,
            features={"name": names},
            text={"string": "{name}", "color": "white", "anchor": "upper_left"},
            name="Wetread boxes",
            units=UNITS,
            axis_labels=AXIS_LABELS,
        )
        layer.editable = False
        key = self._key("marks")
        self._items[key] = [layer]
        self._keep_active(opened)
        return key

    def remove(self, item: str) -> None:
        """Take its layer away, if the reader has not done so."""
        for layer in self._items.pop(item, ()):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._legends.pop(item, None)

    def goto(self, place: Place) -> None:
        """The slices through this place, and the camera on it."""
        opened = self._active()
        if opened is None:
            raise CannotShow("nothing is open")
        world = _world_of(opened, place)
        for axis, value in enumerate(world):
            self._viewer.dims.set_point(axis, value)
        # The camera counts axes as they are on the screen, not as they are in the world.
        scene_camera(self._viewer).center = tuple(world[axis] for axis in self._viewer.dims.order[-3:])

    def set_window(self, center: float, width: float) -> None:
        """Contrast limits of the image layer."""
        layer = self._active_layer()
        if layer is not None:
            layer.contrast_limits = (center - width / 2, center + max(width, 1e-6) / 2)

    def snapshot(self) -> bytes:
        """The canvas."""
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(self._viewer.screenshot(canvas_only=True, flash=False)).save(data, "PNG")
        return data.getvalue()

    def on(self, listener: Callable[[HostEvent], None]) -> Callable[[], None]:
        """See ``ViewerHost``."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def run_on_gui(self, call: Callable[[], None]) -> None:
        """See ``ViewerHost``."""
        self._gui.run(call)

    def _active_layer(self) -> Any:
        selected = self._viewer.layers.selection.active
        if selected is not None and KEY in selected.metadata:
            return selected
        ours = [layer for layer in self._viewer.layers if KEY in layer.metadata]
        return ours[-1] if ours else None

    def _active(self) -> Opened | None:
        layer = self._active_layer()
        return None if layer is None else layer.metadata[KEY]

    def _opened(self, series: SeriesHandle) -> Opened:
        for layer in self._viewer.layers:
            opened = layer.metadata.get(KEY)
            if opened is not None and _handle(opened).key == series.key:
                return opened  # type: ignore[no-any-return]
        raise CannotShow("these images are not open in napari any more")

    def _keep_active(self, opened: Opened) -> None:
        """Adding a layer selects it; what the reader looked at stays selected."""
        for layer in self._viewer.layers:
            if layer.metadata.get(KEY) is opened:
                self._viewer.layers.selection.active = layer

    def _selected(self, _event: object = None) -> None:
        series = self.active_series()
        if series != self._told:
            self._told = series
            for listener in tuple(self._listeners):
                listener(StudyShown(series))

    def _key(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count}"


def show_images(viewer: ViewerModel, study: StudyRef, series: SeriesRef, images: Images) -> Any:
    """Add a series as an image layer that knows what it is, and look at it as it was acquired."""
    affine = images.affine if images.affine is not None else film_affine(images)
    opened = Opened(study, series, images, space_of(affine, images.shape))
    low, high = images.window.center - images.window.width / 2, images.window.center + images.window.width / 2
    layer = viewer.add_image(
        opened.space.turned(images.array),
        name=series.label + (" (oblique: planes of the acquisition)" if opened.space.is_oblique else ""),
        colormap="gray",
        contrast_limits=(low, high),
        metadata={KEY: opened},
        **_placed(opened),
    )
    viewer.dims.order = opened.space.acquired
    return layer


def film_affine(images: Images) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A film lies nowhere; it is hung as a frontal view: rows to the feet, columns to the patient's left."""
    down_mm, right_mm = images.pixel_mm or (1.0, 1.0)
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -down_mm, right_mm, 1.0
    return affine


def _placed(opened: Opened) -> dict[str, Any]:
    space = opened.space
    return {"scale": space.scale, "translate": space.translate, "units": UNITS, "axis_labels": AXIS_LABELS}


def _world_of(opened: Opened, place: Place) -> tuple[float, float, float]:
    images = opened.images
    if images.affine is not None and place.centre_mm is not None:
        if place.frame_of_reference_uid and place.frame_of_reference_uid != images.frame_of_reference_uid:
            raise CannotShow("the finding lies in another frame of reference than these images")
        if not opened.space.holds(place.centre_mm):
            raise CannotShow("the finding lies outside these images")
        return opened.space.world(place.centre_mm)
    found = images.slice_of(place.sop_instance_uid)
    if found is None:
        raise CannotShow("the image of this finding is not open here")
    return opened.space.world_of_index((float(found), images.shape[1] / 2, images.shape[2] / 2))


def _handle(opened: Opened) -> SeriesHandle:
    return replace(handle_of(opened.study, opened.series), frame_of_reference_uid=opened.images.frame_of_reference_uid)


def _features(legend: Legend) -> dict[str, list[Any]]:
    """napari says under the pointer what stands here for a label value."""
    names = {0: "", **legend.names()}
    return {"index": list(names), "structure": list(names.values())}


def _colormap(legend: Legend, hidden: frozenset[int]) -> Any:
    from napari.utils.colormaps import DirectLabelColormap

    colours: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for value, (red, green, blue) in legend.colours().items():
        colours[value] = "transparent" if value in hidden else (red / 255, green / 255, blue / 255, 1.0)
    return DirectLabelColormap(color_dict=colours)
