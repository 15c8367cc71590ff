"""What may be asked of which engine: precisions and GPUs, answered before torch or an engine's runtime is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from wetread.errors import EngineUnavailable
from wetread.infer.engines.tensorrt_library import TENSORRT, TENSORRT_RTX

Precision = Literal["f32", "bf16", "f16"]
PRECISIONS: dict[str, tuple[Precision, ...]] = {
    "torch": ("f32",),
    "openvino": ("f32", "bf16"),
    "tensorrt": ("f32", "f16"),
    "tensorrt-rtx": ("f32", "f16"),
}
"""What each engine can compute in."""
GPU_ENGINES = ("tensorrt", "tensorrt-rtx")
_LIBRARIES = {library.engine: library for library in (TENSORRT, TENSORRT_RTX)}
_CAPABILITY = re.compile(r"sm\d+")


def check_wish(engine: str, precisions: Sequence[str], gpus: Sequence[str]) -> None:
    """Refuse what no machine can compile: an engine, its precisions and the GPUs that are elsewhere.

    ``auto`` with ``gpus`` is ``tensorrt-rtx``; without them it depends on this machine, and is not looked at.
    Raises: ``EngineUnavailable`` with what there is instead.
    """
    name = "tensorrt-rtx" if engine == "auto" and gpus else engine
    if name == "torch":
        raise EngineUnavailable("torch is the reference and runs the network as it is; there is nothing to compile")
    if gpus:
        _check_gpus(name, gpus)
    wrong = next((p for p in precisions if name in PRECISIONS and p not in PRECISIONS[name]), None)
    if wrong is not None:
        elsewhere = "; f16 is for GPUs: --gpu sm89, for example" if wrong == "f16" else ""
        raise EngineUnavailable(f"{name} computes in {' or '.join(PRECISIONS[name])}, not in {wrong}{elsewhere}")


def _check_gpus(name: str, gpus: Sequence[str]) -> None:
    if name not in GPU_ENGINES:
        raise EngineUnavailable(f"{name} runs on the CPU; --gpu is for tensorrt-rtx")
    for gpu in gpus:
        known = _LIBRARIES[name].check_target if _CAPABILITY.fullmatch(gpu) else _no_capability
        known(gpu)


def _no_capability(gpu: str) -> None:
    """Raises: ``EngineUnavailable``, with the names where the library is here to be asked."""
    try:
        names = f": {', '.join(TENSORRT_RTX.targets())}"
    except EngineUnavailable:
        names = ""
    raise EngineUnavailable(
        f"{gpu!r} is no compute capability; expected sm and a number, e.g. sm89 for an RTX 40{names}"
    )
