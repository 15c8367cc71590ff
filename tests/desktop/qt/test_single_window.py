"""``wetread-desk open``: one window, later starts hand over and end, and the launcher hears how it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtNetwork import QLocalSocket

from phantoms import write_series
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.client.settings import SettingsFolder
from wetread_desktop.hosts.window.application import Application
from wetread_desktop.hosts.window.single import Instance, hand_over, pipe_name

UID = "1.2.3"


def test_later_start_hands_over_to_the_window_that_runs(qtbot: QtBot, tmp_path: Path) -> None:
    taken: list[OpenRequest] = []

    def take(request: OpenRequest) -> str:
        taken.append(request)
        return "" if request.study_uid else "nothing to open"

    instance = Instance(tmp_path, take)
    assert instance.listens
    asked = [sys.executable, "-c", _HAND_OVER, str(tmp_path)]
    answers: list[str] = []
    thread = threading.Thread(
        target=lambda: answers.append(
            subprocess.run(asked, check=False, capture_output=True, text=True, timeout=60).stdout
        )
    )
    thread.start()
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=60_000)
    assert json.loads(answers[0]) == ["", "nothing to open"]
    assert taken == [OpenRequest(UID), OpenRequest()]
    other_edge = hand_over(tmp_path, OpenRequest(UID), edge="https://other.example", timeout_ms=200)
    assert other_edge is None, "a window that shows studies of one edge is not asked for those of another"
    second = Instance(tmp_path, take)
    assert not second.listens, "of two that start at once the second leaves the pipe to the first"
    assert instance.listens
    instance.close()
    assert hand_over(tmp_path, OpenRequest(UID), timeout_ms=200) is None, "nobody is there any more"


_HAND_OVER = f"""
import json, sys
from pathlib import Path
from qtpy.QtCore import QCoreApplication
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.hosts.window.single import hand_over
app = QCoreApplication([])
profile = Path(sys.argv[1])
print(json.dumps([hand_over(profile, OpenRequest({UID!r})), hand_over(profile, OpenRequest())]))
"""


def test_pipe_that_a_killed_window_left_is_taken_over(qtbot: QtBot, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from qtpy.QtCore import QCoreApplication;"
        "from wetread_desktop.hosts.window.single import Instance; app = QCoreApplication([]);"
        "i = Instance(Path(sys.argv[1]), lambda r: ''); assert i.listens; os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60).returncode == 9
    instance = Instance(tmp_path, lambda _request: "")
    assert instance.listens
    instance.close()


def test_machine_without_a_display_is_said(tmp_path: Path) -> None:
    nowhere = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    command = [sys.executable, "-m", "wetread_desktop", "open", "--profile", str(tmp_path), "--folder", str(tmp_path)]
    done = subprocess.run(command, env=nowhere, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "there is no display" in done.stderr) == (1, True), done.stderr


def test_nonsense_in_the_pipe_is_answered_and_does_no_harm(qtbot: QtBot, tmp_path: Path) -> None:
    instance = Instance(tmp_path, lambda _request: pytest.fail("nothing was asked"))
    socket = QLocalSocket()
    socket.connectToServer(pipe_name(tmp_path))
    assert socket.waitForConnected(2000)
    socket.write(b"GET / HTTP/1.0\n")
    qtbot.waitUntil(socket.canReadLine, timeout=5000)
    assert "is not a request" in json.loads(bytes(socket.readLine().data()))["problem"]
    instance.close()


def test_folder_that_another_viewer_names_is_shown_with_its_patient(qtbot: QtBot, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "study", shape=(8, 24, 24))
    profile = SettingsFolder(tmp_path / "profile")
    application = Application(profile, edge="http://127.0.0.1:1")
    qtbot.addWidget(application.window)
    application.window.show()
    with qtbot.waitSignal(application.window.filled, timeout=30_000):
        assert application.take(OpenRequest(phantom.study_instance_uid, folder=str(tmp_path / "study"))) == ""
    assert application.host.active_series() is not None
    assert application.presenter.state.patient.patient_id == "PH-0042"
    assert "no such file" in application.take(OpenRequest(folder=str(tmp_path / "gone")))
    application.window.close()
    application.window.close()  # a second time does no harm
