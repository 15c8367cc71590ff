"""The binding that was asked for is the one that is tested."""

from __future__ import annotations

import os

import pytest
from qtpy import API_NAME
from qtpy.QtGui import QGuiApplication

pytestmark = pytest.mark.both_bindings


@pytest.mark.usefixtures("qapp")
def test_tests_run_on_the_binding_and_the_display_that_were_asked_for() -> None:
    assert API_NAME.lower() == os.environ["QT_API"]
    assert QGuiApplication.platformName() == os.environ["QT_QPA_PLATFORM"]
