"""What the engines are told about a bundle's networks, one plan for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from wetread.bundles import Bundle
from wetread.bundles.manifest import Golden
from wetread.errors import WetreadError
from wetread.infer.adapters import answer
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import REFERENCE, Engine, FloatArray, backend
from wetread.infer.engines.plan import Answering, Judged, NetworkPlan
from wetread.infer.engines.wish import Precision
from wetread.infer.gate.compare import compare_outputs, limits
from wetread.infer.gate.golden import golden_answer, golden_images
from wetread.infer.tiers import open_program


def network_plans(
    bundle: Bundle,
    config: InferenceConfig,
    cache_folder: Path,
    *,
    precision: Precision,
    threads: int,
    may_build: bool = True,
    digest: str = "",
) -> list[NetworkPlan]:
    """One for each network with weights; half graphs are judged by the bundle's golden case if it has one.

    ``digest`` is the bundle's.
    """
    plans = [
        NetworkPlan(
            name=weights.network,
            key=config.network_key(weights),
            make=partial(config.make_network, weights),
            cache_folder=cache_folder,
            precision=precision,
            threads=threads,
            may_build=may_build,
            bundle=digest,
        )
        for weights in bundle.manifest.weights
    ]
    golden = bundle.manifest.golden
    if golden is None or precision != "f16":
        return plans
    return [replace(plan, judge=partial(_judged, bundle, config, golden, plans, plan.name)) for plan in plans]


def _judged(
    bundle: Bundle,
    config: InferenceConfig,
    golden: Golden,
    plans: list[NetworkPlan],
    network: str,
    answering: Answering,
    shape: tuple[int, ...],
) -> Judged | None:
    """The golden case with ``answering`` in the place of ``network`` and the reference in that of all others."""
    engines: dict[str, Engine] = {
        plan.name: _Standing(answering, shape) if plan.name == network else backend(REFERENCE).open_engine(plan)
        for plan in plans
    }
    images = golden_images(bundle, golden)
    stored = golden_answer(bundle, golden, images[bundle.manifest.inputs[0].name])
    try:
        given = answer(open_program(config, engines), bundle.manifest, images)
    except _OtherShape:
        return None
    allowed = limits(golden.tolerance, "f16")
    measured = compare_outputs(given, stored, bundle.manifest, allowed)
    return Judged(measured.problem(allowed), measured.figures())


class _OtherShape(WetreadError):
    """The golden case asks the network in another shape than the function is for."""


class _Standing:
    """A function in the place of an engine."""

    name, precision, library_version, device = "graph", "f16", "", "CPU"
    where = torch.device("cpu")

    def __init__(self, answering: Answering, shape: tuple[int, ...]) -> None:
        self._answering = answering
        self._shape = shape[1:]

    def __call__(self, array: FloatArray) -> FloatArray:
        if array.shape[1:] != self._shape:
            raise _OtherShape(f"{array.shape[1:]}, not {self._shape}")
        return self._answering(array)

    def on_device(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self(images.numpy()))

    def artefacts(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Holds nothing."""
