"""The engine seam: what an engine is, which there are, and which one serves.

A new engine is one file with ``library_version`` and ``open_engine``, and one line in ``ENGINES``; the contract test
(``tests/contract/test_engines.py``) then runs on it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from wetread.errors import EngineUnavailable
from wetread.infer.plan import NetworkPlan

FloatArray = npt.NDArray[np.float32]

REFERENCE = "torch"
ENGINES = {
    "torch": "wetread.infer.torch_engine",
    "openvino": "wetread.infer.openvino_engine",
}


class Engine(Protocol):
    """One network, ready to answer.

    1. It is called with a float32 array ``(batch, channel, *spatial)``, in any memory layout, and does not change it.
    2. It answers with a new C-contiguous float32 array of the same rank, which belongs to the caller.
    3. Any batch size works, also another than the last time; rows of the batch do not influence one another.
    4. Any spatial shape works that the network takes; a new shape may cost a compilation.
    5. It computes in ``precision`` whatever the hardware could do faster, on at most the planned number of threads.
    6. ``close`` frees what it holds and may be called twice; a call after it raises ``RuntimeError``.
    7. Errors of its library do not leave it: a library that is missing, or cannot run the network, is
       ``EngineUnavailable``; an array of another type or rank is ``ValueError``.
    """

    name: str
    precision: str
    library_version: str
    device: str

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer."""
        ...

    def close(self) -> None:
        """Free memory; the engine cannot be used any more."""
        ...


class Backend(Protocol):
    """What an engine's module offers."""

    def library_version(self) -> str:
        """Versions of the library, as recorded with every result. Raises: ``EngineUnavailable``."""
        ...

    def open_engine(self, plan: NetworkPlan) -> Engine:
        """An engine for the network. Raises: ``EngineUnavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine, and why, as a sentence for a person."""

    name: str
    reason: str


def backend(name: str) -> Backend:
    """The module behind an engine's name. Raises: ``EngineUnavailable`` for a name that is not in the table."""
    if name not in ENGINES:
        raise EngineUnavailable(f"there is no engine {name!r}; there are: auto, {', '.join(ENGINES)}")
    return cast(Backend, importlib.import_module(ENGINES[name]))


def choose_engine(requested: str, *, precision: str) -> Choice:
    """Which engine is to serve a bundle that wants ``precision``.

    ``auto`` takes OpenVINO, which is faster on every CPU measured, if it is installed, else the reference.
    Raises: ``EngineUnavailable`` when the engine asked for by name is not there.
    """
    if requested != "auto":
        backend(requested).library_version()
        return Choice(requested, "asked for by name")
    if precision != "f32":
        return Choice(REFERENCE, f"the bundle wants {precision}, which only the reference engine offers")
    try:
        version = backend("openvino").library_version()
    except EngineUnavailable as exc:
        return Choice(REFERENCE, f"OpenVINO cannot be used: {exc}")
    return Choice("openvino", f"OpenVINO {version} is installed, the default on a CPU")


def checked_input(array: FloatArray) -> FloatArray:
    """The array, if it is what the contract promises an engine. Raises: ``ValueError``."""
    if array.dtype != np.float32 or array.ndim < 3:
        raise ValueError(f"an engine takes float32 (batch, channel, *spatial), got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)
