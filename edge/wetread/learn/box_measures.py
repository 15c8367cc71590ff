"""How good detections are: which box was found, and figures of all images together. MONAI does the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.learn.mask_measures import Detections, froc
from wetread.learn.measures import LEVEL, RESAMPLES, Figure
from wetread.records.output import Box


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Detections of one class in one image, and what each of them found."""

    scores: npt.NDArray[np.float64]
    """``(detection,)``."""
    hits: npt.NDArray[np.int64]
    """``(detection,)``: number of the target in which its centre lies, from 1; 0 for none."""
    targets: int

    @property
    def found(self) -> int:
        """Targets in which the centre of at least one detection lies."""
        return len(set(self.hits[self.hits > 0].tolist()))

    @property
    def false(self) -> int:
        """Detections that found nothing."""
        return int((self.hits == 0).sum())

    def detections(self) -> Detections:
        """As ``froc`` takes them: on a line instead of the image's grid, one point for each detection."""
        numbers = np.concatenate([self.hits, [0], np.arange(1, self.targets + 1)])
        return Detections(self.scores, np.arange(len(self.scores))[:, None], numbers)


def matched(found: Sequence[Box], targets: Sequence[Box]) -> Matched:
    """A detection finds the target in which its centre lies; of several the smallest."""
    low, high = (np.array([getattr(box, edge) for box in targets]).reshape(-1, 3) for edge in ("low", "high"))
    order = np.argsort((high - low).prod(1))
    hits = []
    for box in found:
        centre = (np.array(box.low) + np.array(box.high)) / 2
        inside = [number for number in order if (low[number] <= centre).all() and (centre <= high[number]).all()]
        hits.append(int(inside[0]) + 1 if inside else 0)
    return Matched(np.array([box.score for box in found], np.float64), np.array(hits, np.int64), len(targets))


def box_figures(images: Sequence[Matched], *, resamples: int = RESAMPLES, seed: int = 0) -> Mapping[str, Figure]:
    """``froc``; ``sensitivity`` and ``false_positives_per_image`` with all that the bundle reports.

    Bootstrap over the images; a draw without a target says nothing about what was found.
    """
    random, tail = np.random.default_rng(seed), (1 - LEVEL) / 2
    values = _values(images)
    drawn = [values]
    for _ in range(resamples):
        drawn.append(_values([images[number] for number in random.integers(len(images), size=len(images))]))
    found = {}
    for name, value in values.items():
        known = [draw[name] for draw in drawn if name in draw]
        found[name] = Figure(value, *np.quantile(known, [tail, 1 - tail]).tolist())
    return found


def _values(images: Sequence[Matched]) -> dict[str, float]:
    false = {"false_positives_per_image": sum(image.false for image in images) / len(images)}
    targets = sum(image.targets for image in images)
    if not targets:
        return false
    found = sum(image.found for image in images)
    return {"froc": froc([image.detections() for image in images]).score, "sensitivity": found / targets} | false
