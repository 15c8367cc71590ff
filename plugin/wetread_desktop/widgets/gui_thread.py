"""Calls from any thread onto that of the GUI: what ``ViewerHost.run_on_gui`` is made of under Qt."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal, Slot


class GuiThread(QObject):
    """Lives on the thread that made it, which must be that of the GUI."""

    _asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._asked.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def run(self, call: Callable[[], None]) -> None:
        """Call it soon, in order. May be called from any thread, and when the window is gone already."""
        try:
            self._asked.emit(call)
        except RuntimeError:
            return  # the C++ part was deleted with its window: there is nobody to tell

    @Slot(object)
    def _run(self, call: Callable[[], None]) -> None:
        call()
