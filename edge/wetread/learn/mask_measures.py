"""How good masks and detections are: MONAI and scikit-learn do the arithmetic, on the grid of the case, in mm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_fp_tp_probs_nd,
    compute_froc_curve_data,
    compute_froc_score,
    compute_hausdorff_distance,
)

from wetread.learn.measures import LEVEL, RESAMPLES, Figure

Mask = npt.NDArray[np.bool_]
"""``(slice, row, column)``."""

HAUSDORFF_PERCENTILE = 95.0
FALSE_POSITIVES: tuple[float, ...] = (0.25, 0.5, 1, 2, 4, 8)
"""For each image: where a FROC curve is read (CAMELYON16, LUNA16)."""


@dataclass(frozen=True, slots=True)
class MaskFigures:
    """One structure of one case. ``None``: a surface distance where one of the two masks is empty."""

    dice: float
    """1 where both are empty."""
    surface_distance_mm: float | None
    """Mean over both surfaces."""
    hausdorff_95_mm: float | None


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, and where something is."""

    scores: npt.NDArray[np.float64]
    """``(detection,)``, 0 to 1."""
    centres: npt.NDArray[np.int64]
    """``(detection, axis)``: indices into ``targets``."""
    targets: npt.NDArray[np.uint8 | np.int64]
    """On the grid of the image or any other: each thing to be found with a number of its own from 1 upwards."""


@dataclass(frozen=True, slots=True)
class Froc:
    """Sensitivity against false detections for each image."""

    false_positives: npt.NDArray[np.float64]
    """``(threshold,)``, for each image."""
    sensitivity: npt.NDArray[np.float64]
    """``(threshold,)``."""
    score: float
    """Mean sensitivity at ``FALSE_POSITIVES``."""


def mask_figures(said: Mask, truth: Mask, spacing_mm: Sequence[float]) -> MaskFigures:
    """Compare two masks of one grid; ``spacing_mm``: along slice, row and column."""
    pair = [torch.from_numpy(np.ascontiguousarray(mask))[None, None].float() for mask in (said, truth)]
    dice = float(compute_dice(*pair, ignore_empty=False))
    if not (said.any() and truth.any()):
        return MaskFigures(dice, None, None)
    given = {"include_background": True, "spacing": list(spacing_mm)}
    mean = compute_average_surface_distance(*pair, symmetric=True, **given)
    most = compute_hausdorff_distance(*pair, percentile=HAUSDORFF_PERCENTILE, **given)
    return MaskFigures(dice, float(mean), float(most))


def summary(cases: Sequence[MaskFigures], *, resamples: int = RESAMPLES, seed: int = 0) -> Mapping[str, Figure]:
    """Means over the cases with bootstrap intervals; a figure that no case has is left out."""
    tail, random = (1 - LEVEL) / 2, np.random.default_rng(seed)
    found: dict[str, Figure] = {}
    for name, values in _known(cases):
        means = values[random.integers(len(values), size=(resamples, len(values)))].mean(1)
        found[name] = Figure(float(values.mean()), *np.quantile(means, [tail, 1 - tail]).tolist())
    return found


def mean_figures(cases: Sequence[MaskFigures]) -> Mapping[str, float]:
    """Means over the cases; a figure that no case has is left out."""
    return {name: float(values.mean()) for name, values in _known(cases)}


def _known(cases: Sequence[MaskFigures]) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """Each figure with the values of the cases that have it, ``(case,)``."""
    for name in MaskFigures.__slots__:
        values = np.array([value for case in cases if (value := getattr(case, name)) is not None], np.float64)
        if len(values):
            yield name, values


def froc(images: Sequence[Detections]) -> Froc:
    """Of all images together; a detection counts where its centre lies in a target, each target once.

    Raises: ``ValueError`` without a target: there is nothing to be sensitive to.
    """
    false: list[float] = [0.0]  # MONAI drops the lowest score, taking it for that of what was missed
    true: list[float] = []
    targets = 0
    for image in images:
        numbered = image.targets.astype(np.int64)  # MONAI counts one beyond the highest, which 255 has not
        wrong, right, count = compute_fp_tp_probs_nd(image.scores, image.centres, numbered)
        false.extend(np.asarray(wrong, np.float64).tolist())
        true.extend(np.asarray(right, np.float64).tolist())
        targets += count
    if not targets:
        raise ValueError("no image holds a target, expected at least one")
    per_image, sensitivity = compute_froc_curve_data(np.array(false), np.array(true), targets, len(images))
    score = compute_froc_score(per_image, sensitivity, FALSE_POSITIVES)
    return Froc(np.asarray(per_image, np.float64), np.asarray(sensitivity, np.float64), float(score))
