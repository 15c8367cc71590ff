"""How far a score moves when its image is changed a little, in ways that change nothing of what the image shows."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores of slightly changed copies of one image. It says how steady an answer is, not how often it is right."""

    values: tuple[float, ...]
    """0 to 1, one for each copy, in the order they were drawn; at least two."""
    parameters: tuple[str, ...] = ()
    """What it takes to draw the same copies again, e.g. ``rotation: up to 4 degrees``."""

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def standard_deviation(self) -> float:
        """Of the sample (n - 1)."""
        return statistics.stdev(self.values)

    @property
    def least(self) -> float:
        """The lowest score."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The highest score."""
        return max(self.values)

    def reached(self, threshold: float) -> int:
        """How many copies score at least ``threshold``."""
        return sum(value >= threshold for value in self.values)
