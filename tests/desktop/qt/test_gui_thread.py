"""The measure of a blocked GUI thread sees what it must see, and says where."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QTimer

from gui_thread import watched


def _waits() -> None:
    threading.Event().wait(0.15)


def _computes() -> None:
    until = time.thread_time() + 0.12
    while time.thread_time() < until:
        pass


def test_handler_that_waits_is_seen_and_named(qtbot: QtBot) -> None:
    with watched() as blocked:
        QTimer.singleShot(5, _waits)
        qtbot.wait(300)
    assert blocked.longest_wait_ms > 100, blocked
    assert blocked.longest_ms < 100, blocked
    assert "in _waits" in str(blocked)


def test_handler_that_computes_is_seen_by_its_cpu_time(qtbot: QtBot) -> None:
    with watched() as blocked:
        QTimer.singleShot(5, _computes)
        qtbot.wait(300)
    assert blocked.longest_ms > 100, blocked
    assert "in _computes" in str(blocked)


def test_loop_that_turns_all_the_time_is_not_blocked(qtbot: QtBot) -> None:
    with watched() as blocked:
        qtbot.wait(200)
    assert blocked.longest_ms < 50, blocked


def test_file_that_a_handler_opens_is_seen_and_one_that_another_thread_opens_is_not(
    qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "here").touch()
    (tmp_path / "there").touch()

    def here() -> None:
        (tmp_path / "here").read_bytes()

    with watched() as blocked:
        QTimer.singleShot(5, here)
        reader = threading.Thread(target=(tmp_path / "there").read_bytes)
        reader.start()
        qtbot.waitUntil(lambda: bool(blocked.did_itself(str(tmp_path))))
        reader.join()
    assert blocked.did_itself(str(tmp_path)) == [("open", str(tmp_path / "here"))]
