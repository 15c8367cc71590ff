"""The whole of napari: its own window on a real display, our panel out of its own menu, a running ``wetread serve``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from readers_desk import PICTURES, READER

from peers import WetreadProcess
from phantoms import write_series
from wetread_desktop.client.settings import DeskSettings, SettingsFolder

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(importlib.util.find_spec("napari") is None, reason="napari is an extra"),
]

Start = Callable[..., WetreadProcess]
PYTHON = os.environ.get("NAPARI_PYTHON", sys.executable)
"""Another one: of an environment in which nothing but the wheel with its extra ``napari`` is installed."""


def session(service: WetreadProcess, study: Path, home: Path) -> dict[str, object]:
    """What a reader sees in napari's window who reads this study."""
    kept = SettingsFolder(home / "wetread-desk")
    kept.save(DeskSettings(url=service.api, reader=READER, organization="City Hospital", language="en"))
    kept.save_token((service.data / "api.token").read_text().strip())
    script = Path(__file__).with_name("napari_session.py")
    own = {"XDG_CONFIG_HOME": str(home), "NAPARI_CONFIG": str(home / "napari.yaml"), "HOME": str(home)}
    environment = {k: v for k, v in os.environ.items() if sys.executable == PYTHON or k != "PYTHONPATH"} | own
    command = [PYTHON, str(script), str(study), PICTURES or str(home / "pictures")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return dict(json.loads(run.stdout.splitlines()[-1]))


def test_panel_out_of_naparis_menu_reads_a_study_and_nothing_is_mirrored(wetread: Start, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "放射科", orientation="sagittal")
    told = session(wetread(mode="off", api=""), phantom.folder, tmp_path / "home")
    assert told["pressed"] == f"Send {len(phantom.paths)} images and read"
    assert told["findings"]
    assert told["label_at_the_jump"] == 1, "the jump leads to the overlay"
    assert "PH-0042" in str(told["patient"])
    assert told["letters"] == ["A", "F", "H", "P"]
    assert told["letters_3d"] == sorted("RLAPHF")
    seen = told["seen"]
    assert isinstance(seen, dict)
    assert seen["head"][0] < seen["left"][0], "the head is up"
    assert seen["front"] is not None, "one looks from the front"
    assert seen["back"] is None, "what is behind is hidden"
    assert seen["left"][1] > seen["head"][1], "the patient's left is at the right of whoever faces them"
