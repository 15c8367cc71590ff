"""Where things are on the screen of the standalone window: hanging, letters, overlays; no Qt.

The volumes are cut from patient space in all 48 ways in which an array can lie in it, and obliquely.
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import numpy.typing as npt
import pytest

from wetread_desktop.host import CannotShow, LabelVolume
from wetread_desktop.hosts.window.planes import Letters, View, letters_at, planes_of
from wetread_desktop.images.grids import place
from wetread_desktop.images.shades import Window, colour_table, grey, heat_table, outline

SHAPE, SPACING = (20, 26, 32), (2.0, 1.5, 1.0)
WAYS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
BALL_LPS = np.array([6.0, -5.0, 7.0])
"""From the middle: to the patient's left, to the front, to the head."""


def affine_of(axes: tuple[int, ...], signs: tuple[int, ...], *, turn: float = 0.0) -> npt.NDArray[np.float64]:
    """Array axis k runs along LPS axis ``axes[k]``; the middle of the volume is at (10, 20, 30) mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for k in range(3):
        affine[axes[k], k] = signs[k] * SPACING[k]
    cos, sin = np.cos(turn), np.sin(turn)
    affine[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] = np.array([10.0, 20.0, 30.0]) - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def ball(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """1 within 3 mm of the place of the ball."""
    k, row, column = np.indices(SHAPE)
    lps = np.einsum("ij,j...->i...", affine[:3], np.stack([k, row, column, np.ones_like(k)]))
    centre = np.array([10.0, 20.0, 30.0]) + BALL_LPS
    return (np.linalg.norm(lps - centre[:, None, None, None], axis=0) < 3.0).astype(np.uint8)


def labels(array: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64], frame: str = "1.2") -> LabelVolume:
    rows = tuple(tuple(float(v) for v in row) for row in affine)
    slices, height, width = array.shape
    return LabelVolume(array.tobytes(), (slices, height, width), rows, frame)


@pytest.mark.parametrize(("axes", "signs"), WAYS)
def test_every_view_hangs_as_radiologists_hang_it(axes: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = affine_of(axes, signs)
    array = ball(affine)
    planes = planes_of(affine)
    assert planes[View.AXIAL].letters == Letters(left="R", right="L", top="A", bottom="P")
    assert planes[View.CORONAL].letters == Letters(left="R", right="L", top="H", bottom="F")
    assert planes[View.SAGITTAL].letters == Letters(left="A", right="P", top="H", bottom="F")
    # To the left: right on the screen. To the front: up in an axial view, left in a sagittal one. To the head: up.
    expected = {View.AXIAL: (-1, 1), View.CORONAL: (-1, 1), View.SAGITTAL: (-1, -1)}
    for view, plane in planes.items():
        where = np.argwhere(array).mean(axis=0)
        picture = plane.cut(array, round(where[plane.axis]))
        middle = (np.array(picture.shape) - 1) / 2
        offset = np.argwhere(picture).mean(axis=0) - middle
        assert tuple(np.sign(offset).astype(int)) == expected[view]
        assert plane.pixel_mm == pytest.approx((SPACING[plane.down], SPACING[plane.right]))


@pytest.mark.parametrize(("axes", "signs"), WAYS)
def test_a_place_on_the_screen_and_in_the_array_are_each_other_s_way_back(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    affine = affine_of(axes, signs)
    array = ball(affine)
    index = tuple(float(v) for v in np.argwhere(array)[3])
    for plane in planes_of(affine).values():
        down, right = plane.on_screen((index[0], index[1], index[2]), SHAPE)
        assert plane.cut(array, int(index[plane.axis]))[round(down), round(right)] == 1
        assert plane.in_array(down, right, int(index[plane.axis]), SHAPE) == pytest.approx(index)


def test_letters_of_an_oblique_volume_say_that_it_is_oblique() -> None:
    letters = planes_of(affine_of((2, 1, 0), (1, 1, 1), turn=np.radians(25)))[View.AXIAL].letters
    assert letters == Letters(left="RA", right="LP", top="AL", bottom="PR")
    slightly = planes_of(affine_of((2, 1, 0), (1, 1, 1), turn=np.radians(5)))[View.AXIAL].letters
    assert slightly == Letters(left="R", right="L", top="A", bottom="P")
    assert letters_at(np.array([0.0, 0.0, -1.0])) == "F"


@pytest.mark.parametrize(("axes", "signs"), WAYS)
def test_overlay_from_the_same_grid_in_another_order_lies_voxel_on_voxel(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    """The edge may order slices the other way, a viewer hands over rows as columns: the place is what counts."""
    images = affine_of((2, 1, 0), (1, -1, 1))
    order = tuple(axes[k] for k in (2, 1, 0))  # array axis 0 of the images lies along LPS axis 2
    truth = ball(images)
    turned = truth.transpose(order)
    mapping = np.zeros((4, 4))
    mapping[3, 3] = 1.0
    for k, source in enumerate(order):
        if signs[k] < 0:
            turned = np.flip(turned, k)
            mapping[source, k], mapping[source, 3] = -1.0, SHAPE[source] - 1
        else:
            mapping[source, k] = 1.0
    placed = place(labels(np.ascontiguousarray(turned), images @ mapping), images, SHAPE, "1.2")
    assert not placed.resampled
    np.testing.assert_array_equal(placed.array, truth)


def test_overlay_of_another_grid_is_resampled_and_said_to_be() -> None:
    images = affine_of((2, 1, 0), (1, 1, 1))
    finer = images @ np.diag([0.5, 0.5, 0.5, 1.0])
    array = np.repeat(np.repeat(np.repeat(ball(images), 2, 0), 2, 1), 2, 2)
    finer[:3, 3] -= images[:3, :3] @ (np.ones(3) * 0.25)
    placed = place(labels(array, finer), images, SHAPE, "1.2")
    assert placed.resampled
    np.testing.assert_array_equal(placed.array, ball(images))


def test_overlay_of_another_patient_space_or_beside_the_images_is_refused() -> None:
    images = affine_of((2, 1, 0), (1, 1, 1))
    with pytest.raises(CannotShow, match="another frame of reference"):
        place(labels(ball(images), images, frame="9.9"), images, SHAPE, "1.2")
    far = images.copy()
    far[:3, 3] += 500.0
    with pytest.raises(CannotShow, match="lies outside these images"):
        place(labels(ball(images), far), images, SHAPE, "1.2")


def test_window_is_linear_and_clipped() -> None:
    values = np.array([[-1000.0, -160.0, 40.0, 240.0, 3000.0]], np.float32)
    assert grey(values, Window(40.0, 400.0)).tolist() == [[0, 0, 127, 255, 255]]
    assert grey(values.astype(np.int16), Window(40.0, 400.0)).tolist() == [[0, 0, 127, 255, 255]]
    wider = Window(40.0, 400.0).dragged(100.0, 0.0)
    brighter = Window(40.0, 400.0).dragged(0.0, 50.0)
    assert (wider.width, wider.center) == (600.0, 40.0)
    assert grey(values, brighter)[0, 2] > grey(values, Window(40.0, 400.0))[0, 2]


def test_outline_keeps_what_touches_something_else_and_hidden_classes_are_transparent() -> None:
    picture = np.zeros((7, 7), np.uint8)
    picture[1:6, 1:6] = 3
    edge = outline(picture)
    assert edge.sum() == 3 * 16
    assert not edge[2:5, 2:5].any()
    table = colour_table({3: (255, 0, 16), 4: (0, 255, 0)}, opacity=0.5, hidden=frozenset({4}))
    assert table[3] == 0x80FF0010
    assert table[0] == table[4] == table[5] == 0
    heat = heat_table(opacity=1.0)
    assert heat[0] >> 24 == 0
    assert heat[255] >> 24 == 255
