"""From the grid the network worked on back to the source grid, as a map along each axis.

MONAI's ``Invertd`` undoes one transform after the other with all classes at once. Orientation, spacing and cropping to
the foreground together are one interpolation along each axis and a reordering of the axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.utils.enums import TraceKeys
from torch import Tensor

from wetread.infer.streaming.axes import INTERPOLATION, UNCHANGED, AxisMap, Matrix, axis_maps, identity

_TOLERANCE = 1e-3
"""Voxels: what a class's probability may be displaced by."""
_RESAMPLES = ("SpatialResample", "SeparableResample")
Operation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """The grid of the source image, as MONAI has it."""

    shape: tuple[int, ...]
    affine: Matrix
    """Indices to RAS mm."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """How labels get from the network's grid to the source grid."""

    maps: tuple[AxisMap, ...]
    """From the network's grid to the oriented grid, whose axes run the same way."""
    permutation: tuple[int, ...]
    """Axis of the oriented grid for each axis of the source."""
    flipped: tuple[int, ...]
    """Axes of the source that run against the oriented grid."""

    def to_source(self, labels: Tensor) -> Tensor:
        """Labels on the oriented grid, on the source grid."""
        return labels.permute(self.permutation).flip(self.flipped)


def way_back(prepared: MetaTensor, origin: Origin) -> WayBack | None:
    """The inverse of what was done to ``prepared`` ``(channel, *spatial)``; None when that holds anything else.

    Known are, in this order: orientation, one resampling, cropping to the foreground.
    """
    operations = list(prepared.applied_operations)
    affine, shape = np.asarray(prepared.affine, np.float64), tuple(int(n) for n in prepared.shape[1:])
    crop = _popped(operations, "CropForeground")
    start, whole = _crop(crop) if crop else ((0,) * len(shape), shape)
    if start is None:
        return None
    affine = affine @ _translation([-n for n in start])
    resampling = _popped(operations, *_RESAMPLES)
    maps = _maps(resampling, affine, whole) if resampling else tuple(map(identity, whole))
    if resampling:
        affine = np.asarray(resampling[TraceKeys.EXTRA_INFO]["src_affine"], np.float64)
    if maps is None or any(operation[TraceKeys.CLASS_NAME] != "Orientation" for operation in operations):
        return None
    inside = tuple(m.within(first, n) for m, first, n in zip(maps, start, shape, strict=True))
    return _oriented(inside, affine, origin)


def _popped(operations: list[Operation], *names: str) -> Operation | None:
    return operations.pop() if operations and operations[-1][TraceKeys.CLASS_NAME] in names else None


def _crop(operation: Operation) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """First voxel kept along each axis, and the shape before; no first voxel where padding was added, too."""
    how = operation[TraceKeys.EXTRA_INFO]
    whole = tuple(int(n) for n in operation[TraceKeys.ORIG_SIZE])
    if np.any(how["pad_info"][TraceKeys.EXTRA_INFO]["padded"]):
        return None, whole
    return tuple(int(n) for n in how["cropped"][::2]), whole


def _translation(offset: list[int]) -> Matrix:
    matrix = np.eye(len(offset) + 1)
    matrix[:-1, -1] = offset
    return matrix


def _maps(operation: Operation, affine: Matrix, shape: tuple[int, ...]) -> tuple[AxisMap, ...] | None:
    how = operation[TraceKeys.EXTRA_INFO]
    wanted = tuple(int(n) for n in operation[TraceKeys.ORIG_SIZE])
    interpolation = INTERPOLATION.get(how["mode"])
    matrix: Matrix = np.linalg.solve(affine, np.asarray(how["src_affine"], np.float64)).astype(np.float64)
    if wanted == shape and np.allclose(matrix, np.eye(len(matrix)), atol=UNCHANGED):
        return tuple(map(identity, shape))
    if interpolation is None or how["padding_mode"] != "border" or len(wanted) != len(matrix) - 1:
        return None
    corners = how["align_corners"] is True
    return axis_maps(matrix, shape, wanted, interpolation=interpolation, align_corners=corners, tolerance=_TOLERANCE)


def _oriented(maps: tuple[AxisMap, ...], affine: Matrix, origin: Origin) -> WayBack | None:
    """With the reordering of axes between the oriented grid, at ``affine``, and the source."""
    turn = np.linalg.solve(affine, origin.affine)[:-1, :-1]
    signs = np.rint(turn).astype(int)
    if not np.allclose(turn, signs, atol=UNCHANGED) or not (np.abs(signs).sum(axis=0) == 1).all():
        return None
    permutation = tuple(int(axis) for axis in np.abs(signs).argmax(axis=0))
    if sorted(permutation) != list(range(len(maps))) or tuple(len(maps[a]) for a in permutation) != origin.shape:
        return None
    flipped = tuple(a for a, oriented in enumerate(permutation) if signs[oriented, a] < 0)
    return WayBack(maps, permutation, flipped)
