"""napari's camera and letters: nothing mirrored, the head up, and it is written at the edges where is what.

napari moved its camera to ``viewer.scene`` in 0.9; whatever differs between its versions stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wetread_desktop.hosts.napari.space import AXIS_LABELS, KEY, ORIENTATION_3D, UNITS, orientation_2d

if TYPE_CHECKING:
    from napari.components import ViewerModel

LETTERS = "Orientation"
_FACES = {"H": (0, 1), "F": (0, 0), "P": (1, 1), "A": (1, 0), "L": (2, 1), "R": (2, 0)}
"""Letter to (world axis, end of the volume)."""
_TO_THE_BACK, _UP = np.array((0.0, 1.0, 0.0)), np.array((1.0, 0.0, 0.0))
"""Directions in the world: to P and to H."""


def scene_camera(viewer: ViewerModel) -> Any:
    """The camera, wherever this version of napari keeps it."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def hang_right(viewer: ViewerModel) -> None:
    """Keep the camera as radiologists look, in every plane and in 3-D, and the letters where they belong."""
    scene_camera(viewer).orientation = ORIENTATION_3D

    def turned(_event: object = None) -> None:
        camera = scene_camera(viewer)
        if viewer.dims.ndisplay == 2:
            camera.orientation2d = orientation_2d(tuple(viewer.dims.order)[-3:])
        else:
            camera.orientation = ORIENTATION_3D
            _face(viewer)
        move_letters(viewer)

    def came(event: Any) -> None:
        if KEY in event.value.metadata:
            add_letters(viewer)
            turned()

    viewer.dims.events.order.connect(turned)
    viewer.dims.events.ndisplay.connect(turned)
    viewer.dims.events.point.connect(lambda _event=None: move_letters(viewer))
    viewer.layers.events.inserted.connect(came)
    turned()


def _face(viewer: ViewerModel) -> None:
    """Look at the patient from the front, the head up; napari's own angles would stand a patient on the head."""
    shown = list(viewer.dims.order)[-3:]  # the camera counts axes as they are on the screen
    if len(shown) == len(_UP):  # before there is an image there are two
        scene_camera(viewer).set_view_direction(tuple(_TO_THE_BACK[shown]), tuple(_UP[shown]))


def add_letters(viewer: ViewerModel) -> None:
    """R, L, A, P, H and F in the middle of the faces of the volume: of a plane on its slice, so always in sight.

    They are points of the world, not of the screen: should anything ever mirror the picture, they move with it.
    """
    shown, names = _letters_now(viewer)
    if LETTERS in viewer.layers:
        return
    selected = viewer.layers.selection.active
    viewer.add_points(
        shown,
        name=LETTERS,
        features={"letter": names},
        text={"string": "{letter}", "size": 14, "color": "white", "anchor": "center"},
        size=1e-3,
        face_color="transparent",
        border_color="transparent",
        units=UNITS,
        axis_labels=AXIS_LABELS,
    ).editable = False
    viewer.layers.selection.active = selected


def move_letters(viewer: ViewerModel) -> None:
    """To the slices and axes that are on the screen now."""
    if LETTERS not in viewer.layers or not any(KEY in layer.metadata for layer in viewer.layers):
        return
    letters = viewer.layers[LETTERS]
    shown, names = _letters_now(viewer)
    if letters.data.shape != shown.shape or not np.allclose(letters.data, shown):
        letters.data = shown
        letters.features = {"letter": names}
        letters.refresh_text()


def _letters_now(viewer: ViewerModel) -> tuple[np.ndarray[Any, Any], list[str]]:
    low, high = _extent([layer for layer in viewer.layers if KEY in layer.metadata][-1])
    return letter_points(low, high, tuple(viewer.dims.point)[-3:], _displayed(viewer))


def letter_points(
    low: np.ndarray[Any, Any], high: np.ndarray[Any, Any], point: tuple[float, ...], displayed: tuple[int, ...]
) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Where the letters of the axes on the screen stand, ``(n, 3)`` in the world, and which they are.

    ``low``, ``high``: corners of the volume; ``point``: the slices shown; ``displayed``: axes on the screen.
    """
    names = [letter for letter, (axis, _end) in _FACES.items() if axis in displayed]
    places = []
    for letter in names:
        axis, end = _FACES[letter]
        place = np.where(np.isin(range(3), displayed), (low + high) / 2, point)
        place[axis] = high[axis] if end else low[axis]
        places.append(place)
    return np.array(places), names


def _extent(layer: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    low, high = np.asarray(layer.extent.world, dtype=np.float64)
    return low, high


def _displayed(viewer: ViewerModel) -> tuple[int, ...]:
    return tuple(viewer.dims.order)[-viewer.dims.ndisplay :]
