"""A reader in napari's own window, as a process of its own: menu, folder, button, findings, jump, 3-D.

``python napari_session.py STUDY_FOLDER PICTURES`` says what it saw as JSON. The plugin is found where napari finds it
(the installed package), the profile is that of the user (``XDG_CONFIG_HOME``). Nothing of the tests is imported: it
also runs in an installation that has only the wheel.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu

COLOURS = {1: (1.0, 0.0, 0.0), 2: (0.0, 0.0, 1.0), 3: (0.0, 1.0, 0.0), 4: (1.0, 1.0, 0.0)}
"""Of balls in front, behind, at the patient's left, and at the head."""


def until(condition: Callable[[], Any], what: str, timeout_s: float = 120.0) -> Any:
    """Wait while the window lives on."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {timeout_s:g} s: {what}")
        QTest.qWait(20)
    return value


def actions(menu: QMenu) -> Iterator[QAction]:
    """All that a menu offers, as it would when it is opened."""
    menu.aboutToShow.emit()
    for action in menu.actions():
        inside = action.menu()
        if inside is None:
            yield action
        else:
            yield from actions(inside)


def start_panel(viewer: Any) -> Any:
    """From napari's own plugin menu."""
    found = [a for a in actions(viewer.window.plugins_menu) if a.text().startswith("Wetread – read this study")]
    if len(found) != 1:
        raise SystemExit(f"the plugin menu offers {[a.text() for a in actions(viewer.window.plugins_menu)]}")
    found[0].trigger()
    docks = [w for w in QApplication.allWidgets() if type(w).__name__ == "WetreadDock"]
    return until(lambda: docks[0] if docks and docks[0].isVisible() else None, "the dock is there")


def read(dock: Any, folder: Path) -> dict[str, Any]:
    """Open, press the one button, jump to the first finding."""
    dock.open_path(folder)
    until(lambda: dock.is_filled, "the images are read")
    button, panel = dock.panel.study.primary, dock.panel
    until(lambda: button.isVisible() and button.isEnabled(), "the study may be read")
    pressed = button.text()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    until(lambda: dock.presenter.state.sign.enabled, "there are findings")
    panel.findings.setFocus()
    QTest.keyClick(panel.findings, Qt.Key.Key_J)
    layers = dock.viewer.layers
    overlay = until(lambda: [one for one in layers if one._type_string == "labels"], "there is an overlay")[0]
    world = np.array(dock.viewer.dims.point)
    value = overlay.data[tuple(np.rint(overlay.world_to_data(world)).astype(int))]
    return {
        "pressed": pressed,
        "findings": [row.name for row in dock.presenter.state.findings],
        "label_at_the_jump": int(value),
        "patient": panel.patient.facts.text(),
    }


def seen_in_3d(viewer: Any) -> dict[str, Any]:
    """Four balls as the canvas draws them as soon as it is in 3-D: which of front and back hides the other says from
    where one looks, so no convention of napari's is believed."""
    image = next(one for one in viewer.layers if "wetread" in one.metadata)
    labels = np.zeros(image.data.shape, np.uint8)
    middle = np.array(labels.shape) // 2
    reach, radius = np.array(labels.shape) // 3, min(labels.shape) // 7
    grid = np.indices(labels.shape)
    for value, (axis, sign) in {1: (1, -1), 2: (1, 1), 3: (2, 1), 4: (0, 1)}.items():
        centre = middle.copy()
        centre[axis] += sign * reach[axis]
        labels[((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < radius**2] = value
    for layer in viewer.layers:
        layer.visible = False
    layer = viewer.add_labels(labels, name="balls", scale=image.scale, translate=image.translate, opacity=1.0)
    layer.colormap = napari.utils.colormaps.DirectLabelColormap(
        color_dict={None: "transparent", 0: "transparent", **COLOURS}
    )
    viewer.dims.ndisplay = 3
    viewer.reset_view(reset_camera_angle=False)
    QTest.qWait(300)
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    return {name: _centre(picture, value) for value, name in enumerate(("front", "back", "left", "head"), start=1)}


def _centre(picture: np.ndarray[Any, Any], value: int) -> list[float] | None:
    """``[down, right]`` of the pixels that are more of this colour than of the others; none where it is hidden."""
    wanted = np.array(COLOURS[value]) > 0
    strong, weak = picture[..., wanted].min(axis=-1), picture[..., ~wanted].max(axis=-1)
    found = np.argwhere((strong > 60) & (strong > 2 * weak))
    return [float(c) for c in found.mean(axis=0)] if len(found) > 20 else None


def main(folder: Path, pictures: Path) -> None:
    """All of it."""
    viewer = napari.Viewer(title="napari", show=True)
    viewer.window.resize(1500, 950)
    pictures.mkdir(parents=True, exist_ok=True)
    dock = start_panel(viewer)
    told = read(dock, folder)
    QTest.qWait(300)
    viewer.window.screenshot(str(pictures / "napari-2d.png"), flash=False, canvas_only=False)
    letters = viewer.layers["Orientation"]
    told["letters"] = sorted(letters.features["letter"])
    viewer.dims.ndisplay = 3
    QTest.qWait(300)
    viewer.window.screenshot(str(pictures / "napari-3d.png"), flash=False, canvas_only=False)
    told["letters_3d"] = sorted(letters.features["letter"])
    told["seen"] = seen_in_3d(viewer)
    viewer.window.screenshot(str(pictures / "napari-balls.png"), flash=False, canvas_only=False)
    print(json.dumps(told))  # noqa: T201
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
