"""How far one answer is from another, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from wetread.bundles.manifest import Manifest, Tolerance
from wetread.records.output import Box, Boxes, Masks, ModelOutput, Scores
from wetread.records.volume import LabelMap

if TYPE_CHECKING:
    from wetread.infer.engines.wish import Precision

Labels = npt.NDArray[np.uint8]


class Limits(Tolerance):
    """A bundle's tolerance, as wide as the arithmetic needs, with what scores and boxes need besides."""

    max_score_difference: float = 1e-3
    min_iou: float = 0.95
    """Of a box with its stored one."""
    max_box_score_difference: float = 0.01


_FOR_PRECISION: dict[Precision, Limits] = {
    "f32": Limits(),
    "f16": Limits(min_agreement=0.999, max_difference=2e-2, max_score_difference=0.005),
    "bf16": Limits(
        min_dice=0.995, min_agreement=0.99, max_volume_change=0.01, max_difference=2e-1, max_score_difference=0.02
    ),
}
"""Measured context: half and bfloat16 graphs of random networks reach agreements of 0.9997 and 0.991."""


def limits(bundle: Tolerance, precision: Precision) -> Limits:
    """The bundle's tolerance in float32; in a coarser arithmetic the wider of it and that arithmetic's own."""
    own = _FOR_PRECISION[precision]
    given = own.model_dump() | bundle.model_dump()
    if precision != "f32":
        for name in ("min_dice", "min_agreement"):
            given[name] = min(given[name], getattr(own, name))
        for name in ("max_volume_change", "max_difference"):
            given[name] = max(given[name], getattr(own, name))
    return Limits(**given)


class Agreement(BaseModel):
    """An engine's answer measured against the stored one; label values are the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agreement: float
    """Share of voxels with the same label; of scores with the same call; of boxes that were found again."""
    dice: Mapping[int, float] = {}
    volume_change: Mapping[int, float] = {}
    """Relative to the stored answer, signed."""
    max_difference: float | None = None
    """Largest difference of raw network outputs, relative to the largest output; only where outputs were compared."""
    score_difference: float | None = None
    """Largest difference of scores."""
    box_score_difference: float | None = None
    """Largest difference of the scores of boxes that belong together."""
    crossed: tuple[str, ...] = ()
    """Scores on the other side of their threshold than the stored ones."""
    lost: tuple[str, ...] = ()
    """Boxes above their class's threshold without a partner, in either answer."""

    def figures(self) -> dict[str, float]:
        """What was measured, the worst of all labels, by name."""
        found = {"agreement": self.agreement}
        if self.dice:
            found["min_dice"] = min(self.dice.values())
        if self.volume_change:
            found["max_volume_change"] = max(map(abs, self.volume_change.values()))
        for name in ("max_difference", "score_difference", "box_score_difference"):
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        return found

    def problem(self, allowed: Tolerance) -> str:
        """What is outside the tolerance, as a sentence; empty when nothing is."""
        allowed = allowed if isinstance(allowed, Limits) else limits(allowed, "f32")
        return "; ".join([*self._voxel_problems(allowed), *self._call_problems(allowed)])

    def _voxel_problems(self, allowed: Limits) -> list[str]:
        problems = []
        if not self.agreement >= allowed.min_agreement:
            problems.append(f"{self.agreement:.6f} of the voxels agree, at least {allowed.min_agreement:g} must")
        for value, dice in self.dice.items():
            if not dice >= allowed.min_dice:
                problems.append(f"label {value}: Dice {dice:.5f}, at least {allowed.min_dice:g} is wanted")
        for value, change in self.volume_change.items():
            if not abs(change) <= allowed.max_volume_change:
                problems.append(
                    f"label {value}: volume {change:+.2%}, at most {allowed.max_volume_change:.2%} is allowed"
                )
        if self.max_difference is not None and not self.max_difference <= allowed.max_difference:
            problems.append(
                f"outputs differ by {self.max_difference:.2g}, at most {allowed.max_difference:g} is allowed"
            )
        return problems

    def _call_problems(self, allowed: Limits) -> list[str]:
        problems = [f"{name} is on the other side of its threshold" for name in self.crossed]
        problems += [f"{what} has no partner" for what in self.lost]
        for what, found, most in (
            ("scores", self.score_difference, allowed.max_score_difference),
            ("scores of boxes", self.box_score_difference, allowed.max_box_score_difference),
        ):
            if found is not None and not found <= most:
                problems.append(f"{what} differ by {found:.2g}, at most {most:g} is allowed")
        return problems


def compare_outputs(answer: ModelOutput, stored: ModelOutput, manifest: Manifest, allowed: Limits) -> Agreement:
    """Measure an answer of any kind against the stored one of the same kind."""
    if isinstance(answer, LabelMap) and isinstance(stored, LabelMap):
        return compare(answer.array, stored.array)
    if isinstance(answer, Masks) and isinstance(stored, Masks):
        return compare_masks(answer.array, stored.array)
    if isinstance(answer, Scores) and isinstance(stored, Scores):
        rules = manifest.scores
        return compare_scores(answer.values, stored.values, {r.name: r.threshold for r in rules})
    if isinstance(answer, Boxes) and isinstance(stored, Boxes):
        thresholds = {r.label: r.score_threshold for r in manifest.boxes}
        return compare_boxes(answer.boxes, stored.boxes, thresholds, min_iou=allowed.min_iou)
    raise ValueError(f"answers of two kinds: {type(answer).__name__} and {type(stored).__name__}")


def compare(answer: Labels, stored: Labels) -> Agreement:
    """Measure ``answer`` against ``stored``, same shape; every label that occurs in either is looked at."""
    _same_shape(answer, stored)
    values = sorted({*np.unique(answer).tolist(), *np.unique(stored).tolist()} - {0})
    agreement = float(np.mean(answer == stored))
    return _of_masks(((v, answer == v, stored == v) for v in values), agreement)


def compare_masks(answer: npt.NDArray[np.bool_], stored: npt.NDArray[np.bool_]) -> Agreement:
    """Measure masks that may overlap, ``(label, slice, row, column)``; the first is label 1."""
    _same_shape(answer, stored)
    agreement = float(np.mean(answer == stored))
    return _of_masks(((k, *pair) for k, pair in enumerate(zip(answer, stored, strict=True), start=1)), agreement)


def compare_scores(
    answer: Sequence[float], stored: Sequence[float], thresholds: Mapping[str, float | None]
) -> Agreement:
    """Measure scores, in the order of ``thresholds`` (name → operating point, which no score may cross)."""
    rows = list(zip(thresholds.items(), answer, stored, strict=True))
    crossed = tuple(name for (name, at), a, s in rows if at is not None and (a >= at) != (s >= at))
    return Agreement(
        agreement=1 - len(crossed) / max(1, len(rows)),
        score_difference=max((_apart(a, s) for _, a, s in rows), default=0.0),
        crossed=crossed,
    )


def compare_boxes(
    answer: Sequence[Box], stored: Sequence[Box], thresholds: Mapping[int, float], *, min_iou: float
) -> Agreement:
    """Measure detections: each box above its class's threshold needs a partner of that class in the other answer.

    Partners overlap by at least ``min_iou`` and are taken best first, each once; below the threshold a box may be
    without one, so that a candidate nobody is shown cannot refuse an engine.
    """
    free = list(answer)
    partners: list[tuple[Box, Box]] = []
    lost = []
    for box in sorted(stored, key=lambda b: -b.score):
        candidates = [b for b in free if b.label == box.label and iou(b, box) >= min_iou]
        if candidates:
            best = max(candidates, key=lambda b: iou(b, box))
            free.remove(best)
            partners.append((best, box))
        elif box.score >= thresholds.get(box.label, 0.0):
            lost.append(f"the stored {_named(box)}")
    lost += [f"the new {_named(b)}" for b in free if b.score >= thresholds.get(b.label, 0.0)]
    shown = len(partners) + len(lost)
    return Agreement(
        agreement=len(partners) / shown if shown else 1.0,
        box_score_difference=max((_apart(a.score, b.score) for a, b in partners), default=0.0),
        lost=tuple(lost),
    )


def iou(one: Box, other: Box) -> float:
    """Intersection over union, with corners as continuous indices."""
    sides = [min(a, b) - max(c, d) for a, b, c, d in zip(one.high, other.high, one.low, other.low, strict=True)]
    common = float(np.prod(np.maximum(sides, 0.0)))
    both = _size(one) + _size(other) - common
    return common / both if both > 0 else 0.0


def _of_masks(pairs: Iterable[tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]], agreement: float) -> Agreement:
    """One label at a time: a hundred masks of a whole volume together would take gigabytes."""
    dice, volume_change = {}, {}
    for value, answer, stored in pairs:
        a, s = _count(answer), _count(stored)
        if a or s:
            dice[value] = 2 * _count(answer & stored) / (a + s)
            volume_change[value] = (a - s) / s if s else 1.0
    return Agreement(agreement=agreement, dice=dice, volume_change=volume_change)


def _same_shape(answer: npt.NDArray[np.generic], stored: npt.NDArray[np.generic]) -> None:
    if answer.shape != stored.shape:
        raise ValueError(f"answers of different shape: {answer.shape} and {stored.shape}")


def _apart(one: float, other: float) -> float:
    """Not finite counts as infinitely far: a comparison with NaN would pass for agreement."""
    difference = abs(one - other)
    return difference if np.isfinite(difference) else float("inf")


def _size(box: Box) -> float:
    return float(np.prod(np.subtract(box.high, box.low)))


def _named(box: Box) -> str:
    return f"box of class {box.label} with score {box.score:.2f}"


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
