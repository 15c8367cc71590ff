"""A bundle ready to read: its program, its engines, and the certificate under which they serve."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from torch import nn

from wetread.bundles import Bundle
from wetread.bundles.check import check_supported
from wetread.bundles.trust import TrustPolicy, admit
from wetread.errors import EngineDisagrees, EngineNotReady, EngineUnavailable
from wetread.infer.adapters import answer
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import choose_engine, next_choice, standby_choice
from wetread.infer.explain.explain import explain
from wetread.infer.forecast import Forecast
from wetread.infer.opening import Opened, Opening, load
from wetread.infer.program import stage
from wetread.infer.tiers import Tier
from wetread.infer.uncertainty import spreads
from wetread.progress import Progress, unheard
from wetread.records.heat_map import ScoreMap
from wetread.records.model_input import ModelInput
from wetread.records.output import ModelOutput, Scores
from wetread.records.reading import EngineIdentity


class Reader(Protocol):
    """What a read needs of a model: ``Model``, or a ``Standby`` that exchanges them."""

    @property
    def identity(self) -> EngineIdentity:
        """What computed the last answer."""
        ...

    @property
    def tier(self) -> Tier:
        """How the bundle is driven, and why."""
        ...

    @property
    def choice_reason(self) -> str:
        """Why this engine, as a sentence for a person."""
        ...

    @property
    def forecast(self) -> Forecast:
        """What a read will take."""
        ...

    def refresh(self) -> None:
        """Called before each study: the moment to take over an engine that was built meanwhile."""
        ...

    def run(self, volumes: Mapping[str, ModelInput]) -> ModelOutput:
        """What the bundle says about these images."""
        ...

    def explain(self, images: Mapping[str, ModelInput]) -> tuple[ScoreMap, ...]:
        """Where it looked, one map for each score; none of a bundle that explains nothing."""
        ...


class Model:
    """Answers for one bundle with one engine. Not for several threads at once."""

    def __init__(self, opened: Opened, bundle: Bundle, *, reason: str, waiting: str) -> None:
        self.tier: Tier = opened.tier
        """How the bundle is driven, and why."""
        self.identity: EngineIdentity = opened.identity
        self.certificate = opened.certificate
        """Under which the engine serves; none for the reference of a bundle without a golden case."""
        self.choice_reason = reason
        """Why this engine, as a sentence for a person."""
        self.waiting = waiting
        """Which engine and precision would serve if it were ready (``build=False``); empty when the best one serves."""
        self.forecast = opened.forecast
        """What a read will take."""
        self._program = opened.program
        self._opened = opened
        self._bundle, self._manifest = bundle, bundle.manifest
        self._network: nn.Module | None = None
        self._closed = False

    def refresh(self) -> None:
        """It stays what it is."""

    def run(self, volumes: Mapping[str, ModelInput]) -> ModelOutput:
        """What the bundle says about these images (by input name), on the grid of the first input; of scores also how
        steady they are, where the bundle asks for that.

        Volumes that are stacked lie on one grid (``guard.grid`` sees to it).
        Raises: ``OutputInvalid`` when the answer breaks what the bundle declares (grid, labels, required labels);
        ``EngineNotReady`` from a model opened with ``build=False`` when the volume needs an engine of another shape.
        """
        if self._closed:
            raise RuntimeError("the model is closed")
        output = answer(self._program, self._manifest, volumes)
        if not isinstance(output, Scores):
            return output
        return replace(output, spreads=spreads(self._program, self._manifest, volumes))

    def explain(self, images: Mapping[str, ModelInput]) -> tuple[ScoreMap, ...]:
        """Where it looked, one map for each score, on the stored pixels of the film; none of a bundle that explains
        nothing.

        Raises: ``BundleInvalid`` when the manifest's method does not go with the network or the transforms.
        """
        with stage("the explanation"):
            return explain(self._program, self._own_network, self._manifest, images)

    def load(self) -> None:
        """Build or load now what the first study would. Raises: ``EngineUnavailable``, ``EngineDisagrees``."""
        load(self._opened.engines, self._opened.windows)

    def prepare(self, network: str, shape: tuple[int, ...]) -> None:
        """Build what ``network`` needs for images of ``shape``. Raises: ``EngineUnavailable``, ``EngineDisagrees``."""
        load(self._opened.engines, {network: shape})

    def _own_network(self) -> nn.Module:
        """The bundle's network in PyTorch, made when it is first asked for."""
        if self._network is None:
            config, name = InferenceConfig(self._bundle), self._manifest.runtime.network
            self._network = config.make_network(next(w for w in self._manifest.weights if w.network == name))
        return self._network

    def close(self) -> None:
        """Free the engines; the model cannot be used any more."""
        self._closed = True
        for engine in self._opened.engines.values():
            engine.close()


def open_model(
    bundle: Bundle,
    *,
    engine: str = "auto",
    cache_folder: Path,
    trust: TrustPolicy | None = None,
    build: bool = True,
    progress: Progress = unheard,
    threads: int | None = None,
) -> Model:
    """Load a bundle that may run here and let an engine through the gate; the next best serves if the best may not.

    ``cache_folder`` keeps exported networks and certificates; ``threads`` limits the CPU threads (default: all).
    Without ``build`` nobody waits for an engine to be built or proven: the next one that is ready serves, the reference
    at the latest, also where another was asked for by name.
    Raises: ``BundleNotTrusted``, ``WeightsMissing``, ``BundleInvalid``, ``EngineUnavailable``, ``EngineDisagrees``.
    """
    progress("checking weights", 0.0)
    admit(bundle, trust)
    check_supported(bundle.folder)
    bundle.check_weights()
    opening = Opening(bundle, cache_folder, threads=threads or os.cpu_count() or 1, build=build, tell=progress)
    choice = choose_engine(engine, precision=bundle.manifest.runtime.precision)
    waiting, why = "", ""
    while True:
        try:
            opened = opening.opened(choice)
        except (EngineDisagrees, EngineUnavailable) as exc:
            if isinstance(exc, EngineNotReady) and not waiting:
                waiting, why = f"{choice.name} {choice.precision}", str(exc)
            instead = (
                standby_choice(choice, requested=engine) if waiting else next_choice(choice, exc, requested=engine)
            )
            if instead is None:
                raise
            choice = instead
        else:
            reason = f"serves until {waiting} is ready: {why}" if waiting else choice.reason
            return Model(opened, bundle, reason=reason, waiting=waiting)
