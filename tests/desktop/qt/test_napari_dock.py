"""The panel inside napari: a folder opens as a layer, the panel says whose it is, closing leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from phantoms import write_series
from wetread_desktop.client.settings import DeskSettings, SettingsFolder

napari_components = pytest.importorskip("napari.components", reason="napari is an extra: pip install -e '.[napari]'")

from npe2 import PluginManifest  # noqa: E402 (napari brings it)

from wetread_desktop.hosts.napari import dock as dock_module  # noqa: E402 (needs napari)
from wetread_desktop.hosts.napari.dock import WetreadDock  # noqa: E402
from wetread_desktop.hosts.napari.space import KEY  # noqa: E402


@pytest.fixture
def profile(tmp_path: Path) -> SettingsFolder:
    """Of a reader whose edge does not answer."""
    kept = SettingsFolder(tmp_path / "profile")
    kept.save(DeskSettings(url="http://127.0.0.1:1", reader="Huber^Eva", language="en"))
    return kept


@pytest.fixture
def dock(qtbot: QtBot, profile: SettingsFolder) -> Iterator[WetreadDock]:
    """Beside a viewer without a window: layers, dims and camera are the real ones."""
    made = WetreadDock(napari_components.ViewerModel(), profile)
    qtbot.addWidget(made)
    made.show()
    yield made
    made.close()


@pytest.mark.both_bindings
def test_folder_becomes_a_layer_and_the_panel_says_whose_it_is(qtbot: QtBot, dock: WetreadDock, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "放射科", shape=(10, 24, 20), orientation="sagittal")
    dock.open_path(phantom.folder)
    viewer = dock.viewer
    qtbot.waitUntil(lambda: dock.is_filled, timeout=30_000)
    (layer,) = (one for one in viewer.layers if KEY in one.metadata)
    assert sorted(layer.data.shape) == [10, 20, 24]
    assert layer.data.sum() == pytest.approx(phantom.array.sum())
    assert np.allclose(sorted(layer.scale), sorted((2.5, 0.9, 1.1)))
    patient = dock.presenter.state.patient
    assert patient is not None
    assert patient.patient_id == "PH-0042"
    assert "PH-0042" in " ".join(label.text() for label in dock.panel.patient.findChildren(dock_module.QLabel))
    assert {p.name for p in dock.host.source_instances(phantom.study_instance_uid)} == {p.name for p in phantom.paths}


def test_what_cannot_be_opened_is_said_in_the_dock(qtbot: QtBot, dock: WetreadDock, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    dock.open_path(tmp_path / "empty")
    qtbot.waitUntil(lambda: "holds no DICOM images" in dock.said, timeout=30_000)
    assert len(dock.viewer.layers) == 0


def test_closing_while_it_reads_ends_every_thread_of_ours(
    qtbot: QtBot, profile: SettingsFolder, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", shape=(120, 64, 64))
    before = set(threading.enumerate())
    made = WetreadDock(napari_components.ViewerModel(), profile)
    qtbot.addWidget(made)
    made.open_path(tmp_path / "study")
    qtbot.waitUntil(lambda: len(made.viewer.layers) > 0, timeout=30_000)
    made.close()
    made.close()  # a second time does no harm
    ours = set(threading.enumerate()) - before
    for thread in ours:
        thread.join(timeout=10.0)
    assert [thread.name for thread in ours if thread.is_alive()] == []


def test_command_of_the_file_menu_opens_the_dialog_of_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    widget = SimpleNamespace(ask_folder=lambda: asked.append(("asked", "")))

    def add(plugin: str, name: str) -> tuple[None, SimpleNamespace]:
        asked.append((plugin, name))
        return None, widget

    import napari

    viewer = SimpleNamespace(window=SimpleNamespace(add_plugin_dock_widget=add))
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    dock_module.open_folder()
    assert asked == [("wetread", "Wetread – read this study"), ("asked", "")]


def test_manifest_is_valid_and_all_it_names_is_there() -> None:
    path = Path(dock_module.__file__).with_name("napari.yaml")
    run = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(path)], check=False, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    manifest = PluginManifest.from_file(path)
    manifest.validate_imports()
    commands = {command.id for command in manifest.contributions.commands or ()}
    used = {item.command for items in (manifest.contributions.menus or {}).values() for item in items}
    assert used | {widget.command for widget in manifest.contributions.widgets or ()} == commands
