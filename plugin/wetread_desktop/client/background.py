"""Work that takes time, away from the thread of the GUI; what comes of it is told there.

Threads are daemons: a call that hangs in the network never keeps the viewer from closing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Background:
    """Runs work on threads of its own."""

    def __init__(self, run_on_gui: Callable[[Callable[[], None]], None]) -> None:
        """``run_on_gui``: of the viewer."""
        self._run_on_gui = run_on_gui
        self._closed = threading.Event()

    def run(self, work: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Call ``work`` on another thread, then ``done`` or ``failed`` on that of the GUI, unless closed meanwhile."""

        def whole() -> None:
            try:
                value = work()
            except Exception as exc:  # the outcome is told to whoever asked; there is nobody above us on this thread
                error = exc
                self.tell(lambda: failed(error))
            else:
                self.tell(lambda: done(value))

        threading.Thread(target=whole, name="wetread-desk", daemon=True).start()

    def tell(self, call: Callable[[], None]) -> None:
        """Call on the thread of the GUI, unless closed by then."""

        def unless_closed() -> None:
            if not self._closed.is_set():
                call()

        if not self._closed.is_set():
            self._run_on_gui(unless_closed)

    def close(self) -> None:
        """Nobody is told anything any more."""
        self._closed.set()
