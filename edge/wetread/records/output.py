"""What a model answers, in the terms of the image it was asked about; the bundle's manifest says what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.records.spread import Spread
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
    spreads: tuple[Spread, ...] = ()
    """One for each number, where the bundle asks how steady they are."""


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
    notes: tuple[str, ...] = ()
    """What a person should know about them, as sentences; no part of the answer itself."""


Segmentation = LabelMap | Masks
ModelOutput = Segmentation | Scores | Boxes


def mask_on_slice(output: Segmentation, label_value: int, index: int) -> npt.NDArray[np.bool_]:
    """``(row, column)``: one structure on one slice; ``label_value`` as in ``Segment``."""
    if isinstance(output, Masks):
        return output.array[label_value - 1, index]
    return output.array[index] == label_value


def slice_areas(output: Segmentation) -> npt.NDArray[np.int64]:
    """Voxels of each structure on each slice, ``(label value, slice)``; row 0 is the background of a label map.

    Slice by slice: counting a whole volume at once takes eight bytes for each voxel.
    """
    if isinstance(output, Masks):
        areas = np.count_nonzero(output.array, axis=(2, 3))
        return np.concatenate([np.zeros_like(areas[:1]), areas])
    rows = [np.bincount(labels.ravel(), minlength=256) for labels in output.array]
    return np.stack(rows, axis=1)
