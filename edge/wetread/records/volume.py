"""The model's input: a regular stack of slices in patient space. The axis rule of the whole program is written here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.records.study import InstanceRef, SeriesRef

Affine = npt.NDArray[np.float64]
"""4×4, maps indices ``(slice, row, column)`` of voxel *centres* to patient millimetres in LPS (PS3.3 C.7.6.2.1.1)."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels on the source grid, never resampled.

    Axes are ``(slice, row, column)`` everywhere in Wetread. Slices are ordered by their position along the slice
    normal, which is row direction × column direction (PS3.3 C.7.6.2), never by Instance Number.
    """

    array: npt.NDArray[np.float32]
    """``(slice, row, column)``, modality values (HU for CT) after Rescale Slope and Intercept."""
    affine: Affine
    series: SeriesRef
    instances: tuple[InstanceRef, ...]
    """One for each slice, in slice order: ``instances[k]`` holds ``array[k]``."""
    frame_of_reference_uid: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres in mm along slice, row and column index."""
        slice_mm, row_mm, column_mm = (float(np.linalg.norm(self.affine[:3, axis])) for axis in range(3))
        return slice_mm, row_mm, column_mm

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000.0


@dataclass(frozen=True, slots=True)
class LabelMap:
    """The model's answer on the grid of the volume it was asked about."""

    array: npt.NDArray[np.uint8]
    """``(slice, row, column)``, 0 is background, other values are declared in the bundle's ``outputs``."""
    affine: Affine
