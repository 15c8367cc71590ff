"""What an engine is told about the network it is to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn


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
    precision: str = "f32"
    threads: int = 1
    """CPU threads the engine may use."""
