"""The standalone window on a real display, with DICOM files: opens, hangs, jumps, draws, and never blocks."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, QSize, Qt
from qtpy.QtGui import QColor

from films import write_film
from gui_thread import watched
from phantoms import Phantom, write_series
from wetread_desktop.host import (
    CannotShow,
    HostEvent,
    LabelPicked,
    LabelVolume,
    Legend,
    LegendEntry,
    Mark,
    OverlayLook,
    Place,
    StudyShown,
)
from wetread_desktop.hosts.window.planes import View
from wetread_desktop.hosts.window.study_window import StudyWindow
from wetread_desktop.hosts.window.window_host import WindowHost

Open = Callable[[Path], StudyWindow]
RED = (255, 0, 0)
LONGEST_MS = 100.0
"""CPU time of one turn of the GUI thread; bench_desktop.py measures what it waited."""


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[StudyWindow]:
    window = StudyWindow()
    qtbot.addWidget(window)
    window.resize(1200, 800)
    window.show()
    qtbot.waitExposed(window)
    yield window
    window.close()


def opened(qtbot: QtBot, window: StudyWindow, path: Path, *, timeout_s: float = 30.0) -> None:
    """Open it and wait until every slice is there."""
    with qtbot.waitSignal(window.filled, timeout=int(timeout_s * 1000)):
        window.open_path(path)


def bright(window: StudyWindow, above: float = 900) -> LabelVolume:
    """The small ellipsoid of the phantom as label 1."""
    images = window.viewer.images
    assert images is not None
    assert images.affine is not None
    rows = tuple(tuple(float(v) for v in row) for row in images.affine)
    values = (images.array > above).astype(np.uint8)
    return LabelVolume(values.tobytes(), images.shape, rows, images.frame_of_reference_uid)


def middle_of(window: StudyWindow, labels: LabelVolume) -> Place:
    index = np.argwhere(labels.array()).mean(axis=0)
    x, y, z = (float(v) for v in (np.array(labels.affine) @ (*index, 1.0))[:3])
    return Place("", round(float(index[0])) + 1, (x, y, z), labels.frame_of_reference_uid)


@pytest.mark.both_bindings
@pytest.mark.parametrize(
    ("orientation", "reverse"),
    [(o, r) for o in ("axial", "coronal", "sagittal") for r in (False, True)],
)
def test_phantom_hangs_alike_in_all_orientations_with_overlay_and_jump_at_one_place(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path, orientation: str, reverse: bool
) -> None:
    write_series(tmp_path, orientation=orientation, reverse=reverse, shape=(40, 48, 44), spacing_mm=(1.5, 1.2, 1.3))  # type: ignore[arg-type]
    opened(qtbot, window, tmp_path)
    host = WindowHost(window)
    series = host.active_series()
    assert series is not None
    labels = bright(window)
    key = host.add_overlay(series, labels, Legend((LegendEntry(1, "ball", RED),)))
    host.update_overlay(key, OverlayLook(opacity=1.0))
    place = middle_of(window, labels)
    host.goto(place)
    viewer = window.viewer
    assert viewer.images is not None
    assert viewer.images.affine is not None
    there = viewer.images.affine @ (*viewer.cross, 1.0)
    assert place.centre_mm == pytest.approx(tuple(there[:3]), abs=1e-3), "not even one slice beside it"
    assert (viewer.plane(View.AXIAL).letters.left, viewer.plane(View.AXIAL).letters.top) == ("R", "A")
    assert (viewer.plane(View.SAGITTAL).letters.left, viewer.plane(View.CORONAL).letters.top) == ("A", "H")
    # The small ellipsoid lies to the right, to the back and towards the feet of the middle of the volume.
    expected = {View.AXIAL: (-1, 1), View.CORONAL: (-1, 1), View.SAGITTAL: (1, 1)}
    for view, (x_sign, y_sign) in expected.items():
        canvas = viewer.canvas(view)
        picture = canvas.grab().toImage()
        reds = [
            (x, y)
            for y in range(0, picture.height(), 2)
            for x in range(0, picture.width(), 2)
            if _is_red(picture.pixelColor(x, y))
        ]
        assert reds, f"{view}: the overlay is not seen at the place of the jump"
        centre = np.array(reds).mean(axis=0)
        target = canvas.target()
        offset = centre - (target.center().x(), target.center().y())
        assert (np.sign(offset[0]), np.sign(offset[1])) == (x_sign, y_sign), view


@pytest.mark.both_bindings
def test_mouse_and_keys_leaf_point_zoom_and_window(qtbot: QtBot, window: StudyWindow, tmp_path: Path) -> None:
    write_series(tmp_path, shape=(12, 32, 32))
    opened(qtbot, window, tmp_path)
    viewer = window.viewer
    canvas = viewer.canvas(View.AXIAL)
    canvas.setFocus()
    before = viewer.cross[0]
    qtbot.keyClick(canvas, Qt.Key.Key_Down)
    assert viewer.cross[0] != before
    target = canvas.target()
    at = QPoint(int(target.left() + target.width() / 4), int(target.top() + target.height() / 2))
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=at)
    assert viewer.cross[2] == pytest.approx(32 / 4 - 0.5, abs=1.0)
    level = viewer.window_level
    qtbot.mousePress(canvas, Qt.MouseButton.RightButton, pos=at)
    qtbot.mouseMove(canvas, at + QPoint(40, -30))
    qtbot.mouseRelease(canvas, Qt.MouseButton.RightButton, pos=at + QPoint(40, -30))
    assert viewer.window_level != level
    qtbot.keyClick(canvas, Qt.Key.Key_Plus)
    assert canvas.target().width() > target.width()
    qtbot.keyClick(canvas, Qt.Key.Key_0)
    assert canvas.target() == target
    assert canvas.pixel_at(QPointF(-5, -5)) is None


def test_marks_heat_map_pick_and_snapshot(qtbot: QtBot, window: StudyWindow, tmp_path: Path) -> None:
    write_series(tmp_path, shape=(24, 40, 40))
    opened(qtbot, window, tmp_path)
    host, told = WindowHost(window), list[HostEvent]()
    host.on(told.append)
    series, labels = host.active_series(), bright(window)
    assert series is not None
    key = host.add_overlay(series, labels, Legend((LegendEntry(1, "ball", RED),)))
    place = middle_of(window, labels)
    mark = Mark("1.2", "ball", (0, 255, 0), place, ((0.0, 5.0, 5.0), (23.0, 20.0, 20.0)))
    marks = host.add_marks(series, [mark])
    heat = host.add_heatmap(series, labels, "where it looked")
    host.goto(place)
    whole = host.snapshot()
    assert whole.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", whole[16:24])
    assert (width, height) == (window.viewer.width(), window.viewer.height())
    for item in (heat, marks):
        host.remove(item)
    assert host.snapshot() != whole
    viewer = window.viewer
    canvas = viewer.canvas(View.AXIAL)
    down, right = viewer.plane(View.AXIAL).on_screen(viewer.cross, labels.shape)
    target = canvas.target()
    at = QPoint(
        int(target.left() + (right + 0.5) / labels.shape[2] * target.width()),
        int(target.top() + (down + 0.5) / labels.shape[1] * target.height()),
    )
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=at)
    assert told[-1] == LabelPicked(key, 1)
    with pytest.raises(CannotShow, match="outside these images"):
        host.goto(Place("", 1, (9999.0, 0.0, 0.0), labels.frame_of_reference_uid))
    with pytest.raises(CannotShow, match="frame of reference"):
        host.goto(Place("", 1, (0.0, 0.0, 0.0), "9.9"))


def test_structure_and_value_are_named_under_the_pointer_else_under_the_cross(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path
) -> None:
    write_series(tmp_path, shape=(24, 40, 40), spacing_mm=(2.5, 1, 1), modality="CT")
    opened(qtbot, window, tmp_path)
    host, viewer = WindowHost(window), window.viewer
    series, images = host.active_series(), viewer.images
    assert series is not None
    assert images is not None
    labels = bright(window, above=700)
    host.add_overlay(series, labels, Legend((LegendEntry(1, "2 ball", RED),)))
    host.goto(middle_of(window, labels))
    canvas = viewer.canvas(View.AXIAL)

    def said() -> str:
        assert canvas.picture is not None
        return canvas.picture.under

    assert said() == "2 ball\n800 HU"
    corner = canvas.target().topLeft() + QPointF(3, 3)
    qtbot.mouseMove(canvas, corner.toPoint())
    qtbot.waitUntil(lambda: said() == "-1000 HU", timeout=5000)
    down, right = viewer.plane(View.AXIAL).on_screen(viewer.cross, images.shape)
    target = canvas.target()
    at = QPointF(
        target.left() + (right + 0.5) / 40 * target.width(), target.top() + (down + 0.5) / 40 * target.height()
    )
    qtbot.mouseMove(canvas, at.toPoint())
    qtbot.waitUntil(lambda: said() == "2 ball\n800 HU", timeout=5000)
    viewer.step(View.AXIAL, -24)
    assert said() == f"{images.array[0, round(viewer.cross[1]), round(viewer.cross[2])]} HU"
    assert viewer.canvas(View.CORONAL).picture is not None
    assert viewer.canvas(View.CORONAL).picture.under == said(), "planes that only move their lines say it too"


def test_another_study_closes_overlays_and_tells_the_panel(qtbot: QtBot, window: StudyWindow, tmp_path: Path) -> None:
    first = write_series(tmp_path / "a", shape=(8, 24, 24))
    second = write_series(tmp_path / "b", study_seed="other", shape=(8, 24, 24))
    opened(qtbot, window, tmp_path / "a")
    host, told = WindowHost(window), list[HostEvent]()
    host.on(told.append)
    series, labels = host.active_series(), bright(window)
    assert series is not None
    host.add_overlay(series, labels, Legend((LegendEntry(1, "ball", RED),)))
    opened(qtbot, window, tmp_path / "b")
    (shown,) = told
    assert isinstance(shown, StudyShown)
    assert shown.series is not None
    assert shown.series.study_instance_uid == second.study_instance_uid
    assert not window.viewer.layers.overlays
    with pytest.raises(CannotShow, match="another study by now"):
        host.add_overlay(series, labels, Legend(()))
    assert {p.name for p in host.source_instances(first.study_instance_uid)} == {p.name for p in first.paths}


def test_zip_is_opened_and_bad_files_are_said(qtbot: QtBot, window: StudyWindow, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "study", shape=(8, 24, 24))
    packed = _zip(tmp_path / "study.zip", phantom)
    opened(qtbot, window, packed)
    assert window.active is not None
    bomb, outside, broken = tmp_path / "bomb.zip", tmp_path / "slip.zip", tmp_path / "broken.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(64 << 20))
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../../escaped.dcm", b"not DICOM")
    broken.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2] + b"PK\x05\x06" + bytes(18))
    (tmp_path / "empty").mkdir()
    for path, sentence in (
        (bomb, "more than is allowed"),
        (outside, "holds no DICOM images"),
        (broken, "broken.zip"),
        (tmp_path / "empty", "holds no DICOM images"),
        (tmp_path / "missing", "there is no such file or folder"),
    ):
        with qtbot.waitSignal(window.failed, timeout=10_000) as said:
            window.open_path(path)
        assert sentence in said.args[0]
    assert not list(tmp_path.rglob("escaped.dcm"))


def test_gui_thread_is_not_blocked_while_300_slices_are_read(qtbot: QtBot, window: StudyWindow, tmp_path: Path) -> None:
    write_series(tmp_path, shape=(300, 128, 128), modality="CT")
    with watched() as blocked:
        opened(qtbot, window, tmp_path)
    print(blocked)  # noqa: T201 for the log of the run
    assert blocked.longest_ms < LONGEST_MS, blocked
    assert blocked.did_itself(str(tmp_path)) == [], blocked


def test_3000_slices_open_and_leaf_without_blocking_the_gui_thread(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path
) -> None:
    write_series(tmp_path, shape=(3000, 16, 16), modality="CT")
    with watched() as blocked:
        opened(qtbot, window, tmp_path, timeout_s=240)
        viewer = window.viewer
        viewer.step(View.AXIAL, -3000)
        viewer.step(View.AXIAL, 2999)
        qtbot.wait(1)
    assert viewer.images is not None
    assert viewer.images.read.all()
    picture = viewer.canvas(View.AXIAL).picture
    assert picture is not None
    assert picture.corner.startswith("3000 / 3000")
    print(blocked)  # noqa: T201 for the log of the run
    assert blocked.longest_ms < LONGEST_MS, blocked
    assert blocked.did_itself(str(tmp_path)) == [], blocked


def test_folder_with_broken_files_shows_what_is_whole_and_says_what_is_not(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path
) -> None:
    phantom = write_series(tmp_path, shape=(12, 32, 32))
    phantom.paths[3].write_bytes(phantom.paths[3].read_bytes()[:-200])  # cut inside its pixel data
    (tmp_path / "noise.dcm").write_bytes(b"\x00" * 128 + b"DICM" + b"\xff" * 300)
    (tmp_path / "empty").touch()
    opened(qtbot, window, tmp_path)
    images = window.viewer.images
    assert images is not None
    assert images.read.sum() == 11
    assert "not all images could be read" in window.statusBar().currentMessage()
    with qtbot.waitSignal(window.failed, timeout=10_000) as said:
        for path in phantom.paths:
            path.write_bytes(path.read_bytes()[:300])
        window.open_path(tmp_path)
    assert "holds no DICOM images" in said.args[0]
    assert window.viewer.images is images, "what was shown stays"


def test_leafing_paints_one_plane_anew_and_only_moves_the_lines_in_the_others(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path
) -> None:
    write_series(tmp_path, shape=(12, 32, 32))
    opened(qtbot, window, tmp_path)
    viewer = window.viewer
    before = {view: viewer.canvas(view).picture for view in View}
    viewer.step(View.AXIAL, 1)
    after = {view: viewer.canvas(view).picture for view in View}
    for view in View:
        assert before[view] is not None
        assert after[view] is not None
        same = after[view].grey is before[view].grey
        assert same is (view is not View.AXIAL), view
    for view in (View.SAGITTAL, View.CORONAL):
        plane = viewer.plane(view)
        assert after[view].cross == plane.on_screen(viewer.cross, (12, 32, 32)) != before[view].cross


def test_film_has_the_room_of_all_planes_and_a_volume_gets_it_back(
    qtbot: QtBot, window: StudyWindow, tmp_path: Path
) -> None:
    write_film(tmp_path / "film")
    write_series(tmp_path / "volume", shape=(8, 24, 24))
    viewer = window.viewer
    film = viewer.canvas(View.CORONAL)
    opened(qtbot, window, tmp_path / "film")
    whole = viewer.size() - QSize(10, 10)
    qtbot.waitUntil(lambda: film.width() > whole.width() and film.height() > whole.height(), timeout=5000)
    assert viewer.plane(View.CORONAL).letters.left == "R"
    opened(qtbot, window, tmp_path / "volume")
    qtbot.waitUntil(lambda: viewer.canvas(View.AXIAL).width() > film.width() > 0, timeout=5000)


def _is_red(colour: QColor) -> bool:
    return colour.red() > 200 and colour.green() < 60 and colour.blue() < 60


def _zip(path: Path, phantom: Phantom) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for source in phantom.paths:
            archive.write(source, f"a/b/{source.name}")
    return path
