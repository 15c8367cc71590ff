"""napari as a viewer: nothing mirrored, letters true, overlay and jump at one place, in six orientations. No OpenGL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from phantoms import write_series
from wetread_desktop.host import (
    CannotShow,
    Capability,
    HostEvent,
    LabelVolume,
    Legend,
    LegendEntry,
    Mark,
    OverlayLook,
    Place,
    StudyShown,
)
from wetread_desktop.images.files import image_series, open_path
from wetread_desktop.images.series_images import Images, fill, open_images

napari_components = pytest.importorskip("napari.components", reason="napari is an extra: pip install -e '.[napari]'")

from wetread_desktop.hosts.napari.camera import LETTERS, scene_camera  # noqa: E402 (needs napari)
from wetread_desktop.hosts.napari.napari_host import NapariHost, show_images  # noqa: E402
from wetread_desktop.hosts.napari.space import KEY  # noqa: E402

SIX = [(o, r) for o in ("axial", "coronal", "sagittal") for r in (False, True)]
RED = Legend((LegendEntry(1, "ball", (255, 0, 0)), LegendEntry(2, "other", (0, 0, 255))))


def shown(viewer: object, folder: Path, **options: object) -> Images:
    """Write a phantom and show it."""
    write_series(folder, **{"shape": (40, 48, 44), "spacing_mm": (1.5, 1.2, 1.3), **options})  # type: ignore[arg-type]
    (study,) = open_path(folder).studies
    (series,) = image_series(study)
    images = open_images(series)
    assert fill(images, stopped=lambda: False, came=lambda _k: None) == ""
    show_images(viewer, study, series, images)
    return images


def ball(images: Images) -> LabelVolume:
    assert images.affine is not None
    rows = tuple(tuple(float(v) for v in row) for row in images.affine)
    values = (images.array > 900).astype(np.uint8)
    return LabelVolume(values.tobytes(), images.shape, rows, images.frame_of_reference_uid)


def middle_of(labels: LabelVolume) -> Place:
    index = np.argwhere(labels.array()).mean(axis=0)
    x, y, z = (float(v) for v in (np.array(labels.affine) @ (*index, 1.0))[:3])
    return Place("", 1, (x, y, z), labels.frame_of_reference_uid)


@pytest.mark.both_bindings
@pytest.mark.usefixtures("qapp")
@pytest.mark.parametrize(("orientation", "reverse"), SIX)
def test_letters_overlay_and_jump_agree_and_nothing_is_mirrored(
    tmp_path: Path, orientation: str, reverse: bool
) -> None:
    viewer = napari_components.ViewerModel()
    host = NapariHost(viewer)
    images = shown(viewer, tmp_path, orientation=orientation, reverse=reverse)
    labels = ball(images)
    series = host.active_series()
    assert series is not None
    host.add_overlay(series, labels, RED)
    place = middle_of(labels)
    host.goto(place)
    layer = viewer.layers[-1]
    world = np.array(viewer.dims.point)
    centre = np.array(scene_camera(viewer).center)
    np.testing.assert_allclose(centre, world[list(viewer.dims.order)], atol=0.01, err_msg="the camera is elsewhere")
    value = layer.data[tuple(np.rint(layer.world_to_data(world)).astype(int))]
    assert value == 1, "the jump does not lead to the overlay"
    assert "structure: ball" in layer.get_status(world, world=True)["coordinates"], (
        "napari does not say what is under the pointer"
    )
    # The ball lies to the patient's right, to the back and towards the feet: nearer to R, P and F than to L, A and H.
    for order, letters in (((0, 1, 2), "RPLA"), ((1, 0, 2), "RFLH"), ((2, 0, 1), "PFAH")):
        viewer.dims.order = order
        where = dict(zip(viewer.layers[LETTERS].features["letter"], viewer.layers[LETTERS].data, strict=True))
        assert set(where) == set(letters)
        for near, far in zip(letters[:2], letters[2:], strict=True):
            assert np.linalg.norm(where[near] - world) < np.linalg.norm(where[far] - world), (order, near, far)
        # Seen from the camera: the first axis on the screen runs down (or up where the head must be), the last to the
        # right; R is left of L, A above P or left of it, H above F.
        vertical, horizontal = viewer.scene.camera.orientation2d
        down = 1 if str(vertical) == "down" else -1
        assert str(horizontal) == "right"
        for one, other, axis, sign in (("R", "L", order[2], 1), ("A", "P", order[1], down), ("H", "F", order[1], down)):
            if (
                one in where
                and other in where
                and axis in order[1:]
                and not np.isclose(where[one][axis], where[other][axis])
            ):
                assert sign * (where[other][axis] - where[one][axis]) > 0, (order, one, other)
    viewer.dims.ndisplay = 3
    assert viewer.scene.camera.handedness == "left", "a (head, back, left) world seen right-handed is a mirror image"
    assert set(viewer.layers[LETTERS].features["letter"]) == set("RLAPHF")


@pytest.mark.usefixtures("qapp")
def test_oblique_volume_lies_in_planes_of_its_acquisition_and_places_are_true(tmp_path: Path) -> None:
    viewer = napari_components.ViewerModel()
    host = NapariHost(viewer)
    images = shown(viewer, tmp_path, orientation="oblique")
    opened = viewer.layers[0].metadata[KEY]
    assert opened.space.is_oblique
    labels = ball(images)
    series = host.active_series()
    assert series is not None
    host.add_overlay(series, labels, RED)
    host.goto(middle_of(labels))
    layer = viewer.layers[-1]
    assert layer.data[tuple(np.rint(layer.world_to_data(viewer.dims.point)).astype(int))] == 1
    assert "oblique" in viewer.layers[0].name
    np.testing.assert_array_equal(np.diag(layer.affine.affine_matrix), 1.0)  # napari would ignore a rotation


@pytest.mark.usefixtures("qapp")
def test_overlay_is_one_locked_layer_and_is_changed_and_removed(tmp_path: Path, qtbot: QtBot) -> None:
    viewer = napari_components.ViewerModel()
    host, told = NapariHost(viewer), list[HostEvent]()
    host.on(told.append)
    images = shown(viewer, tmp_path)
    series = host.active_series()
    assert told == [StudyShown(series)]
    assert series is not None
    assert Capability.OPEN_STUDY not in host.capabilities()
    labels = ball(images)
    before = len(viewer.layers)
    overlay = host.add_overlay(series, labels, RED)
    heat = host.add_heatmap(series, labels, "where it looked")
    marks = host.add_marks(series, [Mark("1", "m", (0, 255, 0), middle_of(labels), ((3.0, 4, 5), (6.0, 9, 9)))])
    assert len(viewer.layers) == before + 3
    assert told == [StudyShown(series)], "adding layers must not look like another study"
    assert host.active_series() == series
    host.update_overlay(overlay, OverlayLook(visible=False, opacity=0.7, hidden=frozenset({1}), contour=True))
    layer = viewer.layers[before]
    assert (layer.visible, layer.opacity, layer.contour, layer.editable) == (False, 0.7, 1, False)
    assert layer.colormap.color_dict[1][3] == 0
    assert layer.colormap.color_dict[2][3] == 1
    assert len(viewer.layers["Wetread boxes"].data) == 4
    for item in (overlay, heat, marks, "unknown"):
        host.remove(item)
    assert len(viewer.layers) == before
    host.set_window(500.0, 200.0)
    assert list(viewer.layers[0].contrast_limits) == [400.0, 600.0]
    with pytest.raises(CannotShow, match="outside these images"):
        host.goto(Place("", 1, (9e3, 0.0, 0.0), images.frame_of_reference_uid))
    ran: list[int] = []
    host.run_on_gui(lambda: ran.append(1))
    assert not ran
    qtbot.waitUntil(lambda: ran == [1])
    viewer.layers.clear()
    assert host.active_series() is None
    assert told[-1] == StudyShown(None)
