"""How long the thread of the GUI was away from its event loop, in CPU time of that thread.

Wall time would measure the machine: other processes take the cores for as long as they like. What a handler costs is
the CPU time that this thread used between two turns of its loop, and what it waited for is seen by the same clock of
the process standing still; a handler that sleeps or waits for a lock is found by ``longest_wait_ms`` on a quiet one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer


@dataclass
class Blocked:
    """What was seen."""

    longest_ms: float = 0.0
    """CPU time of the GUI thread in one turn of its event loop."""


@contextmanager
def watched(qtbot: QtBot) -> Iterator[Blocked]:
    """Ask the loop for a turn all the time, and note how much CPU went by between two of them."""
    seen, last = Blocked(), time.thread_time()

    def turn() -> None:
        nonlocal last
        now = time.thread_time()
        seen.longest_ms = max(seen.longest_ms, (now - last) * 1000)
        last = now

    timer = QTimer()
    timer.setInterval(1)
    timer.timeout.connect(turn)
    timer.start()
    qtbot.wait(5)
    try:
        yield seen
    finally:
        timer.stop()
