"""What of a window can be reached and used."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit, QSlider, QWidget

_KINDS = (QAbstractButton, QComboBox, QLineEdit, QSlider, QAbstractItemView, QPlainTextEdit)


def visible_controls(window: QWidget) -> list[QWidget]:
    """Everything a person can use in it, without what other controls are made of."""
    return [
        child
        for child in window.findChildren(QWidget)
        if isinstance(child, _KINDS)
        and child.isVisibleTo(window)
        and child.window() is window.window()
        and not isinstance(child.parent(), QComboBox)
        and not child.objectName().startswith("qt_")
    ]


def tab_order(window: QWidget) -> list[QWidget]:
    """What Tab goes through, once round."""
    found: list[QWidget] = []
    here = window.nextInFocusChain()
    while here is not None and here not in found:
        found.append(here)
        here = here.nextInFocusChain()
    return [w for w in found if w.focusPolicy() & Qt.FocusPolicy.TabFocus and w.isVisibleTo(window)]
