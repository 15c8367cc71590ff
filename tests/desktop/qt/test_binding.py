"""The binding that was asked for is the one that is tested."""

from __future__ import annotations

import os
import sys

import pytest
from qtpy import API_NAME
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QLabel

pytestmark = pytest.mark.both_bindings


@pytest.mark.usefixtures("qapp")
def test_tests_run_on_the_binding_and_the_display_that_were_asked_for() -> None:
    assert API_NAME.lower() == os.environ["QT_API"]
    assert QGuiApplication.platformName() == os.environ["QT_QPA_PLATFORM"]


@pytest.mark.usefixtures("qapp")
def test_binding_leaves_the_references_of_none_alone() -> None:
    """PySide6 6.12.0 takes one with every call that returns nothing; before Python 3.12 that ends the process."""
    widget = QLabel()
    before = sys.getrefcount(None)
    for _ in range(500):
        widget.setText("a")
    assert abs(sys.getrefcount(None) - before) < 250
