"""Any rotation, spacing and order: the grid that is found is the grid that was cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wetread.errors import DuplicatePosition, GeometryInvalid, MissingSlice, MixedOrientation, UnevenSpacing
from wetread.images.geometry import Grid, Plane, arrange, stack_affine

mm = st.floats(0.3, 8)
rotations = st.tuples(*[st.floats(-180, 180)] * 3)
positions = st.tuples(*[st.floats(-500, 500)] * 3)


def cut(rotation, spacing_mm, origin, count) -> tuple[np.ndarray, list[Plane]]:
    """The affine of a stack, and its planes in slice order."""
    turn = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    row, column = turn[:, 0], turn[:, 1]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([turn[:, 2], column, row], axis=1) * spacing_mm
    affine[:3, 3] = origin
    planes = [
        Plane(
            name=f"slice {k}",
            position=tuple(affine[:3, 3] + k * affine[:3, 0]),
            row_direction=tuple(row),
            column_direction=tuple(column),
            pixel_spacing_mm=(spacing_mm[1], spacing_mm[2]),
            rows=30,
            columns=20,
            frame_of_reference_uid="1.2.3",
        )
        for k in range(count)
    ]
    return affine, planes


stacks = st.builds(cut, rotations, st.tuples(mm, mm, mm), positions, st.integers(2, 40))


@given(stacks, st.randoms(use_true_random=False))
def test_affine_and_order_come_back_from_shuffled_planes(stack, random):
    affine, planes = stack
    shuffled = random.sample(planes, len(planes))
    grid = arrange(shuffled)
    assert [shuffled[k] for k in grid.order] == planes
    np.testing.assert_allclose(grid.affine, affine, atol=1e-6)


@given(stacks, st.tuples(*[st.floats(0, 1)] * 3))
def test_index_to_patient_and_back_is_the_same_index(stack, share):
    _, planes = stack
    grid = arrange(planes)
    index = np.array(share) * (len(planes), 30, 20)
    point = grid.affine[:3, :3] @ index + grid.affine[:3, 3]
    back = np.linalg.solve(grid.affine[:3, :3], point - grid.affine[:3, 3])
    np.testing.assert_allclose(back, index, atol=1e-6)


@given(stacks)
def test_first_voxel_of_every_slice_is_at_its_image_position(stack):
    _, planes = stack
    grid = arrange(planes)
    for k, plane in enumerate(planes):
        np.testing.assert_allclose(grid.affine @ (k, 0, 0, 1), (*plane.position, 1), atol=1e-6)


@given(stacks)
def test_row_index_grows_along_the_column_direction(stack):
    _, planes = stack
    grid, plane = arrange(planes), planes[0]
    last_of_first_column = np.array(plane.position) + 29 * plane.pixel_spacing_mm[0] * np.array(plane.column_direction)
    last_of_first_row = np.array(plane.position) + 19 * plane.pixel_spacing_mm[1] * np.array(plane.row_direction)
    np.testing.assert_allclose((grid.affine @ (0, 29, 0, 1))[:3], last_of_first_column, atol=1e-6)
    np.testing.assert_allclose((grid.affine @ (0, 0, 19, 1))[:3], last_of_first_row, atol=1e-6)


long_stacks = st.builds(cut, rotations, st.tuples(mm, mm, mm), positions, st.integers(5, 40))


@given(long_stacks, st.data())
def test_any_lost_slice_is_noticed(stack, data):
    _, planes = stack
    lost = data.draw(st.integers(1, len(planes) - 2))
    with pytest.raises(MissingSlice, match=f"between slice {lost - 1} and slice {lost + 1} 1 slice is missing"):
        arrange(planes[:lost] + planes[lost + 1 :])


@given(long_stacks, st.data())
def test_any_doubled_slice_is_noticed(stack, data):
    _, planes = stack
    k = data.draw(st.integers(0, len(planes) - 1))
    with pytest.raises(DuplicatePosition, match="lie at one position"):
        arrange([*planes, replace(planes[k], name="again")])


@given(long_stacks, st.data(), st.floats(0.03, 0.4))
def test_any_slice_out_of_its_place_along_the_normal_is_noticed(stack, data, share):
    affine, planes = stack
    k = data.draw(st.integers(1, len(planes) - 2))
    shift = max(0.012, share * np.linalg.norm(affine[:3, 0])) * planes[k].normal
    planes[k] = replace(planes[k], position=tuple(planes[k].position + shift))
    with pytest.raises(UnevenSpacing, match=f"slice {k}"):
        arrange(planes)


@given(long_stacks, st.data(), st.floats(0.5, 90))
def test_any_slice_turned_by_half_a_degree_is_noticed(stack, data, angle):
    _, planes = stack
    k = data.draw(st.integers(1, len(planes) - 1))
    turn = Rotation.from_rotvec(np.array(planes[k].row_direction) * angle, degrees=True)
    planes[k] = replace(planes[k], column_direction=tuple(turn.apply(planes[k].column_direction)))
    with pytest.raises(MixedOrientation, match=f"slice 0 and slice {k} are not parallel"):
        arrange(planes)


@given(st.builds(cut, rotations, st.tuples(st.just(5.0), mm, mm), positions, st.just(40)), st.floats(1, 30))
def test_any_tilted_gantry_is_noticed(stack, angle):
    _, planes = stack
    lean = 5 * np.tan(np.radians(angle)) * np.array(planes[0].column_direction)
    leaning = [replace(plane, position=tuple(plane.position + k * lean)) for k, plane in enumerate(planes)]
    with pytest.raises(GeometryInvalid, match=rf"{angle:.1f}° off the slice normal") as caught:
        arrange(leaning)
    assert type(caught.value) is GeometryInvalid


def test_slice_axis_is_measured_from_first_to_last():
    _, planes = cut((10, 20, 30), (2.0, 1.0, 1.0), (0, 0, 0), 11)
    shift = 0.015 * planes[0].normal
    planes[5] = replace(planes[5], position=tuple(planes[5].position + shift))
    assert isinstance(arrange(planes), Grid)
    np.testing.assert_allclose(np.linalg.norm(stack_affine(planes)[:3, 0]), 2.0)
    np.testing.assert_allclose(arrange(planes).affine, stack_affine(planes))
