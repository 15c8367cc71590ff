"""What a model answers, in the terms of the image it was asked about; the bundle's manifest says what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.records.volume import Affine, LabelMap


@dataclass(frozen=True, slots=True)
class Masks:
    """Structures that may overlap: one mask for each label of the manifest, in its order."""

    array: npt.NDArray[np.bool_]
    """``(label, slice, row, column)`` on the grid of the first input."""
    affine: Affine


@dataclass(frozen=True, slots=True)
class Scores:
    """One number for each score rule of the manifest, in its order, 0 to 1 after postprocessing."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """One detection: a box parallel to the axes of the image."""

    low: tuple[float, float, float]
    """Corner with the smallest continuous index, ``(slice, row, column)``; voxel centres have whole numbers."""
    high: tuple[float, float, float]
    score: float
    label: int
    """Number of the class, as the network counts (from 0)."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """All detections above the bundle's score threshold, best first."""

    boxes: tuple[Box, ...]
    affine: Affine
    """Of the first input: indices ``(slice, row, column)`` to LPS mm."""


ModelOutput = LabelMap | Masks | Scores | Boxes
