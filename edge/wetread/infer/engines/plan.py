"""What an engine is told about the network it is to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from wetread.infer.engines.wish import Precision

Answering = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""A network as a function: ``(batch, channel, *spatial)`` to its answer."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a bundle's golden case with another function in the place of one network."""

    problem: str
    """What is outside the task's tolerance, as a sentence; empty when nothing is."""
    measured: Mapping[str, float]
    """The task's measures by name, e.g. ``agreement``."""


Judge = Callable[[Answering, tuple[int, ...]], Judged | None]
"""Given a network as a function for images of one spatial shape; none: the golden case asks for another shape."""


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """One network of a bundle, not built yet: a compiled engine may never need the PyTorch module."""

    name: str
    """Its id in the inference config."""
    key: str
    """SHA-256 (hex) over its configuration and weights: the same key is the same function."""
    make: Callable[[], nn.Module]
    """Builds it with its weights, in evaluation mode, on the CPU."""
    cache_folder: Path
    """Where an engine may keep what it made from the network."""
    precision: Precision = "f32"
    """What the engine is to compute in; one that cannot is ``EngineUnavailable``, so ask ``engine_precision`` first."""
    threads: int = 1
    """CPU threads the engine may use."""
    judge: Judge | None = None
    """Decides about a coarser graph of the network by what the bundle is for; none without a golden case."""
    may_build: bool = True
    """Whether the engine may make what its cache lacks; if not, it is ``EngineNotReady`` where something is missing."""
    bundle: str = ""
    """Digest of the bundle: what is kept in the cache says who uses it."""
