"""What an engine is told about the network it is to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

Precision = Literal["f32", "bf16", "f16"]


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
