"""Figures of masks and detections against cases whose answer can be counted by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from wetread.learn.mask_measures import Detections, MaskFigures, froc, mask_figures, summary


def block(*sides: slice) -> npt.NDArray[np.bool_]:
    mask = np.zeros((12, 14, 16), bool)
    mask[sides] = True
    return mask


CUBE = block(slice(2, 6), slice(3, 7), slice(4, 8))


def test_same_masks_agree_wholly_and_lie_no_distance_apart() -> None:
    assert mask_figures(CUBE, CUBE, (3.0, 1.0, 0.5)) == MaskFigures(1.0, 0.0, 0.0)


@pytest.mark.parametrize(("axis", "apart_mm"), [(0, 12.0), (1, 4.0), (2, 2.0)])
def test_distances_are_in_mm_along_each_axis(axis: int, apart_mm: float) -> None:
    """Two sheets, four voxels apart: every point of one is as far from the other."""
    sheet = np.zeros((12, 14, 16), bool)
    np.moveaxis(sheet, axis, 0)[3] = True
    found = mask_figures(sheet, np.roll(sheet, 4, axis), (3.0, 1.0, 0.5))
    assert found.dice == 0.0
    assert found.surface_distance_mm == pytest.approx(apart_mm)
    assert found.hausdorff_95_mm == pytest.approx(apart_mm)


def test_dice_of_half_overlapping_cubes_is_a_half() -> None:
    assert mask_figures(CUBE, np.roll(CUBE, 2, 1), (1.0, 1.0, 1.0)).dice == pytest.approx(0.5)


def test_empty_masks_have_a_dice_and_no_distance() -> None:
    empty = np.zeros_like(CUBE)
    assert mask_figures(empty, CUBE, (1.0, 1.0, 1.0)) == MaskFigures(0.0, None, None)
    assert mask_figures(empty, empty, (1.0, 1.0, 1.0)) == MaskFigures(1.0, None, None)


def test_summary_gives_means_of_what_the_cases_have_with_intervals() -> None:
    cases = [MaskFigures(0.8, 1.0, None), MaskFigures(0.6, 2.0, None), MaskFigures(1.0, None, None)]
    found = summary(cases, resamples=500)
    assert set(found) == {"dice", "surface_distance_mm"}
    assert found["dice"].value == pytest.approx(0.8)
    assert found["surface_distance_mm"].value == pytest.approx(1.5)
    assert 0.6 <= found["dice"].low < 0.8 < found["dice"].high <= 1.0


def image(*found: tuple[float, int], targets: int = 2) -> Detections:
    """``found``: score, and the number of the target that was hit (0: none)."""
    numbered = np.zeros((3, 4, 5), np.uint8)
    numbered.reshape(-1)[1 : targets + 1] = np.arange(1, targets + 1)
    centres = [np.unravel_index(number, numbered.shape) for _, number in found]
    return Detections(
        np.array([score for score, _ in found], np.float64), np.array(centres, np.int64).reshape(-1, 3), numbered
    )


def test_froc_counts_each_target_once_and_false_ones_for_each_image() -> None:
    """Of four targets three are hit, one of them twice; two false detections in two images."""
    curve = froc([image((0.9, 1), (0.8, 1), (0.7, 0)), image((0.6, 1), (0.5, 0), (0.4, 2))])
    assert list(zip(curve.false_positives.tolist(), curve.sensitivity.tolist(), strict=True)) == [
        (1.0, 0.75),
        (1.0, 0.5),
        (0.5, 0.5),
        (0.5, 0.25),
        (0.0, 0.25),
        (0.0, 0.0),
    ]
    assert 0.25 < curve.score <= 0.75


def test_froc_of_everything_found_and_nothing_else_is_one() -> None:
    assert froc([image((0.9, 1), (0.7, 2))]).score == 1.0


def test_froc_of_nothing_found_is_none() -> None:
    assert froc([image()]).score == 0.0


def test_froc_without_a_target_is_refused() -> None:
    with pytest.raises(ValueError, match="no image holds a target"):
        froc([image(targets=0)])
