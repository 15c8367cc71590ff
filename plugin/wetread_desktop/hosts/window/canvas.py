"""One picture with its overlay, letters, crosshair and ruler: painted with QImage, one QPainter, no OpenGL.

The canvas knows pixels of one plane; what they mean in the patient is the business of ``viewer``.
"""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap, QWheelEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from wetread_desktop.hosts.window.painting import Picture, paint_marks, paint_picture, paint_words

_ZOOM_STEP = 1.15
_MOST_ZOOM, _LEAST_ZOOM = 40.0, 0.2


class Canvas(QWidget):
    """Shows one ``Picture`` and says what the hand does."""

    stepped = Signal(int)
    """Slices to go on (negative: back)."""
    pointed = Signal(float, float)
    """``(down, right)`` in pixels: the left button was pressed or moved there."""
    windowed = Signal(float, float)
    """Wider, brighter: pixels of the screen that the right button was dragged."""
    hovered = Signal(float, float)
    """``(down, right)`` in pixels: the pointer is there, and no button is pressed."""
    left = Signal()
    """The pointer is not over the picture any more."""
    activated = Signal()
    """The reader works here now."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(160, 160)
        self.setMouseTracking(True)
        self._picture: Picture | None = None
        self._painted: tuple[QRectF, QPixmap] | None = None
        self._zoom = 1.0
        self._shift = QPointF(0, 0)
        self._drag: tuple[Qt.MouseButton, QPointF] | None = None

    @property
    def picture(self) -> Picture | None:
        """What is painted."""
        return self._picture

    def show_picture(self, picture: Picture | None) -> None:
        """Paint this from now on; zoom and pan stay."""
        self._picture, self._painted = picture, None
        self.update()

    def show_cross(self, cross: tuple[float, float] | None, under: str) -> None:
        """The same picture with the cross elsewhere: nothing but lines and words is painted anew."""
        if self._picture is not None and (self._picture.cross, self._picture.under) != (cross, under):
            self._picture = replace(self._picture, cross=cross, under=under)
            self.update()

    def show_under(self, under: str) -> None:
        """Other words for what is under the pointer."""
        if self._picture is not None:
            self.show_cross(self._picture.cross, under)

    def fit(self) -> None:
        """The whole picture, in the middle."""
        self._zoom, self._shift = 1.0, QPointF(0, 0)
        self.update()

    def zoom_by(self, factor: float) -> None:
        """Closer (above 1) or farther."""
        self._zoom = min(_MOST_ZOOM, max(_LEAST_ZOOM, self._zoom * factor))
        self.update()

    def bring_to_middle(self, down: float, right: float) -> None:
        """Pan so that this pixel is in the middle, if the picture is larger than the canvas."""
        if self._picture is None or self._zoom <= 1.0:
            return
        target = self.target()
        rows, columns = self._picture.grey.shape
        at = QPointF(
            target.left() + (right + 0.5) * target.width() / columns,
            target.top() + (down + 0.5) * target.height() / rows,
        )
        self._shift += QPointF(self.width() / 2, self.height() / 2) - at
        self.update()

    def target(self) -> QRectF:
        """Where the picture lies on the canvas, with its true proportions."""
        if self._picture is None:
            return QRectF(self.rect())
        rows, columns = self._picture.grey.shape
        down_mm, right_mm = self._picture.pixel_mm or (1.0, 1.0)
        width, height = columns * right_mm, rows * down_mm
        scale = min(self.width() / width, self.height() / height) * self._zoom
        size_x, size_y = width * scale, height * scale
        left = (self.width() - size_x) / 2 + self._shift.x()
        top = (self.height() - size_y) / 2 + self._shift.y()
        return QRectF(left, top, size_x, size_y)

    def pixel_at(self, place: QPointF) -> tuple[float, float] | None:
        """``(down, right)`` under a place of the canvas, pixel centres whole numbers; None outside the picture."""
        if self._picture is None:
            return None
        target = self.target()
        rows, columns = self._picture.grey.shape
        down = (place.y() - target.top()) / target.height() * rows - 0.5
        right = (place.x() - target.left()) / target.width() * columns - 0.5
        if not (-0.5 <= down <= rows - 0.5 and -0.5 <= right <= columns - 0.5):
            return None
        return down, right

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Grey, layers, boxes, cross, letters, ruler."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(0, 0, 0))
        if self._picture is None:
            return
        target = self.target()
        painter.drawPixmap(0, 0, self._pixels(self._picture, target))
        paint_marks(painter, self._picture, target)
        paint_words(painter, self._picture, target, QRectF(self.rect()), self.font())
        if self.hasFocus():
            painter.setPen(QColor(120, 200, 255))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leaf; with Ctrl zoom."""
        notches = event.angleDelta().y() / 120.0
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom_by(_ZOOM_STEP**notches)
        elif notches:
            self.stepped.emit(-round(notches) or (-1 if notches > 0 else 1))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left: point. Right: window. Middle, or Shift and left: pan."""
        self.activated.emit()
        button = event.button()
        if button == Qt.MouseButton.LeftButton and event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            button = Qt.MouseButton.MiddleButton
        self._drag = (button, event.position())
        if button == Qt.MouseButton.LeftButton:
            self._point(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with what the button began; without one say what is here."""
        if self._drag is None:
            pixel = self.pixel_at(event.position())
            self.hovered.emit(*pixel) if pixel is not None else self.left.emit()
            return
        button, before = self._drag
        self._drag = (button, event.position())
        moved = event.position() - before
        if button == Qt.MouseButton.LeftButton:
            self._point(event.position())
        elif button == Qt.MouseButton.RightButton:
            self.windowed.emit(moved.x(), -moved.y())
        elif button == Qt.MouseButton.MiddleButton:
            self._shift += moved
            self.update()

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """The drag ends."""
        self._drag = None

    def leaveEvent(self, _event: QEvent) -> None:
        """The pointer has gone."""
        self.left.emit()

    def mouseDoubleClickEvent(self, _event: QMouseEvent) -> None:
        """The whole picture again."""
        self.fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leaf and zoom without a mouse; all other keys belong to the window."""
        steps = {
            Qt.Key.Key_Up: -1,
            Qt.Key.Key_Down: 1,
            Qt.Key.Key_PageUp: -10,
            Qt.Key.Key_PageDown: 10,
        }
        if event.key() in steps:
            self.stepped.emit(steps[Qt.Key(event.key())])
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(_ZOOM_STEP)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom_by(1 / _ZOOM_STEP)
        elif event.key() == Qt.Key.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)

    def _pixels(self, picture: Picture, target: QRectF) -> QPixmap:
        """Grey values and layers as they are on the screen, kept until one of them or the place changes."""
        ratio = self.devicePixelRatioF()
        if self._painted is None or self._painted[0] != target or self._painted[1].size() != self.size() * ratio:
            pixmap = QPixmap(self.size() * ratio)
            pixmap.setDevicePixelRatio(ratio)
            pixmap.fill(QColor(0, 0, 0))
            painter = QPainter(pixmap)
            paint_picture(painter, picture, target)
            painter.end()
            self._painted = (target, pixmap)
        return self._painted[1]

    def _point(self, place: QPointF) -> None:
        pixel = self.pixel_at(place)
        if pixel is not None:
            self.pointed.emit(*pixel)
