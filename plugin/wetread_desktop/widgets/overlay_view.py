"""The legend: which colour and number is what, and how strongly it is drawn."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QCheckBox, QGridLayout, QListWidget, QListWidgetItem, QSlider, QWidget

from wetread_desktop.client.panel_state import LegendRow, OverlayView
from wetread_desktop.client.words import Catalog, say
from wetread_desktop.widgets.parts import button, label, name, swatch

_LABEL = int(Qt.ItemDataRole.UserRole)


class LegendView(QWidget):
    """Draws ``OverlayView``; tells what is asked."""

    def __init__(
        self,
        *,
        toggle: Callable[[], None],
        opacity: Callable[[float], None],
        contour: Callable[[bool], None],
        show_class: Callable[[int, bool], None],
        only_class: Callable[[int], None],
        heatmap: Callable[[], None],
    ) -> None:
        """Each is the presenter's."""
        super().__init__()
        self._show_class = show_class
        self._drawn: tuple[LegendRow, ...] = ()
        self.visible_box, self.contour_box = QCheckBox(), QCheckBox()
        self.visible_box.clicked.connect(lambda _=False: toggle())
        self.contour_box.clicked.connect(lambda checked=False: contour(bool(checked)))
        self.heatmap_button = button(heatmap)
        self.heatmap_button.setCheckable(True)
        self.opacity_label = label("muted", wrap=False)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setPageStep(10)
        self.opacity.valueChanged.connect(lambda value: opacity(value / 100))
        self.classes = QListWidget()
        self.classes.setIconSize(QSize(26, 18))
        self.classes.itemChanged.connect(self._changed)
        self.classes.itemDoubleClicked.connect(lambda item: only_class(item.data(_LABEL)))
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.visible_box, 0, 0)
        layout.addWidget(self.contour_box, 0, 1)
        layout.addWidget(self.heatmap_button, 0, 2)
        layout.addWidget(self.opacity_label, 1, 0)
        layout.addWidget(self.opacity, 1, 1, 1, 2)
        layout.addWidget(self.classes, 2, 0, 1, 3)
        self.map_says = label("muted")
        layout.addWidget(self.map_says, 3, 0, 1, 3)

    def show_overlay(
        self, view: OverlayView, words: Catalog, *, has_heatmap: bool, why_not: str, no_outline: str
    ) -> None:
        """Draw it. ``has_heatmap``: of the selected finding; ``why_not``: the viewer draws no overlays; ``no_outline``:
        it fills them."""
        self.visible_box.setText(words(say("Overlay (Space)")))
        self.contour_box.setText(words(say("Outlines")))
        self.heatmap_button.setText(words(say("Heat map (H)")))
        self.opacity_label.setText(words(say("Opacity")))
        name(self.visible_box, self.visible_box.text(), why_not)
        name(self.contour_box, self.contour_box.text(), why_not or no_outline)
        name(self.opacity, words(say("Opacity")), why_not)
        name(self.classes, words(say("Structures in the picture")))
        no_map = "" if has_heatmap else words(say("There is no heat map of the selected finding."))
        name(self.heatmap_button, self.heatmap_button.text(), no_map)
        self.heatmap_button.setEnabled(has_heatmap)
        self.heatmap_button.setChecked(bool(view.heatmap_of))
        self.map_says.setText(words(say("The map shows what moved the score, not where disease is.")))
        self.map_says.setVisible(bool(view.heatmap_of))
        for control in (self.visible_box, self.contour_box, self.opacity, self.classes):
            control.setEnabled(not why_not and bool(view.legend))
        self.contour_box.setEnabled(self.visible_box.isEnabled() and not no_outline)
        self.visible_box.setChecked(view.visible)
        self.contour_box.setChecked(view.contour)
        # A film has scores and maps of them, and no structures to draw.
        for part in (self.visible_box, self.contour_box, self.opacity_label, self.opacity, self.classes):
            part.setVisible(bool(why_not or view.legend))
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(view.opacity * 100))
        self.opacity.blockSignals(False)
        self._show_classes(view.legend)

    def _show_classes(self, legend: tuple[LegendRow, ...]) -> None:
        if legend == self._drawn:
            return
        self._drawn = legend
        self.classes.setFixedHeight(min(150, 12 + 21 * max(len(legend), 1)))
        self.classes.blockSignals(True)
        if self.classes.count() != len(legend):
            self.classes.clear()
            for _ in legend:
                self.classes.addItem(QListWidgetItem())
        for place, row in enumerate(legend):
            item = self.classes.item(place)
            item.setData(_LABEL, row.label_value)
            item.setText(row.name)
            item.setData(int(Qt.ItemDataRole.AccessibleTextRole), f"{row.tag}. {row.name}")
            item.setIcon(swatch(row.colour_rgb, row.tag, self.font(), self.devicePixelRatioF()))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if row.visible else Qt.CheckState.Unchecked)
        self.classes.blockSignals(False)

    def _changed(self, item: QListWidgetItem) -> None:
        self._show_class(item.data(_LABEL), item.checkState() == Qt.CheckState.Checked)
