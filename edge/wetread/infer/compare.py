"""How far one label map is from another, and whether that is near enough."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from wetread.bundles.manifest import Tolerance

Labels = npt.NDArray[np.uint8]


class Agreement(BaseModel):
    """An engine's answer measured against the stored one; label values are the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agreement: float
    """Share of voxels with the same label."""
    dice: Mapping[int, float]
    volume_change: Mapping[int, float]
    """Relative to the stored answer, signed."""
    max_difference: float | None = None
    """Largest difference of raw network outputs, relative to the largest output; only where outputs were compared."""

    def problem(self, tolerance: Tolerance) -> str:
        """What is outside the tolerance, as a sentence; empty when nothing is."""
        problems = []
        if not self.agreement >= tolerance.min_agreement:
            problems.append(f"{self.agreement:.6f} of the voxels agree, at least {tolerance.min_agreement:g} must")
        for value, dice in self.dice.items():
            if not dice >= tolerance.min_dice:
                problems.append(f"label {value}: Dice {dice:.5f}, at least {tolerance.min_dice:g} is wanted")
        for value, change in self.volume_change.items():
            if not abs(change) <= tolerance.max_volume_change:
                problems.append(
                    f"label {value}: volume {change:+.2%}, at most {tolerance.max_volume_change:.2%} is allowed"
                )
        if self.max_difference is not None and not self.max_difference <= tolerance.max_difference:
            problems.append(
                f"outputs differ by {self.max_difference:.2g}, at most {tolerance.max_difference:g} is allowed"
            )
        return "; ".join(problems)


def compare(answer: Labels, stored: Labels) -> Agreement:
    """Measure ``answer`` against ``stored``, same shape; every label that occurs in either is looked at."""
    if answer.shape != stored.shape:
        raise ValueError(f"label maps of different shape: {answer.shape} and {stored.shape}")
    values = sorted({*np.unique(answer).tolist(), *np.unique(stored).tolist()} - {0})
    counts = {v: (_count(answer == v), _count(stored == v)) for v in values}
    return Agreement(
        agreement=float(np.mean(answer == stored)),
        dice={v: 2 * _count((answer == v) & (stored == v)) / (a + b) for v, (a, b) in counts.items()},
        volume_change={v: (a - b) / b if b else 1.0 for v, (a, b) in counts.items()},
    )


def _count(mask: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
