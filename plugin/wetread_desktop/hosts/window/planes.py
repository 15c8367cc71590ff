"""How a volume is cut and hung: the three planes a radiologist expects, with the letters at their edges. No Qt.

A plane lies along two array axes of the volume, never resampled. Of an oblique volume the planes are oblique, too, and
the letters say so: two of them at an edge, the larger share first (as Patient Orientation does, PS3.3 C.7.6.1.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import permutations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
"""For each LPS axis: where it points, and the other way."""
_OBLIQUE = 0.17
"""A direction that leans more than about 10 degrees gets a second letter."""


class View(StrEnum):
    """A plane by its name."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


_NORMAL = {View.AXIAL: 2, View.CORONAL: 1, View.SAGITTAL: 0}
"""The LPS axis that each view looks along."""
_RIGHTWARDS = {View.AXIAL: (0, 1.0), View.CORONAL: (0, 1.0), View.SAGITTAL: (1, 1.0)}
"""LPS axis, and sign, to the right on the screen: the patient's left, in a sagittal view the back."""
_DOWNWARDS = {View.AXIAL: (1, 1.0), View.CORONAL: (2, -1.0), View.SAGITTAL: (2, -1.0)}
"""LPS axis, and sign, downwards on the screen: the back, else the feet."""


@dataclass(frozen=True, slots=True)
class Letters:
    """What stands at the edges of a picture; empty where nothing is known."""

    left: str = ""
    right: str = ""
    top: str = ""
    bottom: str = ""


@dataclass(frozen=True, slots=True)
class Plane:
    """One way to cut a volume."""

    view: View
    axis: int
    """The array axis (0 slice, 1 row, 2 column) along which one leafs."""
    down: int
    """The array axis that runs down the screen ..."""
    down_reversed: bool
    right: int
    """... and the one that runs to the right."""
    right_reversed: bool
    pixel_mm: tuple[float, float]
    """Distance between pixel centres down and to the right."""
    letters: Letters

    def cut(self, array: npt.NDArray[np.generic], index: int) -> npt.NDArray[np.generic]:
        """The picture at ``index`` of the axis, ``(down, right)``: a view of ``array``, no copy."""
        picture = array[(slice(None),) * self.axis + (index,)]
        if self.down > self.right:
            picture = picture.T
        return picture[:: -1 if self.down_reversed else 1, :: -1 if self.right_reversed else 1]

    def on_screen(self, index: tuple[float, float, float], shape: tuple[int, int, int]) -> tuple[float, float]:
        """Where a continuous array index lies in the picture: ``(down, right)`` in pixels, centres whole numbers."""
        down, right = index[self.down], index[self.right]
        return (
            shape[self.down] - 1 - down if self.down_reversed else down,
            shape[self.right] - 1 - right if self.right_reversed else right,
        )

    def in_array(self, down: float, right: float, at: int, shape: tuple[int, int, int]) -> tuple[float, float, float]:
        """The array index of a place in the picture at index ``at`` of the axis; the way back of ``on_screen``."""
        index = [0.0, 0.0, 0.0]
        index[self.axis] = float(at)
        index[self.down] = shape[self.down] - 1 - down if self.down_reversed else down
        index[self.right] = shape[self.right] - 1 - right if self.right_reversed else right
        return index[0], index[1], index[2]


def planes_of(affine: npt.ArrayLike) -> dict[View, Plane]:
    """Axial, coronal and sagittal of a volume whose ``affine`` maps array indices to LPS mm.

    Each array axis is given to the view whose direction it follows most; each view hangs as radiologists hang it
    (the patient's right on the left of the screen, in a sagittal view the front on the left).
    """
    directions, spacing = _directions(np.asarray(affine, dtype=np.float64))
    axis_of = _axes(directions)
    return {view: _plane(view, directions, spacing, axis_of) for view in View}


def letters_at(direction: Vector) -> str:
    """What a direction is called: the letter of its largest LPS component, and of a second one if it leans."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(_LETTERS[k][0 if direction[k] > 0 else 1] for k in order[:2] if abs(direction[k]) > _OBLIQUE)


def _directions(affine: Vector) -> tuple[Vector, Vector]:
    columns = affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    return columns / spacing, spacing


def _axes(directions: Vector) -> dict[int, int]:
    """LPS axis → array axis: the assignment that follows the directions most, each used once."""
    best = max(permutations(range(3)), key=lambda p: sum(abs(directions[lps, p[lps]]) for lps in range(3)))
    return dict(enumerate(best))


def _plane(view: View, directions: Vector, spacing: Vector, axis_of: dict[int, int]) -> Plane:
    (right_lps, right_sign), (down_lps, down_sign) = _RIGHTWARDS[view], _DOWNWARDS[view]
    right, down = axis_of[right_lps], axis_of[down_lps]
    right_reversed = directions[right_lps, right] * right_sign < 0
    down_reversed = directions[down_lps, down] * down_sign < 0
    to_right = -directions[:, right] if right_reversed else directions[:, right]
    to_bottom = -directions[:, down] if down_reversed else directions[:, down]
    letters = Letters(letters_at(-to_right), letters_at(to_right), letters_at(-to_bottom), letters_at(to_bottom))
    return Plane(
        view=view,
        axis=axis_of[_NORMAL[view]],
        down=down,
        down_reversed=bool(down_reversed),
        right=right,
        right_reversed=bool(right_reversed),
        pixel_mm=(float(spacing[down]), float(spacing[right])),
        letters=letters,
    )
