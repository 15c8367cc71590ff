"""How a DICOM volume lies in napari's world, so that nothing is mirrored. NumPy only; no napari.

The world of a volume is ``(S, P, L)`` in mm: towards the head, the back, the patient's left, as napari wants its axes
(the last one to the right, the one before it downwards). Arrays are turned by views, so that every step is positive and
no layer needs a rotation: napari ignores rotations out of the plane when it slices.

Of an oblique volume the planes are those of the acquisition, and it is said so; places are mapped through its affine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]

KEY = "wetread"
"""In a layer's metadata: ``Opened``. Only layers that have it are series; a layer of another plugin lost its UIDs."""
AXIS_LABELS = ("S", "P", "L")
UNITS = ("mm", "mm", "mm")
ORIENTATION_3D = ("away", "down", "right")
"""Of napari's camera: with its default, ``towards``, every patient's heart would lie on the right."""
_LPS_OF = (2, 1, 0)
"""World axis to LPS axis."""
_OBLIQUE = 0.9999
"""Smallest direction cosine that counts as along an axis (0.8 degrees)."""


@dataclass(frozen=True, slots=True)
class Space:
    """One grid in napari's world."""

    affine: npt.NDArray[np.float64]
    """``(slice, row, column)`` indices to LPS mm."""
    shape: tuple[int, int, int]
    order: tuple[int, int, int]
    """The array axis that runs along S, along P and along L."""
    reversed_: tuple[bool, bool, bool]
    """Whether it runs the other way."""
    scale: Triple
    translate: Triple
    is_oblique: bool

    def turned(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """``(slice, row, column)`` as a view ``(S, P, L)``."""
        steps = tuple(slice(None, None, -1 if back else 1) for back in self.reversed_)
        return array.transpose(self.order)[steps]

    def world(self, lps_mm: Triple) -> Triple:
        """Where a place of the patient lies in napari's world."""
        index = np.linalg.solve(self.affine, (*lps_mm, 1.0))[:3]
        return self.world_of_index((float(index[0]), float(index[1]), float(index[2])))

    def world_of_index(self, index: Triple) -> Triple:
        """The same for a continuous array index."""
        turned = [
            self.shape[axis] - 1 - index[axis] if back else index[axis]
            for axis, back in zip(self.order, self.reversed_, strict=True)
        ]
        s, p, left = (t + v * step for t, v, step in zip(self.translate, turned, self.scale, strict=True))
        return s, p, left

    def holds(self, lps_mm: Triple) -> bool:
        """Whether a place lies inside the volume."""
        index = np.linalg.solve(self.affine, (*lps_mm, 1.0))[:3]
        return bool((index >= -0.5).all() and (index <= np.array(self.shape) - 0.5).all())

    @property
    def acquired(self) -> tuple[int, int, int]:
        """World axes with the one of the slices first: in this order of its dims napari shows slices as acquired."""
        through = self.order.index(0)
        first, second = (axis for axis in range(3) if axis != through)
        return through, first, second


def space_of(affine: npt.ArrayLike, shape: tuple[int, int, int]) -> Space:
    """The world of a volume whose ``affine`` maps indices ``(slice, row, column)`` to LPS mm."""
    matrix = np.asarray(affine, dtype=np.float64)
    columns = matrix[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    cosines = columns / spacing
    order = max(
        permutations(range(3)), key=lambda p: sum(abs(cosines[lps, axis]) for lps, axis in zip(_LPS_OF, p, strict=True))
    )
    along = [cosines[lps, axis] for lps, axis in zip(_LPS_OF, order, strict=True)]
    back = tuple(bool(value < 0) for value in along)
    corner_index = [0.0, 0.0, 0.0]
    for axis, is_back in zip(order, back, strict=True):
        corner_index[axis] = shape[axis] - 1.0 if is_back else 0.0
    corner = (matrix @ (*corner_index, 1.0))[:3]
    return Space(
        affine=matrix,
        shape=shape,
        order=(order[0], order[1], order[2]),
        reversed_=(back[0], back[1], back[2]),
        scale=_triple(spacing[list(order)]),
        translate=_triple(corner[list(_LPS_OF)]),
        is_oblique=bool(min(abs(value) for value in along) < _OBLIQUE),
    )


def orientation_2d(order: tuple[int, ...]) -> tuple[str, str]:
    """napari's ``orientation2d`` for these axes on the screen (``viewer.dims.order``).

    The head is up, the back down or, in a sagittal view, at the right.
    """
    down = order[-2]
    return ("up", "right") if down == 0 else ("down", "right")


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    first, second, third = (float(v) for v in values)
    return first, second, third
