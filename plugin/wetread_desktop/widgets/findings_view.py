"""The list of findings, and the keys that decide: they work only while the list has the focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QPainter
from qtpy.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from wetread.records.finding import Evaluation
from wetread_desktop.client.panel_state import FindingRow, RowState
from wetread_desktop.client.report_text import EVALUATIONS
from wetread_desktop.client.words import Catalog, say
from wetread_desktop.widgets.parts import paint_swatch
from wetread_desktop.widgets.theme import LIGHT, Palette

STATES = {
    RowState.PROPOSED: ("", say("not decided")),
    RowState.ACCEPTED: ("✓", say("accepted")),
    RowState.REJECTED: ("✗", say("rejected")),
}
_ROW = int(Qt.ItemDataRole.UserRole)


class FindingsModel(QAbstractListModel):
    """Rows as the presenter made them."""

    def __init__(self, parent: QWidget, words: Catalog) -> None:
        super().__init__(parent)
        self._rows: tuple[FindingRow, ...] = ()
        self.words = words

    def show(self, rows: tuple[FindingRow, ...], words: Catalog) -> None:
        """Draw these; the selection stays where the same findings stay."""
        same = [r.tracking_uid for r in rows] == [r.tracking_uid for r in self._rows]
        self.words = words
        if same:
            self._rows = rows
            if rows:
                self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))
            return
        self.beginResetModel()
        self._rows = rows
        self.endResetModel()

    def row_of(self, tracking_uid: str) -> int:
        """Its place in the list; -1: not in it."""
        return next((n for n, r in enumerate(self._rows) if r.tracking_uid == tracking_uid), -1)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # type: ignore[override]  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: QModelIndex, role: int = int(Qt.ItemDataRole.DisplayRole)) -> Any:  # type: ignore[override]
        if not 0 <= index.row() < len(self._rows):
            return None
        row = self._rows[index.row()]
        if role == _ROW:
            return row
        if role in (int(Qt.ItemDataRole.DisplayRole), int(Qt.ItemDataRole.AccessibleTextRole)):
            return f"{row.tag}. {title(row)}, {self.words(STATES[row.state][1])}, {details(row, self.words)}"
        if role == int(Qt.ItemDataRole.ToolTipRole):  # lines that are too long for the list are whole here
            return "\n".join((f"{row.tag}. {title(row)}", *details(row, self.words).split(" · ")))
        return None


class FindingsView(QListView):
    """Keys: J/K or arrows next and previous, Enter jump, A accept, R reject, U undo, Space overlay, H heat map."""

    stepped = Signal(int)
    picked = Signal(str)
    jump_asked = Signal()
    accept_asked = Signal(list)
    reject_asked = Signal(list)
    undo_asked = Signal()
    overlay_asked = Signal()
    heatmap_asked = Signal()

    def __init__(self, words: Catalog) -> None:
        super().__init__()
        self._model = FindingsModel(self, words)
        self._delegate = _FindingDelegate(self)
        self.setModel(self._model)
        self.setItemDelegate(self._delegate)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.clicked.connect(lambda index: self.picked.emit(index.data(_ROW).tracking_uid))
        self.activated.connect(lambda _: self.jump_asked.emit())

    def show_rows(self, rows: tuple[FindingRow, ...], selected: str, words: Catalog) -> None:
        """Draw these rows, with this one selected."""
        self._model.show(rows, words)
        place = self._model.row_of(selected)
        if place < 0:
            self.clearSelection()
        elif self.currentIndex().row() != place or not self.selectedIndexes():
            self.setCurrentIndex(self._model.index(place))

    def use(self, palette: Palette) -> None:
        """Draw in these colours."""
        self._delegate.palette = palette
        self.viewport().update()

    def chosen(self) -> list[str]:
        """Tracking UIDs of what is selected."""
        return [index.data(_ROW).tracking_uid for index in sorted(self.selectedIndexes(), key=lambda i: i.row())]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The keys of the list; all others are Qt's."""
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
            return
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_A, Qt.Key.Key_R):
            uids = self.chosen()
            if uids:
                (self.accept_asked if key == Qt.Key.Key_A else self.reject_asked).emit(uids)
        elif key in _STEPS:
            self.stepped.emit(_STEPS[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.jump_asked.emit()
        elif key in (Qt.Key.Key_U, Qt.Key.Key_Space, Qt.Key.Key_H):
            signals = {Qt.Key.Key_U: self.undo_asked, Qt.Key.Key_Space: self.overlay_asked}
            signals.get(key, self.heatmap_asked).emit()
        else:
            super().keyPressEvent(event)

    def keyboardSearch(self, search: str) -> None:
        """Letters are keys here, not a search."""


_STEPS = {Qt.Key.Key_J: 1, Qt.Key.Key_Down: 1, Qt.Key.Key_K: -1, Qt.Key.Key_Up: -1}


class _FindingDelegate(QStyledItemDelegate):
    """Two lines: what it is and how it was decided; how much and where."""

    def __init__(self, view: FindingsView) -> None:
        super().__init__(view)
        self.palette = LIGHT
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # type: ignore[override]
        return QSize(200, option.fontMetrics.height() * 2 + 14)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:  # type: ignore[override]
        row: FindingRow = index.data(_ROW)
        words = self._view._model.words
        rect = QRectF(option.rect).adjusted(8, 5, -8, -5)
        is_selected = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.save()
        painter.fillRect(option.rect, QColor(self.palette.selected if is_selected else self.palette.raised))
        ink = QColor(self.palette.on_selected if is_selected else self.palette.text)
        faint = QColor(self.palette.on_selected if is_selected else self.palette.muted)
        font: QFont = option.font
        paint_swatch(painter, QRectF(rect.left(), rect.top() + 1, 28, 20), row.colour_rgb, row.tag, font)
        text = rect.adjusted(38, 0, 0, 0)
        state = self._state(row, words)
        metrics = painter.fontMetrics()
        width = metrics.horizontalAdvance(state) + 12
        line = metrics.height() + 4
        head = QFont(font)
        head.setBold(not row.is_seen)
        painter.setFont(head)
        painter.setPen(ink if row.evaluation is Evaluation.PRESENT else faint)
        top = QRectF(text.left(), text.top(), text.width() - width, line)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        shown = painter.fontMetrics().elidedText(title(row), Qt.TextElideMode.ElideRight, int(top.width()))
        painter.drawText(top, middle, shown)
        painter.setFont(font)
        painter.setPen(self._state_ink(row, faint, is_selected=is_selected))
        right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        painter.drawText(QRectF(text.left(), text.top(), text.width(), line), right, state)
        painter.setPen(faint)
        below = QRectF(text.left(), text.top() + line, text.width(), line)
        said = metrics.elidedText(details(row, words), Qt.TextElideMode.ElideRight, int(below.width()))
        painter.drawText(below, middle, said)
        painter.restore()

    def _state(self, row: FindingRow, words: Catalog) -> str:
        sign, sentence = STATES[row.state]
        waits = " ⇡" if row.is_unsent else ""
        return f"{sign} {words(sentence)}{waits}".strip()

    def _state_ink(self, row: FindingRow, faint: QColor, *, is_selected: bool) -> QColor:
        colours = {RowState.ACCEPTED: self.palette.accepted, RowState.REJECTED: self.palette.rejected}
        return faint if is_selected or row.state not in colours else QColor(colours[row.state])


def title(row: FindingRow) -> str:
    """``Lesion (Left)``."""
    return f"{row.name} ({row.laterality})" if row.laterality else row.name


def details(row: FindingRow, words: Catalog) -> str:
    """``likely · Volume 12.3 mL · slice 2 · comment``."""
    parts: Sequence[str] = [row.wording] if row.wording else []
    said = list(parts)
    if row.evaluation is not Evaluation.PRESENT:
        said.append(words(EVALUATIONS[row.evaluation]))
    said += [f"{what} {how_much}" for what, how_much in row.measurements]
    if row.slice_number is not None:
        said.append(words(say("slice {number}", number=row.slice_number)))
    if row.comment:
        said.append(f"“{row.comment}”")
    return " · ".join(said)
