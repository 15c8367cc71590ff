"""Small pieces that the panel and its dialogs are made of. Text is set when they are drawn, in whatever language."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFont, QIcon, QPainter, QPalette, QPixmap
from qtpy.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from wetread_desktop.widgets.theme import Palette, ink_on


def label(role: str = "", *, wrap: bool = True) -> QLabel:
    """Text that can be marked and copied, also with the keyboard."""
    made = QLabel()
    made.setProperty("role", role)
    made.setWordWrap(wrap)
    made.setTextFormat(Qt.TextFormat.PlainText)
    return made


def button(pressed: Callable[[], object], role: str = "") -> QPushButton:
    """A button that calls something without arguments."""
    made = QPushButton()
    made.setProperty("role", role)
    made.setAutoDefault(False)
    made.clicked.connect(lambda _=False: pressed())
    return made


def name(widget: QWidget, text: str, why: str = "") -> None:
    """What a screen reader says of a control, and why it cannot be used where it cannot."""
    widget.setAccessibleName(text)
    widget.setAccessibleDescription(why)
    widget.setToolTip(why)


def frame(role: str, direction: type[QHBoxLayout] | type[QVBoxLayout] = QVBoxLayout) -> tuple[QFrame, QBoxLayout]:
    """A box with its layout."""
    made = QFrame()
    made.setProperty("role", role)
    layout = direction(made)
    layout.setContentsMargins(10, 8, 10, 8)
    layout.setSpacing(4)
    return made, layout


def paint_swatch(painter: QPainter, rect: QRectF, colour_rgb: tuple[int, int, int], tag: str, font: QFont) -> None:
    """A class's colour with its number in it: colour is never the only thing that tells classes apart."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(*colour_rgb))
    painter.drawRoundedRect(rect, 4, 4)
    painter.setPen(QColor(ink_on(*colour_rgb)))
    bold = QFont(font)
    bold.setBold(True)
    painter.setFont(bold)
    painter.drawText(rect, int(Qt.AlignmentFlag.AlignCenter), tag)
    painter.restore()


def swatch(colour_rgb: tuple[int, int, int], tag: str, font: QFont, ratio: float) -> QIcon:
    """The same as an icon; ``ratio``: device pixels for each logical one."""
    pixmap = QPixmap(round(26 * ratio), round(18 * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    paint_swatch(painter, QRectF(0, 0, 26, 18), colour_rgb, tag, font)
    painter.end()
    return QIcon(pixmap)


def qt_palette(p: Palette) -> QPalette:
    """The same colours for what Qt draws itself: ticks, arrows, placeholders."""
    made, role = QPalette(), QPalette.ColorRole
    for which, colour in (
        (role.Window, p.ground),
        (role.Base, p.raised),
        (role.Button, p.raised),
        (role.Text, p.text),
        (role.WindowText, p.text),
        (role.ButtonText, p.text),
        (role.Highlight, p.accent),
        (role.HighlightedText, p.on_accent),
        (role.PlaceholderText, p.muted),
    ):
        made.setColor(which, QColor(colour))
    return made
