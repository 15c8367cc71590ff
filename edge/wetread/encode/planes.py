"""Orthogonal planes of a volume, turned as radiologists look at them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from wetread.records.volume import LabelMap, Volume

_Reformatted = tuple[
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
    tuple[float, float],
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
]
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


def reformat(volume: Volume, label_map: LabelMap, axis: Literal[0, 1, 2], index: int) -> _Reformatted:
    """Pixels, labels, spacing (row, column), direction to the right and direction down of one plane."""
    down_axis, right_axis = [a for a in range(3) if a != axis]
    pixels, labels = np.take(volume.array, index, axis), np.take(label_map.array, index, axis)
    spacing = volume.spacing_mm
    down, right = (volume.affine[:3, a] / spacing[a] for a in (down_axis, right_axis))
    row_mm, column_mm = spacing[down_axis], spacing[right_axis]
    if _should_swap(down, right):
        pixels, labels = pixels.T, labels.T
        down, right, row_mm, column_mm = right, down, column_mm, row_mm
    if _points_up(down):
        pixels, labels, down = pixels[::-1], labels[::-1], -down
    if _points_left(right):
        pixels, labels, right = pixels[:, ::-1], labels[:, ::-1], -right
    return np.ascontiguousarray(pixels), np.ascontiguousarray(labels), (row_mm, column_mm), right, down


def patient_direction(direction: npt.NDArray[np.float64], *, threshold: float = 0.4) -> str:
    """The letters of Patient Orientation for an LPS direction, strongest first (PS3.3 C.7.6.1.1.1), e.g. ``AF``."""
    strength = np.abs(direction)
    axes = [int(axis) for axis in np.argsort(-strength, kind="stable") if strength[axis] >= threshold]
    return "".join(_LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in axes)


def _main_axis(direction: npt.NDArray[np.float64]) -> int:
    return int(np.argmax(np.abs(direction)))


def _should_swap(down: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> bool:
    """Head-foot goes down the picture, else front-back; left-right never does."""
    return _main_axis(right) > _main_axis(down)


def _points_up(down: npt.NDArray[np.float64]) -> bool:
    """Down the picture is towards the feet, or towards the back."""
    axis = _main_axis(down)
    return bool(down[axis] > 0) if axis == 2 else bool(down[axis] < 0)


def _points_left(right: npt.NDArray[np.float64]) -> bool:
    """To the right of the picture is the patient's left, or in sagittal planes the back."""
    axis = _main_axis(right)
    return bool(right[axis] < 0)
