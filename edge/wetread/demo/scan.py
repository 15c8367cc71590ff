"""What the demo's scanner acquires: slabs through a head, oblique like a technician's, and their grey values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from wetread.demo.head import FULL_SCALE, Head
from wetread.records.volume import Affine

WHITE = 1000.0
"""Stored value of the template's white; like a scanner's, it has no unit."""
_NOISE = 8.0
_BONE = 20.0
"""Darker than this there is no water: bone and air stay dark in every contrast."""

Direction = tuple[float, float, float]
AXIAL: tuple[Direction, Direction] = ((1, 0, 0), (0, 1, 0))
CORONAL: tuple[Direction, Direction] = ((1, 0, 0), (0, 0, -1))
SAGITTAL: tuple[Direction, Direction] = ((0, 1, 0), (0, 0, -1))


@dataclass(frozen=True, slots=True)
class Slab:
    """Parallel slices at even distances, centred on the head."""

    directions: tuple[Direction, Direction]
    """Along a row and along a column, LPS, before turning."""
    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing_mm: tuple[float, float, float]
    """Between slices, rows and columns."""
    turned_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """About the patient's left, posterior and superior axis."""

    def affine(self, centre_mm: npt.NDArray[np.float64]) -> Affine:
        """Indices ``(slice, row, column)`` of voxel centres to LPS mm."""
        turn = Rotation.from_euler("xyz", self.turned_degrees, degrees=True)
        row, column = turn.apply(np.array(self.directions, float))
        affine = np.eye(4)
        affine[:3, :3] = np.stack([np.cross(row, column), column, row], axis=1) * self.spacing_mm
        affine[:3, 3] = centre_mm - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return affine


@dataclass(frozen=True, slots=True)
class Scan:
    """One series the scanner makes."""

    number: int
    description: str
    image_type: tuple[str, str, str]
    slabs: tuple[Slab, ...]
    technique: Mapping[str, object]
    """DICOM keywords of the MR Image module (PS3.3 C.8.3.1)."""
    inverted: bool = False
    """Fluid bright, white matter dark: looks like T2 weighting, made from T1."""


def centre_of(head: Head) -> npt.NDArray[np.float64]:
    """Middle of the head's bounding box, LPS mm."""
    middle = [np.mean(np.flatnonzero(_profile(head.array, axis) > _BONE)[[0, -1]]) for axis in range(3)]
    centre: npt.NDArray[np.float64] = head.affine[:3, :3] @ np.array(middle) + head.affine[:3, 3]
    return centre


def acquire(
    head: Head, affine: Affine, shape: tuple[int, int, int], *, inverted: bool = False
) -> npt.NDArray[np.uint16]:
    """Grey values of a grid through the head, 0 to about ``WHITE``, with the same noise in every run."""
    to_head = np.linalg.inv(head.affine) @ affine
    source = _inverted(head.array) if inverted else head.array
    signal = ndimage.affine_transform(source, to_head[:3, :3], to_head[:3, 3], shape, np.float32, order=1)
    signal *= WHITE / FULL_SCALE
    noise = np.random.default_rng(152).standard_normal((2, *shape), np.float32) * np.float32(_NOISE)
    # Magnitude of a noisy complex signal, as a scanner reconstructs it: air is dark, never negative.
    grey: npt.NDArray[np.uint16] = np.hypot(signal + noise[0], noise[1]).astype(np.uint16)
    return grey


def _inverted(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(array > _BONE, FULL_SCALE + _BONE - array, array)


def _profile(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    profile: npt.NDArray[np.float32] = array.max(axis=tuple(a for a in range(3) if a != axis))
    return profile
