"""The engine seam: what an engine is, which there are, and which one serves.

A new engine is one file with ``library_version`` and ``open_engine``, and one line in ``ENGINES``; the contract test
(``tests/contract/test_engines.py``) then runs on it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wetread.errors import EngineUnavailable
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.wish import GPU_ENGINES, PRECISIONS, Precision

FloatArray = npt.NDArray[np.float32]

REFERENCE = "torch"
OPENVINO = "openvino"
ENGINES = {
    "torch": "wetread.infer.engines.torch_engine",
    "openvino": "wetread.infer.engines.openvino_engine",
    "tensorrt": "wetread.infer.engines.tensorrt_engine:TENSORRT",
    "tensorrt-rtx": "wetread.infer.engines.tensorrt_engine:TENSORRT_RTX",
}
"""Module of each engine, or an object in one."""
_NEXT = {"tensorrt": "openvino", "tensorrt-rtx": "openvino", "openvino": REFERENCE}
"""Which engine serves instead of one that may not."""


class Engine(Protocol):
    """One network, ready to answer.

    1. It is called with a float32 array ``(batch, channel, *spatial)``, in any memory layout, and does not change it.
    2. It answers with a new C-contiguous float32 array, batch first, which belongs to the caller.
    3. Any batch size works, also another than the last time; rows of the batch do not influence one another.
    4. Any spatial shape works that the network takes; a new shape may cost a compilation.
    5. It computes in ``precision`` whatever the hardware could do faster, on at most the planned number of CPU threads.
    6. ``close`` frees what it holds and may be called twice; a call after it raises ``RuntimeError``.
    7. ``on_device`` is the same call for tensors where they lie: float32 on ``where`` in, a new tensor there out.
    8. Errors of its library do not leave it: a library that is missing, or cannot run the network, is
       ``EngineUnavailable``; an array of another type or rank is ``ValueError``.
    """

    name: str
    precision: str
    library_version: str
    device: str
    where: torch.device
    """Where it computes: windows are gathered and added up there, so that only labels travel."""

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer."""
        ...

    def on_device(self, images: Tensor) -> Tensor:
        """The network's answer to images on ``where``."""
        ...

    def artefacts(self) -> Mapping[str, str]:
        """Compiled engines it has answered with: key in the cache → SHA-256; none where nothing compiled is kept."""
        ...

    def close(self) -> None:
        """Free memory; the engine cannot be used any more."""
        ...


@runtime_checkable
class Masking(Protocol):
    """An engine that can say which of two channels is the larger without writing them down."""

    def masks(self, images: Tensor) -> Tensor:
        """uint8 ``(batch, 1, *spatial)``: 1 where the second channel of the answer ``on_device`` is the larger."""
        ...


@runtime_checkable
class Resting(Protocol):
    """An engine that keeps memory between calls only to be faster the next time."""

    def rest(self) -> None:
        """Give it back; the next call takes it again."""
        ...


class Backend(Protocol):
    """What an engine's module offers."""

    def library_version(self) -> str:
        """Versions of the library, as recorded with every result. Raises: ``EngineUnavailable``."""
        ...

    def device(self) -> str:
        """What it would run on, e.g. ``CPU``. Raises: ``EngineUnavailable`` when this machine has no such device."""
        ...

    def open_engine(self, plan: NetworkPlan) -> Engine:
        """An engine for the network. Raises: ``EngineUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine, and why, as a sentence for a person."""

    name: str
    reason: str
    precision: Precision = "f32"


def backend(name: str) -> Backend:
    """The module behind an engine's name. Raises: ``EngineUnavailable`` for a name that is not in the table."""
    if name not in ENGINES:
        raise EngineUnavailable(f"there is no engine {name!r}; there are: auto, {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    found = importlib.import_module(module)
    return cast(Backend, getattr(found, attribute) if attribute else found)


def engine_precision(name: str, allowed: Precision) -> Precision:
    """What an engine computes in when a bundle allows ``allowed``: that if it can, else float32."""
    return allowed if allowed in PRECISIONS.get(name, ()) else "f32"


def choose_engine(requested: str, *, precision: Precision) -> Choice:
    """Which engine is to serve a bundle that allows ``precision``, by the hardware at hand.

    ``auto`` takes TensorRT where there is an NVIDIA GPU, else OpenVINO, which is faster on every CPU measured, else the
    reference. Raises: ``EngineUnavailable`` when the engine asked for by name is not there.
    """
    if requested != "auto":
        backend(requested).library_version()
        return _with_precision(requested, "asked for by name", precision)
    problems = []
    for name in (*GPU_ENGINES, "openvino"):
        try:
            version, device = backend(name).library_version(), backend(name).device()
        except EngineUnavailable as exc:
            problems.append(f"{name} cannot be used: {exc}")
            continue
        on = _kind(name) if device == "CPU" else f"{_kind(name)} ({device})"
        return _with_precision(name, f"{name} {version.partition('-')[0]} is the default on {on}", precision)
    return _with_precision(REFERENCE, "; ".join(problems), precision)


def next_choice(choice: Choice, problem: Exception, *, requested: str) -> Choice | None:
    """What serves when ``choice`` may not: first the same engine in float32, then, with ``auto``, another engine.

    ``None`` when nothing is left; then ``problem`` is the answer.
    """
    if choice.precision != "f32":
        return Choice(choice.name, f"{choice.name} may not serve in {choice.precision}: {problem}")
    if requested != "auto" or choice.name not in _NEXT:
        return None
    return Choice(_NEXT[choice.name], f"{choice.name} may not serve: {problem}")


def standby_choice(choice: Choice, *, requested: str) -> Choice | None:
    """What serves while ``choice`` is being made ready: the same engine in float32, another one, the reference at last.

    An engine asked for by name is stood in for by the reference only. ``None`` when nothing is left.
    """
    if choice.precision != "f32":
        return Choice(choice.name, f"{choice.name} in {choice.precision} is not ready")
    if choice.name == REFERENCE:
        return None
    return Choice(_NEXT[choice.name] if requested == "auto" else REFERENCE, f"{choice.name} is not ready")


def _with_precision(name: str, reason: str, allowed: Precision) -> Choice:
    used = engine_precision(name, allowed)
    if used != allowed:
        reason += f"; the bundle allows {allowed}, which {name} does not offer: float32"
    return Choice(name, reason, used)


def _kind(name: str) -> str:
    return "an NVIDIA GPU" if name in GPU_ENGINES else "a CPU"


def checked_images(images: Tensor, where: torch.device) -> Tensor:
    """The images, if they are what the contract promises ``on_device``. Raises: ``ValueError``."""
    if images.dtype != torch.float32 or images.ndim < 3 or images.device.type != where.type:
        raise ValueError(
            f"an engine on {where.type} takes float32 (batch, channel, *spatial) there, got {images.dtype} "
            f"{tuple(images.shape)} on {images.device.type}"
        )
    return images


def checked_input(array: FloatArray) -> FloatArray:
    """The array, if it is what the contract promises an engine. Raises: ``ValueError``."""
    if array.dtype != np.float32 or array.ndim < 3:
        raise ValueError(f"an engine takes float32 (batch, channel, *spatial), got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
