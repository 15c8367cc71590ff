"""The planes of one series, linked by the cross: leafing, pointing and windowing, and what is painted where."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QWidget

from wetread_desktop.host import CannotShow, Mark, Place
from wetread_desktop.hosts.window.canvas import Canvas
from wetread_desktop.hosts.window.painting import BoxShown, Layer, Picture
from wetread_desktop.hosts.window.planes import Letters, Plane, View, planes_of
from wetread_desktop.images.overlays import Layers
from wetread_desktop.images.series_images import Images
from wetread_desktop.images.shades import Window, grey, outline

_FILM_PLANE = Plane(View.CORONAL, 0, 1, False, 2, False, (1.0, 1.0), Letters())
_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")


class Viewer(QWidget):
    """Three canvases of a volume (axial large at the left), or one of a film."""

    moved = Signal()
    """The cross or the window changed."""
    picked = Signal(str, int)
    """Overlay id and label value under the pointer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.images: Images | None = None
        self.layers = Layers()
        self.window_level = Window(0.0, 1.0)
        self.cross = (0.0, 0.0, 0.0)
        """Continuous ``(slice, row, column)`` index."""
        self._planes: dict[View, Plane] = {}
        self._canvases: dict[View, Canvas] = {}
        for view in View:
            canvas = Canvas(view.value, self)
            canvas.stepped.connect(partial(self.step, view))
            canvas.pointed.connect(partial(self._point, view))
            canvas.hovered.connect(partial(self._hover, view))
            canvas.left.connect(partial(self._unhover, view))
            canvas.windowed.connect(self._drag_window)
            self._canvases[view] = canvas
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        grid.addWidget(self._canvases[View.AXIAL], 0, 0, 2, 1)
        grid.addWidget(self._canvases[View.SAGITTAL], 0, 1)
        grid.addWidget(self._canvases[View.CORONAL], 1, 1)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 1)
        self._grid = grid

    @property
    def views(self) -> tuple[View, ...]:
        """The planes that are shown now."""
        return tuple(self._planes)

    def canvas(self, view: View) -> Canvas:
        """The canvas of one plane; of a film ``View.CORONAL``."""
        return self._canvases[view]

    def plane(self, view: View) -> Plane:
        """How the present series is cut for it."""
        return self._planes[view]

    def show_images(self, images: Images | None) -> None:
        """Show another series, with nothing over it; its middle and its own window."""
        self.images, self.layers = images, Layers()
        for canvas in self._canvases.values():
            canvas.fit()
            canvas.show_picture(None)
        if images is None:
            self._planes = {}
            return
        self.window_level = images.window
        slices, rows, columns = images.shape
        self.cross = (float(slices // 2), float(rows // 2), float(columns // 2))
        self._planes = _film_planes(images) if images.affine is None else planes_of(images.affine)
        for view, canvas in self._canvases.items():
            canvas.setVisible(view in self._planes)
        # A film has the room of all planes.
        place = (1, 1, 1, 1) if View.AXIAL in self._planes else (0, 0, 2, 2)
        self._grid.addWidget(self._canvases[View.CORONAL], *place)
        self.refresh()

    def refresh(self) -> None:
        """Paint all planes anew."""
        if self.images is not None:
            for view in self._planes:
                self._canvases[view].show_picture(self._picture(self.images, view))

    def came(self, index: int) -> None:
        """Another slice was read: paint it if it is looked at. The planes across it wait for ``refresh``."""
        for view, plane in self._planes.items():
            if self.images is not None and plane.axis == 0 and round(self.cross[0]) == index:
                self._canvases[view].show_picture(self._picture(self.images, view))

    def fit(self) -> None:
        """All pictures whole again."""
        for canvas in self._canvases.values():
            canvas.fit()

    def step(self, view: View, slices: int) -> None:
        """Leaf in one plane."""
        if self.images is None or view not in self._planes:
            return
        axis = self._planes[view].axis
        cross = list(self.cross)
        cross[axis] = min(max(round(cross[axis]) + slices, 0), self.images.shape[axis] - 1)
        self._move_to((cross[0], cross[1], cross[2]))

    def set_window(self, window: Window) -> None:
        """Another window in all planes."""
        self.window_level = window
        self.refresh()
        self.moved.emit()

    def goto(self, place: Place) -> None:
        """The cross to this place, and into the middle of each plane. Raises: ``CannotShow``."""
        if self.images is None:
            raise CannotShow("nothing is open")
        index = self._index_of(self.images, place)
        self._move_to(index)
        for view, plane in self._planes.items():
            self._canvases[view].bring_to_middle(*plane.on_screen(index, self.images.shape))

    def _index_of(self, images: Images, place: Place) -> tuple[float, float, float]:
        if images.affine is not None and place.centre_mm is not None:
            if place.frame_of_reference_uid and place.frame_of_reference_uid != images.frame_of_reference_uid:
                raise CannotShow("the finding lies in another frame of reference than these images")
            index = np.linalg.solve(images.affine, (*place.centre_mm, 1.0))[:3]
            if (index < -0.5).any() or (index > np.array(images.shape) - 0.5).any():
                raise CannotShow("the finding lies outside these images")
            return float(index[0]), float(index[1]), float(index[2])
        found = images.slice_of(place.sop_instance_uid)
        if found is None:
            raise CannotShow("the image of this finding is not open here")
        return float(found), self.cross[1], self.cross[2]

    def _move_to(self, index: tuple[float, float, float]) -> None:
        before, self.cross = self.cross, index
        for view, plane in self._planes.items():
            if self.images is None:
                break
            if self._at(self.images, plane, before) != self._at(self.images, plane, index):
                self._canvases[view].show_picture(self._picture(self.images, view))
            elif self.images.affine is not None:
                self._canvases[view].show_cross(
                    plane.on_screen(index, self.images.shape), self._under(self.images, index)
                )
        self.moved.emit()

    @staticmethod
    def _at(images: Images, plane: Plane, index: tuple[float, float, float]) -> int:
        """The slice of this plane that goes through an index."""
        return min(max(round(index[plane.axis]), 0), images.shape[plane.axis] - 1)

    def _point(self, view: View, down: float, right: float) -> None:
        if self.images is None:
            return
        plane = self._planes[view]
        index = plane.in_array(down, right, round(self.cross[plane.axis]), self.images.shape)
        self._move_to(index)
        found = self.layers.label_at(_voxel(index, self.images))
        if found is not None:
            self.picked.emit(*found)

    def _hover(self, view: View, down: float, right: float) -> None:
        if self.images is not None and view in self._planes:
            plane = self._planes[view]
            at = self._at(self.images, plane, self.cross)
            index = plane.in_array(down, right, at, self.images.shape)
            self._canvases[view].show_under(self._under(self.images, index))

    def _unhover(self, view: View) -> None:
        if self.images is not None:
            self._canvases[view].show_under(self._under(self.images, self.cross))

    def _under(self, images: Images, index: tuple[float, float, float]) -> str:
        """Name of the structure at an index, and the value there, a line each: ``2 Spleen``, ``57 HU``."""
        voxel = _voxel(index, images)
        value = ""
        if images.affine is not None and images.read[voxel[0]]:
            value = f"{images.array[voxel]:.4g}" + (" HU" if images.series.modality == "CT" else "")
        return "\n".join(filter(None, (self.layers.name_at(voxel), value)))

    def _drag_window(self, wider: float, brighter: float) -> None:
        self.set_window(self.window_level.dragged(wider, brighter))

    def _picture(self, images: Images, view: View) -> Picture:
        plane = self._planes[view]
        at = self._at(images, plane, self.cross)
        layers = []
        for overlay in self.layers.overlays.values():
            if overlay.look.visible:
                pixels = np.ascontiguousarray(plane.cut(overlay.array, at)).astype(np.uint8, copy=False)
                layers.append(Layer(outline(pixels) if overlay.look.contour else pixels, overlay.table()))
        resampled = any(o.resampled and o.look.visible for o in self.layers.overlays.values())
        return Picture(
            grey=grey(plane.cut(images.array, at), self.window_level),
            pixel_mm=plane.pixel_mm if images.affine is not None else images.pixel_mm,
            layers=tuple(layers),
            boxes=self._boxes(images, plane, at),
            letters=plane.letters,
            cross=plane.on_screen(self.cross, images.shape) if images.affine is not None else None,
            corner=self._corner(images, plane, at),
            under=self._under(images, self.cross),
            warning=_RESAMPLED if resampled else "",
        )

    def _boxes(self, images: Images, plane: Plane, at: int) -> tuple[BoxShown, ...]:
        """The boxes that this slice cuts. Their corners are indices of the images."""
        shown = []
        for mark in (m for marks in self.layers.marks.values() for m in marks):
            low, high = mark.corners
            if low[plane.axis] - 0.5 <= at <= high[plane.axis] + 0.5 or images.is_film:
                shown.append(_box(mark, plane, images.shape))
        return tuple(shown)

    def _corner(self, images: Images, plane: Plane, at: int) -> str:
        level = self.window_level
        window = f"C {level.center:.4g}  W {level.width:.4g}"
        if images.is_film:
            return window
        # On a line of its own: in a narrow plane it would run into the letter at the top.
        missing = "" if images.read.all() else f"\n{int(images.read.sum())}/{len(images.read)} …"
        return f"{at + 1} / {images.shape[plane.axis]}\n{window}{missing}"


_RESAMPLED = "overlay resampled to these images: edges are approximate"


def _voxel(index: tuple[float, float, float], images: Images) -> tuple[int, int, int]:
    """The voxel nearest to a continuous index."""
    slice_, row, column = (min(max(round(i), 0), n - 1) for i, n in zip(index, images.shape, strict=True))
    return slice_, row, column


def _box(mark: Mark, plane: Plane, shape: tuple[int, int, int]) -> BoxShown:
    one, other = (plane.on_screen(corner, shape) for corner in mark.corners)
    edges = (min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1]))
    return BoxShown(edges, mark.name, mark.colour_rgb)


def _film_planes(images: Images) -> dict[View, Plane]:
    rightwards, downwards = images.patient_orientation
    letters = Letters(rightwards.translate(_OPPOSITE), rightwards, downwards.translate(_OPPOSITE), downwards)
    plane = _FILM_PLANE
    return {View.CORONAL: Plane(plane.view, 0, 1, False, 2, False, plane.pixel_mm, letters)}
