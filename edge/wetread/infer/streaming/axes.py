"""Resampling one axis after the other: what MONAI's ``grid_sample`` gives when the two grids are parallel.

Orientation, spacing and cropping keep a grid parallel to itself, oblique or not, so linear interpolation in three
dimensions is three interpolations in one. MONAI computes eight corners of a float64 grid for every voxel instead.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.utils import to_norm_affine
from torch import Tensor
from torch.nn import functional

Matrix = npt.NDArray[np.float64]
"""Indices of the output grid to indices of the input grid, ``(n + 1, n + 1)``."""
Interpolation = Literal["linear", "nearest"]
INTERPOLATION: dict[object, Interpolation] = {"bilinear": "linear", "nearest": "nearest"}
"""By MONAI's names."""
UNCHANGED = 1e-3
"""MONAI's own (``AFFINE_TOL``): nearer grids count as the same and nothing is resampled."""
_HALF_WAY = 1e-5
"""Voxels round a half in which rounding noise of an oblique grid could choose either neighbour."""


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Where each index of an output axis lies on the input axis: two neighbours and their weights."""

    low: Tensor
    high: Tensor
    low_weight: Tensor
    high_weight: Tensor
    size: int
    """Of the input axis."""

    def __len__(self) -> int:
        return len(self.low)

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes along this axis."""
        same = len(self) == self.size and torch.equal(self.low.cpu(), torch.arange(self.size))
        return same and bool((self.low_weight == 1).all()) and not self.high_weight.any()

    @property
    def is_pick(self) -> bool:
        """Whether every output voxel is one input voxel."""
        return bool((self.low_weight == 1).all()) and not self.high_weight.any()

    def to(self, device: torch.device) -> AxisMap:
        """The map for arrays that lie there."""
        return AxisMap(
            self.low.to(device),
            self.high.to(device),
            self.low_weight.to(device),
            self.high_weight.to(device),
            self.size,
        )

    def part(self, indices: Tensor | slice, *, offset: int = 0) -> AxisMap:
        """The map of some output indices only, from an input that begins ``offset`` voxels later."""
        low, high = self.low[indices] - offset, self.high[indices] - offset
        return replace(
            self, low=low, high=high, low_weight=self.low_weight[indices], high_weight=self.high_weight[indices]
        )

    def within(self, start: int, size: int) -> AxisMap:
        """The same for an input of which only ``size`` voxels from ``start`` exist and the others are 0."""
        inside_low = (self.low >= start) & (self.low < start + size)
        inside_high = (self.high >= start) & (self.high < start + size)
        return AxisMap(
            low=(self.low - start).clamp(0, size - 1),
            high=(self.high - start).clamp(0, size - 1),
            low_weight=self.low_weight * inside_low,
            high_weight=self.high_weight * inside_high,
            size=size,
        )

    def apply(self, array: Tensor, axis: int) -> Tensor:
        """``array`` with this map along ``axis``; may be ``array`` itself."""
        if self.is_identity:
            return array
        picked = array.index_select(axis, self.low)
        if self.is_pick:
            return picked
        shape = [-1 if a == axis else 1 for a in range(array.ndim)]
        picked.mul_(self.low_weight.reshape(shape).to(array.dtype))
        return picked.addcmul_(array.index_select(axis, self.high), self.high_weight.reshape(shape).to(array.dtype))


def identity(size: int) -> AxisMap:
    """The map that changes nothing."""
    indices = torch.arange(size)
    return AxisMap(indices, indices, torch.ones(size), torch.zeros(size), size)


def axis_maps(
    matrix: Matrix,
    size_in: tuple[int, ...],
    size_out: tuple[int, ...],
    *,
    interpolation: Interpolation,
    align_corners: bool = False,
    tolerance: float,
) -> tuple[AxisMap, ...] | None:
    """MONAI's sampling positions for parallel grids, with the nearest voxel beyond the border (``border``).

    The positions are computed by MONAI's and PyTorch's own functions, for one line along each axis: where a position
    lies half-way between two voxels, their rounding decides which one is the nearest. None when the grids are not
    parallel within ``tolerance`` voxels, or when that rounding is not the same for all lines.
    """
    if min(*size_in, *size_out) < 2 or not _is_parallel(matrix, size_out, tolerance=tolerance):
        return None
    theta = to_norm_affine(
        torch.as_tensor(matrix)[None], list(size_in), list(size_out), align_corners=align_corners, zero_centered=False
    )
    oblique = np.count_nonzero(matrix[:-1, :-1]) > len(size_in)
    maps = []
    for axis, (n_in, n_out) in enumerate(zip(size_in, size_out, strict=True)):
        position = _positions(theta, axis, n_in, n_out, align_corners=align_corners)
        if interpolation == "nearest" and oblique and bool(((position % 1 - 0.5).abs() < _HALF_WAY).any()):
            return None
        maps.append(_map(position.clamp(0, n_in - 1), n_in, interpolation))
    return tuple(maps)


def _positions(theta: Tensor, axis: int, n_in: int, n_out: int, *, align_corners: bool) -> Tensor:
    rank = theta.shape[-1] - 1
    reversed_axes = list(range(rank - 1, -1, -1))
    flipped = theta.clone()
    flipped[:, :rank] = flipped[:, reversed_axes]
    flipped[:, :, :rank] = flipped[:, :, reversed_axes]
    line = [n_out if a == axis else 1 for a in range(rank)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*unit-size grids")  # the other axes are not looked at
        grid = functional.affine_grid(flipped[:, :rank], [1, 1, *line], align_corners=align_corners)
    normalized = grid.reshape(n_out, rank)[:, rank - 1 - axis]
    if align_corners:
        return (normalized + 1) / 2 * (n_in - 1)
    return ((normalized + 1) * n_in - 1) / 2


def _map(position: Tensor, size: int, interpolation: Interpolation) -> AxisMap:
    if interpolation == "nearest":
        nearest = position.round().long()
        return AxisMap(nearest, nearest, torch.ones(len(nearest)), torch.zeros(len(nearest)), size)
    low = position.floor().long()
    share = position - low
    return AxisMap(low, (low + 1).clamp(max=size - 1), (1 - share).float(), share.float(), size)


def resampled(image: Tensor, maps: tuple[AxisMap, ...], *, planes: int = 16) -> Tensor:
    """``image`` ``(channel, *spatial)`` on the output grid, a few planes of one channel at a time."""
    answer = image.new_empty((image.shape[0], *map(len, maps)))
    for channel, result in zip(image, answer, strict=True):
        for first in range(0, len(maps[0]), planes):
            some = slice(first, first + planes)
            result[some] = resampled_planes(channel, maps, some)
    return answer


def resampled_planes(channel: Tensor, maps: tuple[AxisMap, ...], some: slice | Tensor, *, offset: int = 0) -> Tensor:
    """Some planes of the output of one channel, whose first axis begins ``offset`` planes late."""
    part = maps[0].part(some, offset=offset).apply(channel, 0)
    for axis, axis_map in enumerate(maps[1:], start=1):
        part = axis_map.apply(part, axis)
    return part


def _is_parallel(matrix: Matrix, shape: tuple[int, ...], *, tolerance: float) -> bool:
    """Whether output axes run along input axes, in order: no voxel of an output grid of ``shape`` is off by more.

    ``tolerance``: in voxels of the input.
    """
    linear = np.array(matrix)[:-1, :-1]
    across = np.abs(linear - np.diag(np.diag(linear))) @ (np.array(shape) - 1)
    return bool((across <= tolerance).all()) and bool((np.diag(linear) != 0).all())
