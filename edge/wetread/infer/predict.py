"""What a program with windows of one size takes for one volume, from its structure: no voxel is touched."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform
from monai.transforms.transform import LazyTransform
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from wetread.durable import write_atomically
from wetread.infer.geometry import monai_affine
from wetread.infer.program import EngineNetwork, Program, Runnable, stage
from wetread.infer.streaming.chain import Streaming
from wetread.infer.streaming.tail import Tail
from wetread.infer.windows.cells import WindowGrid
from wetread.infer.windows.sliding import Network, can_stream, planned, window_grid
from wetread.memory import peak_mb, restart_peak
from wetread.records.volume import Affine

COST = "cost.json"
_FLOAT = 4
_AXES = 3
_MB = 2**20
_S_PER_MEGAVOXEL = 0.05
"""Everything round the network, for each million voxels of source and network grid, on one core of 2024."""


class WindowCost(BaseModel):
    """What one window costs with one engine on this machine; kept beside the engine's certificate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    memory_mb: float
    """While one batch of windows is computed, its answers included, on top of what the engine keeps."""
    classes: int
    opening_s: float = 0.0
    """What the first batch took longer than the next ones: the engine compiles for the shape of the windows."""
    opening_mb: float = 0.0
    """What the process held at most during the first batch, over what it held before."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the network and the transforms round it will take for one volume."""

    memory_mb: float
    """On top of what the process holds with the model open, the engine compiled and the volume in memory."""
    seconds: float
    windows: int


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Voxels."""

    source: int
    """In all channels of the network's input."""
    grid: WindowGrid
    channels: int

    @property
    def working(self) -> int:
        return prod(self.grid.padded)

    @property
    def prepared(self) -> int:
        """The network's input: all channels."""
        return self.working * self.channels


def can_predict(program: Runnable) -> TypeGuard[Program]:
    """Whether the program has windows of one known size; others (cascades, detectors) are not predicted."""
    if not isinstance(program, Program) or not can_stream(program.inferer):
        return False
    roi = _roi(program.inferer.roi_size)
    return len(roi) == _AXES and min(roi) > 0


def measure(program: Program, channels: int = 1) -> WindowCost:
    """Run one batch of noise through the network twice and look at the second time, when all is compiled."""
    inferer: Any = program.inferer
    batch = inferer.sw_batch_size
    shape = (batch, channels, *_roi(inferer.roi_size))
    windows = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first_s, opening_mb, _ = _watched(program.network, windows)
        if isinstance(program.network, EngineNetwork):
            program.network.rest()  # or what it keeps would not be seen to be needed
        seconds, memory_mb, classes = _watched(program.network, windows)
    return WindowCost(
        seconds=seconds / batch,
        memory_mb=memory_mb,
        classes=classes,
        opening_s=max(0.0, first_s - seconds),
        opening_mb=opening_mb,
    )


def kept_or_measured(folder: Path, measured: Callable[[], WindowCost]) -> WindowCost:
    """The cost noted in the engine's cache folder; measured and noted when there is none that can be read."""
    path = folder / COST
    try:
        return WindowCost.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        cost = measured()
        write_atomically(path, lambda target: target.write_text(cost.model_dump_json(indent=2) + "\n"))
        return cost


def predict(
    program: Program, shape: tuple[int, ...], affine: Affine, cost: WindowCost, *, channels: int = 1
) -> Estimate:
    """What a volume of ``shape`` ``(slice, row, column)`` at ``affine`` will take; ``channels`` volumes are stacked.

    Cropping to the foreground is not foreseen: the estimate is for the whole volume.
    """
    working = working_shape(program.preprocessing, tuple(reversed(shape)), affine, key=program.input_key)
    sizes = _Sizes(prod(shape) * channels, window_grid(program.inferer, working), channels)
    windows = len(sizes.grid.windows)
    seconds = windows * cost.seconds + (sizes.source + sizes.prepared) / 1e6 * _S_PER_MEGAVOXEL
    streaming = program.tail.streaming if isinstance(program.tail, Tail) else None
    phases = _preparing(sizes), *_answering(sizes, cost, streaming)
    return Estimate(max(phases), seconds, windows)


def working_shape(preprocessing: Compose, shape: tuple[int, ...], affine: Affine, *, key: str) -> tuple[int, ...]:
    """The grid that the network's windows will lie on, from what MONAI plans for ``shape`` ``(column, row, slice)``."""
    image = MetaTensor(torch.zeros(()).expand(1, *shape), affine=torch.as_tensor(monai_affine(affine)))
    data = {key: image}
    with stage("preprocessing"):
        for transform in preprocessing.transforms:
            spatial = isinstance(transform, LazyTransform) and isinstance(transform, MapTransform)
            if spatial and key in transform.keys and not transform.requires_current_data:
                data = transform(data, lazy=True)
    return tuple(int(n) for n in data[key].peek_pending_shape())


def _roi(size: int | Sequence[int | None] | None) -> tuple[int, ...]:
    """0 or less: the whole side of the image, as MONAI means none."""
    sides = size if isinstance(size, Sequence) else (size,) * _AXES
    return tuple(side or 0 for side in sides)


def _preparing(sizes: _Sizes) -> float:
    """The image, its reoriented copy, and three copies on the network's grid: before, during and after scaling."""
    return _FLOAT * (2 * sizes.source + 3 * sizes.prepared) / _MB


def _answering(sizes: _Sizes, cost: WindowCost, streaming: Streaming | None) -> tuple[float, float]:
    """While the windows run, and after."""
    held = _FLOAT * (sizes.source + sizes.prepared) / _MB + cost.memory_mb
    if streaming is None:
        # Sums, weights and their quotient; then softmax, the inversion of all classes and its copy.
        return (
            held + _FLOAT * sizes.working * (2 * cost.classes + 1) / _MB,
            held + _FLOAT * cost.classes * (2 * sizes.working + 2 * sizes.source // sizes.channels) / _MB,
        )
    classes = 1 if cost.classes == 2 else cost.classes
    sums = planned(sizes.grid, classes).most_voxels_held() * classes * _FLOAT / _MB
    if streaming.invert is None:
        labels = (sizes.working + _FLOAT * sizes.working * 2 + _FLOAT * sizes.source * 4) / _MB
        return held + sums + sizes.working / _MB, held + labels
    layers = _FLOAT * classes * (sizes.grid.roi[0] + 2) * prod(sizes.grid.padded[1:]) / _MB
    return held + sums + layers + sizes.source / _MB, held + 2 * sizes.source / _MB


def _watched(network: Network, windows: Tensor) -> tuple[float, float, int]:
    """Seconds, MB at the peak over before, and classes."""
    before = restart_peak()
    started = time.perf_counter()
    answer = network(windows)
    return time.perf_counter() - started, max(0.0, peak_mb() - before), int(answer.shape[1])
