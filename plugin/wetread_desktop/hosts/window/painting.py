"""Paints one picture: grey values, indexed layers, boxes, cross, letters, ruler. No widget, no state."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter, QPen

from wetread_desktop.hosts.window.planes import Letters

Pixels = npt.NDArray[np.uint8]

_MARGIN = 6
_TEXT = QColor(235, 235, 235)
_SHADOW = QColor(0, 0, 0, 190)
_CROSS = QColor(120, 200, 255, 150)
_RULERS_MM = (200, 100, 50, 20, 10, 5, 2, 1)
_CM = 10


@dataclass(frozen=True, slots=True)
class Layer:
    """One indexed picture over the grey one."""

    pixels: Pixels
    table: list[int]


@dataclass(frozen=True, slots=True)
class BoxShown:
    """A box in pixels of the picture, ``(top, left, bottom, right)``, pixel centres whole numbers."""

    edges: tuple[float, float, float, float]
    name: str
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is painted."""

    grey: Pixels
    pixel_mm: tuple[float, float] | None
    """Down, right; None: not known, then there is no ruler and pixels are square."""
    layers: tuple[Layer, ...] = ()
    boxes: tuple[BoxShown, ...] = ()
    letters: Letters = field(default_factory=Letters)
    cross: tuple[float, float] | None = None
    """``(down, right)`` in pixels."""
    corner: str = ""
    """Lines at the top left: the plane, the slice, the window."""
    under: str = ""
    """At the bottom left: what is under the pointer, else under the cross."""
    warning: str = ""
    """Above it, e.g. that the overlay was resampled."""


def paint_picture(painter: QPainter, picture: Picture, target: QRectF) -> None:
    """The images smooth, what lies over them voxel by voxel."""
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(target, _grey_image(picture.grey))
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
    for layer in picture.layers:
        painter.drawImage(target, _indexed_image(layer))


def paint_marks(painter: QPainter, picture: Picture, target: QRectF) -> None:
    """Boxes with their names, and the cross."""
    rows, columns = picture.grey.shape
    scale_x, scale_y = target.width() / columns, target.height() / rows
    for box in picture.boxes:
        top, left, bottom, right = box.edges
        painter.setPen(QPen(QColor(*box.colour_rgb), 1.6))
        edges = QRectF(
            target.left() + (left + 0.5) * scale_x,
            target.top() + (top + 0.5) * scale_y,
            (right - left) * scale_x,
            (bottom - top) * scale_y,
        )
        painter.drawRect(edges)
        painter.drawText(edges.topLeft() + QPointF(2, -3), box.name)
    if picture.cross is not None:
        down, right = picture.cross
        x, y = target.left() + (right + 0.5) * scale_x, target.top() + (down + 0.5) * scale_y
        painter.setPen(QPen(_CROSS, 1))
        painter.drawLine(QPointF(x, target.top()), QPointF(x, target.bottom()))
        painter.drawLine(QPointF(target.left(), y), QPointF(target.right(), y))


def paint_words(painter: QPainter, picture: Picture, target: QRectF, area: QRectF, font: QFont) -> None:
    """Letters at the edges (always), the corner text, the ruler."""
    large = QFont(font)
    large.setBold(True)
    large.setPointSizeF(font.pointSizeF() * 1.3)
    painter.setFont(large)
    inner = area.adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
    middle = Qt.AlignmentFlag.AlignVCenter
    centre = Qt.AlignmentFlag.AlignHCenter
    _write(painter, inner, middle | Qt.AlignmentFlag.AlignLeft, picture.letters.left)
    _write(painter, inner, middle | Qt.AlignmentFlag.AlignRight, picture.letters.right)
    _write(painter, inner, centre | Qt.AlignmentFlag.AlignTop, picture.letters.top)
    _write(painter, inner, centre | Qt.AlignmentFlag.AlignBottom, picture.letters.bottom)
    painter.setFont(font)
    _write(painter, inner, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft, picture.corner)
    # Not into the letter in the middle; a warning stands above it and is never cut.
    room, metrics = int(inner.width() / 2) - 2 * _MARGIN, QFontMetrics(font)
    under = [metrics.elidedText(line, Qt.TextElideMode.ElideRight, room) for line in picture.under.splitlines()]
    below = "\n".join([picture.warning, *under] if picture.warning else under)
    _write(painter, inner, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft, below)
    _paint_ruler(painter, picture, target, inner)


def _write(painter: QPainter, area: QRectF, where: Qt.AlignmentFlag, text: str) -> None:
    if not text:
        return
    painter.setPen(_SHADOW)
    painter.drawText(area.translated(1, 1), where.value, text)
    painter.setPen(_TEXT)
    painter.drawText(area, where.value, text)


def _paint_ruler(painter: QPainter, picture: Picture, target: QRectF, inner: QRectF) -> None:
    """A bar of a round number of centimetres or millimetres at the bottom right."""
    if picture.pixel_mm is None:
        return
    pixels_per_mm = target.width() / (picture.grey.shape[1] * picture.pixel_mm[1])
    for length_mm in _RULERS_MM:
        length = length_mm * pixels_per_mm
        if length <= inner.width() / 3:
            break
    right, bottom = inner.right(), inner.bottom() - 2
    painter.setPen(QPen(_TEXT, 1.5))
    painter.drawLine(QPointF(right - length, bottom), QPointF(right, bottom))
    for x in (right - length, right):
        painter.drawLine(QPointF(x, bottom - 4), QPointF(x, bottom))
    text = f"{length_mm // _CM} cm" if length_mm >= _CM else f"{length_mm} mm"
    _write(painter, inner.adjusted(0, 0, 0, -8), Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignRight, text)


def _grey_image(grey: Pixels) -> QImage:
    grey = np.ascontiguousarray(grey)
    rows, columns = grey.shape
    return QImage(grey.data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()


def _indexed_image(layer: Layer) -> QImage:
    pixels = np.ascontiguousarray(layer.pixels)
    rows, columns = pixels.shape
    image = QImage(pixels.data, columns, rows, columns, QImage.Format.Format_Indexed8)
    image.setColorTable(layer.table)
    return image.copy()
