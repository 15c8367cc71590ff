"""Boxes on the preprocessed grid become boxes on the source grid."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from wetread.bundles.manifest import BoxRule
from wetread.errors import OutputInvalid
from wetread.infer.geometry import monai_affine
from wetread.infer.networks.detection import Detections
from wetread.records.output import Box, Boxes
from wetread.records.volume import Volume

Points = npt.NDArray[np.float64]


def to_boxes(found: Detections, volume: Volume, rules: tuple[BoxRule, ...]) -> Boxes:
    """Detections above their class's threshold, best first, in indices ``(slice, row, column)`` of ``volume``.

    What reaches beyond the outermost voxels is cut off, what lies outside altogether is left out; a note says so.
    Raises: ``OutputInvalid`` for a value that is not finite, a score that is none, or a class nobody declared.
    """
    _check(found, rules)
    thresholds = {rule.label: rule.score_threshold for rule in rules}
    low, high = _on_source(found, volume)
    last = np.array(volume.array.shape) - 0.5
    inside = ((high > -0.5) & (low < last)).all(axis=1)
    shown = found.scores >= np.array([thresholds[int(label)] for label in found.labels], float)
    kept = inside & shown
    cut = kept & ((low < -0.5) | (high > last)).any(axis=1)
    low, high = np.clip(low, -0.5, last), np.clip(high, -0.5, last)
    best = sorted(np.flatnonzero(kept), key=lambda k: -found.scores[k])
    return Boxes(
        tuple(Box(_triple(low[k]), _triple(high[k]), float(found.scores[k]), int(found.labels[k])) for k in best),
        volume.affine,
        _notes(outside=int((shown & ~inside).sum()), cut=int(cut.sum())),
    )


def _notes(*, outside: int, cut: int) -> tuple[str, ...]:
    notes = []
    if cut:
        notes.append(f"detections that reached beyond the image and were cut at its border: {cut}")
    if outside:
        notes.append(f"detections that lay outside of the image and were left out: {outside}")
    return tuple(notes)


def _check(found: Detections, rules: tuple[BoxRule, ...]) -> None:
    if found.corners.shape[1:] != (6,):
        raise OutputInvalid(f"a box has {found.corners.shape[1:]} numbers, expected 6: two corners in 3-D")
    if not (np.isfinite(found.corners).all() and np.isfinite(found.scores).all()):
        raise OutputInvalid("the bundle's boxes hold values that are not finite")
    if len(found.scores) and not (found.scores.min() >= 0 and found.scores.max() <= 1):
        raise OutputInvalid(f"scores go from {found.scores.min():g} to {found.scores.max():g}, expected 0 to 1")
    unknown = set(found.labels.tolist()) - {rule.label for rule in rules}
    if unknown:
        raise OutputInvalid(f"the detector found the classes {sorted(unknown)}, which the manifest does not declare")


def _on_source(found: Detections, volume: Volume) -> tuple[Points, Points]:
    """Smallest and largest index ``(slice, row, column)`` of each box; all corners count, grids may be rotated."""
    corners = found.corners.reshape(-1, 2, 3)
    choices = np.array(list(product((0, 1), repeat=3)))
    points = corners[:, choices, np.arange(3)]
    to_source = np.linalg.inv(monai_affine(volume.affine)) @ found.affine
    indices = (points @ to_source[:3, :3].T + to_source[:3, 3])[..., ::-1]
    return indices.min(axis=1), indices.max(axis=1)


def _triple(values: Points) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
