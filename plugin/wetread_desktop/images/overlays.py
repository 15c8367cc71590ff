"""What lies over the images: labels, heat maps and boxes, placed on their grid. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from wetread_desktop.host import CannotShow, LabelVolume, Legend, Mark, OverlayLook
from wetread_desktop.images.grids import place
from wetread_desktop.images.series_images import Images
from wetread_desktop.images.shades import colour_table, heat_table

Corners = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(slots=True)
class Overlay:
    """Labels or a heat map, and how they look."""

    array: npt.NDArray[np.uint8]
    """``(slice, row, column)`` on the grid of the images."""
    colours: dict[int, tuple[int, int, int]]
    """Empty for a heat map."""
    look: OverlayLook
    title: str = ""
    resampled: bool = False
    names: dict[int, str] = field(default_factory=dict)
    """What the labels stand for."""

    @property
    def is_heat(self) -> bool:
        """A heat map has no classes."""
        return not self.colours

    def table(self) -> list[int]:
        """Colour of each value, 0xAARRGGBB."""
        if self.is_heat:
            return heat_table(opacity=self.look.opacity)
        return colour_table(self.colours, opacity=self.look.opacity, hidden=self.look.hidden)


@dataclass(slots=True)
class Layers:
    """All that lies over one series, by id."""

    overlays: dict[str, Overlay] = field(default_factory=dict)
    marks: dict[str, tuple[Mark, ...]] = field(default_factory=dict)
    _count: int = 0

    def add_labels(self, images: Images, labels: LabelVolume, legend: Legend) -> str:
        """Raises: ``CannotShow`` when they cannot be placed."""
        array, resampled = placed_on(images, labels)
        return self._add(Overlay(array, legend.colours(), OverlayLook(), resampled=resampled, names=legend.names()))

    def add_heat(self, images: Images, heat: LabelVolume, title: str) -> str:
        """Raises: ``CannotShow`` when it cannot be placed."""
        array, resampled = placed_on(images, heat)
        return self._add(Overlay(array, {}, OverlayLook(opacity=0.6), title, resampled))

    def add_marks(self, images: Images, marks: Sequence[Mark]) -> str:
        """Boxes; their corners are indices of the stored images, and become those of the images as they hang."""
        key = self._key()
        self.marks[key] = tuple(replace(m, corners=_hung(images, m.corners)) for m in marks)
        return key

    def change(self, key: str, look: OverlayLook) -> None:
        """An id that is not here any more is ignored."""
        if key in self.overlays:
            self.overlays[key] = replace_look(self.overlays[key], look)

    def remove(self, key: str) -> None:
        """An id that is not here any more is ignored."""
        self.overlays.pop(key, None)
        self.marks.pop(key, None)

    def label_at(self, index: tuple[int, int, int]) -> tuple[str, int] | None:
        """Id and value of the uppermost structure that is drawn at a voxel."""
        for key, overlay in reversed(self.overlays.items()):
            value = int(overlay.array[index])
            if overlay.look.visible and value in overlay.colours and value not in overlay.look.hidden:
                return key, value
        return None

    def name_at(self, index: tuple[int, int, int]) -> str:
        """What the uppermost structure drawn at a voxel is called; empty where there is none."""
        found = self.label_at(index)
        return self.overlays[found[0]].names.get(found[1], "") if found else ""

    def _add(self, overlay: Overlay) -> str:
        key = self._key()
        self.overlays[key] = overlay
        return key

    def _key(self) -> str:
        self._count += 1
        return f"layer-{self._count}"


def replace_look(overlay: Overlay, look: OverlayLook) -> Overlay:
    """The same overlay with another look."""
    return replace(overlay, look=look)


def _hung(images: Images, corners: Corners) -> Corners:
    film = images.film
    if film is None:
        return corners
    _, rows, columns = images.shape

    def hung(corner: tuple[float, float, float]) -> tuple[float, float, float]:
        row, column = (corner[2], corner[1]) if film.transpose else (corner[1], corner[2])
        return (
            corner[0],
            rows - 1 - row if film.reverse_rows else row,
            columns - 1 - column if film.reverse_columns else column,
        )

    return hung(corners[0]), hung(corners[1])


def placed_on(images: Images, labels: LabelVolume) -> tuple[npt.NDArray[np.uint8], bool]:
    """On the grid of ``images``; whether it had to be resampled. Raises: ``CannotShow``."""
    if images.film is None or images.affine is not None:
        placed = place(labels, np.asarray(images.affine), images.shape, images.frame_of_reference_uid)
        return placed.array, placed.resampled
    shown = images.instances[0].sop_instance_uid
    if labels.sop_instance_uids and shown not in labels.sop_instance_uids:
        raise CannotShow("this result belongs to another film")
    hung = images.film.hang(labels.array()[0])
    if hung.shape != images.shape[1:]:
        raise CannotShow(
            f"this result is for a film of {labels.shape[1]} × {labels.shape[2]} pixels, another one is shown"
        )
    return hung[np.newaxis], False
