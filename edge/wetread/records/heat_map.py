"""Where in a film the model looked: explains one score, says nothing about disease by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The weight of each pixel of a film for one condition's score."""

    array: npt.NDArray[np.float32]
    """``(row, column)`` on the film's stored pixel matrix, from 0 (nothing) to 1 (most of this film)."""
    tracking_uid: str
    """Of the ``Condition`` it explains."""
    method: str
    """As people know it: ``Grad-CAM``, ``Grad-CAM++``, ``attention rollout``, ``occlusion``."""
    parameters: tuple[str, ...] = ()
    """What it takes to compute it again, e.g. ``layer: features.denseblock4``."""


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A heat map before anybody knows which finding its score becomes."""

    array: npt.NDArray[np.float32]
    """As of ``HeatMap``."""
    method: str
    parameters: tuple[str, ...] = ()
