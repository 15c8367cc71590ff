"""What reading one volume will take, in memory and time, before it starts; and a refusal instead of an OOM kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, TypeGuard

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform
from monai.transforms.transform import LazyTransform
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from wetread.errors import StudyRejected, Temporary
from wetread.infer.files import write_atomically
from wetread.infer.geometry import monai_affine
from wetread.infer.program import Program, Runnable, stage
from wetread.infer.streaming.chain import Streaming
from wetread.infer.streaming.tail import Tail
from wetread.infer.windows.cells import WindowGrid
from wetread.infer.windows.sliding import Network, can_stream, planned, window_grid
from wetread.records.volume import Affine

COST = "cost.json"
_FLOAT = 4
_MB = 2**20
_S_PER_MEGAVOXEL = 0.05
"""Everything round the network, for each million voxels of source and network grid, on one core of 2024."""


class WindowCost(BaseModel):
    """What one window costs with one engine on this machine; kept beside the engine's certificate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    memory_mb: float
    """While one batch of windows is computed, its answers included."""
    classes: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What reading one volume will take."""

    memory_mb: int
    """On top of what the process holds with the model open and the volume in memory."""
    seconds: float
    windows: int


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Voxels."""

    source: int
    grid: WindowGrid

    @property
    def working(self) -> int:
        return prod(self.grid.padded)


def can_predict(program: Runnable) -> TypeGuard[Program]:
    """Whether the program has windows of one known size; others (cascades, detectors) are not predicted."""
    if not isinstance(program, Program) or not can_stream(program.inferer):
        return False
    return min(_roi(program.inferer.roi_size)) > 0


def measure(program: Program, channels: int = 1) -> WindowCost:
    """Run one batch of noise through the network twice and look at the second time, when all is compiled."""
    inferer: Any = program.inferer
    batch = inferer.sw_batch_size
    shape = (batch, channels, *_roi(inferer.roi_size))
    windows = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        program.network(windows)
        seconds, memory_mb, classes = _watched(program.network, windows)
    return WindowCost(seconds=seconds / batch, memory_mb=memory_mb, classes=classes)


def kept_or_measured(folder: Path, measured: Callable[[], WindowCost]) -> WindowCost:
    """The cost noted in the engine's cache folder; measured and noted when there is none that can be read."""
    path = folder / COST
    try:
        return WindowCost.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        cost = measured()
        write_atomically(path, lambda target: target.write_text(cost.model_dump_json(indent=2) + "\n"))
        return cost


def predict(program: Program, shape: tuple[int, ...], affine: Affine, cost: WindowCost) -> Prediction:
    """What a volume of ``shape`` ``(slice, row, column)`` at ``affine`` will take.

    Cropping to the foreground is not foreseen: the prediction is for the whole volume.
    """
    working = working_shape(program.preprocessing, tuple(reversed(shape)), affine, key=program.input_key)
    sizes = _Sizes(prod(shape), window_grid(program.inferer, working))
    windows = len(sizes.grid.windows)
    seconds = windows * cost.seconds + (sizes.source + sizes.working) / 1e6 * _S_PER_MEGAVOXEL
    streaming = program.tail.streaming if isinstance(program.tail, Tail) else None
    phases = _preparing(sizes), *_answering(sizes, cost, streaming)
    return Prediction(ceil(max(phases)), round(seconds, 1), windows)


def check_fits(prediction: Prediction, available_mb: float, total_mb: float, *, reserve_mb: float = 256) -> None:
    """Refuse a read that would end in an OOM kill; ``reserve_mb`` is left for everything else.

    Raises: ``StudyRejected`` when this machine can never read the volume; ``Temporary`` when it could with less else
    running.
    """
    needed = prediction.memory_mb + reserve_mb
    said = f"this volume needs about {needed:.0f} MB of memory ({prediction.windows} windows)"
    if needed > total_mb:
        raise StudyRejected(f"{said}, the machine has {total_mb:.0f} MB: read it on a machine with more memory")
    if needed > available_mb:
        raise Temporary(f"{said}, {available_mb:.0f} MB are free: it is read when other work has ended")


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


def _roi(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) * 3 if isinstance(size, int) else tuple(size)


def _preparing(sizes: _Sizes) -> float:
    """The image, its reoriented copy, and three copies on the network's grid: before, during and after scaling."""
    return _FLOAT * (2 * sizes.source + 3 * sizes.working) / _MB


def _answering(sizes: _Sizes, cost: WindowCost, streaming: Streaming | None) -> tuple[float, float]:
    """While the windows run, and after."""
    held = _FLOAT * (sizes.source + sizes.working) / _MB + cost.memory_mb
    if streaming is None:
        # Sums, weights and their quotient; then softmax, the inversion of all classes and its copy.
        return (
            held + _FLOAT * sizes.working * (2 * cost.classes + 1) / _MB,
            held + _FLOAT * cost.classes * (2 * sizes.working + 2 * sizes.source) / _MB,
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
    before = _peak_restarted_mb()
    started = time.perf_counter()
    answer = network(windows)
    return time.perf_counter() - started, max(0.0, _status_mb("VmHWM") - before), int(answer.shape[1])


def _peak_restarted_mb() -> float:
    """Resident memory now; the kernel's high-water mark starts here. 0 MB where the kernel has none."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return _status_mb("VmHWM")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024
